"""An independent oracle of the API's view, written from docs/architecture.md alone. It imports nothing of the project.

It is deliberately naive: it keeps every statement, never merges or forgets, and searches all of them for each answer.
The inputs are a set: they have no order, and a repeat is the same element.
"""

import json
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

T = TypeVar("T")

TWO_MINUTES = 120_000

Status = Literal["connected", "needs_reauth", "revoked"]


# -- inputs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """A delivery of Terra: the body as text, `t` of its signature, and two unsigned headers."""

    body: str
    t: int
    ordering: str | None
    trace: str | None

    @property
    def at(self) -> int:
        """min(ordering timestamp, t x 1000 + 999); t x 1000 if the timestamp is unreadable or over 25 hours old."""
        if self.ordering is None or not re.fullmatch("[0-9]{1,15}", self.ordering):
            return self.t * 1000
        if int(self.ordering) < (self.t - 25 * 3600) * 1000:
            return self.t * 1000
        return min(int(self.ordering), self.t * 1000 + 999)

    @property
    def disconnect(self) -> list["Told"]:
        """The part of the delivery that disconnects, if any."""
        event = json.loads(self.body)
        if event["type"] not in {"deauth", "access_revoked"}:
            return []
        return [replace(self, body=json.dumps({"type": event["type"], "user": {"user_id": event["user"]["user_id"]}}))]

    @property
    def keys(self) -> set[Hashable]:
        """Its deduplication keys: a delivery is a duplicate if any of them is known."""
        return {("signed", self.t, self.body)} | ({("trace", self.trace)} if self.trace is not None else set())


@dataclass(frozen=True)
class Asked:
    """Terra's response about one `user_id`; `confirms` is the session whose redirect caused the request."""

    user_id: str
    asked_at: int
    answer: Literal["authenticated", "unknown", "listed"]
    reference_id: str | None = None
    provider: str | None = None
    scopes: str | None = None
    confirms: str | None = None

    @property
    def at(self) -> int:
        """The time of the request minus two minutes."""
        return self.asked_at - TWO_MINUTES


@dataclass(frozen=True)
class Returned:
    """A redirect of one session, with valid state: after a failure, or without a reason when Terra then reported
    nothing new."""

    session_id: str
    reason: str | None


@dataclass(frozen=True)
class Announced:
    """Terra's response to a new session at one provider: the `user_id` that it issued for this user's login."""

    user_id: str
    reference_id: str
    at: int


Heard = Told | Asked | Returned | Announced


@dataclass(frozen=True)
class Attempt:
    """A session as created: at one provider, or on Terra's own page."""

    session_id: str
    reference_id: str
    resource: str | None
    user_id: str | None
    created_at: int
    widget: str | None = None


def taken(order: Iterable[Heard]) -> frozenset[Heard]:
    """Return the stored inputs for this order. A delivery is stored only if none of its keys was known before.

    A duplicate's disconnect still counts, because the first delivery may have been a copy with forged headers.
    """
    known: set[Hashable] = set()
    kept: list[Heard] = []
    for heard in order:
        if isinstance(heard, Told):
            if known & heard.keys:
                kept += heard.disconnect
                continue
            known |= heard.keys
        kept.append(heard)
    return frozenset(kept)


# -- statements --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """`what` was true of a `user_id` at a position."""

    about: str
    what: str
    at: int
    value: Any = None


_MAIN_POINTS = {"auth": "failed", "deauth": "revoked", "access_revoked": "revoked", "connection_error": "error"}


def statements(heard: Heard) -> list[Statement]:
    """Return all statements in one input."""
    if isinstance(heard, Told):
        return _told(json.loads(heard.body), heard.at)
    if isinstance(heard, Returned):
        return []
    if isinstance(heard, Announced):
        return [Statement(heard.user_id, "announced", heard.at, heard.reference_id)]
    if heard.answer == "unknown":
        return [Statement(heard.user_id, "absent", heard.at)]
    if heard.answer == "listed":
        return [Statement(heard.user_id, "present", heard.at)]
    user = {"provider": heard.provider, "reference_id": heard.reference_id, "scopes": heard.scopes}
    connected = Statement(heard.user_id, "connected", heard.at)
    return [connected, *_of_user({**user, "user_id": heard.user_id}, {}, heard.at, with_scopes=True)]


