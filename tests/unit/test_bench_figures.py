"""What the benchmark makes of its runs."""

from benchmarks.execution import Run
from benchmarks.figures import cold, figures, plot, sizes, table, warm_cpu


def run(init: float, *, warm: float = 5.0, cpu: float = 2.0) -> Run:
    return Run(init, 20.0, init / 2, 10.0, (warm, warm, warm * 2), cpu, 40.0)


RUNS = {"floor": [run(80.0), run(180.0), run(380.0)], "ours": [run(180.0), run(380.0), run(780.0, cpu=6.0)]}


def test_ratios_are_to_the_floor_of_the_same_round() -> None:
    floor, ours = figures(RUNS, "floor")
    assert (floor.ratio(cold), ours.ratio(cold)) == (1.0, 2.0)
    assert ours.of(cold) == 400.0


def test_outliers_move_no_median() -> None:
    _, ours = figures(RUNS, "floor")
    assert ours.of(warm_cpu) == 2.0


def test_every_subject_is_in_the_table_and_the_plot() -> None:
    found = figures(RUNS, "floor")
    assert [line.split("|")[1].strip() for line in table(found).splitlines()[2:]] == ["floor", "ours"]
    assert all(f">{name}</text>" in plot(found) for name in RUNS)


def test_with_a_whole_core_time_is_processor_time() -> None:
    _, ours = figures(RUNS, "floor")
    assert sizes(ours).splitlines()[-1] == "| 1769 | 200 | 2.0 | 0.25 |"
