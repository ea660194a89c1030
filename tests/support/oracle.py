"""An independent oracle of the API's view, written from docs/architecture.md alone. It imports nothing of the project.

It is deliberately naive: it keeps every statement, never merges or forgets, and searches all of them for each view.
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
class WebhookInput:
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
    def disconnect(self) -> list["WebhookInput"]:
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
class VerificationInput:
    """Terra's response about one `user_id`; `confirms` is the session that caused the request by a redirect."""

    user_id: str
    requested_at: int
    result: Literal["authenticated", "unknown", "listed"]
    reference_id: str | None = None
    provider: str | None = None
    scopes: str | None = None
    confirms: str | None = None

    @property
    def at(self) -> int:
        """The time of the request minus two minutes."""
        return self.requested_at - TWO_MINUTES


@dataclass(frozen=True)
class RedirectInput:
    """A redirect of one session, with valid state: after a failure, or without a reason when Terra then reported
    nothing new."""

    session_id: str
    reason: str | None


@dataclass(frozen=True)
class AnnouncementInput:
    """Terra's response to a new session at one provider: the `user_id` that it issued for this user's login."""

    user_id: str
    reference_id: str
    at: int


Input = WebhookInput | VerificationInput | RedirectInput | AnnouncementInput


@dataclass(frozen=True)
class SessionAttempt:
    """A session as created: at one provider, or on Terra's own page; or to repair a connection.

    `last_login` is the newest login of that connection when the session was created.
    """

    session_id: str
    reference_id: str
    resource: str | None
    user_id: str | None
    created_at: int
    widget: str | None = None
    repairs: str | None = None
    last_login: int = 0


def stored_inputs(order: Iterable[Input]) -> frozenset[Input]:
    """Return the stored inputs for this order. A delivery is stored only if none of its keys was known before.

    A duplicate's disconnect still counts, because the first delivery may have been a copy with forged headers.
    """
    known: set[Hashable] = set()
    stored: list[Input] = []
    for input_ in order:
        if isinstance(input_, WebhookInput):
            if known & input_.keys:
                stored += input_.disconnect
                continue
            known |= input_.keys
        stored.append(input_)
    return frozenset(stored)


# -- statements --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """One kind of statement about a `user_id` at a position."""

    user_id: str
    kind: str
    at: int
    value: Any = None


_MAIN_KINDS = {"auth": "failed", "deauth": "revoked", "access_revoked": "revoked", "connection_error": "error"}


def statements(input_: Input) -> list[Statement]:
    """Return all statements in one input."""
    if isinstance(input_, WebhookInput):
        return _webhook(json.loads(input_.body), input_.at)
    if isinstance(input_, RedirectInput):
        return []
    if isinstance(input_, AnnouncementInput):
        return [Statement(input_.user_id, "announced", input_.at, input_.reference_id)]
    if input_.result == "unknown":
        return [Statement(input_.user_id, "absent", input_.at)]
    if input_.result == "listed":
        return [Statement(input_.user_id, "present", input_.at)]
    user = {"provider": input_.provider, "reference_id": input_.reference_id, "scopes": input_.scopes}
    connected = Statement(input_.user_id, "connected", input_.at)
    return [connected, *_of_user({**user, "user_id": input_.user_id}, {}, input_.at, with_scopes=True)]


def _webhook(body: dict[str, Any], at: int) -> list[Statement]:
    type_, user = body["type"], body.get("user")
    found: list[Statement] = []
    if type_ == "auth" and body["status"] == "success":
        found = _login(body["user"], body, at)
    elif type_ == "user_reauth":
        found = _reconnect(body, at)
    elif type_ == "permission_change":
        found = _scope_change(body, at)
    elif type_ in _MAIN_KINDS and user:
        main = Statement(user["user_id"], _MAIN_KINDS[type_], at, body.get("reason") if type_ == "auth" else None)
        found = [main, *_of_user(user, body, at)]
    return found


def _login(user: Mapping[str, Any], body: Mapping[str, Any], at: int) -> list[Statement]:
    main = [Statement(user["user_id"], kind, at) for kind in ("connected", "login")]
    return main + _of_user(user, body, at, with_scopes=True)


def _reconnect(body: Mapping[str, Any], at: int) -> list[Statement]:
    new, old = body["new_user"], body.get("old_user")
    found = _login(new, body, at)
    if old and old.get("user_id") and old["user_id"] != new["user_id"]:
        found += [Statement(old["user_id"], "replaced_by", at, new["user_id"]), *_of_user(old, body, at)]
    return found