def _told(body: dict[str, Any], at: int) -> list[Statement]:
    kind, user = body["type"], body.get("user")
    said: list[Statement] = []
    if kind == "auth" and body["status"] == "success":
        said = _login(body["user"], body, at)
    elif kind == "user_reauth":
        said = _reconnect(body, at)
    elif kind == "permission_change":
        said = _rescoped(body, at)
    elif kind in _MAIN_POINTS and user:
        main = Statement(user["user_id"], _MAIN_POINTS[kind], at, body.get("reason") if kind == "auth" else None)
        said = [main, *_of_user(user, body, at)]
    return said


def _login(user: Mapping[str, Any], body: Mapping[str, Any], at: int) -> list[Statement]:
    happened = [Statement(user["user_id"], what, at) for what in ("connected", "login")]
    return happened + _of_user(user, body, at, with_scopes=True)


def _reconnect(body: Mapping[str, Any], at: int) -> list[Statement]:
    new, old = body["new_user"], body.get("old_user")
    said = _login(new, body, at)
    if old and old.get("user_id") and old["user_id"] != new["user_id"]:
        said += [Statement(old["user_id"], "replaced_by", at, new["user_id"]), *_of_user(old, body, at)]
    return said


def _rescoped(body: Mapping[str, Any], at: int) -> list[Statement]:
    user = body["user"]
    said = _of_user(user, body, at, with_scopes=True)
    if user.get("scopes") is None:
        said += [Statement(user["user_id"], "scope added", at, scope) for scope in _split(body.get("scopes_added"))]
        said += [Statement(user["user_id"], "scope removed", at, scope) for scope in _split(body.get("scopes_removed"))]
    return said


def _of_user(
    user: Mapping[str, Any], body: Mapping[str, Any], at: int, *, with_scopes: bool = False
) -> list[Statement]:
    """Return an event's statements besides its main one. In older payloads the owner may stand beside the user."""
    said: list[Statement] = []
    owners = [name for name in (user.get("reference_id"), body.get("reference_id")) if name not in (None, "", "null")]
    if owners:
        said.append(Statement(user["user_id"], "owner", at, owners[0]))
    if user.get("provider"):
        said.append(Statement(user["user_id"], "provider", at, user["provider"]))
    if with_scopes and user.get("scopes") is not None:
        said.append(Statement(user["user_id"], "scopes", at, tuple(sorted(set(_split(user["scopes"]))))))
    return said


def _names_of(provider: str) -> set[str]:
    """Return a provider's names: Terra uses two names for one provider."""
    return {"GOOGLE", "GOOGLEFIT"} if provider in ("GOOGLE", "GOOGLEFIT") else {provider}


def _split(text: str | None) -> list[str]:
    return [scope.strip() for scope in (text or "").split(",") if scope.strip()]


