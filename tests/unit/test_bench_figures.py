"""The benchmark's figures, computed from its runs and recorded calls."""

import re

from benchmarks.execution import Run, Subject
from benchmarks.figures import cold, cold_table, figures, goals, plot, sizes, warm_cpu, warm_table
from benchmarks.subjects import fresh, keys_of


def run(init: float, *, warm: float = 5.0, cpu: float = 2.0) -> Run:
    return Run(init, 20.0, init / 2, 10.0, (warm, warm, warm * 2), cpu, 40.0)


def subject(name: str, *, trips: int | None = None, bare: str | None = None) -> Subject:
    return Subject(name, [], {}, dict, 200, trips, bare)


RUNS = {
    "floor": [run(80.0), run(180.0), run(380.0)],
    "ours": [run(180.0), run(380.0), run(780.0, cpu=6.0)],
    "ours: bare": [run(80.0, cpu=1.0), run(180.0, cpu=1.0), run(380.0, cpu=1.0)],
}
SUBJECTS = [subject("floor", trips=1), subject("ours", trips=2, bare="ours: bare"), subject("ours: bare", trips=2)]
FIGURES = figures(RUNS, SUBJECTS, "floor", "floor")
PUT = {"Put": {"TableName": "t", "Item": {"user_id": {"S": "the-user"}, "provider": {"S": "FITBIT"}}}}
CHECK = {"ConditionCheck": {"TableName": "t", "Key": {"user_id": {"S": "erased:1"}}}}


def test_ratios_are_to_the_floor_of_the_same_round() -> None:
    floor, ours, _ = FIGURES
    assert (floor.ratio(cold), ours.ratio(cold)) == (1.0, 2.0)
    assert ours.of(cold) == 400.0


def test_warm_calls_are_held_against_the_same_calls_made_bare() -> None:
    _, ours, bare = FIGURES
    assert ours.ratio(warm_cpu, ours.bare) == 2.0
    assert bare.bare is None


def test_outliers_move_no_median() -> None:
    _, ours, _ = FIGURES
    assert ours.of(warm_cpu) == 2.0


def test_every_subject_is_in_the_tables_and_the_plot() -> None:
    for text in (cold_table(FIGURES), warm_table(FIGURES)):
        assert [line.split("|")[1].strip() for line in text.splitlines()[2:]] == list(RUNS)
    assert all(f">{name}</text>" in plot(FIGURES) for name in RUNS)


def test_a_goal_is_missed_by_a_hundredth() -> None:
    _, ours, _ = FIGURES
    verdicts = dict(re.findall(r"^\| (.+?) +\| +(.+?) \|$", goals([ours]), re.MULTILINE))
    assert verdicts["cold start at most 1.10 x floor"] == "2.00 **missed**"
    assert verdicts["warm p50 at most 1.10 x the same calls bare"] == "1.00 reached"


def test_with_a_whole_core_time_is_processor_time() -> None:
    _, ours, _ = FIGURES
    assert sizes(ours).splitlines()[-1].split() == ["|", "1769", "|", "200", "|", "2.0", "|", "0.25", "|"]


def test_what_a_call_writes_is_another_each_time_and_what_it_reads_of_it_is_the_same() -> None:
    read = {"RequestItems": {"t": {"Keys": [{"user_id": {"S": "the-user"}}, {"user_id": {"S": "someone"}}]}}}
    event = fresh([("batch_get_item", read), ("transact_write_items", {"TransactItems": [PUT, CHECK]})], {"t": "mine"})
    (_, first), (_, write) = event()["calls"]
    known, other = (key["user_id"]["S"] for key in first["RequestItems"]["mine"]["Keys"])
    assert known == write["TransactItems"][0]["Put"]["Item"]["user_id"]["S"] != "the-user"
    assert (other, len(known)) == ("someone", len("the-user"))
    assert event() != event()


def test_keys_are_found_in_what_is_written_and_in_what_is_checked() -> None:
    assert [keys_of(PUT), keys_of(CHECK)] == [["the-user"], ["erased:1"]]
