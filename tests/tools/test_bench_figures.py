"""The benchmark's figures, computed from its runs."""

from benchmarks.execution import Run
from benchmarks.figures import KEPT, PEER_LIMIT, Figures, cold, goals, plot, report_table, warm_cpu


def run(init: float, *, cpu: float = 2.0) -> Run:
    return Run(init, 20.0, init / 2, 10.0, (5.0, 5.0, 10.0), cpu, 40.0)


BASELINE = [run(80.0), run(180.0), run(380.0)]
PEER = [run(380.0), run(780.0), run(1580.0)]
FUNCTION = [run(180.0), run(380.0), run(780.0, cpu=6.0)]
FIGURES = [
    Figures("baseline", BASELINE, BASELINE),
    Figures("terra_webhook", FUNCTION, BASELINE, PEER),
    Figures("peer: terra_webhook", PEER, BASELINE),
]


def test_ratios_compare_subjects_of_the_same_round() -> None:
    baseline, function, _ = FIGURES
    assert (baseline.ratio(cold, BASELINE), function.ratio(cold, BASELINE), function.ratio(cold, PEER)) == (1, 2, 0.5)
    assert function.of(cold) == 400.0


def test_outliers_do_not_change_the_median() -> None:
    assert FIGURES[1].of(warm_cpu) == 2.0


def test_every_subject_is_in_the_table_and_the_plot() -> None:
    names = [one.name for one in FIGURES]
    assert [line.split("|")[1].strip() for line in report_table(FIGURES).splitlines()[2:]] == names
    assert all(f">{name}</text>" in plot(FIGURES) for name in names)


def test_the_goals_limit_cold_starts_to_the_peer_and_webhooks_to_the_baseline() -> None:
    to_peer, to_baseline = goals(FIGURES).splitlines()
    assert to_peer.endswith(f"at most {PEER_LIMIT} x the peer's: reached (terra_webhook: 0.50).")
    assert to_baseline.endswith("below the baseline's: **missed** (2.00).")
    slow = Figures("create_session", [run(500.0)] * 3, PEER, [run(747.0)] * 3)
    fast = Figures("terra_webhook", FUNCTION, PEER, PEER)
    to_peer, to_baseline = goals([slow, fast]).splitlines()
    assert to_peer.endswith("**missed** (create_session: 0.68).")
    assert to_baseline.endswith("reached (0.50).")


def test_the_goal_of_a_kept_delivery_limits_its_time_and_its_processor_time() -> None:
    webhook = Figures("terra_webhook", FUNCTION, BASELINE, PEER)
    for cpu, verdict in ((2.2, "reached (p50: 1.00, CPU: 1.10)."), (2.3, "**missed** (p50: 1.00, CPU: 1.15).")):
        kept = Figures(KEPT, [run(900.0, cpu=cpu)] * 3, BASELINE, [run(100.0)] * 3)
        to_peer, _, to_bare = goals([webhook, kept]).splitlines()
        assert to_peer.endswith("(terra_webhook: 0.50).")
        assert to_bare.endswith(verdict)
