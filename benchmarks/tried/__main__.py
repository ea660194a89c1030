"""`make bench`, its second part: what was tried to make this quick, and what each brings.

Every round starts a new process of every row of every table, in another order each time, on a processor that nothing
else of the benchmark runs on. It writes its tables into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import report
from benchmarks.execution import WrongAnswerError, prepare
from benchmarks.report import ENOUGH
from benchmarks.subjects import PEER, packages_of
from benchmarks.tried import figures
from benchmarks.tried.dynamodb import answering
from benchmarks.tried.rows import ALTERNATIVES, Places, Row, environment, tables
from tools import build
from tools.environment import ROOT
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.tried.figures import Measured

PATIENCE: Final = 120
STOPWATCH: Final = Path(__file__).with_name("stopwatch.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tried", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=ENOUGH, help=f"how many processes of each ({ENOUGH} or more are written)"
    )
    asked = parser.parse_args(arguments)
    if asked.rounds < 2:  # noqa: PLR2004 - one has no middle half
        parser.error("--rounds has to be at least 2")
    try:
        texts = measured(asked.rounds)
    except (WrongAnswerError, build.BuildError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for text in texts.values():
        say(f"\n{text}")
    if asked.rounds < ENOUGH:
        say(f"\nNot written down: that takes {ENOUGH} rounds or more.")
        return 0
    for name, text in texts.items():
        report.write(name, "make bench", text)
    say(f"\nWritten to {report.REPORT.relative_to(ROOT)}.")
    return 0


def measured(rounds: int) -> dict[str, str]:
    """Every table, by its name, and the conditions beside them."""
    built = build.contents()
    python, processor = prepare()
    with tempfile.TemporaryDirectory() as scratch, answering() as dynamodb_url:
        places = Places(build.BUILT, packages_of(PEER), packages_of(ALTERNATIVES), Path(scratch))
        places.prepare()
        rows = tables(places)
        command = [str(python.path), "-I", "-S", str(STOPWATCH), str(processor)]
        runs = in_turns([row for each in rows.values() for row in each], rounds, command, environment(dynamodb_url))
        places.check()
    conditions = (
        f"{rounds} processes of each row, in turns; Python {python.version}, {os.cpu_count()} cores of "
        f"{platform.machine()}, one of them for the measured process alone. Figures are milliseconds of the processor "
        "where nothing else is said; in brackets is the middle half, and what differs by less is no difference. "
        f"Artefacts: `sha256:{build.digest_of(built)}`."
    )
    return {"the conditions": conditions, **{name: figures.table(name, each, runs) for name, each in rows.items()}}


def in_turns(
    rows: Sequence[Row], rounds: int, command: Sequence[str], environment: Mapping[str, str]
) -> dict[str, list[Measured]]:
    """The runs of every row: each has its turn in every round, and one before the first, which is not counted."""
    runs: dict[str, list[Measured]] = defaultdict(list)
    for turn in range(rounds + 1):
        say(f"  round {turn} of {rounds}" if turn else f"  warming up: {len(rows)} rows")
        for row in random.sample(rows, len(rows)):
            found = run(row, command, environment)
            if turn:
                runs[row.name].append(found)
    return runs


def run(row: Row, command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """One process of a row.

    Raises:
        WrongAnswerError: It did not do what is to be measured.
    """
    done = subprocess.run(  # noqa: S603 - Lambda's Python, and rows of our own
        [*command, str(row.times), row.upon, row.load, *map(str, row.folders)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if done.returncode:
        message = f"{row.name}: {done.stderr.strip() or f'ended with {done.returncode}'}"
        raise WrongAnswerError(message)
    found: Measured = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
