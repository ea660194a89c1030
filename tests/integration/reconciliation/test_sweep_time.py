"""`make sweep-time` runs a whole sweep with the real function and prints the formula that it applies."""

import re

import pytest

from benchmarks.costs import THEIRS, stored_usage
from benchmarks.functions import Call, Invocation
from benchmarks.sweep_time import HOP_MS, MEMORY_MB, Sweep, minutes, page_ms, section, work
from local.testing import Stack
from tests.support.terra import Terra
from tools.environment import ROOT

SIZE = 1_203


def test_a_short_sweep_is_processed_completely(stack: Stack, terra: Terra) -> None:
    sweep = work(stack, terra, SIZE)
    assert {task: len(pages) for task, pages in sweep.invocations.items()} == {
        "ours": len(sweep.invocations["ours"]),
        "theirs": 3,
        "verdict": 1,
        "revoke": 0,
    }
    assert len(sweep.invocations["ours"]) >= 5, "300 connections a page"
    assert {page.terra_calls for page in sweep.invocations["theirs"]} == {1}
    assert f"pages for {SIZE:,}" in section(sweep, "3.13")
    # docs/costs.md counts this page.
    consumed = [sum(call.read_units for call in page.calls) for page in sweep.invocations["theirs"]]
    assert max(consumed) == stored_usage()[THEIRS].reads


def test_the_estimate_equals_the_documented_formula() -> None:
    call = Call("Scan", {}, 0, [])
    ours = Invocation("sweep_page", ms=0, cpu_ms=10, calls=[call, call], others={}, terra_calls=3, log="")
    theirs = Invocation("sweep_page", ms=0, cpu_ms=20, calls=[call], others={}, terra_calls=1, log="")
    sweep = Sweep(100_000, {"ours": [ours] * 336, "theirs": [theirs] * 200, "verdict": [], "revoke": []}, 100.0)
    assert page_ms("ours", [ours]) == pytest.approx(10 * 1769 / 512 + 2 * 4 + 3 * 500 + HOP_MS)
    assert minutes("ours", sweep) == pytest.approx(3_360 * page_ms("ours", [ours]) / 4 / 60_000)
    assert minutes("theirs", sweep) == pytest.approx(2_000 * page_ms("theirs", [theirs]) / 60_000)
    assert "a sweep of a million connections takes 37 min" in section(sweep, "3.13")


def test_a_function_has_the_memory_that_the_formula_uses() -> None:
    assert re.findall(r"MemorySize: (\d+)", (ROOT / "template.yaml").read_text()) == [str(MEMORY_MB)]
