"""Scenarios of up to six events, with redirects, syncs and sweeps in between, to be tried in every order.

Times are seconds since the scenario's beginning. They state when an event was emitted or a request was sent; the order
decides when it arrives.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from tests.support.oracle import TWO_MINUTES, Announced, Asked, Attempt, Heard, Returned, Told

NOBODY: list[str | None] = [None, "", "null"]


@dataclass(frozen=True)
class Story:
    """The inputs, without an order, and the sessions that they may concern."""

    name: str
    heard: tuple[Heard, ...]
    attempts: tuple[Attempt, ...] = ()

    @property
    def with_repeats(self) -> "list[Story]":
        """The scenario as it is, and once more with each of its inputs repeated."""
        return [self, *(replace(self, heard=(*self.heard, one)) for one in self.heard)]


class Teller:
    """Builds scenarios with users and connections that no other scenario uses."""

    def __init__(self, *, begins: int, tag: str = "") -> None:
        self._begins = begins
        self._tag = tag
        self._traces = count()

    def name(self, name: str | None) -> str | None:
        """Return the full name of a user or a connection in this scenario; values for no user are unchanged."""
        return name if name in NOBODY else f"{self._tag}{name}"

    # -- Terra's events ----------------------------------------------------------------------------------------------

    def told(
        self, at: float, body: dict[str, Any], *, ordering: object = "as emitted", signed_at: int | None = None
    ) -> Told:
        """Build a delivery of an event that was emitted at a second, and signed then unless stated otherwise."""
        emitted = self._begins * 1000 + round(at * 1000)
        header = str(emitted) if ordering == "as emitted" else ordering
        return Told(
            body=json.dumps(body),
            t=self._begins + int(at if signed_at is None else signed_at),
            ordering=None if header is None else str(header),
            trace=f"{self._tag}trace-{next(self._traces)}",
        )

    def user(
        self,
        user_id: str,
        owner: str | None,
        *,
        provider: str | None = "FITBIT",
        scopes: str | None = None,
        **more: object,
    ) -> dict[str, Any]:
        user: dict[str, Any] = {"user_id": self.name(user_id), "reference_id": self.name(owner), **more}
        if provider is not None:
            user["provider"] = provider
        if scopes is not None:
            user["scopes"] = scopes
        return user

    def auth(self, user_id: str, at: float, owner: str | None = "alice", **more: Any) -> Told:  # noqa: ANN401
        how = {name: more.pop(name) for name in ("ordering", "signed_at") if name in more}
        widget = {"widget_session_id": self.name(more.pop("widget"))} if "widget" in more else {}
        body = {"type": "auth", "status": "success", "user": self.user(user_id, owner, **more), **widget}
        return self.told(at, body, **how)

    def old_auth(self, user_id: str, at: float, owner: str | None = "alice", **more: Any) -> Told:  # noqa: ANN401
        """The older shape: the owner stands beside the user."""
        user = self.user(user_id, None, **more)
        del user["reference_id"]
        return self.told(at, {"type": "auth", "status": "success", "reference_id": self.name(owner), "user": user})

    def old_failure(self, user_id: str, at: float, reason: str | None, owner: str | None = "alice") -> Told:
        """The older shape: a failed login, sent as `auth`."""
        body = {"type": "auth", "status": "error", "reason": reason, "user": self.user(user_id, owner)}
        return self.told(at, {**body, "widget_session_id": self.name("widget"), "provider": "FITBIT"})

    def cancelled(self, at: float, owner: str | None = "alice", **more: str) -> Told:
        widget = {"widget_session_id": self.name(more["widget"])} if "widget" in more else {}
        body = {"type": "auth_cancelled", "status": "error", "reason": "access_denied", "flow_id": "flow", **widget}
        return self.told(at, {**body, "reference_id": self.name(owner)})

    def reauth(
        self,
        old: str | None,
        new: str,
        at: float,
        owner: str | None = "alice",
        *,
        old_owner: str | None = "as new",
        scopes: str | None = None,
        **how: Any,  # noqa: ANN401
    ) -> Told:
        whose = owner if old_owner == "as new" else old_owner
        body = {
            "type": "user_reauth",
            "status": "warning",
            "message": "User reauthenticated",
            "new_user": self.user(new, owner, scopes=scopes),
            "old_user": None if old is None else self.user(old, whose, scopes="GONE"),
        }
        return self.told(at, body, **how)

    def deauth(self, user_id: str, at: float, owner: str | None = "alice", **how: Any) -> Told:  # noqa: ANN401
        body = {"type": "deauth", "status": "success", "message": None, "user": self.user(user_id, owner, active=False)}
        return self.told(at, body, **how)

    def access_revoked(self, user_id: str, at: float, owner: str | None = "alice") -> Told:
        return self.told(at, {"type": "access_revoked", "status": "warning", "user": self.user(user_id, owner)})

    def error(self, user_id: str, at: float, owner: str | None = "alice", **how: Any) -> Told:  # noqa: ANN401
        body = {"type": "connection_error", "status": "warning", "user": self.user(user_id, owner, active=True)}
        return self.told(at, body, **how)

    def permissions(
        self,
        user_id: str,
        at: float,
        owner: str | None = "alice",
        *,
        scopes: str | None = None,
        added: str | None = "",
        removed: str | None = "",
        **how: Any,  # noqa: ANN401
    ) -> Told:
        body = {"type": "permission_change", "status": "warning", "user": self.user(user_id, owner, scopes=scopes)}
        return self.told(at, {**body, "scopes_added": added, "scopes_removed": removed}, **how)

    def activity(self, user_id: str, at: float, owner: str | None = "alice") -> Told:
        return self.told(at, {"type": "activity", "user": self.user(user_id, owner), "data": [{}], "version": "1"})

    # -- responses of Terra ------------------------------------------------------------------------------------------

    def asked(self, user_id: str, at: float, answer: Any, **details: str | None) -> Asked:  # noqa: ANN401
        """Build a response with the position `at`: the request was two minutes later."""
        asked_at = self._begins * 1000 + round(at * 1000) + TWO_MINUTES
        return Asked(str(self.name(user_id)), asked_at, answer, **details)

    def found(self, user_id: str, at: float, owner: str | None = "alice", **details: str | None) -> Asked:
        """A sync or a redirect queried Terra, which reported the user as authenticated."""
        whose = None if owner in NOBODY else self.name(owner)
        return self.asked(
            user_id, at, "authenticated", **{"reference_id": whose, "provider": "FITBIT", "scopes": "A", **details}
        )

    def absent(self, user_id: str, at: float) -> Asked:
        return self.asked(user_id, at, "unknown")

    def present(self, user_id: str, at: float) -> Asked:
        return self.asked(user_id, at, "listed")

    # -- sessions ----------------------------------------------------------------------------------------------------

    def attempt(
        self, user_id: str = "issued", *, created: float = 0, owner: str = "alice", resource: str = "FITBIT"
    ) -> Attempt:
        created_at = self._begins * 1000 + round(created * 1000)
        whose, issued = str(self.name(owner)), str(self.name(user_id))
        return Attempt(f"{issued}-session", whose, resource, issued, created_at)

    def on_terras_page(self, widget: str = "widget", *, created: float = 0, owner: str = "alice") -> Attempt:
        created_at, session = self._begins * 1000 + round(created * 1000), str(self.name(widget))
        return Attempt(f"{session}-session", str(self.name(owner)), None, None, created_at, session)

    def announced(self, attempt: Attempt) -> Announced:
        """Terra's response when the session was created."""
        return Announced(str(attempt.user_id), attempt.reference_id, attempt.created_at)

    def confirmed(self, attempt: Attempt, user_id: str, at: float) -> Asked:
        """The success redirect arrived, and Terra confirmed this `user_id`."""
        return replace(self.found(user_id, at), confirms=attempt.session_id)

    def failed(self, attempt: Attempt, reason: str) -> Returned:
        return Returned(attempt.session_id, reason)

    def found_nothing(self, attempt: Attempt) -> Returned:
        """The success redirect named no user, and Terra reported nothing new."""
        return Returned(attempt.session_id, None)


