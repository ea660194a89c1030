"""Scenarios of up to six events, with redirects, syncs and sweeps in between, to be tried in every order.

Times are seconds since the scenario's beginning. They state when an event was emitted or a request was sent; the order
decides when it arrives.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from tests.support.oracle import (
    TWO_MINUTES,
    AnnouncementInput,
    Input,
    RedirectInput,
    SessionAttempt,
    VerificationInput,
    WebhookInput,
)

NO_USER: list[str | None] = [None, "", "null"]


@dataclass(frozen=True)
class Scenario:
    """The inputs, without an order, and the sessions that they may concern."""

    name: str
    inputs: tuple[Input, ...]
    attempts: tuple[SessionAttempt, ...] = ()

    @property
    def with_repeats(self) -> "list[Scenario]":
        """The scenario as it is, and once more with each of its inputs repeated."""
        return [self, *(replace(self, inputs=(*self.inputs, repeated)) for repeated in self.inputs)]


class ScenarioBuilder:
    """Builds scenarios with users and connections that no other scenario uses."""

    def __init__(self, *, begins: int, tag: str = "") -> None:
        self._begins = begins
        self._tag = tag
        self._traces = count()

    def name(self, name: str | None) -> str | None:
        """Return the full name of a user or a connection in this scenario; values for no user are unchanged."""
        return name if name in NO_USER else f"{self._tag}{name}"

    # -- Terra's events ----------------------------------------------------------------------------------------------

    def delivery(
        self, at: float, body: dict[str, Any], *, ordering: object = "as emitted", signed_at: int | None = None
    ) -> WebhookInput:
        """Build a delivery of an event that was emitted at a second, and signed then unless stated otherwise."""
        emitted = self._begins * 1000 + round(at * 1000)
        header = str(emitted) if ordering == "as emitted" else ordering
        return WebhookInput(
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

    def auth(self, user_id: str, at: float, owner: str | None = "alice", **more: Any) -> WebhookInput:  # noqa: ANN401
        signing = {name: more.pop(name) for name in ("ordering", "signed_at") if name in more}
        widget = {"widget_session_id": self.name(more.pop("widget"))} if "widget" in more else {}
        body = {"type": "auth", "status": "success", "user": self.user(user_id, owner, **more), **widget}
        return self.delivery(at, body, **signing)

    def old_auth(self, user_id: str, at: float, owner: str | None = "alice", **more: Any) -> WebhookInput:  # noqa: ANN401
        """The older shape: the owner is named outside of `user`."""
        user = self.user(user_id, None, **more)
        del user["reference_id"]
        return self.delivery(at, {"type": "auth", "status": "success", "reference_id": self.name(owner), "user": user})

    def old_failure(self, user_id: str, at: float, reason: str | None, owner: str | None = "alice") -> WebhookInput:
        """The older shape: a failed login, sent as `auth`."""
        body = {"type": "auth", "status": "error", "reason": reason, "user": self.user(user_id, owner)}
        return self.delivery(at, {**body, "widget_session_id": self.name("widget"), "provider": "FITBIT"})

    def cancelled(self, at: float, owner: str | None = "alice", **more: str) -> WebhookInput:
        widget = {"widget_session_id": self.name(more["widget"])} if "widget" in more else {}
        body = {"type": "auth_cancelled", "status": "error", "reason": "access_denied", "flow_id": "flow", **widget}
        return self.delivery(at, {**body, "reference_id": self.name(owner)})

    def reauth(
        self,
        old: str | None,
        new: str,
        at: float,
        owner: str | None = "alice",
        *,
        old_owner: str | None = "as new",
        scopes: str | None = None,
        **signing: Any,  # noqa: ANN401
    ) -> WebhookInput:
        before = owner if old_owner == "as new" else old_owner
        body = {
            "type": "user_reauth",
            "status": "warning",
            "message": "User reauthenticated",
            "new_user": self.user(new, owner, scopes=scopes),
            "old_user": None if old is None else self.user(old, before, scopes="GONE"),
        }
        return self.delivery(at, body, **signing)

    def deauth(self, user_id: str, at: float, owner: str | None = "alice", **signing: Any) -> WebhookInput:  # noqa: ANN401
        body = {"type": "deauth", "status": "success", "message": None, "user": self.user(user_id, owner, active=False)}
        return self.delivery(at, body, **signing)

    def access_revoked(self, user_id: str, at: float, owner: str | None = "alice") -> WebhookInput:
        return self.delivery(at, {"type": "access_revoked", "status": "warning", "user": self.user(user_id, owner)})

    def error(self, user_id: str, at: float, owner: str | None = "alice", **signing: Any) -> WebhookInput:  # noqa: ANN401
        body = {"type": "connection_error", "status": "warning", "user": self.user(user_id, owner, active=True)}
        return self.delivery(at, body, **signing)

    def permissions(
        self,
        user_id: str,
        at: float,
        owner: str | None = "alice",
        *,
        scopes: str | None = None,
        added: str | None = "",
        removed: str | None = "",
        **signing: Any,  # noqa: ANN401
    ) -> WebhookInput:
        body = {"type": "permission_change", "status": "warning", "user": self.user(user_id, owner, scopes=scopes)}
        return self.delivery(at, {**body, "scopes_added": added, "scopes_removed": removed}, **signing)

    def activity(self, user_id: str, at: float, owner: str | None = "alice") -> WebhookInput:
        return self.delivery(at, {"type": "activity", "user": self.user(user_id, owner), "data": [{}], "version": "1"})

    # -- responses of Terra ------------------------------------------------------------------------------------------

    def verification(self, user_id: str, at: float, result: Any, **details: str | None) -> VerificationInput:  # noqa: ANN401
        """Build a response with the position `at`: the request was two minutes later."""
        requested_at = self._begins * 1000 + round(at * 1000) + TWO_MINUTES
        return VerificationInput(str(self.name(user_id)), requested_at, result, **details)

    def found(self, user_id: str, at: float, owner: str | None = "alice", **details: str | None) -> VerificationInput:
        """A sync or a redirect queried Terra, which reported the user as authenticated."""
        reference_id = None if owner in NO_USER else self.name(owner)
        return self.verification(
            user_id,
            at,
            "authenticated",
            **{"reference_id": reference_id, "provider": "FITBIT", "scopes": "A", **details},
        )

    def absent(self, user_id: str, at: float) -> VerificationInput:
        return self.verification(user_id, at, "unknown")

    def present(self, user_id: str, at: float) -> VerificationInput:
        return self.verification(user_id, at, "listed")

    # -- sessions ----------------------------------------------------------------------------------------------------

    def attempt(
        self, user_id: str = "issued", *, created: float = 0, owner: str = "alice", resource: str = "FITBIT"
    ) -> SessionAttempt:
        created_at = self._begins * 1000 + round(created * 1000)
        reference_id, issued = str(self.name(owner)), str(self.name(user_id))
        return SessionAttempt(f"{issued}-session", reference_id, resource, issued, created_at)

    def repair(
        self, user_id: str = "issued", *, of: str, created: float = 0, owner: str = "alice", last_login: float = 1
    ) -> SessionAttempt:
        attempt = self.attempt(user_id, created=created, owner=owner)
        known = self._begins * 1000 + round(last_login * 1000)
        return replace(
            attempt, session_id=f"{attempt.session_id}-repairs", repairs=str(self.name(of)), last_login=known
        )

    def widget_attempt(self, widget: str = "widget", *, created: float = 0, owner: str = "alice") -> SessionAttempt:
        created_at, widget_id = self._begins * 1000 + round(created * 1000), str(self.name(widget))
        return SessionAttempt(f"{widget_id}-session", str(self.name(owner)), None, None, created_at, widget_id)

    def announced(self, attempt: SessionAttempt) -> AnnouncementInput:
        """Terra's response when the session was created."""
        return AnnouncementInput(str(attempt.user_id), attempt.reference_id, attempt.created_at)

    def confirmed(self, attempt: SessionAttempt, user_id: str, at: float) -> VerificationInput:
        """The success redirect arrived, and Terra confirmed this `user_id`."""
        return replace(self.found(user_id, at), confirms=attempt.session_id)

    def failed(self, attempt: SessionAttempt, reason: str) -> RedirectInput:
        return RedirectInput(attempt.session_id, reason)

    def found_nothing(self, attempt: SessionAttempt) -> RedirectInput:
        """The success redirect named no user, and Terra reported nothing new."""
        return RedirectInput(attempt.session_id, None)


