"""What was tried: the alternatives read what event.py reads, and the tables tell what was measured."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.alternatives import by_pydantic, clients
from benchmarks.tried import figures, rows
from benchmarks.tried.figures import Measured
from benchmarks.tried.rows import BODY, Row
from terra_connections.connections.facts import Position
from terra_connections.webhooks import payload as event
from tests.environment import function_environment

AT = Position(1_700_000_000_000)

# Lone surrogates are what no alternative takes.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
USER_ID = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)
ANYTHING: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT | USER_ID | st.sampled_from(["null", "", "A,B"]) | st.just({})
)
USER = st.fixed_dictionaries(
    {"user_id": USER_ID | ANYTHING},
    optional=dict.fromkeys(["provider", "reference_id", "scopes", "active"], ANYTHING),
)
LOGIN = st.fixed_dictionaries(
    {"type": st.just("auth"), "status": st.just("success"), "user": USER | ANYTHING},
    optional=dict.fromkeys(["provider", "reference_id", "widget_session_id", "message"], ANYTHING),
)


@given(LOGIN)
def test_pydantic_reads_a_login_as_plain_code_does(content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    assert by_pydantic.parse(body, AT) == event.parse(body, AT)


def test_what_is_read_is_a_login_that_worked() -> None:
    read = event.parse(BODY, AT)
    assert read.type == "auth"
    [facts] = read.facts
    assert (facts.owner, facts.scopes) == ("person-0a1b2c3d", ("ACTIVITY", "SLEEP"))


def test_the_transaction_is_that_of_a_new_connection() -> None:
    writes = clients.writes_of(BODY)
    assert [(kind, write["TableName"]) for each in writes for kind, write in each.items()] == [
        ("Put", "Deliveries"),
        ("Put", "Deliveries"),
        ("Put", "Connections"),
        ("ConditionCheck", "Connections"),
        ("Update", "Sessions"),
        ("ConditionCheck", "Connections"),
    ]


def test_every_setting_of_a_function_is_made_up() -> None:
    assert rows.environment("http://127.0.0.1:1").keys() >= function_environment().keys()


MEASURE = Row("one", [], "", basis="one")
OTHER = Row("other", [], "", basis="one")


def took(*loads: float) -> list[Measured]:
    return [{"load": load, "step": load / 10, "cycles": 5, "modules": 30, "memory": 9.6} for load in loads]


def test_rows_are_compared_within_a_round() -> None:
    runs = {"one": took(100, 200, 400), "other": took(150, 300, 600)}
    *_, one, other = figures.table("loading", [MEASURE, OTHER], runs).splitlines()
    cells = [cell.strip() for cell in other.split("|")[1:-1]]
    assert cells == [
        "other",
        "150",
        "300 (225 to 450)",
        "1.50 (1.50 to 1.50)",
        "+100 (+75 to +150)",
        "one",
        "5 (5 to 5)",
        "30",
        "10",
    ]
    assert [cell.strip() for cell in one.split("|")[5:7]] == ["", ""]


def test_what_is_added_is_measured_in_the_same_process() -> None:
    added = Row("added", [], "", basis="one", upon="the one")
    runs = {"one": took(100, 200, 400), "added": took(150, 300, 600)}
    *_, line = figures.table("loading", [MEASURE, added], runs).splitlines()
    assert line.split("|")[5].strip() == "+30 (+22 to +45)"


@pytest.mark.parametrize(("value", "shown"), [(0.12345, "0.123"), (1.5, "1.5"), (27.04, "27"), (1234.5, "1234")])
def test_three_digits_are_shown(value: float, shown: str) -> None:
    assert figures.number(value) == shown
