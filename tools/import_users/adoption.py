"""Decides about each user to import, and stores those that Terra confirms."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from terra_connections.connections.facts import Facts, Kind, announcement_facts, rename_facts
from terra_connections.errors import Misconfigured, RetryLater, TerraRejected, TooManyRequests
from terra_connections.ids import ReferenceId, UserId
from terra_connections.terra.verification import verification_position, verify_user
from tools.import_users.row import NONE_AT_TERRA, Outcome, Result, Row
from tools.progress import say
from tools.stages import StageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from terra_connections.connections.store import ConnectionStore
    from terra_connections.terra.client import TerraClient
    from terra_connections.users.store import UserStore

T = TypeVar("T")

AT_ONCE: Final = 6  # parallel requests to Terra, as in a sync
ASK_WITHIN: Final = timedelta(seconds=5)
_LOOKED_UP_AT_ONCE: Final = 100
"""Rows; their items and tombstones are two BatchGetItem."""
_TRIES: Final = 3
_LIMITED_TRIES: Final = 10
_MOST_FAILURES: Final = 10
"""Rows in sequence for which Terra, or the table, fails: then the import stops."""
_ANNOUNCED_WAIT: Final = 5  # seconds


class Patience:
    """Repeats requests that fail, and holds all of them back while Terra asks to wait. Several threads use it."""

    def __init__(self, *, scale: float = 1.0) -> None:
        """Create it.

        Args:
            scale: multiplies each wait.
        """
        self._scale = scale
        self._free_at = 0.0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End every wait. Nothing is repeated any more."""
        self._stopped.set()

    def call(self, ask: Callable[[], T]) -> T:
        """Call a function until it succeeds or the tries are used up.

        Raises:
            RetryLater, TerraRejected: the last error.
        """
        limited, tries = itertools.count(1), itertools.count(1)
        while True:
            self._stopped.wait(max(0.0, self._free_at - time.monotonic()))
            try:
                return ask()
            except TooManyRequests as error:
                if next(limited) >= _LIMITED_TRIES or self._stopped.is_set():
                    raise
                self._hold(error.retry_after)
            except Misconfigured:
                raise
            except RetryLater:
                tried = next(tries)
                if tried >= _TRIES or self._stopped.is_set():
                    raise
                self._stopped.wait(2**tried * self._scale)

    def _hold(self, seconds: int) -> None:
        until = time.monotonic() + seconds * self._scale
        if until > self._free_at + 1 and seconds >= _ANNOUNCED_WAIT:
            say(f"  Terra's rate limit: waiting {seconds} s")
        self._free_at = max(self._free_at, until)