def retried(delivery: WebhookInput, later: int) -> WebhookInput:
    """A retry with a new `t`: signed again, everything else unchanged."""
    return replace(delivery, t=delivery.t + later)


def captured(delivery: WebhookInput, trace: str, *, ordering: str | None = "unchanged") -> WebhookInput:
    """The same bytes and signature, with another trace id and possibly another ordering timestamp."""
    new_ordering = delivery.ordering if ordering == "unchanged" else ordering
    return replace(delivery, trace=f"{delivery.trace}-{trace}", ordering=new_ordering)


def lifecycles(by: ScenarioBuilder) -> list[Scenario]:
    """Connects and disconnects."""
    t = by
    return [
        Scenario("connect", (t.auth("a", 1, scopes="A,B"), t.activity("a", 2), t.activity("a", 0))),
        Scenario("connect, in the older shape", (t.old_auth("a", 1), t.auth("a", 3, None, scopes="A"))),
        Scenario("disconnect", (t.auth("a", 1), t.deauth("a", 5))),
        Scenario("revoked at the provider", (t.auth("a", 1), t.access_revoked("a", 5), t.activity("a", 9))),
        Scenario("only a disconnect", (t.deauth("a", 5), t.access_revoked("a", 3), t.error("a", 9))),
        Scenario("several connects and disconnects", tuple(
            event for n in (1, 11, 21) for event in (t.auth("a", n), t.deauth("a", n + 5))
        )),
        Scenario("the last connect has no disconnect", (
            t.auth("a", 1), t.deauth("a", 5), t.auth("a", 9), t.access_revoked("a", 13), t.auth("a", 17),
            t.error("a", 3),
        )),
        Scenario("all events at one position", (
            t.auth("a", 1), t.deauth("a", 1), t.error("a", 1), t.permissions("a", 1, scopes="C"), t.auth("b", 1),
        )),
        Scenario("at equal positions revoking wins", (t.auth("a", 5), t.access_revoked("a", 5), t.error("a", 5))),
        Scenario("two accounts of one provider", (
            t.auth("a", 1), t.auth("b", 3), t.deauth("a", 5), t.error("b", 7), t.auth("c", 9, provider="GARMIN"),
        )),
        Scenario("the same account of two users, both connected", (
            t.auth("a", 1, "alice"), t.auth("b", 5, "bob"), t.activity("a", 7), t.error("a", 9, "alice"),
        )),
        Scenario("the same account of two users, the first is absent", (
            t.auth("a", 1, "alice"), t.auth("b", 5, "bob"), t.absent("a", 9), t.present("b", 9),
        )),
        Scenario("a cancellation disconnects nothing", (
            t.auth("a", 1), t.cancelled(5), t.old_failure("a", 7, "access_denied"),
        )),
        Scenario("a provider that was never named", (t.auth("a", 1, provider=None), t.deauth("b", 3), t.error("a", 5))),
    ]  # fmt: skip


