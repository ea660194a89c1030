"""`python -m benchmarks.flat_cost [--sizes 1000 100000] [--rounds 40] [--write]`: see the package."""

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import httpx

from benchmarks import report
from benchmarks.flat_cost import page
from benchmarks.flat_cost.flatness import growth
from benchmarks.flat_cost.life import Life, Measured, working
from benchmarks.flat_cost.load import fill, person_of, user_id_of
from benchmarks.tables import make_tables
from local import database
from local.testing import Stack, running_stack
from tests.support import Terra, auth_event
from tools.environment import ROOT
from tools.progress import say, step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ALARM: Final = "AWS::CloudWatch::Alarm"
SWEEPS: Final = 3
WARM_UP: Final = 3
"""Walks that are not counted: a function's first calls load modules, connect and read secrets."""


def main() -> int:
    """Measure; return 1 if any cost grows with the number of connections."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat_cost")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000], help="numbers of connections")
    parser.add_argument("--rounds", type=int, default=40, help="how often each kind of request is made on each size")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    asked = parser.parse_args()
    sizes = sorted(asked.sizes)
    with running_stack() as stack, httpx.Client(base_url=stack.terra_url, timeout=60) as client:
        terra = Terra(client, stack.signing_secret)
        # Webhooks would write to the stack's own tables.
        terra.settings(send_webhooks=False)
        measured = measure(stack, terra, sizes, asked.rounds)
    say(page.figures(measured))
    grown = growth(measured)
    for line in grown:
        sys.stderr.write(f"{line}\n")
    if asked.write and not grown:
        alarms = database.declared(ROOT / "template.yaml", ALARM)
        looked_at = sum(sum("MetricStat" in m for m in alarm.get("Metrics", ())) or 1 for alarm in alarms.values())
        text = page.section(measured, rounds=asked.rounds, python=stack.python, alarms=looked_at)
        report.write("flat cost", "make flat-cost", text)
    return min(len(grown), 1)


def measure(stack: Stack, terra: Terra, sizes: list[int], rounds: int) -> dict[int, Measured]:
    """Fill tables of each size and walk on each in turn, so that disturbances of the machine affect all alike."""
    client = database.connect(stack.dynamodb_url)
    with ExitStack() as ends:
        workers = {size: ends.enter_context(working(stack, size)) for size in sizes}
        terra_knows: set[str] = set()
        lives = {size: Life(stack, terra, worker, size, terra_knows) for size, worker in workers.items()}
        for size in sizes:
            make_tables(stack, str(size))
            lives[size].webhook("the pattern", auth_event(user_id_of(0), person_of(0)))
            fill(stack.dynamodb_url, f"Connections{size}", written(client, size), size)
        with step(f"{rounds} rounds on {', '.join(f'{size:,}' for size in sizes)} connections"):
            for number in range(WARM_UP + rounds):
                if number == WARM_UP:
                    for worker in workers.values():
                        worker.measured.calls.clear()
                for life in lives.values():
                    if WARM_UP <= number < WARM_UP + SWEEPS:
                        life.sweep()
                    life.walk()
        return {size: worker.measured for size, worker in workers.items()}


def written(client: "DynamoDBClient", size: int) -> Mapping[str, Any]:
    """The first connection, as written by a webhook."""
    return client.get_item(TableName=f"Connections{size}", Key={"user_id": {"S": user_id_of(0)}})["Item"]


if __name__ == "__main__":
    raise SystemExit(main())