class Adoption:
    """Decides about users, and stores their connections.

    A connection that this stack knows is left as it is: webhooks and sweeps keep it up to date.
    """

    def __init__(
        self,
        terra: TerraClient,
        *,
        connections: ConnectionStore,
        users: UserStore,
        patience: Patience,
        is_plan: bool,
    ) -> None:
        """Create it.

        Args:
            terra: Terra, which confirms each `user_id` that this stack does not know.
            connections: the store of connections.
            users: the store of users' tombstones.
            patience: repeats failed requests.
            is_plan: stores nothing.
        """
        self._terra = terra
        self._connections = connections
        self._users = users
        self._patience = patience
        self._is_plan = is_plan
        self._failures = 0
        self._lock = threading.Lock()

    def results(self, rows: Iterable[Row]) -> Generator[tuple[Row, Outcome], None, None]:
        """Process rows, and yield each with its outcome, in their order. Memory does not grow with their number.

        Raises:
            StageError: Terra or the table fails, or Terra's rate limit stays exceeded. A repeat continues.
        """
        remaining = iter(rows)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                while some := list(itertools.islice(remaining, _LOOKED_UP_AT_ONCE)):
                    user_ids = [UserId(row.user_id) for row in some if row.outcome is None]
                    found, erased = self._patience.call(lambda: self._connections.read_with_erased(user_ids))  # noqa: B023 - called at once
                    known = {facts.user_id: facts for facts in found}
                    outcomes = pool.map(lambda row: self._outcome(row, known, erased), some)  # noqa: B023 - used at once
                    yield from zip(some, outcomes, strict=True)
            finally:
                self._patience.stop()

    def _outcome(self, row: Row, known: Mapping[UserId, Facts], erased: set[UserId]) -> Outcome:
        """Decide about one row, unless the import has failed too often."""
        if row.outcome is not None:
            return row.outcome
        user_id = UserId(row.user_id)
        if user_id in erased:
            return Outcome(Result.ERASED, "this user_id was erased here")
        facts = known.get(user_id, Facts(user_id))
        if facts.first_connected is not None and facts.owner is not None and row.reference_id in {"", facts.owner}:
            return Outcome(Result.KNOWN, f"status {facts.status}")
        try:
            outcome = self._verified(row, facts)
        except (TooManyRequests, Misconfigured) as error:
            message = f"{error} Repeat the command later: it continues where it stopped."
            raise StageError(message) from error
        except (RetryLater, TerraRejected) as error:
            with self._lock:
                self._failures += 1
                failures = self._failures
            if failures >= _MOST_FAILURES:
                self._patience.stop()
                message = f"{_MOST_FAILURES} users in sequence failed: {error} Repeat the command: it continues there."
                raise StageError(message) from error
            return Outcome(Result.UNVERIFIED, str(error))
        with self._lock:
            self._failures = 0
        return outcome

    def _verified(self, row: Row, known: Facts) -> Outcome:
        """Verify a user with Terra, and store the connection."""
        wanted = ReferenceId(row.reference_id) if row.reference_id else None
        now = datetime.now(UTC)
        verified = self._patience.call(
            lambda: verify_user(known.user_id, terra=self._terra, within=ASK_WITHIN, now=now),
        )
        at_terra = verified.owner
        if verified.at(Kind.ABSENT) is not None:
            return Outcome(Result.UNKNOWN)
        if verified.at(Kind.CONNECTED) is None:
            return Outcome(Result.NOT_AUTHENTICATED)
        if wanted is None:
            wanted = known.merged(verified).owner
        elif at_terra != wanted and (at_terra or NONE_AT_TERRA) != row.terra_reference_id:
            return _mismatch(at_terra)
        if wanted is None:
            return _mismatch(None)
        position = verification_position(now)
        new = verified
        if at_terra is None:
            new = new.merged(announcement_facts(known.user_id, wanted, position))
        elif known.merged(new).owner != wanted:
            new = new.merged(rename_facts(known.user_id, at_terra, wanted, position))
        if (owner := known.merged(new).owner) != wanted:
            return Outcome(Result.OTHER_OWNER, "an event of the last minutes has another reference_id", owner or "")
        return self._stored(new, wanted, at_terra)

    def _stored(self, new: Facts, wanted: ReferenceId, at_terra: ReferenceId | None) -> Outcome:
        """Store a connection, unless its user was erased."""
        shown = at_terra or ""
        detail = "" if at_terra == wanted else f"has {at_terra or 'no reference_id'} at Terra"
        for reference_id in {wanted, at_terra or wanted}:
            standing = self._patience.call(lambda: self._users.standing(reference_id, now=datetime.now(UTC)))  # noqa: B023 - called at once
            if standing.erased_until is not None:
                return Outcome(Result.ERASED, "the user was erased here in the last 36 days", shown)
        if self._is_plan:
            return Outcome(Result.TO_ADOPT, detail, shown)
        recorded = self._patience.call(lambda: self._connections.record([new]))
        if not recorded:
            return Outcome(Result.ERASED, "erased meanwhile", shown)
        if recorded[0].owner != wanted:
            return Outcome(Result.OTHER_OWNER, "a new event has another reference_id", shown)
        return Outcome(Result.ADOPTED, detail, shown)


def _mismatch(at_terra: ReferenceId | None) -> Outcome:
    if at_terra is None:
        return Outcome(Result.NO_REFERENCE_ID, f"terra_reference_id must be {NONE_AT_TERRA} to import it")
    return Outcome(Result.OTHER_OWNER, "Terra has another reference_id", at_terra)


def listed_by_terra(terra: TerraClient, patience: Patience) -> Iterator[Row]:
    """Yield every user that Terra lists.

    Raises:
        RetryLater, TerraRejected: a page cannot be read.
    """
    position, page = itertools.count(1), 0
    while True:
        number = page
        listed = patience.call(lambda: terra.list_users_page(number))  # noqa: B023 - called at once
        yield from (Row(next(position), user_id) for user_id in listed.user_ids)
        # Without this, a page number beyond the last page could continue endlessly.
        if listed.next_page is None or not listed.user_ids:
            return
        page = listed.next_page