def retried(told: Told, later: int) -> Told:
    """A retry with a new `t`: signed again, everything else unchanged."""
    return replace(told, t=told.t + later)


def captured(told: Told, trace: str, *, ordering: str | None = "as it was") -> Told:
    """The same bytes and signature, with another trace id and possibly another ordering timestamp."""
    return replace(told, trace=f"{told.trace}-{trace}", ordering=told.ordering if ordering == "as it was" else ordering)


def lives(by: Teller) -> list[Story]:
    """Connects and disconnects."""
    t = by
    return [
        Story("connect", (t.auth("a", 1, scopes="A,B"), t.activity("a", 2), t.activity("a", 0))),
        Story("connect, in the older shape", (t.old_auth("a", 1), t.auth("a", 3, None, scopes="A"))),
        Story("disconnect", (t.auth("a", 1), t.deauth("a", 5))),
        Story("revoked at the provider", (t.auth("a", 1), t.access_revoked("a", 5), t.activity("a", 9))),
        Story("only an end", (t.deauth("a", 5), t.access_revoked("a", 3), t.error("a", 9))),
        Story("again and again", tuple(
            one for n in (1, 11, 21) for one in (t.auth("a", n), t.deauth("a", n + 5))
        )),
        Story("the last connect is never ended", (
            t.auth("a", 1), t.deauth("a", 5), t.auth("a", 9), t.access_revoked("a", 13), t.auth("a", 17),
            t.error("a", 3),
        )),
        Story("everything at once", (
            t.auth("a", 1), t.deauth("a", 1), t.error("a", 1), t.permissions("a", 1, scopes="C"), t.auth("b", 1),
        )),
        Story("at equal positions revoking wins", (t.auth("a", 5), t.access_revoked("a", 5), t.error("a", 5))),
        Story("two accounts of one provider", (
            t.auth("a", 1), t.auth("b", 3), t.deauth("a", 5), t.error("b", 7), t.auth("c", 9, provider="GARMIN"),
        )),
        Story("the same account under two people, both live", (
            t.auth("a", 1, "alice"), t.auth("b", 5, "bob"), t.activity("a", 7), t.error("a", 9, "alice"),
        )),
        Story("the same account under two people, the first vanishes", (
            t.auth("a", 1, "alice"), t.auth("b", 5, "bob"), t.absent("a", 9), t.present("b", 9),
        )),
        Story("a cancellation ends nothing", (t.auth("a", 1), t.cancelled(5), t.old_failure("a", 7, "access_denied"))),
        Story("a provider that was never named", (t.auth("a", 1, provider=None), t.deauth("b", 3), t.error("a", 5))),
    ]  # fmt: skip