def _scope_change(body: Mapping[str, Any], at: int) -> list[Statement]:
    user = body["user"]
    found = _of_user(user, body, at, with_scopes=True)
    if user.get("scopes") is None:
        found += [Statement(user["user_id"], "scope added", at, scope) for scope in _split(body.get("scopes_added"))]
        found += [
            Statement(user["user_id"], "scope removed", at, scope) for scope in _split(body.get("scopes_removed"))
        ]
    return found


def _of_user(
    user: Mapping[str, Any], body: Mapping[str, Any], at: int, *, with_scopes: bool = False
) -> list[Statement]:
    """Return an event's statements besides its main one. Older payloads may name the owner outside of `user`."""
    found: list[Statement] = []
    owners = [name for name in (user.get("reference_id"), body.get("reference_id")) if name not in (None, "", "null")]
    if owners:
        found.append(Statement(user["user_id"], "owner", at, owners[0]))
    if user.get("provider"):
        found.append(Statement(user["user_id"], "provider", at, user["provider"]))
    if with_scopes and user.get("scopes") is not None:
        found.append(Statement(user["user_id"], "scopes", at, tuple(sorted(set(_split(user["scopes"]))))))
    return found


def _names_of(provider: str) -> set[str]:
    """Return a provider's names: Terra uses two names for one provider."""
    return {"GOOGLE", "GOOGLEFIT"} if provider in ("GOOGLE", "GOOGLEFIT") else {provider}


def _split(text: str | None) -> list[str]:
    return [scope.strip() for scope in (text or "").split(",") if scope.strip()]


# -- the view ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConnectionView:
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