# -- the view ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """One connection. `root` identifies it: the first `user_id` of the connection."""

    root: str
    user_id: str
    reference_id: str | None
    provider: str
    status: Status
    scopes: tuple[str, ...]
    connected_at: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a session. If the facts allow several values, all of them."""

    status: Literal["pending", "needs_app", "failed", "connected"]
    reasons: frozenset[str] = frozenset()
    user_ids: frozenset[str] = frozenset()


class World:
    """All inputs, and the view that follows from them."""

    def __init__(self, heard: Collection[Heard]) -> None:
        self._heard = frozenset(heard)
        self._said = frozenset(statement for one in self._heard for statement in statements(one))
        self._memory: dict[tuple[str, str], Any] = {}

    @property
    def user_ids(self) -> set[str]:
        """Every `user_id` in a statement."""
        return {statement.about for statement in self._said}

    # -- one user_id -------------------------------------------------------------------------------------------------

    def _all(self, user_id: str, *what: str) -> list[Statement]:
        return [statement for statement in self._said if statement.about == user_id and statement.what in what]

    def _last(self, user_id: str, what: str) -> Statement | None:
        """The newest statement of a kind; at equal positions the one with the greater canonical bytes."""
        return max(self._all(user_id, what), key=lambda said: (said.at, json.dumps(said.value).encode()), default=None)

    def _stands(self, user_id: str, what: str, *, against: str) -> bool:
        """Return whether it was stated and no newer statement contradicts it."""
        positions = [said.at for said in self._all(user_id, what)]
        return bool(positions) and all(said.at <= max(positions) for said in self._all(user_id, against))

    def _text(self, user_id: str, what: str) -> str | None:
        last = self._last(user_id, what)
        return None if last is None else str(last.value)

    def _owner(self, user_id: str) -> str | None:
        """The newest owner that Terra named, or else the announced one. A statement without an owner has no effect."""
        return self._remembered(
            "owner", user_id, lambda: self._text(user_id, "owner") or self._text(user_id, "announced")
        )

    def _owner_of_connection(self, user_id: str) -> str | None:
        """The owner, or, if Terra named none, the only owner among the ids that it replaced."""
        before = {self._owner(one) for one in self.user_ids if user_id in self._after(one)} - {None}
        return self._owner(user_id) or (before.pop() if len(before) == 1 else None)

    def _was_connected(self, user_id: str) -> bool:
        return bool(self._all(user_id, "connected"))

    def _own_status(self, user_id: str) -> Status:
        """The worst state at least as new as the newest connect. Presence contradicts only absence."""
        if self._stands(user_id, "revoked", against="connected"):
            return "revoked"
        if all(self._stands(user_id, "absent", against=what) for what in ("connected", "present")):
            return "revoked"
        if self._stands(user_id, "error", against="connected"):
            return "needs_reauth"
        return "connected"

    def _scopes(self, user_id: str) -> tuple[str, ...]:
        """The newest statement about a scope decides; a list covers all scopes. At equal positions, removal wins."""
        full = self._last(user_id, "scopes")
        changes = self._all(user_id, "scope added", "scope removed")

        def is_granted(scope: str) -> bool:
            verdicts = [(said.at, said.what == "scope removed") for said in changes if said.value == scope]
            if full is not None:
                verdicts.append((full.at, scope not in full.value))
            _, is_refused = max(verdicts)
            return not is_refused

        named = {said.value for said in changes} | set(full.value if full else ())
        return tuple(sorted(filter(is_granted, named)))

    # -- reconnects --------------------------------------------------------------------------------------------------

    def _link(self, user_id: str) -> str | None:
        """The `user_id` that replaced it, unless it was connected again since."""
        if not self._stands(user_id, "replaced_by", against="connected"):
            return None
        return self._text(user_id, "replaced_by")

    def _is_strange(self, one: str, other: str | None) -> bool:
        """Return whether both have an owner, and not the same one."""
        return len({self._owner(one), other and self._owner(other)} - {None}) > 1

    def _after(self, user_id: str) -> frozenset[str]:
        """All user_ids that replaced it, directly or not; it is among them if the links form a cycle."""

        def closure() -> frozenset[str]:
            reached: frozenset[str] = frozenset()
            while True:
                steps = {one: self._link(one) for one in reached | {user_id}}
                more = reached | {new for old, new in steps.items() if new and not self._is_strange(old, new)}
                if more == reached:
                    return reached
                reached = more

        return self._remembered("after", user_id, closure)

    def _end(self, user_id: str) -> str:
        reached = self._after(user_id) | {user_id}
        ends = [one for one in reached if not self._after(one)]
        if ends:
            return ends[0]
        # A cycle: the one that was connected last.
        circle = [one for one in reached if one in self._after(one)]
        return max(circle, key=lambda one: (max(said.at for said in self._all(one, "connected")), one))

    def _is_ended(self, user_id: str) -> bool:
        """Return whether it became another user's connection. In that case nothing carries over."""
        return self._is_strange(user_id, self._link(user_id)) or self._is_strange(user_id, self._end(user_id))

    def goes_by(self, user_id: str) -> str:
        """The `user_id` that its connection has now."""
        return self._remembered("goes_by", user_id, lambda: user_id if self._is_ended(user_id) else self._end(user_id))

    def _root(self, user_id: str) -> str:
        """The oldest `user_id` that replaced no other one, within its owner's part of the chain."""
        chain = [
            one
            for one in self.user_ids
            if self._was_connected(one)
            and self.goes_by(one) == user_id
            and (one == user_id or self._owner(one) == self._owner_of_connection(user_id))
        ]
        within = {*chain, *(later for one in chain for later in self._after(one))}
        pairs = {
            (said.about, said.value)
            for said in self._said
            if said.what == "replaced_by" and {said.about, said.value} <= within
        }
        while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
            pairs |= more
        later = {new for old, new in pairs if old in chain and (new, old) not in pairs}
        return min(set(chain) - later, key=lambda one: (self._first(one), one))

    def _first(self, user_id: str) -> int:
        return min(said.at for said in self._all(user_id, "connected"))

    # -- responses ---------------------------------------------------------------------------------------------------

    def connection(self, user_id: str) -> Seen | None:
        """The response of GET /connections/{user_id}; None until Terra has reported a connect."""
        shown = self.goes_by(user_id)
        if not self._was_connected(shown):
            return None
        root = self._root(shown)
        return Seen(
            root=root,
            user_id=shown,
            reference_id=self._owner_of_connection(shown),
            provider=self._text(shown, "provider") or "UNKNOWN",
            status="revoked" if self._is_ended(shown) else self._own_status(shown),
            scopes=self._scopes(shown),
            connected_at=self._first(root),
        )

    def listing(self, reference_id: str, *, include_revoked: bool) -> list[Seen]:
        """The response of GET /connections: each connection once, the newest first."""
        everything = {seen for user_id in self.user_ids if (seen := self.connection(user_id)) is not None}
        theirs = [seen for seen in everything if seen.reference_id == reference_id]
        shown = [seen for seen in theirs if include_revoked or seen.status != "revoked"]
        return sorted(shown, key=lambda seen: (-seen.connected_at, seen.user_id))

    def outcome(self, attempt: Attempt) -> Outcome:
        """The response of GET /sessions/{session_id} while the session is open."""
        named = {
            heard.user_id for heard in self._heard if isinstance(heard, Asked) and heard.confirms == attempt.session_id
        }
        named |= set() if attempt.user_id is None else {attempt.user_id}
        of_widget = self._told_of(attempt.widget)
        named |= {body["user"]["user_id"] for body in of_widget if body["status"] == "success"}
        by_name = {
            next((one for one in (self.goes_by(user_id), user_id) if self._is_of(one, attempt)), None)
            for user_id in named
        } - {None}
        if by_name:
            return Outcome("connected", user_ids=frozenset(map(str, by_name)))
        # Some times have a resolution of seconds, so the session's first second counts as after its start.
        since = attempt.created_at - attempt.created_at % 1000
        by_person = {
            self.goes_by(user_id) if self._is_of(self.goes_by(user_id), attempt) else user_id
            for user_id in self.user_ids
            if attempt.resource is not None
            and self._owner(user_id) == attempt.reference_id
            and self._text(user_id, "provider") in _names_of(attempt.resource)
            and any(said.at >= since for said in self._all(user_id, "login"))
        }
        if by_person:
            return Outcome("connected", user_ids=frozenset(by_person))
        told = {
            self._text(user_id, "failed")
            for user_id in named
            if self._all(user_id, "failed") and self._may_be_of(user_id, attempt)
        }
        told |= {body["reason"] for body in of_widget if body["status"] == "error"}
        returns = {
            heard.reason
            for heard in self._heard
            if isinstance(heard, Returned) and heard.session_id == attempt.session_id
        }
        told |= returns - {None}
        if not told:
            return Outcome("needs_app" if returns else "pending")
        known = told & {"access_denied", "missing_scopes", "provider_error"}
        return Outcome("failed", reasons=frozenset(str(reason) for reason in known) or frozenset({"unknown"}))

    def _may_be_of(self, user_id: str, attempt: Attempt) -> bool:
        """Return whether no statement names another user or another provider."""
        provider = self._text(user_id, "provider")
        is_allowed = attempt.resource is None or provider in {None, *_names_of(attempt.resource)}
        return is_allowed and self._owner(user_id) in (None, attempt.reference_id)

    def _is_of(self, user_id: str, attempt: Attempt) -> bool:
        return self._was_connected(user_id) and self._may_be_of(user_id, attempt)

    def _told_of(self, widget: str | None) -> list[dict[str, Any]]:
        """The events of a login on Terra's own page."""
        bodies = [json.loads(heard.body) for heard in self._heard if isinstance(heard, Told)]
        return [body for body in bodies if widget is not None and body.get("widget_session_id") == widget]

    def _remembered(self, what: str, user_id: str, find: Callable[[], T]) -> T:
        if (what, user_id) not in self._memory:
            self._memory[what, user_id] = find()
        found: T = self._memory[what, user_id]
        return found