def troubles(by: Teller) -> list[Story]:
    """Errors, and the events that resolve them."""
    t = by
    return [
        Story("healed by a login", (t.auth("a", 1), t.error("a", 5), t.auth("a", 9))),
        Story("healed by a reconnect", (t.auth("a", 1), t.error("a", 5), t.reauth("a", "b", 9), t.auth("b", 9.5))),
        Story("healed by Terra's word", (t.auth("a", 1), t.error("a", 5), t.found("a", 9))),
        Story("presence does not heal", (t.auth("a", 1), t.error("a", 5), t.present("a", 9), t.activity("a", 11))),
        Story("an older word does not heal", (t.auth("a", 1), t.found("a", 3), t.error("a", 5))),
        Story("one a day", (
            t.auth("a", 1), t.error("a", 5), t.error("a", 15), t.auth("a", 10), t.error("a", 25), t.auth("a", 20),
        )),
        Story("one after the end", (t.auth("a", 1), t.deauth("a", 5), t.error("a", 9), t.found("a", 3))),
        Story("one before the login", (t.error("a", 1), t.auth("a", 5), t.error("a", 5.5, None))),
    ]  # fmt: skip


def reconnects(by: Teller) -> list[Story]:
    """Reconnects: a new id replaces an old one."""
    t = by
    return [
        Story("reauth first", (t.auth("a", 1), t.reauth("a", "b", 5), t.auth("b", 5.5))),
        Story("auth first", (t.auth("a", 1), t.auth("b", 5), t.reauth("a", "b", 5.5))),
        Story("both at once", (t.auth("a", 1), t.auth("b", 5), t.reauth("a", "b", 5), t.error("a", 5))),
        Story("the old one is ended on the way", (
            t.auth("a", 1), t.deauth("a", 4), t.auth("b", 5), t.reauth("a", "b", 5.5), t.deauth("a", 9),
        )),
        Story("no old user", (t.auth("a", 1), t.reauth(None, "b", 5), t.auth("b", 5.5))),
        Story("an unknown old user", (t.reauth("x", "b", 5), t.auth("b", 5.5), t.deauth("x", 9))),
        Story("an old user known late", (t.reauth("a", "b", 5), t.auth("b", 5.5), t.auth("a", 1))),
        Story("old equal to new", (t.auth("a", 1), t.reauth("a", "a", 5), t.error("a", 3), t.deauth("a", 2))),
        Story("a chain", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.auth("b", 5.5), t.reauth("b", "c", 9), t.auth("c", 9.5),
        )),
        Story("a chain that is ended", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "c", 9), t.reauth("c", "d", 13), t.deauth("d", 15),
            t.deauth("b", 17),
        )),
        Story("a chain whose beginning is unknown", (t.reauth("a", "b", 5), t.reauth("b", "c", 9), t.error("c", 11))),
        Story("several old ids into one new", (
            t.auth("a", 2), t.auth("b", 1), t.reauth("a", "c", 5), t.reauth("b", "c", 9), t.auth("c", 5.5),
        )),
        Story("into one that was there before", (t.auth("b", 1), t.auth("a", 3), t.reauth("a", "b", 5))),
        Story("one old id into two new", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("a", "c", 9), t.auth("b", 5.5), t.auth("c", 9.5),
        )),
        Story("one old id into two new at once", (t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("a", "c", 5))),
        Story("back again by itself", (t.auth("a", 1), t.reauth("a", "b", 5), t.auth("a", 9), t.error("b", 11))),
        Story("there and back", (t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "a", 9), t.deauth("b", 11))),
        Story("there and back at once", (t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "a", 5))),
        Story("round in a circle", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "c", 9), t.reauth("c", "a", 13), t.error("a", 15),
        )),
        Story("into a circle", (
            t.auth("x", 1), t.reauth("x", "a", 3), t.reauth("a", "b", 5), t.reauth("b", "c", 5), t.reauth("c", "a", 5),
        )),
        Story("the newer id has the smaller name", (t.auth("z", 5), t.reauth("z", "b", 5), t.auth("b", 5))),
        Story("a redirect is quicker than both events", (
            t.auth("a", 5), t.reauth("a", "b", 7), t.found("b", 3), t.auth("b", 7.5), t.absent("a", 9),
        )),
        Story("Terra forgets the old one and lists the new", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.absent("a", 9), t.present("b", 9), t.absent("b", 7),
        )),
        Story("two reconnects of two accounts", (
            t.auth("a", 1), t.auth("b", 2), t.reauth("a", "c", 5), t.reauth("b", "d", 6), t.deauth("c", 9),
            t.auth("d", 6.5),
        )),
        Story("with scopes of its own", (
            t.auth("a", 1, scopes="A,B"), t.reauth("a", "b", 5, scopes="B"), t.permissions("a", 9, added="C"),
            t.permissions("b", 9, added="D"),
        )),
    ]  # fmt: skip


