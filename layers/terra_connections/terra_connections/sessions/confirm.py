"""Confirmation of a success redirect. The redirect is untrusted; it only triggers calls to Terra.

A session becomes connected only if Terra returns `is_authenticated: true` for a connection of this user, and of a
provider that the session allows. Any other response (another user's connection, an error, invalid data) changes
nothing.

A login on Terra's own page can end without a connection: if the user picks a source that connects in a phone's app,
Terra redirects to success without a `user_id`. A call to Terra then shows that there is no new connection.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from terra_connections.connections.facts import Facts, Kind, TerraUser, confirmed_facts
from terra_connections.connections.lineage import Lineage
from terra_connections.connections.store import ConnectionStore
from terra_connections.errors import RetryLater, TerraRejected
from terra_connections.ids import UserId, user_id_from
from terra_connections.sessions.outcome import family_of
from terra_connections.sessions.session import (
    Flow,
    Session,
    SessionStatus,
    SessionView,
    connection_by_user_id,
    session_view,
)
from terra_connections.sessions.store import SessionStore
from terra_connections.terra.client import TerraClient
from terra_connections.terra.models import UserInfo
from terra_connections.terra.verification import verification_position

ASK_AT_MOST_EVERY = timedelta(seconds=5)
ASK_FOR = timedelta(seconds=3)
"""Timeout for all calls together: a user is waiting for the page."""

_ASK_ABOUT = 12  # checked `user_id`s of one user
_AT_ONCE = 6  # parallel requests to Terra


def confirm(
    view: SessionView,
    hint: str | None,
    *,
    terra: TerraClient,
    sessions: SessionStore,
    connections: ConnectionStore,
    now: datetime,
    count_login: Callable[[str], None],
) -> SessionView:
    """Ask Terra whether this login created a connection, store the result, and return the session's view.

    Args:
        view: the session's current view; the caller has verified its secret `state`.
        hint: the query's `user_id`; untrusted.
        terra: Terra's API.
        sessions: stores the result for the session.
        connections: stores Terra's response.
        now: the time of the call.
        count_login: counts an outcome that this call is the first to store.
    """
    session = view.session
    if not sessions.may_ask_terra(session.session_id, now=now, at_most_every=ASK_AT_MOST_EVERY):
        return view
    lookup = _TerraLookup(session, terra)
    # For a missing `user_id` Terra sends an empty value, the text "null", or no parameter.
    hinted = None if hint == "null" else user_id_from(hint)
    info = lookup.first_match([user_id for user_id in dict.fromkeys([session.user_id, hinted]) if user_id is not None])
    if session.flow is Flow.WIDGET and hinted is None:
        info = lookup.find_new_connection(connections)
        if info is None and lookup.is_complete:
            is_first = sessions.add_needs_app(session.session_id)
            if view.status is SessionStatus.FAILED:
                return view
            if is_first:
                count_login(SessionStatus.NEEDS_APP)
            return replace(view, status=SessionStatus.NEEDS_APP)
    if info is None:
        return view
    facts = confirmed_facts(
        TerraUser(info.user_id, owner=info.reference_id, provider=info.provider, scopes=info.scopes),
        verification_position(now),
    )
    confirmation = sessions.confirmation(session.session_id, info.user_id)
    known = connections.record(
        [facts],
        together_with=[confirmation],
        begun=session.comes_back,
        on_connected=partial(count_login, SessionStatus.CONNECTED),
    )
    # An event that is newer than the response may contain another owner, or the user may have been erased.
    confirmed = replace(session, confirmed_user_ids=frozenset({info.user_id}))
    family = Lineage(known or ()) if session.repairs is None else family_of(confirmed, connections)
    made = connection_by_user_id(confirmed, family)
    return view if made is None else session_view(session, connected=made, provider=info.provider, now=now)


class _TerraLookup:
    """Calls to Terra about one session, with one time limit. A failed call proves nothing.

    Attributes:
        is_complete: whether every call has succeeded.
    """

    def __init__(self, session: Session, terra: TerraClient) -> None:
        self._session = session
        self._terra = terra
        self._ends_at = time.monotonic() + ASK_FOR.total_seconds()
        self.is_complete = True

    def first_match(self, user_ids: list[UserId]) -> UserInfo | None:
        """Return the first of these connections that matches the session."""
        return next((info for user_id in user_ids if (info := self._about(user_id)) is not None), None)

    def find_new_connection(self, connections: ConnectionStore) -> UserInfo | None:
        """Return a connection that Terra lists for the user and that was not connected before this session."""
        try:
            listed = self._terra.list_user_ids(self._session.reference_id, within=self._left)
        except (TerraRejected, RetryLater):
            self.is_complete = False
            return None
        known = {facts.user_id: facts for facts in connections.read(listed)}
        candidates = [user_id for user_id in listed if self._may_be_new(known.get(user_id))]
        if len(candidates) > _ASK_ABOUT:
            self.is_complete = False
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(self._about, candidates[:_ASK_ABOUT]))
        return next((info for info in answers if info is not None), None)

    def _may_be_new(self, facts: Facts | None) -> bool:
        """Whether this login can have created it: not connected before, and not by another widget session."""
        if facts is None or facts.first_connected is None:
            return True
        is_others = facts.text(Kind.WIDGET_SESSION) not in (None, self._session.widget_session_id)
        return facts.first_connected >= self._session.created_at and not is_others

    def _about(self, user_id: UserId) -> UserInfo | None:
        """Return Terra's data about a connection, if it matches the session."""
        left = self._left
        try:
            info = self._terra.user_info(user_id, within=left) if left > timedelta(0) else None
        except (TerraRejected, RetryLater):
            # This proves nothing about this one. The call for the next one may still succeed.
            info, left = None, timedelta(0)
        if left <= timedelta(0):
            self.is_complete = False
        if (
            info is not None
            and info.is_authenticated
            and info.reference_id == self._session.reference_id
            and (self._session.allows(info.provider) or (info.provider is None and user_id == self._session.user_id))
        ):
            return info
        return None

    @property
    def _left(self) -> timedelta:
        return timedelta(seconds=self._ends_at - time.monotonic())
