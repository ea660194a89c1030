"""`python -m tools.doctor [--stage dev]`.

Exits with 0 if all checks passed, with 1 if one failed, and with 2 if none failed but one was inconclusive.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tools.doctor import inside, terra_side
from tools.doctor.finding import Sign
from tools.doctor.outside import TIMEOUT, Doctor
from tools.doctor.stack import LOCAL, Stack, deployed, running_here
from tools.environment import ROOT, remove_aws_settings
from tools.progress import say
from tools.stages import StageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tools.doctor.finding import Finding

WRONG, INCONCLUSIVE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print the findings."""
    parser = argparse.ArgumentParser(prog="python -m tools.doctor", description="Diagnose a stack.")
    parser.add_argument("--stage", default=LOCAL, help="a stage of samconfig.toml; local is the stack of make run")
    parser.add_argument("--samconfig", type=Path, default=ROOT / "samconfig.toml")
    parser.add_argument("--directory", type=Path, default=ROOT / ".local", help="folder of the local stack")
    options = parser.parse_args(arguments)
    try:
        is_local = options.stage == LOCAL
        if is_local:
            remove_aws_settings()
        proxies_can_be_used()
        stack = running_here(options.directory) if is_local else deployed(options.stage, options.samconfig)
    except StageError as error:
        sys.stderr.write(f"{error}\n")
        return INCONCLUSIVE
    say(f"The stack {stack.name}, {stack.outputs['ApiUrl']}:")
    return print_report(examine(stack, time.time))


def proxies_can_be_used() -> None:
    """Check that the proxies of the environment are usable.

    Raises:
        StageError: The client cannot be created: an address is invalid, or SOCKS needs a package that is not installed.
    """
    try:
        httpx.Client().close()
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        message = (
            f"The HTTP client cannot be created with this shell's settings: {one_line(error)} Check "
            "HTTP_PROXY, HTTPS_PROXY and "
            "ALL_PROXY (http://host:port), and at SSL_CERT_FILE."
        )
        raise StageError(message) from None


def examine(stack: Stack, clock: Callable[[], float]) -> Iterator[Finding]:
    """Run every check, and yield each finding at once.

    Args:
        stack: the stack to check.
        clock: returns this computer's unix time in seconds.
    """
    usable, secret_findings = inside.secrets(stack)
    with httpx.Client(timeout=TIMEOUT.total_seconds(), trust_env=not stack.is_local) as http:
        doctor = Doctor(stack, usable, http, clock)
        yield from chain(
            inside.deployment(stack),
            secret_findings,
            doctor.api(),
            doctor.webhook(),
            doctor.terra(),
            terra_side.check(stack, usable, clock),
            doctor.return_targets(),
            doctor.user_tokens(),
            inside.deliveries(stack, clock),
            inside.data_deliveries(stack, clock),
            inside.queues(stack),
            inside.alarms(stack),
        )


def print_report(findings: Iterator[Finding]) -> int:
    """Print the findings and a summary; return the exit status."""
    signs: Counter[Sign] = Counter()
    for finding in findings:
        signs[finding.sign] += 1
        say(str(finding))
    if signs[Sign.WRONG]:
        say(f"\n{signs[Sign.WRONG]} of {signs.total()} checks failed.")
        return WRONG
    if signs[Sign.INCONCLUSIVE]:
        say(f"\n{signs[Sign.INCONCLUSIVE]} of {signs.total()} checks were inconclusive; the others passed.")
        return INCONCLUSIVE
    say("\nAll checks passed.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