def owners(by: Teller) -> list[Story]:
    """Owners of connections."""
    t = by
    return [
        Story("nobody's", (t.auth("a", 1, None), t.auth("a", 2, ""), t.auth("a", 3, "null"), t.deauth("a", 4, None))),
        Story("claimed later", (t.auth("a", 1, None), t.auth("a", 5), t.error("a", 9, None))),
        Story("named by what is no login", (t.auth("a", 1, None), t.deauth("a", 5), t.auth("a", 9, "null"))),
        Story("it changes", (t.auth("a", 1, "alice"), t.auth("a", 5, "bob"), t.error("a", 9, None))),
        Story("it changes and changes back", (
            t.auth("a", 1, "alice"), t.auth("a", 5, "bob"), t.auth("a", 9, "alice"), t.deauth("a", 7, "bob"),
        )),
        Story("two at once", (t.auth("a", 5, "alice"), t.auth("a", 5, "bob"), t.auth("b", 5, "alice"))),
        Story("a link between two people", (t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner="alice"))),
        Story("a link between two people, told with one name", (
            t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner=None), t.auth("b", 5.5, "bob"),
        )),
        Story("a link to nobody's", (t.auth("a", 1), t.reauth("a", "b", 5, None), t.auth("b", 5.5))),
        Story("a link from nobody's", (t.auth("a", 1, None), t.reauth("a", "b", 5, "alice", old_owner=None))),
        Story("nobody's all along", (t.auth("a", 1, None), t.reauth("a", "b", 5, None), t.auth("b", 9, "alice"))),
        Story("the new one moves away", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.auth("b", 5.5), t.auth("b", 9, "bob"), t.error("a", 11, None),
        )),
        Story("the old one moves along", (
            t.auth("a", 1, "alice"), t.reauth("a", "b", 5, "bob", old_owner="alice"), t.error("a", 9, "bob"),
        )),
        Story("over nobody's to somebody else", (
            t.auth("a", 1), t.reauth("a", "b", 5, None, old_owner="alice"),
            t.reauth("b", "c", 9, "bob", old_owner=None), t.auth("c", 9.5, "bob"),
        )),
        Story("over nobody's and home", (
            t.auth("a", 1), t.reauth("a", "b", 5, None, old_owner="alice"),
            t.reauth("b", "c", 9, "alice", old_owner=None), t.error("c", 11, None),
        )),
        Story("over somebody else's and home", (
            t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner="alice"),
            t.reauth("b", "c", 9, "alice", old_owner="bob"), t.deauth("c", 11, None),
        )),
        Story("strangers in a circle", (
            t.auth("a", 1), t.reauth("a", "b", 5, None, old_owner="alice"),
            t.reauth("b", "c", 5, "bob", old_owner=None), t.reauth("c", "a", 5, "alice", old_owner="bob"),
        )),
        Story("the one who left comes back by a login", (
            t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner="alice"), t.auth("a", 9, "alice"),
        )),
        Story("Terra's word moves it", (t.auth("a", 1), t.found("a", 5, "bob"), t.auth("a", 3, "alice"))),
    ]  # fmt: skip


