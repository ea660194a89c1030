"""Whatever the benchmark tries runs on what was built, and does what its row says. Nothing is timed here."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.subjects import packages_of
from benchmarks.tried.__main__ import STOPWATCH, run
from benchmarks.tried.dynamodb import answering
from benchmarks.tried.figures import Measured
from benchmarks.tried.rows import ALTERNATIVES, BODY, USUAL_COLLECTOR, Places, Row, environment, tables

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark measures on Linux only")

FIELDS = {"user_id": '"u-1"', "provider": '"fitbit"', "reference_id": '"p-1"', "scopes": '"SLEEP, ACTIVITY"'}
HOSTILE = [
    "null",
    "7",
    "true",
    '""',
    '"null"',
    "[]",
    "{}",
    f'"{"x" * 300}"',
    r'"a\u0000b"',
    '"a b"',
    '"A,B"',
    '"\u00e4"',
]


def login(user: str, beside: str = "") -> bytes:
    return f'{{"type": "auth", "status": "success", "user": {user}{beside}}}'.encode()


def user(**changes: str) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in {**FIELDS, **changes}.items()) + "}"


BODIES = [
    BODY,
    login(user()),
    *(login(user(**{name: value})) for name in FIELDS for value in HOSTILE),
    *(login(user(provider="7", reference_id="null"), f', "{name}": {value}') for name in FIELDS for value in HOSTILE),
    *(login(user(), f', "widget_session_id": {value}') for value in ['"w-1"', *HOSTILE]),
    *(login(value) for value in HOSTILE),
    *(body.encode() for body in ("", "[]", "null", "{", '"text"', '{"type": "auth"}', "[" * 50_000)),
    b"\xff",
]


@dataclass(frozen=True)
class Bench:
    """The rows on a build, each run once."""

    places: Places
    command: Sequence[str]
    environment: dict[str, str]

    def run(self, row: Row) -> Measured:
        return run(replace(row, times=10), self.command, self.environment)

    def load(self, folders: Sequence[Path], program: str) -> Measured:
        return self.run(Row("a test's", folders, program, basis="a test's"))


@pytest.fixture(scope="module")
def bench(built: Path, lambda_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    # The layer stands for what is published: that is another 60 MB to install.
    layer = built / "DependenciesLayer" / "python"
    places = Places(built, layer, packages_of(ALTERNATIVES), tmp_path_factory.mktemp("tried"))
    places.prepare()
    command = [str(lambda_python), "-I", "-S", str(STOPWATCH), str(max(os.sched_getaffinity(0)))]
    with answering() as dynamodb_url:
        yield Bench(places, command, environment(dynamodb_url))


def test_every_row_runs_and_compiles_nothing_where_nothing_may_be_written(bench: Bench) -> None:
    found = {row.name: bench.run(row) for rows in tables(bench.places).values() for row in rows}
    assert all(measured["load"] > 0 for measured in found.values())
    assert found["... looking for none while loading, then frozen"]["cycles"] == 0
    assert found["botocore and a client"]["cycles"] > 0
    assert found["botocore and a client"]["modules"] < found["boto3 and a client, from our layer"]["modules"]
    assert found["terra_webhook"]["modules"] < found["... with boto3 besides"]["modules"]
    bench.places.check()
    for rows in tables(bench.places).values():
        assert {row.basis for row in rows} <= {row.name for row in rows}
    assert len(found) == sum(map(len, tables(bench.places).values())), "rows of the same name"


def test_the_usual_collector_is_what_python_sets(bench: Bench) -> None:
    seen = "import gc; usual = gc.get_threshold(); import handler"
    bench.load(bench.places.webhook, f"{USUAL_COLLECTOR}; {seen}; assert gc.get_threshold() == usual")
    bench.load(bench.places.webhook, f"{seen}; assert gc.get_threshold() != usual")


@pytest.mark.parametrize("alternative", ["msgspec", "pydantic"])
def test_an_alternative_reads_what_plain_code_reads(bench: Bench, alternative: str) -> None:
    places = bench.places
    folders = [places.alternatives, places.ours, places.packages, places.instead]
    program = f"""
from benchmarks.alternatives import by_{alternative}
from terra_connections.webhooks import payload as event
for body in {BODIES!r}:
    ours, theirs = event.parse(body, 7), by_{alternative}.parse(body, 7)
    assert ours == theirs, (body[:500], ours, theirs)
"""
    bench.load(folders, program)
