"""The arithmetic of the benchmark of flat cost."""

import re

import pytest

from benchmarks.flat_cost import page
from benchmarks.flat_cost.cost import MEMORY_MB, Cost, Units, billed_ms, request, units_of
from benchmarks.flat_cost.flatness import ENOUGH, growth, trips_of
from benchmarks.flat_cost.life import Call, Measured, Trip
from benchmarks.flat_cost.load import OF_A_PERSON, person_of, user_id_of
from benchmarks.flat_cost.worker import kilobytes
from tools.environment import ROOT

READ = Trip("BatchGetItem", (("Connections", 1.0),), 1)
WRITE = Trip("TransactWriteItems", (("Connections", 8.0), ("Connections/by-reference-id", 4.0)), written=3)


def call(*trips: Trip, ms: float = 10.0, cpu_ms: float = 2.0, terra_calls: int = 0) -> Call:
    return Call(ms, cpu_ms, trips, terra_calls, log_bytes=500)


def test_a_key_without_an_item_costs_a_read_unit() -> None:
    assert units_of((READ,)) == Units(read=2, write=0)


def test_a_query_that_finds_nothing_costs_half_a_unit() -> None:
    assert units_of((Trip("Query", (("Connections", 0.0),), 0),)) == Units(read=0.5, write=0)


def test_a_transaction_counts_as_dynamodb_counts_it_and_another_write_as_reported() -> None:
    assert units_of((WRITE, Trip("PutItem", (("Sessions", 3.0),), 0))) == Units(read=0, write=6 + 3)


def test_a_transaction_is_charged_by_item_and_index() -> None:
    small, large = {"user_id": {"S": "x"}}, {"user_id": {"S": "x" * 1500}, "reference_id": {"S": "y"}}
    assert kilobytes({"ConditionCheck": {"Key": small}}) == 1
    assert kilobytes({"Put": {"Item": small}}) == 1
    assert kilobytes({"Put": {"Item": large}}) == 2 * 2
    assert kilobytes({"Update": {"Key": small}}) == 2


def test_time_is_computing_at_the_memorys_share_and_waiting() -> None:
    calls = [call(READ, WRITE, cpu_ms=cpu, terra_calls=1) for cpu in (1, 2, 9)]
    assert billed_ms(calls) == pytest.approx(2 * 1769 / 512 + 2 * 4 + 300)


def test_a_function_has_the_memory_that_the_bill_says() -> None:
    assert re.findall(r"MemorySize: (\d+)", (ROOT / "template.yaml").read_text()) == [str(MEMORY_MB)]


def test_a_request_pays_for_database_function_gateway_and_logs() -> None:
    cost = request("webhook: data", {"webhook: data": [call(WRITE, cpu_ms=0)]}).times(1_000_000)
    # 6 write units at 0.625; 0.20 and 4 ms of half a GB; the API; 500 + 330 + 270 bytes of log.
    assert cost == pytest.approx(Cost(3.75, 0.20 + 4 * 0.5 * 1000 * 0.0000133334, 1.00, 0.55, 0))
    assert cost.total == pytest.approx(sum(cost))


def test_a_back_ends_request_pays_for_its_authorizer_too() -> None:
    calls = {"list": [call(READ)], "authorize": [call()], "webhook": [call(READ)]}
    authorizer = request("list", calls).functions - request("webhook", calls).functions
    assert authorizer == pytest.approx(0.20 / 1e6 + 2 * 1769 / 512 / 1000 * 0.5 * 0.0000133334)


def test_equal_units_and_times_are_flat() -> None:
    measured = {size: Measured({"list": [call(READ)] * 3}) for size in (1_000, 100_000)}
    assert growth(measured) == []


def test_one_call_that_consumes_more_is_told() -> None:
    more = Trip("BatchGetItem", (("Connections", 1.5),), 1)
    measured = {10: Measured({"list": [call(READ)] * 9}), 20: Measured({"list": [*[call(READ)] * 9, call(more)]})}
    (line,) = growth(measured)
    assert line.startswith("list: consumes different units")
    with pytest.raises(ValueError, match="Trip"):
        trips_of(measured[20].calls["list"])


def test_a_p50_that_more_than_doubles_is_told() -> None:
    measured = {
        10: Measured({"list": [call(READ, ms=10)] * ENOUGH}),
        20: Measured({"list": [call(READ, ms=20)] * ENOUGH}),
        30: Measured({"list": [call(READ, ms=20.1)] * ENOUGH}),
    }
    assert growth(measured) == ["list: p50 10.0 ms at 10 connections, 20.1 ms at 30"]


def test_a_p50_of_few_calls_tells_nothing() -> None:
    measured = {size: Measured({"list": [call(READ, ms=size)] * (ENOUGH - 1)}) for size in (10, 100)}
    assert growth(measured) == []


def test_a_sweeps_last_page_may_be_short() -> None:
    assert page.sweep_of(1_000_000)["sweep: a page of 300"] == 3_334


def test_connections_have_ids_of_their_own_and_share_people() -> None:
    numbers = range(1_000)
    assert len({user_id_of(number) for number in numbers}) == 1_000
    assert len({person_of(number) for number in numbers}) == 1_000 / OF_A_PERSON
    assert {len(user_id_of(number)) for number in numbers} == {len(person_of(number)) for number in numbers} == {36}


def test_the_section_names_its_command_and_every_kind_of_request() -> None:
    kinds = {*page.WEBHOOKS, *page.MONTH, *page.sweep_of(300), "authorize"}
    measured = {size: Measured({kind: [call(READ, WRITE)] for kind in kinds}) for size in (1_000, 2_000)}
    text = page.section(measured, rounds=5, python="3.13.0", alarms=13)
    assert 'make flat-cost SIZES="1000 2000" ROUNDS=5 WRITE=1' in text
    assert [kind for kind in kinds if f"| {kind} " not in text] == []