def scopes(by: Teller) -> list[Story]:
    """Granted scopes."""
    t = by
    return [
        Story("lists", (
            t.auth("a", 1, scopes="A,B"), t.permissions("a", 5, scopes="B, C", added="C", removed="A"),
            t.permissions("a", 9, scopes="C", removed="B"),
        )),
        Story("changes", (
            t.auth("a", 1, scopes="A,B"), t.permissions("a", 5, added="C", removed="A"),
            t.permissions("a", 9, added="A,D", removed="C,B"),
        )),
        Story("changes without a list", (
            t.auth("a", 3), t.permissions("a", 1, added="A,B"), t.permissions("a", 5, removed="A"),
        )),
        Story("changes and lists", (
            t.auth("a", 1, scopes="A"), t.permissions("a", 5, added="B"), t.auth("a", 9, scopes="A"),
            t.permissions("a", 13, removed="A", added=None), t.found("a", 11, scopes="A,C"), t.permissions("a", 7),
        )),
        Story("changes and a list at once", (
            t.auth("a", 5, scopes="A,B"), t.permissions("a", 5, removed="A", added="C"),
            t.permissions("a", 5, added="A"),
        )),
        Story("added and removed in one", (
            t.auth("a", 1, scopes="A"), t.permissions("a", 5, added="A,B", removed="A,B"),
        )),
        Story("two lists at once", (t.auth("a", 5, scopes="A"), t.permissions("a", 5, scopes="B"))),
        Story("no scopes is not silence", (t.auth("a", 1, scopes="A"), t.auth("a", 5, scopes=""), t.auth("a", 9))),
        Story("after the end", (t.auth("a", 1, scopes="A"), t.deauth("a", 5), t.permissions("a", 9, scopes="B"))),
    ]  # fmt: skip