class Oracle:
    """All inputs, and the view that follows from them."""

    def __init__(self, inputs: Collection[Input]) -> None:
        self._inputs = frozenset(inputs)
        self._statements = frozenset(statement for input_ in self._inputs for statement in statements(input_))
        self._cache: dict[tuple[str, str], Any] = {}

    @property
    def user_ids(self) -> set[str]:
        """Every `user_id` in a statement."""
        return {statement.user_id for statement in self._statements}

    # -- one user_id -------------------------------------------------------------------------------------------------

    def _all(self, user_id: str, *kinds: str) -> list[Statement]:
        return [each for each in self._statements if each.user_id == user_id and each.kind in kinds]

    def _newest(self, user_id: str, kind: str) -> Statement | None:
        """The newest statement of a kind; at equal positions the one with the greater canonical bytes."""
        return max(self._all(user_id, kind), key=lambda each: (each.at, json.dumps(each.value).encode()), default=None)

    def _is_current(self, user_id: str, kind: str, *, against: str) -> bool:
        """Return whether it was stated and no newer statement contradicts it."""
        positions = [each.at for each in self._all(user_id, kind)]
        return bool(positions) and all(each.at <= max(positions) for each in self._all(user_id, against))

    def _text(self, user_id: str, kind: str) -> str | None:
        newest = self._newest(user_id, kind)
        return None if newest is None else str(newest.value)

    def _owner(self, user_id: str) -> str | None:
        """The newest owner that Terra named, or else the announced one. A statement without an owner has no effect."""
        return self._cached("owner", user_id, lambda: self._text(user_id, "owner") or self._text(user_id, "announced"))

    def _owner_of_connection(self, user_id: str) -> str | None:
        """The owner, or, if Terra named none, the only owner among the ids that it replaced."""
        before = {self._owner(one) for one in self.user_ids if user_id in self._successors(one)} - {None}
        return self._owner(user_id) or (before.pop() if len(before) == 1 else None)

    def _was_connected(self, user_id: str) -> bool:
        return bool(self._all(user_id, "connected"))

    def _own_status(self, user_id: str) -> Status:
        """The worst state at least as new as the newest connect. Presence contradicts only absence."""
        if self._is_current(user_id, "revoked", against="connected"):
            return "revoked"
        if all(self._is_current(user_id, "absent", against=kind) for kind in ("connected", "present")):
            return "revoked"
        if self._is_current(user_id, "error", against="connected"):
            return "needs_reauth"
        return "connected"

    def _scopes(self, user_id: str) -> tuple[str, ...]:
        """The newest statement about a scope decides; a list covers all scopes. At equal positions, removal wins."""
        full = self._newest(user_id, "scopes")
        changes = self._all(user_id, "scope added", "scope removed")

        def is_granted(scope: str) -> bool:
            decisions = [(each.at, each.kind == "scope removed") for each in changes if each.value == scope]
            if full is not None:
                decisions.append((full.at, scope not in full.value))
            _, is_removed = max(decisions)
            return not is_removed

        named = {each.value for each in changes} | set(full.value if full else ())
        return tuple(sorted(filter(is_granted, named)))

    # -- reconnects --------------------------------------------------------------------------------------------------

    def _successor(self, user_id: str) -> str | None:
        """The `user_id` that replaced it, unless it has been connected again."""
        if not self._is_current(user_id, "replaced_by", against="connected"):
            return None
        return self._text(user_id, "replaced_by")

    def _have_different_owners(self, one: str, other: str | None) -> bool:
        """Return whether both have an owner, and the owners differ."""
        return len({self._owner(one), other and self._owner(other)} - {None}) > 1

    def _successors(self, user_id: str) -> frozenset[str]:
        """All user_ids that replaced it, directly or not; it is among them if the links form a cycle."""

        def closure() -> frozenset[str]:
            reached: frozenset[str] = frozenset()
            while True:
                steps = {one: self._successor(one) for one in reached | {user_id}}
                more = reached | {
                    new for old, new in steps.items() if new and not self._have_different_owners(old, new)
                }
                if more == reached:
                    return reached
                reached = more

        return self._cached("successors", user_id, closure)

    def _last_successor(self, user_id: str) -> str:
        reached = self._successors(user_id) | {user_id}
        ends = [one for one in reached if not self._successors(one)]
        if ends:
            return ends[0]
        # A cycle: the one that was connected last.
        cycle = [one for one in reached if one in self._successors(one)]
        return max(cycle, key=lambda one: (max(each.at for each in self._all(one, "connected")), one))

    def _was_replaced_by_other_owner(self, user_id: str) -> bool:
        """Return whether it became another user's connection. In that case nothing is carried over."""
        return self._have_different_owners(user_id, self._successor(user_id)) or self._have_different_owners(
            user_id, self._last_successor(user_id)
        )

    def current_user_id(self, user_id: str) -> str:
        """The `user_id` that its connection has now."""
        return self._cached(
            "current",
            user_id,
            lambda: user_id if self._was_replaced_by_other_owner(user_id) else self._last_successor(user_id),
        )

    def _root(self, user_id: str) -> str:
        """The oldest `user_id` that replaced no other one, within its owner's part of the chain."""
        chain = [
            one
            for one in self.user_ids
            if self._was_connected(one)
            and self.current_user_id(one) == user_id
            and (one == user_id or self._owner(one) == self._owner_of_connection(user_id))
        ]
        within = {*chain, *(later for one in chain for later in self._successors(one))}
        pairs = {
            (each.user_id, each.value)
            for each in self._statements
            if each.kind == "replaced_by" and {each.user_id, each.value} <= within
        }
        while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
            pairs |= more
        later = {new for old, new in pairs if old in chain and (new, old) not in pairs}
        return min(set(chain) - later, key=lambda one: (self._first(one), one))

    def _first(self, user_id: str) -> int:
        return min(each.at for each in self._all(user_id, "connected"))

    # -- responses ---------------------------------------------------------------------------------------------------

    def connection(self, user_id: str) -> ConnectionView | None:
        """The response of GET /connections/{user_id}; None until Terra has reported a connect."""
        shown = self.current_user_id(user_id)
        if not self._was_connected(shown):
            return None
        root = self._root(shown)
        return ConnectionView(
            root=root,
            user_id=shown,
            reference_id=self._owner_of_connection(shown),
            provider=self._text(shown, "provider") or "UNKNOWN",
            status="revoked" if self._was_replaced_by_other_owner(shown) else self._own_status(shown),
            scopes=self._scopes(shown),
            connected_at=self._first(root),
        )

    def listing(self, reference_id: str, *, include_revoked: bool) -> list[ConnectionView]:
        """The response of GET /connections: each connection once, the newest first."""
        every = {view for user_id in self.user_ids if (view := self.connection(user_id)) is not None}
        of_user = [view for view in every if view.reference_id == reference_id]
        listed = [view for view in of_user if include_revoked or view.status != "revoked"]
        return sorted(listed, key=lambda view: (-view.connected_at, view.user_id))

    def outcome(self, attempt: SessionAttempt) -> Outcome:
        """The response of GET /sessions/{session_id} while the session is open.

        For a repair: when it no longer waits for the report that one connection replaces the other.
        """
        named = self._confirmed(attempt)
        named |= set() if attempt.user_id is None else {attempt.user_id}
        widget_events = self._widget_events(attempt.widget)
        named |= {body["user"]["user_id"] for body in widget_events if body["status"] == "success"}
        if attempt.repairs is not None:
            return self._outcome_of_repair(attempt, attempt.repairs, named)
        by_user_id = {
            next((one for one in (self.current_user_id(user_id), user_id) if self._belongs_to(one, attempt)), None)
            for user_id in named
        } - {None}
        if by_user_id:
            return Outcome("connected", user_ids=frozenset(map(str, by_user_id)))
        # Some times have a resolution of seconds, so the session's first second counts as after its start.
        since = attempt.created_at - attempt.created_at % 1000
        by_reference_id = {
            self.current_user_id(user_id) if self._belongs_to(self.current_user_id(user_id), attempt) else user_id
            for user_id in self.user_ids
            if attempt.resource is not None
            and self._owner(user_id) == attempt.reference_id
            and self._text(user_id, "provider") in _names_of(attempt.resource)
            and any(each.at >= since for each in self._all(user_id, "login"))
        }
        if by_reference_id:
            return Outcome("connected", user_ids=frozenset(by_reference_id))
        reasons = {body["reason"] for body in widget_events if body["status"] == "error"}
        return self._unconnected(attempt, reasons | self._failures(attempt, named))

    def _confirmed(self, attempt: SessionAttempt) -> set[str]:
        """The `user_id`s that Terra confirmed after a redirect of this session."""
        verified = [input_ for input_ in self._inputs if isinstance(input_, VerificationInput)]
        return {input_.user_id for input_ in verified if input_.confirms == attempt.session_id}

    def _outcome_of_repair(self, attempt: SessionAttempt, repaired: str, named: Collection[str]) -> Outcome:
        """Connected if the connection, or one that replaced it, has recovered since the session was created."""
        current = self.current_user_id(repaired)
        family = {one for one in self.user_ids if self.current_user_id(one) == current}
        since = max(attempt.created_at - attempt.created_at % 1000, attempt.last_login + 1)
        recovered = [each for one in family for each in self._all(one, "login", "replaced_by") if each.at >= since]
        recovered += [
            each
            for one in family & self._confirmed(attempt)
            for each in self._all(one, "connected")
            if each.at >= attempt.created_at
        ]
        is_own = self._can_belong_to(current, attempt) and not self._was_replaced_by_other_owner(repaired)
        if recovered and is_own:
            return Outcome("connected", user_ids=frozenset({current}))
        others = {one for one in set(named) - family if self._can_belong_to(one, attempt) and self._all(one, "login")}
        return self._unconnected(attempt, self._failures(attempt, named), is_other=bool(others))

    def _failures(self, attempt: SessionAttempt, named: Collection[str]) -> set[str | None]:
        """The reasons in events about the `user_id`s of a session."""
        return {
            self._text(user_id, "failed")
            for user_id in named
            if self._all(user_id, "failed") and self._can_belong_to(user_id, attempt)
        }

    def _unconnected(
        self, attempt: SessionAttempt, reported: Collection[str | None], *, is_other: bool = False
    ) -> Outcome:
        """The outcome of a session that has connected nothing."""
        reasons = set(reported)
        redirects = {
            input_.reason
            for input_ in self._inputs
            if isinstance(input_, RedirectInput) and input_.session_id == attempt.session_id
        }
        reasons |= redirects - {None}
        if is_other:
            return Outcome("failed", reasons=frozenset({"other_account"}))
        if not reasons:
            return Outcome("needs_app" if redirects else "pending")
        known = reasons & {"access_denied", "missing_scopes", "provider_error"}
        return Outcome("failed", reasons=frozenset(str(reason) for reason in known) or frozenset({"unknown"}))

    def _can_belong_to(self, user_id: str, attempt: SessionAttempt) -> bool:
        """Return whether no statement names another user or another provider."""
        provider = self._text(user_id, "provider")
        is_allowed = attempt.resource is None or provider in {None, *_names_of(attempt.resource)}
        return is_allowed and self._owner(user_id) in (None, attempt.reference_id)

    def _belongs_to(self, user_id: str, attempt: SessionAttempt) -> bool:
        return self._was_connected(user_id) and self._can_belong_to(user_id, attempt)

    def _widget_events(self, widget: str | None) -> list[dict[str, Any]]:
        """The events of a login on Terra's own page."""
        bodies = [json.loads(input_.body) for input_ in self._inputs if isinstance(input_, WebhookInput)]
        return [body for body in bodies if widget is not None and body.get("widget_session_id") == widget]

    def _cached(self, name: str, user_id: str, compute: Callable[[], T]) -> T:
        if (name, user_id) not in self._cache:
            self._cache[name, user_id] = compute()
        found: T = self._cache[name, user_id]
        return found