def errors(by: ScenarioBuilder) -> list[Scenario]:
    """Errors, and the events that resolve them."""
    t = by
    return [
        Scenario("resolved by a login", (t.auth("a", 1), t.error("a", 5), t.auth("a", 9))),
        Scenario("resolved by a reconnect", (t.auth("a", 1), t.error("a", 5), t.reauth("a", "b", 9), t.auth("b", 9.5))),
        Scenario("resolved by a verification", (t.auth("a", 1), t.error("a", 5), t.found("a", 9))),
        Scenario("presence does not resolve an error", (
            t.auth("a", 1), t.error("a", 5), t.present("a", 9), t.activity("a", 11),
        )),
        Scenario("an older verification does not resolve an error", (t.auth("a", 1), t.found("a", 3), t.error("a", 5))),
        Scenario("an error after each login", (
            t.auth("a", 1), t.error("a", 5), t.error("a", 15), t.auth("a", 10), t.error("a", 25), t.auth("a", 20),
        )),
        Scenario("an error after a disconnect", (t.auth("a", 1), t.deauth("a", 5), t.error("a", 9), t.found("a", 3))),
        Scenario("an error before the login", (t.error("a", 1), t.auth("a", 5), t.error("a", 5.5, None))),
    ]  # fmt: skip


def reconnects(by: ScenarioBuilder) -> list[Scenario]:
    """Reconnects: a new id replaces an old one."""
    t = by
    return [
        Scenario("reauth first", (t.auth("a", 1), t.reauth("a", "b", 5), t.auth("b", 5.5))),
        Scenario("auth first", (t.auth("a", 1), t.auth("b", 5), t.reauth("a", "b", 5.5))),
        Scenario("auth and reauth at one position", (
            t.auth("a", 1), t.auth("b", 5), t.reauth("a", "b", 5), t.error("a", 5),
        )),
        Scenario("the old id is disconnected during the reconnect", (
            t.auth("a", 1), t.deauth("a", 4), t.auth("b", 5), t.reauth("a", "b", 5.5), t.deauth("a", 9),
        )),
        Scenario("no old user", (t.auth("a", 1), t.reauth(None, "b", 5), t.auth("b", 5.5))),
        Scenario("an unknown old user", (t.reauth("x", "b", 5), t.auth("b", 5.5), t.deauth("x", 9))),
        Scenario("the auth of the old id is the last event", (t.reauth("a", "b", 5), t.auth("b", 5.5), t.auth("a", 1))),
        Scenario("old equal to new", (t.auth("a", 1), t.reauth("a", "a", 5), t.error("a", 3), t.deauth("a", 2))),
        Scenario("a chain", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.auth("b", 5.5), t.reauth("b", "c", 9), t.auth("c", 9.5),
        )),
        Scenario("a chain that is disconnected", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "c", 9), t.reauth("c", "d", 13), t.deauth("d", 15),
            t.deauth("b", 17),
        )),
        Scenario("a chain whose beginning is unknown", (
            t.reauth("a", "b", 5), t.reauth("b", "c", 9), t.error("c", 11),
        )),
        Scenario("several old ids into one new", (
            t.auth("a", 2), t.auth("b", 1), t.reauth("a", "c", 5), t.reauth("b", "c", 9), t.auth("c", 5.5),
        )),
        Scenario("the new id is older than the old id", (t.auth("b", 1), t.auth("a", 3), t.reauth("a", "b", 5))),
        Scenario("one old id into two new", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("a", "c", 9), t.auth("b", 5.5), t.auth("c", 9.5),
        )),
        Scenario("one old id into two new at one position", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("a", "c", 5),
        )),
        Scenario("the replaced id connects again", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.auth("a", 9), t.error("b", 11),
        )),
        Scenario("a cycle of two ids", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "a", 9), t.deauth("b", 11),
        )),
        Scenario("a cycle of two ids at one position", (t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "a", 5))),
        Scenario("a cycle of three ids", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.reauth("b", "c", 9), t.reauth("c", "a", 13), t.error("a", 15),
        )),
        Scenario("a reconnect into a cycle", (
            t.auth("x", 1), t.reauth("x", "a", 3), t.reauth("a", "b", 5), t.reauth("b", "c", 5), t.reauth("c", "a", 5),
        )),
        Scenario("the newer id has the smaller name", (t.auth("z", 5), t.reauth("z", "b", 5), t.auth("b", 5))),
        Scenario("a redirect arrives before both events", (
            t.auth("a", 5), t.reauth("a", "b", 7), t.found("b", 3), t.auth("b", 7.5), t.absent("a", 9),
        )),
        Scenario("the old id is absent and the new id is present", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.absent("a", 9), t.present("b", 9), t.absent("b", 7),
        )),
        Scenario("two reconnects of two accounts", (
            t.auth("a", 1), t.auth("b", 2), t.reauth("a", "c", 5), t.reauth("b", "d", 6), t.deauth("c", 9),
            t.auth("d", 6.5),
        )),
        Scenario("the new id has its own scopes", (
            t.auth("a", 1, scopes="A,B"), t.reauth("a", "b", 5, scopes="B"), t.permissions("a", 9, added="C"),
            t.permissions("b", 9, added="D"),
        )),
    ]  # fmt: skip