def askings(by: Teller) -> list[Story]:
    """Syncs and sweeps in between."""
    t = by
    return [
        Story("all webhooks lost", (t.found("a", 5), t.present("a", 9), t.found("a", 15))),
        Story("the webhook comes after all", (t.auth("a", 1), t.found("a", 5), t.auth("a", 9))),
        Story("a lost disconnect", (t.auth("a", 1), t.absent("a", 5), t.deauth("a", 3))),
        Story("absence is undone by presence", (t.auth("a", 1), t.absent("a", 5), t.present("a", 9), t.error("a", 2))),
        Story("absence at the moment of presence", (t.auth("a", 1), t.absent("a", 5), t.present("a", 5))),
        Story("presence undoes no disconnect", (t.auth("a", 1), t.deauth("a", 5), t.absent("a", 7), t.present("a", 9))),
        Story("absent, and connected again", (t.auth("a", 1), t.absent("a", 5), t.auth("a", 9), t.present("a", 3))),
        Story("absent, and found again", (t.auth("a", 1), t.absent("a", 5), t.found("a", 9), t.absent("a", 11))),
        Story("presence connects nobody", (t.present("a", 5), t.absent("b", 5), t.error("a", 7))),
        Story("a sweep amid a reconnect", (
            t.auth("a", 1), t.reauth("a", "b", 9), t.auth("b", 9.5), t.absent("a", 8), t.found("b", 12),
            t.absent("a", 12),
        )),
        Story("a sync amid a life", (
            t.auth("a", 1), t.error("a", 5), t.found("a", 7), t.absent("a", 10), t.auth("a", 15), t.present("a", 12),
        )),
    ]  # fmt: skip


