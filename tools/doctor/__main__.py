"""`python -m tools.doctor [--stage dev]`.

Exits with 0 if all is well, with 1 if something is wrong, and with 2 if nothing is wrong but a check was inconclusive.
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

from tools.doctor import inside
from tools.doctor.finding import Sign
from tools.doctor.outside import PATIENCE, Doctor
from tools.doctor.stack import LOCAL, Stack, deployed, running_here
from tools.environment import ROOT, forget_aws
from tools.progress import say
from tools.stages import StageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tools.doctor.finding import Finding

WRONG, UNSEEN = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print the findings."""
    parser = argparse.ArgumentParser(prog="python -m tools.doctor", description="What is wrong with a stack?")
    parser.add_argument("--stage", default=LOCAL, help="of samconfig.toml; local is the one of make run")
    parser.add_argument("--samconfig", type=Path, default=ROOT / "samconfig.toml")
    parser.add_argument("--directory", type=Path, default=ROOT / ".local", help="of the local stack")
    asked = parser.parse_args(arguments)
    try:
        is_local = asked.stage == LOCAL
        if is_local:
            forget_aws()
        proxies_can_be_used()
        stack = running_here(asked.directory) if is_local else deployed(asked.stage, asked.samconfig)
    except StageError as error:
        sys.stderr.write(f"{error}\n")
        return UNSEEN
    say(f"The stack {stack.name}, {stack.outputs['ApiUrl']}:")
    return tell(examine(stack, time.time))


def proxies_can_be_used() -> None:
    """Check that the proxies of the environment are usable.

    Raises:
        StageError: The client cannot be created: an address is invalid, or SOCKS needs a package that is not installed.
    """
    try:
        httpx.Client().close()
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        message = (
            f"HTTP cannot be spoken with this shell's settings: {one_line(error)} Look at HTTP_PROXY, HTTPS_PROXY and "
            "ALL_PROXY (http://host:port), and at SSL_CERT_FILE."
        )
        raise StageError(message) from None


def examine(stack: Stack, clock: Callable[[], float]) -> Iterator[Finding]:
    """Run every check, and yield each finding at once.

    Args:
        stack: the stack to check.
        clock: returns this computer's unix time in seconds.
    """
    usable, how_secrets_are = inside.secrets(stack)
    with httpx.Client(timeout=PATIENCE.total_seconds(), trust_env=not stack.is_local) as http:
        doctor = Doctor(stack, usable, http, clock)
        yield from chain(
            inside.deployment(stack),
            how_secrets_are,
            doctor.api(),
            doctor.webhook(),
            doctor.terra(),
            doctor.return_targets(),
            doctor.user_tokens(),
            inside.deliveries(stack, clock),
            inside.queues(stack),
            inside.alarms(stack),
        )


def tell(findings: Iterator[Finding]) -> int:
    """Print the findings and a summary; return the exit status."""
    signs: Counter[Sign] = Counter()
    for finding in findings:
        signs[finding.sign] += 1
        say(str(finding))
    if signs[Sign.WRONG]:
        say(f"\n{signs[Sign.WRONG]} of {signs.total()} looks found something wrong.")
        return WRONG
    if signs[Sign.UNSEEN]:
        say(f"\n{signs[Sign.UNSEEN]} of {signs.total()} looks tell nothing for sure; the others are well.")
        return UNSEEN
    say("\nAll is well.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
