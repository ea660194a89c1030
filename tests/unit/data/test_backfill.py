"""The state of a backfill, the windows of its requests, and the wait for Terra's budget."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from terra_connections.data.backfill import Accepted, Period, Progress, Received, State, type_view
from terra_connections.data.backfill_worker import DAYS_PER_HOUR, seconds_to_wait

T = 1_800_000_000
NOW = datetime.fromtimestamp(T, UTC)
YEAR = Period(date(2026, 1, 1), date(2026, 12, 31))
LARGE = Progress(0, "daily", (Accepted("r", T, is_large=True),), version=1)


def state(progress: Progress, received: dict[str, Received], *, windows: int = 1, after: int = 0) -> State:
    return type_view(progress, [YEAR] * windows, received, now=NOW + timedelta(seconds=after)).state


@given(days=st.integers(1, 1825), window=st.integers(1, 1825))
def test_windows_are_the_period_without_gap_or_overlap(days: int, window: int) -> None:
    period = Period(date(2020, 1, 1), date(2020, 1, 1) + timedelta(days=days - 1))
    windows = period.windows(window)
    assert [each.first for each in windows[1:]] == [each.last + timedelta(days=1) for each in windows[:-1]]
    assert (windows[0].first, windows[-1].last) == (period.first, period.last)
    assert max(each.days for each in windows) <= window


def test_each_state_follows_from_the_requests_and_what_was_received() -> None:
    two = Progress(0, "daily", (Accepted("a", T), Accepted("b", T)))
    one_of_two = {"a": Received(frozenset({"x", "y"}), T)}
    assert state(Progress(0, "daily"), {}) is State.PENDING
    assert state(two, {}, windows=2) is State.REQUESTED
    assert state(two, one_of_two, windows=2) is State.RECEIVING
    assert state(two, one_of_two | {"b": Received(frozenset({"z"}), T)}, windows=2) is State.COMPLETE
    # A third request is still to be sent, so that an hour without data means nothing.
    assert state(two, one_of_two, windows=3, after=7200) is State.RECEIVING
    assert state(Progress(0, "daily", reason="not_found"), {}, windows=2) is State.FAILED


def test_a_type_is_partial_after_an_hour_without_data_and_a_late_chunk_still_completes_it() -> None:
    some = {"r": Received(frozenset({"chunk:0", "chunk:1"}), T + 100, expected=3)}
    assert state(LARGE, some, after=3699) is State.RECEIVING
    assert state(LARGE, some, after=3700) is State.PARTIAL
    every = {"r": Received(frozenset({"chunk:0", "chunk:1", "chunk:2"}), T + 9000, expected=3)}
    assert state(LARGE, every, after=9000) is State.COMPLETE


def test_without_the_announced_number_chunks_are_never_complete() -> None:
    chunks = {"r": Received(frozenset({"chunk:0", "chunk:1"}), T)}
    view = type_view(LARGE, [YEAR], chunks, now=NOW)
    assert (view.state, view.received, view.expected) == (State.RECEIVING, 2, None)
    assert state(LARGE, chunks, after=3600) is State.PARTIAL


@given(
    spent=st.lists(st.tuples(st.integers(T - 7200, T), st.integers(1, 1825)), max_size=12),
    cost=st.integers(1, 1825),
)
def test_the_wait_is_the_shortest_one_after_which_the_budget_suffices(spent: list[tuple[int, int]], cost: int) -> None:
    def fits(at: float) -> bool:
        return sum(days for when, days in spent if when > at - 3600) + cost <= DAYS_PER_HOUR

    wait = seconds_to_wait(spent, cost, now=T)
    assert fits(T + wait)
    assert wait == 0 or not fits(T + wait - 1)