def attempts(by: Teller) -> list[Story]:
    """Sessions and their redirects."""
    t = by
    s = t.attempt("issued", created=100)
    other = t.attempt("issued-too", created=103)
    garmin = t.attempt("issued-garmin", created=101, resource="GARMIN")
    google = t.attempt("issued-google", created=101, resource="GOOGLE")
    return [
        Story("as announced", (
            t.auth("issued", 105), t.failed(s, "access_denied"), t.deauth("issued", 109),
        ), (s, other)),
        Story("confirmed by its redirect", (t.confirmed(s, "issued", 30), t.auth("issued", 105)), (s, other)),
        Story("confirmed under another id", (t.confirmed(s, "final", 30), t.auth("final", 105)), (s, garmin)),
        Story("the redirect and the webhook of a reconnect", (
            t.auth("old", 1), t.confirmed(s, "issued", 30), t.reauth("old", "issued", 105), t.auth("issued", 105.5),
            t.failed(s, "unknown"),
        ), (s, other)),
        Story("under an id that nobody announced", (
            t.auth("old", 1), t.auth("final", 105), t.auth("final-garmin", 106, provider="GARMIN"),
        ), (s, other, garmin)),
        Story("replaced since", (t.auth("issued", 105), t.reauth("issued", "new", 109), t.deauth("new", 110)), (s,)),
        Story("a sync finishes no login", (
            t.auth("old", 1), t.found("old", 105), t.absent("issued", 105),
        ), (s, garmin)),
        Story("a sync finds the announced one", (
            t.auth("old", 1), t.found("issued", 105), t.failed(s, "unknown"),
        ), (s,)),
        Story("the first second of the session counts", (
            t.auth("final", 100, ordering=None), t.auth("late", 99.999),
        ), (t.attempt("issued", created=100.9),)),
        Story("failures", (
            t.old_failure("issued", 105, "missing_scopes"), t.failed(s, "unknown"), t.failed(s, "provider_error"),
            t.cancelled(106),
        ), (s, other)),
        Story("a failure, and then it works", (
            t.old_failure("issued", 105, "access_denied"), t.old_failure("issued", 106, None), t.auth("issued", 107),
            t.failed(s, "access_denied"), t.failed(other, "unknown"), t.deauth("issued", 108),
        ), (s, other)),
        Story("another account, while the first stands", (
            t.auth("old", 1), t.error("old", 104), t.failed(s, "access_denied"), t.found("old", 106),
        ), (s, garmin)),
        Story("the old one is logged in again", (
            t.auth("old", 1), t.deauth("old", 50), t.auth("old", 105),
        ), (s, other)),
        Story("claimed by somebody else", (t.auth("final", 105, "bob"), t.auth("final", 107), t.auth("b", 105)), (s,)),
        Story("announced, and no event names a user", (
            t.announced(s), t.auth("issued", 105, None), t.deauth("issued", 109, None), t.auth("issued", 111, None),
        ), (s, other)),
        Story("announced, and an event names another user", (
            t.announced(s), t.auth("issued", 105, "bob"), t.auth("issued", 107, None), t.failed(s, "unknown"),
        ), (s, other)),
        Story("announced, and the owner changes", (
            t.announced(s), t.auth("issued", 105, None), t.auth("issued", 107, "bob"), t.auth("issued", 109),
            t.old_failure("issued", 111, "missing_scopes", None),
        ), (s, other)),
        Story("announced, and a reconnect names no user", (
            t.announced(s), t.auth("old", 1), t.reauth("old", "issued", 105, None, old_owner=None),
            t.auth("issued", 105.5, None),
        ), (s, other)),
        Story("announced, and replaced by another user's", (
            t.announced(s), t.auth("issued", 105, None), t.reauth("issued", "new", 109, "bob", old_owner=None),
        ), (s, other)),
        Story("announced, and nothing more", (t.announced(s), t.announced(other), t.failed(s, "unknown")), (s, other)),
        Story("announced, and the login failed", (
            t.announced(s), t.old_failure("issued", 105, "access_denied", None), t.present("issued", 107),
        ), (s, other)),
        Story("announced, and of another provider", (
            t.announced(s), t.auth("issued", 105, provider="GARMIN"), t.old_failure("issued", 106, "access_denied"),
        ), (s, garmin)),
        Story("of a provider that was never named", (
            t.announced(s), t.auth("issued", 105, provider=None), t.auth("final", 106, provider=None),
        ), (s, other)),
        Story("a provider by its other name", (
            t.auth("final", 105, provider="GOOGLEFIT"), t.auth("issued-google", 106, provider="GOOGLEFIT"),
        ), (google, s)),
    ]  # fmt: skip