def owners(by: ScenarioBuilder) -> list[Scenario]:
    """Owners of connections."""
    t = by
    return [
        Scenario("without an owner", (
            t.auth("a", 1, None), t.auth("a", 2, ""), t.auth("a", 3, "null"), t.deauth("a", 4, None),
        )),
        Scenario("an owner is named later", (t.auth("a", 1, None), t.auth("a", 5), t.error("a", 9, None))),
        Scenario("an event other than a login names the owner", (
            t.auth("a", 1, None), t.deauth("a", 5), t.auth("a", 9, "null"),
        )),
        Scenario("the owner changes", (t.auth("a", 1, "alice"), t.auth("a", 5, "bob"), t.error("a", 9, None))),
        Scenario("the owner changes and changes back", (
            t.auth("a", 1, "alice"), t.auth("a", 5, "bob"), t.auth("a", 9, "alice"), t.deauth("a", 7, "bob"),
        )),
        Scenario("two owners at one position", (
            t.auth("a", 5, "alice"), t.auth("a", 5, "bob"), t.auth("b", 5, "alice"),
        )),
        Scenario("a reconnect between two users", (t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner="alice"))),
        Scenario("a reconnect between two users that names one of them", (
            t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner=None), t.auth("b", 5.5, "bob"),
        )),
        Scenario("a reconnect to an id without an owner", (
            t.auth("a", 1), t.reauth("a", "b", 5, None), t.auth("b", 5.5),
        )),
        Scenario("a reconnect of an id without an owner", (
            t.auth("a", 1, None), t.reauth("a", "b", 5, "alice", old_owner=None),
        )),
        Scenario("a reconnect without any owner", (
            t.auth("a", 1, None), t.reauth("a", "b", 5, None), t.auth("b", 9, "alice"),
        )),
        Scenario("the new id moves to another user", (
            t.auth("a", 1), t.reauth("a", "b", 5), t.auth("b", 5.5), t.auth("b", 9, "bob"), t.error("a", 11, None),
        )),
        Scenario("the old id moves to the same user", (
            t.auth("a", 1, "alice"), t.reauth("a", "b", 5, "bob", old_owner="alice"), t.error("a", 9, "bob"),
        )),
        Scenario("through an id without an owner to another user", (
            t.auth("a", 1), t.reauth("a", "b", 5, None, old_owner="alice"),
            t.reauth("b", "c", 9, "bob", old_owner=None), t.auth("c", 9.5, "bob"),
        )),
        Scenario("through an id without an owner and back", (
            t.auth("a", 1), t.reauth("a", "b", 5, None, old_owner="alice"),
            t.reauth("b", "c", 9, "alice", old_owner=None), t.error("c", 11, None),
        )),
        Scenario("through another user's id and back", (
            t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner="alice"),
            t.reauth("b", "c", 9, "alice", old_owner="bob"), t.deauth("c", 11, None),
        )),
        Scenario("a cycle with two owners", (
            t.auth("a", 1), t.reauth("a", "b", 5, None, old_owner="alice"),
            t.reauth("b", "c", 5, "bob", old_owner=None), t.reauth("c", "a", 5, "alice", old_owner="bob"),
        )),
        Scenario("the first owner logs in again", (
            t.auth("a", 1), t.reauth("a", "b", 5, "bob", old_owner="alice"), t.auth("a", 9, "alice"),
        )),
        Scenario("a verification names another owner", (
            t.auth("a", 1), t.found("a", 5, "bob"), t.auth("a", 3, "alice"),
        )),
    ]  # fmt: skip


