"""One attempt to connect, from "Connect" in the app to an outcome that Terra vouches for."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from terra_connections.connections.connection import UNKNOWN_PROVIDER, iso
from terra_connections.connections.facts import Facts, Kind, Position, announced
from terra_connections.connections.lineage import Family
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.users.store import Begun, Name

OPEN_FOR = timedelta(hours=1)
"""After this a session nobody finished is shown as expired."""


class Flow(StrEnum):
    """Who picks the provider: the app (`provider`), or the person, on Terra's own page (`widget`)."""

    PROVIDER = "provider"
    WIDGET = "widget"


class SessionStatus(StrEnum):
    """As the contract names them; a session's status only rises."""

    PENDING = "pending"
    CONNECTED = "connected"
    NEEDS_APP = "needs_app"
    FAILED = "failed"
    EXPIRED = "expired"


class Reason(StrEnum):
    """Why a login failed: the contract's closed list, the most telling one last."""

    UNKNOWN = "unknown"
    PROVIDER_ERROR = "provider_error"
    MISSING_SCOPES = "missing_scopes"
    ACCESS_DENIED = "access_denied"


_SPECIFICITY = {reason: rank for rank, reason in enumerate(Reason)}
_TOLD_AS = {
    "server_error": Reason.PROVIDER_ERROR,
    "temporarily_unavailable": Reason.PROVIDER_ERROR,
    "user_denied": Reason.ACCESS_DENIED,
    "user_cancelled_login": Reason.ACCESS_DENIED,
}


_OTHER_NAMES = {"GOOGLEFIT": "GOOGLE"}
"""Source: Terra's help centre, "Google vs. GoogleFit enum": both occur for the same provider."""