def widgets(by: Teller) -> list[Story]:
    """Sessions on Terra's own page, where the user picks the provider."""
    t = by
    w, other = t.on_terras_page(created=100), t.on_terras_page("other", created=101)
    s = t.attempt("issued", created=102)
    return [
        Story("its event names it", (
            t.auth("a", 105, widget="widget"), t.deauth("a", 109), t.activity("a", 106), t.failed(w, "unknown"),
        ), (w, other, s)),
        Story("nobody's at first, and somebody else's then", (
            t.auth("a", 105, None, widget="widget"), t.auth("a", 107), t.auth("a", 109, "bob"),
        ), (w, other)),
        Story("an event that does not name it", (
            t.auth("a", 105), t.auth("b", 106, provider="GARMIN"), t.cancelled(107),
        ), (w, other, s)),
        Story("confirmed by its redirect", (
            t.confirmed(w, "a", 30), t.auth("a", 105, widget="widget"), t.found("b", 30), t.failed(w, "access_denied"),
        ), (w, other)),
        Story("cancelled, in either shape, and then it works", (
            t.cancelled(103, widget="widget"), t.old_failure("a", 104, "missing_scopes"),
            t.cancelled(105, widget="other"), t.auth("a", 107, widget="widget"),
        ), (w, other)),
        Story("reconnected", (
            t.auth("old", 1), t.reauth("old", "a", 105), t.auth("a", 105.5, widget="widget"), t.reauth("a", "b", 109),
            t.deauth("b", 111),
        ), (w, other)),
        Story("the old id is logged in again", (
            t.auth("a", 1), t.deauth("a", 50), t.auth("a", 105, widget="widget"), t.absent("a", 110),
        ), (w, other)),
        Story("it needs the app, and then the app has connected", (
            t.found_nothing(w), t.found_nothing(other), t.auth("sdk", 120, provider="APPLE", widget="widget"),
            t.failed(other, "unknown"),
        ), (w, other)),
        Story("two accounts from one page", (
            t.auth("a", 105, widget="widget"), t.auth("b", 106, widget="widget"), t.deauth("a", 107),
        ), (w, other)),
        Story("its event names another user", (
            t.auth("a", 105, "bob", widget="widget"), t.auth("b", 106, widget="widget"), t.failed(w, "unknown"),
        ), (w, other)),
        Story("two pages at once", (
            t.auth("a", 105, widget="widget"), t.auth("b", 106, widget="other"), t.found_nothing(w),
        ), (w, other)),
    ]  # fmt: skip


def signatures(by: Teller) -> list[Story]:
    """Unsigned values: trace ids and ordering timestamps, in repeats, retries and forgeries."""
    t = by
    auth, deauth = t.auth("a", 1), t.deauth("a", 5)
    again = t.auth("a", 20)
    reauth, new = t.reauth("a", "b", 5), t.auth("b", 5.5)
    nameless = t.auth("a", 1, None, ordering=None)
    far = "999999999999999"
    return [
        Story("retried with the same t", (auth, deauth, again, deauth, auth)),
        Story("retried with t refreshed", (auth, retried(auth, 30), deauth, retried(deauth, 30), again)),
        Story("retried with t refreshed, without ordering", (nameless, retried(nameless, 3), deauth, again)),
        Story("a reconnect retried with t refreshed", (auth, reauth, retried(reauth, 60), new, retried(new, 60))),
        Story("captured, under a new trace id", (auth, deauth, captured(deauth, "new"), again)),
        Story("captured, under a new trace id, ordered last", (
            auth, deauth, captured(deauth, "new", ordering=far), again, captured(auth, "new-too", ordering=far),
        )),
        Story("captured, ordered first", (auth, deauth, captured(deauth, "new", ordering="0"), again)),
        Story("captured, without ordering", (auth, deauth, captured(deauth, "new", ordering=None), again)),
        Story("captured, ordered by nonsense", (auth, deauth, captured(deauth, "new", ordering="-1e9"), again)),
        Story("captured, without a trace id", (auth, deauth, replace(deauth, trace=None, ordering=far), again)),
        Story("a captured reconnect ordered last", (
            auth, reauth, new, captured(reauth, "new", ordering=far), t.auth("a", 20), t.deauth("b", 21),
        )),
        Story("somebody else's trace id", (auth, replace(deauth, trace=auth.trace), again)),
        Story("nothing was ordered", (
            t.auth("a", 1, ordering=None), t.deauth("a", 1.2, ordering=None), t.auth("a", 1.9, ordering=None),
            t.error("a", 2, ordering=None),
        )),
        Story("ordered after it was signed", (
            t.auth("a", 1, ordering=far), t.deauth("a", 5), t.auth("a", 4, ordering=far),
        )),
    ]  # fmt: skip


def everything(by: Teller) -> dict[str, Sequence[Story]]:
    """Return every list of scenarios by its name."""
    lists: Iterable[Any] = (lives, troubles, reconnects, owners, scopes, askings, attempts, widgets, signatures)
    return {tell.__name__: tell(by) for tell in lists}