def scopes(by: ScenarioBuilder) -> list[Scenario]:
    """Granted scopes."""
    t = by
    return [
        Scenario("lists", (
            t.auth("a", 1, scopes="A,B"), t.permissions("a", 5, scopes="B, C", added="C", removed="A"),
            t.permissions("a", 9, scopes="C", removed="B"),
        )),
        Scenario("changes", (
            t.auth("a", 1, scopes="A,B"), t.permissions("a", 5, added="C", removed="A"),
            t.permissions("a", 9, added="A,D", removed="C,B"),
        )),
        Scenario("changes without a list", (
            t.auth("a", 3), t.permissions("a", 1, added="A,B"), t.permissions("a", 5, removed="A"),
        )),
        Scenario("changes and lists", (
            t.auth("a", 1, scopes="A"), t.permissions("a", 5, added="B"), t.auth("a", 9, scopes="A"),
            t.permissions("a", 13, removed="A", added=None), t.found("a", 11, scopes="A,C"), t.permissions("a", 7),
        )),
        Scenario("changes and a list at one position", (
            t.auth("a", 5, scopes="A,B"), t.permissions("a", 5, removed="A", added="C"),
            t.permissions("a", 5, added="A"),
        )),
        Scenario("added and removed in one event", (
            t.auth("a", 1, scopes="A"), t.permissions("a", 5, added="A,B", removed="A,B"),
        )),
        Scenario("two lists at one position", (t.auth("a", 5, scopes="A"), t.permissions("a", 5, scopes="B"))),
        Scenario("an empty list removes all scopes", (
            t.auth("a", 1, scopes="A"), t.auth("a", 5, scopes=""), t.auth("a", 9),
        )),
        Scenario("scopes after a disconnect", (
            t.auth("a", 1, scopes="A"), t.deauth("a", 5), t.permissions("a", 9, scopes="B"),
        )),
    ]  # fmt: skip


def verifications(by: ScenarioBuilder) -> list[Scenario]:
    """Syncs and sweeps between the events."""
    t = by
    return [
        Scenario("all webhooks lost", (t.found("a", 5), t.present("a", 9), t.found("a", 15))),
        Scenario("the webhook arrives after a verification", (t.auth("a", 1), t.found("a", 5), t.auth("a", 9))),
        Scenario("a lost disconnect", (t.auth("a", 1), t.absent("a", 5), t.deauth("a", 3))),
        Scenario("presence reverts absence", (t.auth("a", 1), t.absent("a", 5), t.present("a", 9), t.error("a", 2))),
        Scenario("absence and presence at one position", (t.auth("a", 1), t.absent("a", 5), t.present("a", 5))),
        Scenario("presence does not revert a disconnect", (
            t.auth("a", 1), t.deauth("a", 5), t.absent("a", 7), t.present("a", 9),
        )),
        Scenario("absent, and connected again", (t.auth("a", 1), t.absent("a", 5), t.auth("a", 9), t.present("a", 3))),
        Scenario("absent, and found again", (t.auth("a", 1), t.absent("a", 5), t.found("a", 9), t.absent("a", 11))),
        Scenario("presence connects nothing", (t.present("a", 5), t.absent("b", 5), t.error("a", 7))),
        Scenario("a sweep during a reconnect", (
            t.auth("a", 1), t.reauth("a", "b", 9), t.auth("b", 9.5), t.absent("a", 8), t.found("b", 12),
            t.absent("a", 12),
        )),
        Scenario("verifications between other events", (
            t.auth("a", 1), t.error("a", 5), t.found("a", 7), t.absent("a", 10), t.auth("a", 15), t.present("a", 12),
        )),
    ]  # fmt: skip


