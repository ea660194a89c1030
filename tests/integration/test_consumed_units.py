"""The DynamoDB units of each kind of request do not depend on the number of connections."""

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from benchmarks.costs import THEIRS, stored_usage, usage_of
from benchmarks.flat_cost import Invocations, measure
from local.testing import Stack
from tests.support.terra import Terra

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SMALL, LARGE = 400, 4_000


@pytest.fixture(scope="module")
def measured(stack: Stack) -> dict[int, Invocations]:
    with httpx.Client(base_url=stack.terra_url, timeout=60) as client:
        terra = Terra(client, stack.signing_secret)
        terra.reset()
        found = measure(stack, terra, [SMALL, LARGE], rounds=2, warm_up=0)
        terra.reset()
    return found


def test_each_kind_of_request_consumes_equal_units_on_a_small_and_a_large_table(
    measured: dict[int, Invocations],
) -> None:
    small, large = ({kind: [each.calls for each in of] for kind, of in found.items()} for found in measured.values())
    assert small == large
    for kind, calls in small.items():
        assert all(each == calls[0] for each in calls), f"{kind} consumes other units each time"
    assert len([calls for calls in small.values() if calls[0]]) == len(small) - len({"authorize", "list providers"})


def test_the_costs_of_a_month_are_computed_from_what_the_functions_consume(
    measured: dict[int, Invocations],
) -> None:
    stored = stored_usage()
    del stored[THEIRS]  # is computed
    found = usage_of(measured[LARGE])
    assert found.keys() == stored.keys()
    for kind, usage in found.items():
        # Times depend on the machine. A log line is longer or shorter by the digits of its times.
        assert replace(usage, cpu_ms=0, log=0) == replace(stored[kind], cpu_ms=0, log=0), (
            f"{kind}: make costs MEASURE=1"
        )
        assert usage.log == pytest.approx(stored[kind].log, rel=0.1, abs=20), f"{kind}: make costs MEASURE=1"


def test_a_scan_consumes_more_units_on_a_large_table(
    measured: dict[int, Invocations], dynamodb: "DynamoDBClient"
) -> None:
    def units(size: int) -> float:
        response = dynamodb.scan(TableName=f"Connections{size}", ReturnConsumedCapacity="TOTAL")
        return response["ConsumedCapacity"]["CapacityUnits"]

    small, large = map(units, measured)
    assert large > 5 * small
