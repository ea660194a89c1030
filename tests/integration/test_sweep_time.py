"""`make sweep-time` runs a whole sweep with the real function and prints the formula that it applies."""

import pytest

from benchmarks.flat_cost.life import Call, Trip
from benchmarks.sweep_time import HOP_MS, Sweep, minutes, page_ms, section, work
from local.testing import Stack
from tests.support import Terra

SIZE = 1_203


def test_a_short_sweep_is_worked_to_its_end(stack: Stack, terra: Terra) -> None:
    sweep = work(stack, terra, SIZE)
    assert {task: len(calls) for task, calls in sweep.calls.items()} == {
        "ours": len(sweep.calls["ours"]),
        "theirs": 3,
        "verdict": 1,
        "revoke": 0,
    }
    assert len(sweep.calls["ours"]) >= 5, "300 connections a page"
    assert {call.terra_calls for call in sweep.calls["theirs"]} == {1}
    assert f"pages for {SIZE:,}" in section(sweep, "3.13")


def test_the_formula_is_what_is_written() -> None:
    ours = Call(ms=0, cpu_ms=10, trips=(Trip("Scan", ()), Trip("TransactWriteItems", ())), terra_calls=3, log_bytes=0)
    theirs = Call(ms=0, cpu_ms=20, trips=(Trip("BatchGetItem", ()),), terra_calls=1, log_bytes=0)
    sweep = Sweep(100_000, {"ours": [ours] * 336, "theirs": [theirs] * 200, "verdict": [], "revoke": []}, 100.0)
    assert page_ms("ours", [ours]) == pytest.approx(10 * 1769 / 512 + 2 * 4 + 3 * 500 + HOP_MS)
    assert minutes("ours", sweep) == pytest.approx(3_360 * page_ms("ours", [ours]) / 4 / 60_000)
    assert minutes("theirs", sweep) == pytest.approx(2_000 * page_ms("theirs", [theirs]) / 60_000)
    assert "a sweep of a million connections takes 37 min" in section(sweep, "3.13")