def repairs(by: ScenarioBuilder) -> list[Scenario]:
    """Logins that repair a connection."""
    t = by
    r = t.repair("issued", of="a", created=100)
    other = t.repair("issued-too", of="b", created=100)
    return [
        Scenario("repaired by a login of the same id", (
            t.auth("a", 1), t.error("a", 50), t.auth("a", 105), t.error("a", 109), t.deauth("a", 111),
        ), (r, other)),
        Scenario("repaired by the id that replaces it", (
            t.auth("a", 1), t.error("a", 50), t.auth("issued", 105), t.reauth("a", "issued", 105.5),
            t.confirmed(r, "issued", 30),
        ), (r, other)),
        Scenario("repaired by another id than the announced one, which is replaced, too", (
            t.auth("a", 1), t.error("a", 50), t.reauth("a", "b", 105), t.reauth("b", "c", 109), t.error("c", 111),
        ), (r,)),
        Scenario("a login at another account", (
            t.auth("a", 1), t.error("a", 50), t.auth("issued", 105), t.failed(r, "access_denied"),
            t.confirmed(r, "issued", 30),
        ), (r, other)),
        Scenario("a login at another account under an id that was not announced", (
            t.auth("a", 1), t.error("a", 50), t.auth("final", 105), t.confirmed(r, "final", 30),
        ), (r, other)),
        Scenario("no old user", (t.auth("a", 1), t.error("a", 50), t.reauth(None, "issued", 105)), (r,)),
        Scenario("an older login", (t.auth("a", 1), t.error("a", 50), t.auth("a", 99.999)), (r,)),
        Scenario("in the second of the newest login", (
            t.auth("a", 100.2), t.error("a", 100.4), t.reauth("a", "issued", 100.8), t.auth("issued", 100.8),
        ), (t.repair("issued", of="a", created=100.6, last_login=100.2),)),
        Scenario("a sync, and then a confirmed redirect", (
            t.auth("a", 1), t.error("a", 50), t.found("a", 101), t.confirmed(r, "a", 99.9), t.failed(r, "unknown"),
        ), (r, other)),
        Scenario("an older confirmation", (t.auth("a", 1), t.error("a", 50), t.confirmed(r, "a", 60)), (r,)),
        Scenario("failed", (
            t.auth("a", 1), t.error("a", 50), t.old_failure("issued", 105, "missing_scopes"),
            t.failed(r, "provider_error"),
        ), (r, other)),
        Scenario("replaced by another user's id", (
            t.auth("a", 1), t.error("a", 50), t.reauth("a", "issued", 105, "bob", old_owner="alice"),
            t.auth("a", 99),
        ), (r,)),
        Scenario("the connection moves to another user and back", (
            t.auth("a", 1), t.auth("a", 105, "bob"), t.auth("a", 109), t.announced(r),
        ), (r,)),
        Scenario("the replaced id connects again", (
            t.auth("a", 1), t.reauth("a", "issued", 105), t.found("a", 109), t.deauth("issued", 111),
        ), (r,)),
        Scenario("of another provider", (
            t.auth("a", 1), t.error("a", 50), t.auth("a", 105, provider="GARMIN"), t.announced(r),
            t.auth("issued", 107, provider="GARMIN"),
        ), (r,)),
    ]  # fmt: skip