def reason_from(text: object) -> Reason:
    """Terra's free text, which anybody may have written, as one of the closed list."""
    if not isinstance(text, str):
        return Reason.UNKNOWN
    told = text.strip().lower()
    return Reason(told) if told in set(Reason) else _TOLD_AS.get(told, Reason.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Report:
    """What Terra's events say of a login that they name by its widget session's id, in whatever order they come.

    Attributes:
        widget_session_id: the login, by Terra's id.
        user_ids: whom it connected.
        reasons: why it failed.
    """

    widget_session_id: SessionId
    user_ids: frozenset[UserId] = frozenset()
    reasons: frozenset[Reason] = frozenset()


@dataclass(frozen=True, slots=True)
class Session:
    """One attempt, as it is stored.

    Attributes:
        resource: the provider that the app picked; None where the person picks.
        resources: the providers that the person may pick from; empty means all of them.
        success_hash, failure_hash: SHA-256 of the secrets that only the success and only the failure redirect carry.
        retry_hashes: SHA-256 of the secrets that only the buttons "Try again" carry, one for each page that was shown.
        user_id: the id that Terra issued before the login; nothing promises that it is the final one. None where the
            person picks: then there is a `widget_session_id`.
        confirmed_user_ids: what Terra has said that this very login connected.
        failed_reasons: why it failed, from failure redirects and from Terra.
        needs_app: a success redirect came, and Terra knew of nothing new.
        claim_id: the idempotency claim that it answers, if any.
        created_at, expires_at: unix milliseconds.
        ttl: unix seconds.
    """

    session_id: SessionId
    reference_id: ReferenceId
    flow: Flow
    resource: str | None
    user_id: UserId | None
    success_hash: str
    failure_hash: str
    return_to: str | None
    language: str | None
    created_at: int
    expires_at: int
    ttl: int
    widget_session_id: SessionId | None = None
    resources: tuple[str, ...] = ()
    claim_id: str | None = None
    confirmed_user_ids: frozenset[UserId] = frozenset()
    failed_reasons: frozenset[Reason] = frozenset()
    needs_app: bool = False
    retry_hashes: frozenset[str] = frozenset()

    @property
    def retry_claim_id(self) -> str:
        """The idempotency claim of "Try again": however many buttons are pressed, one session takes its place."""
        return f"retry:{self.session_id}"

    @property
    def named_user_ids(self) -> tuple[UserId, ...]:
        """The connections that this session would be about, the likeliest first."""
        issued = () if self.user_id is None else (self.user_id,)
        return (*issued, *sorted(self.confirmed_user_ids.difference(issued)))

    @property
    def announcement(self) -> list[Facts]:
        """What Terra's answer to the new session says: whose the issued `user_id` is. Nothing without one."""
        if self.user_id is None:
            return []
        return [announced(self.user_id, self.reference_id, Position(self.created_at))]

    @property
    def begun(self) -> Begun:
        """What an erasure of the user has to find of this login, and what explains the connection that it makes."""
        providers = (self.resource,) if self.resource is not None else self.resources or ("*",)
        names = [Name(self.created_at, "session", self.session_id)]
        names += [Name(self.created_at, "provider", provider) for provider in providers]
        if self.widget_session_id is not None:
            names.append(Name(self.created_at, "widget", self.widget_session_id))
        return Begun(self.reference_id, self.created_at, tuple(names))

    @property
    def comes_back(self) -> Begun:
        """The same of a login that was begun before: its names are kept already."""
        return Begun(self.reference_id, self.created_at, ())

    def is_open(self, now_ms: float) -> bool:
        """Whether no redirect has finished it and it has not expired, as far as it is known without asking further."""
        return now_ms < self.expires_at and not (self.confirmed_user_ids or self.failed_reasons or self.needs_app)

    def allows(self, provider: str | None) -> bool:
        """Whether a connection of this provider can be what this session was for."""
        asked = (self.resource,) if self.flow is Flow.PROVIDER else self.resources
        return not asked or _by_one_name(provider) in map(_by_one_name, asked)

    def accepts(self, facts: Facts) -> bool:
        """Whether a connection that this login is known to have made counts for it.

        It may be that nobody knows whose it is, or of which provider. It must not be another user's, nor of a provider
        that the session does not allow.
        """
        provider = facts.text(Kind.PROVIDER)
        return facts.owner in (None, self.reference_id) and (
            provider in (None, UNKNOWN_PROVIDER) or self.allows(provider)
        )

    def with_report(self, report: Report) -> "Session":
        """This session, and what Terra has reported of it."""
        return replace(
            self,
            confirmed_user_ids=self.confirmed_user_ids | report.user_ids,
            failed_reasons=self.failed_reasons | report.reasons,
        )


def _by_one_name(provider: str | None) -> str | None:
    """A provider that Terra calls by two names, by one of them."""
    return _OTHER_NAMES.get(provider, provider) if provider else provider


def new_secret() -> str:
    """A secret of 256 random bits."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_one_of(hashes: Iterable[str], secret: str) -> bool:
    """Whether a secret is one of those of which these hashes are stored."""
    given = hash_of(secret).encode()
    return any(hmac.compare_digest(stored.encode(), given) for stored in hashes)


@dataclass(frozen=True, slots=True)
class SessionView:
    """What people see of a session, as the contract's `Session`."""

    session: Session
    status: SessionStatus
    reason: Reason | None = None
    user_id: UserId | None = None
    provider: str | None = None

    @property
    def resource(self) -> str | None:
        """The provider that the app picked, or the one that the person has connected."""
        return self.session.resource or self.provider

    def may_be_retried(self, *, now: datetime) -> bool:
        """Whether a new session may take its place at the person's own wish: it has failed, and lately."""
        return self.status is SessionStatus.FAILED and now.timestamp() * 1000 < self.session.expires_at

    def as_json(self) -> dict[str, Any]:
        """The contract's shape, without `auth_url`."""
        return {
            "session_id": self.session.session_id,
            "status": self.status,
            "reason": self.reason,
            "reference_id": self.session.reference_id,
            "resource": self.resource,
            "user_id": self.user_id,
            "created_at": iso(self.session.created_at),
            "expires_at": iso(self.session.expires_at),
        }


def connected_by_name(session: Session, family: Family) -> UserId | None:
    """The connection that this very login made, by the id that it goes by now.

    Having been connected counts, whatever happened to the connection since, unless Terra has said that it is another
    user's, or of another provider.
    """
    found = (_goes_by(user_id, session, family) for user_id in session.named_user_ids)
    return next((user_id for user_id in found if user_id is not None), None)


def _goes_by(user_id: UserId, session: Session, family: Family) -> UserId | None:
    """The id that a connection of this session goes by now, or its own where that one is another user's."""
    for candidate in (family.current(user_id), user_id):
        facts = family.facts(candidate)
        if facts is not None and family.was_connected(candidate) and session.accepts(facts):
            return candidate
    return None


def connected_by_person(session: Session, of_person: Iterable[Facts]) -> UserId | None:
    """A connection of this person and provider that was made since the session began, under an id nobody announced.

    One that asking Terra only found standing since then is none: a sync finishes nobody's login.
    """
    # A position can be exact to the second only: what happened in the session's first second is since.
    since = session.created_at // 1000 * 1000
    known = list(of_person)
    candidates = [
        (at, facts.user_id)
        for facts in known
        if facts.owner == session.reference_id
        and session.allows(facts.text(Kind.PROVIDER))
        and (at := facts.at(Kind.LOGIN)) is not None
        and at >= since
    ]
    return _goes_by(min(candidates)[1], session, Family(known)) if candidates else None


def view_of(
    session: Session,
    *,
    connected: UserId | None,
    provider: str | None = None,
    told: Iterable[Reason] = (),
    now: datetime,
) -> SessionView:
    """The session's status, from what is known now.

    Args:
        session: the attempt, with what the redirects brought and Terra reported of it.
        connected: the connection that it led to, if any.
        provider: that connection's.
        told: why it failed, as Terra's events about its connections have it.
        now: for `expired`, which is computed and never stored.
    """
    if connected is not None:
        return SessionView(session, SessionStatus.CONNECTED, user_id=connected, provider=provider)
    reasons = session.failed_reasons | set(told)
    if reasons:
        return SessionView(session, SessionStatus.FAILED, reason=max(reasons, key=_SPECIFICITY.__getitem__))
    if session.needs_app:
        return SessionView(session, SessionStatus.NEEDS_APP)
    expired = now.timestamp() * 1000 >= session.expires_at
    return SessionView(session, SessionStatus.EXPIRED if expired else SessionStatus.PENDING)
