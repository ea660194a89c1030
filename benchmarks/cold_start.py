"""`make bench`: cold starts and warm calls of the `sam build` output, compared with a baseline and a peer.

Every round starts a new process of every subject, in another order each time, on a processor that nothing else of the
benchmark runs on. Every connection to AWS uses TLS, as when deployed. Only the first rounds are dropped, in which the
database warms up; figures are medians. It writes docs/performance.md and docs/performance.svg.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.execution import Machine, Run, Subject, WrongAnswerError, prepare, run
from benchmarks.figures import Figures, goals, plot, report_table
from benchmarks.report import ENOUGH, REPORT, write
from benchmarks.subjects import BASELINE, PEER, packages_of, subjects
from benchmarks.tls import behind_tls
from local.testing import running_stack
from tools import build, setup
from tools.environment import ROOT, remove_aws_settings
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Sequence

PLOT: Final = REPORT.with_suffix(".svg")
WARM_UP: Final = 2
# The contents of Lambda's /var/runtime: its client, and no packages of this project.
_RUNTIME_MODULES: Final = ("awslambdaric", "runtime_client", "snapshot_restore_py", "simplejson")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=21, help=f"how many cold starts of each (at least {ENOUGH} are written)"
    )
    parser.add_argument("--warm", type=int, default=30, help="how many calls after each cold start")
    options = parser.parse_args(arguments)
    remove_aws_settings()
    try:
        chosen, runs = measure(options.rounds, options.warm)
    except (WrongAnswerError, build.BuildError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    found = [Figures(one.name, runs[one.name], runs[BASELINE], runs[one.peer] if one.peer else None) for one in chosen]
    parts = [goals(found), report_table(found)]
    say("\n\n".join(parts))
    if options.rounds < ENOUGH:
        say(f"Not written to {REPORT.name}: that takes {ENOUGH} rounds or more.")
        return 0
    PLOT.write_text(plot(found))
    image = f"![Cold starts]({PLOT.name})"
    write("speed", "make bench", "\n\n".join([conditions(options.rounds, options.warm), *parts, image]))
    say(f"Written to {REPORT.relative_to(ROOT)} and {PLOT.relative_to(ROOT)}.")
    return 0


def measure(rounds: int, warm: int) -> tuple[list[Subject], dict[str, list[Run]]]:
    """Return the subjects, and every run of each."""
    build.contents()
    python, processor = prepare()
    with tempfile.TemporaryDirectory() as scratch, running_stack() as stack:
        folder = Path(scratch)
        machine = Machine(python.path, runtime(folder), processor)

        async def measured() -> tuple[list[Subject], dict[str, list[Run]]]:
            async with behind_tls((stack.dynamodb_url, stack.aws_url), folder) as tls:
                chosen = await asyncio.to_thread(subjects, stack, build.BUILT, packages_of(PEER), tls)
                return chosen, await measure_in_turns(chosen, machine, rounds, warm)

        return asyncio.run(measured())


async def measure_in_turns(chosen: Sequence[Subject], machine: Machine, rounds: int, warm: int) -> dict[str, list[Run]]:
    """Run every subject once in every round."""
    runs: dict[str, list[Run]] = {subject.name: [] for subject in chosen}
    for turn in range(-WARM_UP, rounds):
        say(f"  warming up, {-turn} to go" if turn < 0 else f"  round {turn + 1} of {rounds}")
        for subject in random.sample(chosen, len(chosen)):
            measured = await run(subject, machine, warm=warm)
            if turn >= 0:
                runs[subject.name].append(measured)
    return runs


def runtime(scratch: Path) -> Path:
    """Return a folder with AWS's runtime client and nothing else of the functions' environment."""
    _, _, packages = setup.functions_python()
    for path in packages.iterdir():
        if path.name.startswith(_RUNTIME_MODULES):
            (scratch / path.name).symlink_to(path)
    return scratch


def conditions(rounds: int, warm: int) -> str:
    """Return a description of the measurement and the machine."""
    _, version, _ = setup.functions_python()
    return (
        f"{time.strftime('%d %B %Y')}: {rounds} cold starts of each, in turns, with {warm} warm calls after each, "
        "over TLS to AWS; "
        f"Python {version}, {os.cpu_count()} cores of {platform.machine()}, one of them for the function alone. "
        "Times are milliseconds, memory is MB at its peak. "
        f"Artefacts: `sha256:{build.digest_of(build.contents())}`."
    )


if __name__ == "__main__":
    raise SystemExit(main())