def sessions(by: ScenarioBuilder) -> list[Scenario]:
    """Sessions and their redirects."""
    t = by
    s = t.attempt("issued", created=100)
    other = t.attempt("issued-too", created=103)
    garmin = t.attempt("issued-garmin", created=101, resource="GARMIN")
    google = t.attempt("issued-google", created=101, resource="GOOGLE")
    return [
        Scenario("connected under the announced id", (
            t.auth("issued", 105), t.failed(s, "access_denied"), t.deauth("issued", 109),
        ), (s, other)),
        Scenario("confirmed by its redirect", (t.confirmed(s, "issued", 30), t.auth("issued", 105)), (s, other)),
        Scenario("confirmed under another id", (t.confirmed(s, "final", 30), t.auth("final", 105)), (s, garmin)),
        Scenario("the redirect and the webhook of a reconnect", (
            t.auth("old", 1), t.confirmed(s, "issued", 30), t.reauth("old", "issued", 105), t.auth("issued", 105.5),
            t.failed(s, "unknown"),
        ), (s, other)),
        Scenario("connected under ids that were not announced", (
            t.auth("old", 1), t.auth("final", 105), t.auth("final-garmin", 106, provider="GARMIN"),
        ), (s, other, garmin)),
        Scenario("replaced after the login", (
            t.auth("issued", 105), t.reauth("issued", "new", 109), t.deauth("new", 110),
        ), (s,)),
        Scenario("a sync of an older connection", (
            t.auth("old", 1), t.found("old", 105), t.absent("issued", 105),
        ), (s, garmin)),
        Scenario("a sync finds the announced id", (
            t.auth("old", 1), t.found("issued", 105), t.failed(s, "unknown"),
        ), (s,)),
        Scenario("the first second of the session counts", (
            t.auth("final", 100, ordering=None), t.auth("late", 99.999),
        ), (t.attempt("issued", created=100.9),)),
        Scenario("failures", (
            t.old_failure("issued", 105, "missing_scopes"), t.failed(s, "unknown"), t.failed(s, "provider_error"),
            t.cancelled(106),
        ), (s, other)),
        Scenario("a failure, and then a login", (
            t.old_failure("issued", 105, "access_denied"), t.old_failure("issued", 106, None), t.auth("issued", 107),
            t.failed(s, "access_denied"), t.failed(other, "unknown"), t.deauth("issued", 108),
        ), (s, other)),
        Scenario("a failure while another connection exists", (
            t.auth("old", 1), t.error("old", 104), t.failed(s, "access_denied"), t.found("old", 106),
        ), (s, garmin)),
        Scenario("the old id is logged in again", (
            t.auth("old", 1), t.deauth("old", 50), t.auth("old", 105),
        ), (s, other)),
        Scenario("an event names another user first", (
            t.auth("final", 105, "bob"), t.auth("final", 107), t.auth("b", 105),
        ), (s,)),
        Scenario("announced, and no event names a user", (
            t.announced(s), t.auth("issued", 105, None), t.deauth("issued", 109, None), t.auth("issued", 111, None),
        ), (s, other)),
        Scenario("announced, and an event names another user", (
            t.announced(s), t.auth("issued", 105, "bob"), t.auth("issued", 107, None), t.failed(s, "unknown"),
        ), (s, other)),
        Scenario("announced, and the owner changes", (
            t.announced(s), t.auth("issued", 105, None), t.auth("issued", 107, "bob"), t.auth("issued", 109),
            t.old_failure("issued", 111, "missing_scopes", None),
        ), (s, other)),
        Scenario("announced, and a reconnect names no user", (
            t.announced(s), t.auth("old", 1), t.reauth("old", "issued", 105, None, old_owner=None),
            t.auth("issued", 105.5, None),
        ), (s, other)),
        Scenario("announced, and replaced by another user's id", (
            t.announced(s), t.auth("issued", 105, None), t.reauth("issued", "new", 109, "bob", old_owner=None),
        ), (s, other)),
        Scenario("announced, without an event", (
            t.announced(s), t.announced(other), t.failed(s, "unknown"),
        ), (s, other)),
        Scenario("announced, and the login failed", (
            t.announced(s), t.old_failure("issued", 105, "access_denied", None), t.present("issued", 107),
        ), (s, other)),
        Scenario("announced, and of another provider", (
            t.announced(s), t.auth("issued", 105, provider="GARMIN"), t.old_failure("issued", 106, "access_denied"),
        ), (s, garmin)),
        Scenario("of a provider that was never named", (
            t.announced(s), t.auth("issued", 105, provider=None), t.auth("final", 106, provider=None),
        ), (s, other)),
        Scenario("a provider by its other name", (
            t.auth("final", 105, provider="GOOGLEFIT"), t.auth("issued-google", 106, provider="GOOGLEFIT"),
        ), (google, s)),
    ]  # fmt: skip


def widgets(by: ScenarioBuilder) -> list[Scenario]:
    """Sessions on Terra's own page, where the user picks the provider."""
    t = by
    w, other = t.widget_attempt(created=100), t.widget_attempt("other", created=101)
    s = t.attempt("issued", created=102)
    return [
        Scenario("the event names the widget session", (
            t.auth("a", 105, widget="widget"), t.deauth("a", 109), t.activity("a", 106), t.failed(w, "unknown"),
        ), (w, other, s)),
        Scenario("without an owner, then with another one", (
            t.auth("a", 105, None, widget="widget"), t.auth("a", 107), t.auth("a", 109, "bob"),
        ), (w, other)),
        Scenario("events without a widget session", (
            t.auth("a", 105), t.auth("b", 106, provider="GARMIN"), t.cancelled(107),
        ), (w, other, s)),
        Scenario("confirmed by its redirect", (
            t.confirmed(w, "a", 30), t.auth("a", 105, widget="widget"), t.found("b", 30), t.failed(w, "access_denied"),
        ), (w, other)),
        Scenario("cancelled, in both shapes, and then a login", (
            t.cancelled(103, widget="widget"), t.old_failure("a", 104, "missing_scopes"),
            t.cancelled(105, widget="other"), t.auth("a", 107, widget="widget"),
        ), (w, other)),
        Scenario("reconnected", (
            t.auth("old", 1), t.reauth("old", "a", 105), t.auth("a", 105.5, widget="widget"), t.reauth("a", "b", 109),
            t.deauth("b", 111),
        ), (w, other)),
        Scenario("the old id is logged in again", (
            t.auth("a", 1), t.deauth("a", 50), t.auth("a", 105, widget="widget"), t.absent("a", 110),
        ), (w, other)),
        Scenario("it needs the app, and then the app connects", (
            t.found_nothing(w), t.found_nothing(other), t.auth("sdk", 120, provider="APPLE", widget="widget"),
            t.failed(other, "unknown"),
        ), (w, other)),
        Scenario("two accounts from one page", (
            t.auth("a", 105, widget="widget"), t.auth("b", 106, widget="widget"), t.deauth("a", 107),
        ), (w, other)),
        Scenario("the event of the widget session names another user", (
            t.auth("a", 105, "bob", widget="widget"), t.auth("b", 106, widget="widget"), t.failed(w, "unknown"),
        ), (w, other)),
        Scenario("two widget sessions", (
            t.auth("a", 105, widget="widget"), t.auth("b", 106, widget="other"), t.found_nothing(w),
        ), (w, other)),
    ]  # fmt: skip


def signatures(by: ScenarioBuilder) -> list[Scenario]:
    """Unsigned values: trace ids and ordering timestamps, in repeats, retries and forgeries."""
    t = by
    auth, deauth = t.auth("a", 1), t.deauth("a", 5)
    again = t.auth("a", 20)
    reauth, new = t.reauth("a", "b", 5), t.auth("b", 5.5)
    nameless = t.auth("a", 1, None, ordering=None)
    far = "999999999999999"
    return [
        Scenario("retried with the same t", (auth, deauth, again, deauth, auth)),
        Scenario("retried with t refreshed", (auth, retried(auth, 30), deauth, retried(deauth, 30), again)),
        Scenario("retried with t refreshed, without ordering", (nameless, retried(nameless, 3), deauth, again)),
        Scenario("a reconnect retried with t refreshed", (auth, reauth, retried(reauth, 60), new, retried(new, 60))),
        Scenario("captured, under a new trace id", (auth, deauth, captured(deauth, "new"), again)),
        Scenario("captured, under a new trace id, ordered last", (
            auth, deauth, captured(deauth, "new", ordering=far), again, captured(auth, "new-too", ordering=far),
        )),
        Scenario("captured, ordered first", (auth, deauth, captured(deauth, "new", ordering="0"), again)),
        Scenario("captured, without ordering", (auth, deauth, captured(deauth, "new", ordering=None), again)),
        Scenario("captured, with an invalid ordering", (auth, deauth, captured(deauth, "new", ordering="-1e9"), again)),
        Scenario("captured, without a trace id", (auth, deauth, replace(deauth, trace=None, ordering=far), again)),
        Scenario("a captured reconnect ordered last", (
            auth, reauth, new, captured(reauth, "new", ordering=far), t.auth("a", 20), t.deauth("b", 21),
        )),
        Scenario("the trace id of another delivery", (auth, replace(deauth, trace=auth.trace), again)),
        Scenario("without ordering timestamps", (
            t.auth("a", 1, ordering=None), t.deauth("a", 1.2, ordering=None), t.auth("a", 1.9, ordering=None),
            t.error("a", 2, ordering=None),
        )),
        Scenario("an ordering timestamp later than the signature", (
            t.auth("a", 1, ordering=far), t.deauth("a", 5), t.auth("a", 4, ordering=far),
        )),
    ]  # fmt: skip


def everything(by: ScenarioBuilder) -> dict[str, Sequence[Scenario]]:
    """Return every list of scenarios by its name."""
    lists: Iterable[Any] = (
        lifecycles,
        errors,
        reconnects,
        owners,
        scopes,
        verifications,
        sessions,
        repairs,
        widgets,
        signatures,
    )
    return {build.__name__: build(by) for build in lists}
