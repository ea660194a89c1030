"""A session: one login, from "Connect" in the app to an outcome that Terra has confirmed."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from terra_connections.connections.connection import UNKNOWN_PROVIDER, format_timestamp
from terra_connections.connections.facts import Facts, Kind, Position, announcement_facts
from terra_connections.connections.lineage import Lineage
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.users.store import Begun, Name

OPEN_FOR = timedelta(hours=1)
"""An unfinished session is shown as expired after this time."""
OTHER_ACCOUNT_AFTER = timedelta(seconds=30)
"""How long a login that repairs a connection waits for the `user_reauth` of the connection that it made."""


class Flow(StrEnum):
    """Who picks the provider: the app (`provider`), or the user on Terra's own page (`widget`)."""

    PROVIDER = "provider"
    WIDGET = "widget"


class SessionStatus(StrEnum):
    """The status of a session, as in openapi.yaml. It only ever advances."""

    PENDING = "pending"
    CONNECTED = "connected"
    NEEDS_APP = "needs_app"
    FAILED = "failed"
    EXPIRED = "expired"


class Reason(StrEnum):
    """The reason of a failed login: the closed list of openapi.yaml, the most specific one last."""

    UNKNOWN = "unknown"
    PROVIDER_ERROR = "provider_error"
    MISSING_SCOPES = "missing_scopes"
    ACCESS_DENIED = "access_denied"
    OTHER_ACCOUNT = "other_account"


_SPECIFICITY = {reason: rank for rank, reason in enumerate(Reason)}
_REASONS = {
    "server_error": Reason.PROVIDER_ERROR,
    "temporarily_unavailable": Reason.PROVIDER_ERROR,
    "user_denied": Reason.ACCESS_DENIED,
    "user_cancelled_login": Reason.ACCESS_DENIED,
    # Computed from the connections only: see `made_other_connection`.
    Reason.OTHER_ACCOUNT.value: Reason.UNKNOWN,
}


_OTHER_NAMES = {"GOOGLEFIT": "GOOGLE"}
"""Source: Terra's help centre, "Google vs. GoogleFit enum": both occur for the same provider."""


def reason_from(text: object) -> Reason:
    """Map Terra's free text, which is untrusted, to a reason of the closed list."""
    if not isinstance(text, str):
        return Reason.UNKNOWN
    name = text.strip().lower()
    return _REASONS.get(name) or (Reason(name) if name in set(Reason) else Reason.UNKNOWN)


@dataclass(frozen=True, slots=True)
class WidgetReport:
    """The data in Terra's events about a login with a widget session id; the events can arrive in any order.

    Attributes:
        widget_session_id: Terra's id of the login.
        user_ids: the `user_id`s that it connected.
        reasons: the reasons why it failed.
    """

    widget_session_id: SessionId
    user_ids: frozenset[UserId] = frozenset()
    reasons: frozenset[Reason] = frozenset()


@dataclass(frozen=True, slots=True)
class Repair:
    """The connection that a session repairs.

    Attributes:
        user_id: its `user_id` when the session was created.
        last_login: the position of its newest login that was known then; 0 if none was.
    """

    user_id: UserId
    last_login: Position


@dataclass(frozen=True, slots=True)
class Session:
    """One login, as it is stored.

    Attributes:
        resource: the provider that the app picked; None if the user picks it.
        resources: the providers that the user may pick from; empty means all of them.
        success_hash, failure_hash: SHA-256 of the secrets of the success redirect and of the failure redirect.
        retry_hashes: SHA-256 of the secrets of the buttons "Try again", one for each page that was shown.
        user_id: the id that Terra issued before the login; it is not guaranteed to be the final one. None if the user
            picks the provider: the session then has a `widget_session_id`.
        confirmed_user_ids: the `user_id`s that this login connected, as confirmed by Terra.
        failed_reasons: the reasons of the failure, from failure redirects and from Terra.
        needs_app: a success redirect arrived, and Terra had no new connection.
        claim_id: the idempotency claim of its request, if any.
        repairs: the connection that this login repairs, if any. Only its recovery connects the session.
        created_at, expires_at: in Unix milliseconds.
        ttl: in Unix seconds.
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
    repairs: Repair | None = None
    confirmed_user_ids: frozenset[UserId] = frozenset()
    failed_reasons: frozenset[Reason] = frozenset()
    needs_app: bool = False
    retry_hashes: frozenset[str] = frozenset()

    @property
    def retry_claim_id(self) -> str:
        """The idempotency claim of "Try again": one new session, however many buttons are pressed."""
        return f"retry:{self.session_id}"

    @property
    def candidate_user_ids(self) -> tuple[UserId, ...]:
        """The `user_id`s that this session can have connected, the most likely one first."""
        issued = () if self.user_id is None else (self.user_id,)
        return (*issued, *sorted(self.confirmed_user_ids.difference(issued)))

    @property
    def announcement(self) -> list[Facts]:
        """The owner of the `user_id` that Terra issued for the new session; empty without one."""
        if self.user_id is None:
            return []
        return [announcement_facts(self.user_id, self.reference_id, Position(self.created_at))]

    @property
    def begun(self) -> Begun:
        """The names of this login, by which an erasure finds it and its connection is attributed to it."""
        providers = (self.resource,) if self.resource is not None else self.resources or ("*",)
        names = [Name(self.created_at, "session", self.session_id)]
        names += [Name(self.created_at, "provider", provider) for provider in providers]
        if self.widget_session_id is not None:
            names.append(Name(self.created_at, "widget", self.widget_session_id))
        return Begun(self.reference_id, self.created_at, tuple(names))

    @property
    def comes_back(self) -> Begun:
        """The same for an earlier login, whose names are already stored."""
        return Begun(self.reference_id, self.created_at, ())

    def is_open(self, now_ms: float) -> bool:
        """Whether it has not expired and no redirect has finished it, according to this item alone."""
        return now_ms < self.expires_at and not (self.confirmed_user_ids or self.failed_reasons or self.needs_app)

    def allows(self, provider: str | None) -> bool:
        """Whether the session allows a connection of this provider."""
        allowed = (self.resource,) if self.flow is Flow.PROVIDER else self.resources
        return not allowed or _by_one_name(provider) in map(_by_one_name, allowed)

    def accepts(self, facts: Facts) -> bool:
        """Whether a connection that this login has made is accepted as its result.

        Its owner and its provider may be unknown. It must not be another user's, nor of a provider that the session
        does not allow.
        """
        provider = facts.text(Kind.PROVIDER)
        return facts.owner in (None, self.reference_id) and (
            provider in (None, UNKNOWN_PROVIDER) or self.allows(provider)
        )

    def is_repaired_by(self, facts: Facts, repair: Repair) -> bool:
        """Whether facts about a `user_id` of the connection show that it recovered after the session was created.

        A login counts, or a replacement, as Terra has signed it; else Terra's answer after a redirect of this session.
        Each is newer than every error that was known before the session.
        """
        # A position may only be exact to the second, so the first second of the session counts: see `last_login`.
        since = max(self.created_at // 1000 * 1000, repair.last_login + 1)
        signed = [at for kind in (Kind.LOGIN, Kind.REPLACED_BY) if (at := facts.at(kind)) is not None]
        confirmed_at = facts.at(Kind.CONNECTED) if facts.user_id in self.confirmed_user_ids else None
        return max(signed, default=-1) >= since or (confirmed_at is not None and confirmed_at >= self.created_at)

    def with_widget_report(self, report: WidgetReport) -> "Session":
        """Return this session merged with Terra's report about it."""
        return replace(
            self,
            confirmed_user_ids=self.confirmed_user_ids | report.user_ids,
            failed_reasons=self.failed_reasons | report.reasons,
        )


def resource_of(provider: str) -> str:
    """Return the `resource` of a provider, which is its name, except for a provider that has two names at Terra."""
    return _OTHER_NAMES.get(provider, provider)


def _by_one_name(provider: str | None) -> str | None:
    return None if provider is None else resource_of(provider)


def new_secret() -> str:
    """Return a new secret of 256 random bits."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return the hash of a secret; only the hash is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_one_of(hashes: Iterable[str], secret: str) -> bool:
    """Whether the hash of a secret is among these stored hashes."""
    given = hash_secret(secret).encode()
    return any(hmac.compare_digest(stored.encode(), given) for stored in hashes)


@dataclass(frozen=True, slots=True)
class SessionView:
    """The state of a session for users: `Session` in openapi.yaml.

    Attributes:
        is_still_connected: whether the connection that an unfinished repair is about works without it.
    """

    session: Session
    status: SessionStatus
    reason: Reason | None = None
    user_id: UserId | None = None
    provider: str | None = None
    is_still_connected: bool = False

    @property
    def resource(self) -> str | None:
        """The provider that the app picked, or the one that the user has connected."""
        return self.session.resource or self.provider

    def may_be_retried(self, *, now: datetime) -> bool:
        """Whether the user may replace it by a new session: it has failed, and has not expired."""
        return self.status is SessionStatus.FAILED and now.timestamp() * 1000 < self.session.expires_at

    def as_json(self) -> dict[str, Any]:
        """Return the session in the format of openapi.yaml, without `auth_url`."""
        repairs = self.session.repairs
        return {
            "session_id": self.session.session_id,
            "status": self.status,
            "reason": self.reason,
            "reference_id": self.session.reference_id,
            "resource": self.resource,
            "user_id": self.user_id,
            "created_at": format_timestamp(self.session.created_at),
            "expires_at": format_timestamp(self.session.expires_at),
            **({} if repairs is None else {"repairs": repairs.user_id}),
        }


def connection_by_user_id(session: Session, family: Lineage) -> UserId | None:
    """Return the current `user_id` of the connection that this login made, or that it was to repair and that recovered.

    Later changes of the connection do not matter, unless Terra has reported that it is another user's, or of another
    provider.
    """
    if session.repairs is not None:
        return _repaired(session, session.repairs, family)
    found = (_goes_by(user_id, session, family) for user_id in session.candidate_user_ids)
    return next((user_id for user_id in found if user_id is not None), None)


def _repaired(session: Session, repair: Repair, family: Lineage) -> UserId | None:
    """Return the current `user_id` of the repaired connection; None until it, or what replaced it, has recovered."""
    facts = family.facts(family.current(repair.user_id))
    if facts is None or not session.accepts(facts) or family.was_replaced_by_other_owner(repair.user_id):
        return None
    members = family.members(repair.user_id)
    return facts.user_id if any(session.is_repaired_by(member, repair) for member in members) else None


def made_other_connection(session: Session, family: Lineage, *, now: datetime) -> bool:
    """Whether the login of a repair made a connection that does not replace the one to repair: another account's.

    Terra sends `auth` of the new connection and the `user_reauth` that links both in any order, so this waits.
    """
    if session.repairs is None:
        return False
    now_ms = now.timestamp() * 1000
    latest = now_ms if now_ms >= session.expires_at else now_ms - OTHER_ACCOUNT_AFTER.total_seconds() * 1000
    current = family.current(session.repairs.user_id)
    made = [family.facts(user_id) for user_id in session.candidate_user_ids if family.current(user_id) != current]
    logins = [at for facts in made if facts and session.accepts(facts) and (at := facts.at(Kind.LOGIN)) is not None]
    return any(at <= latest for at in logins)


def _goes_by(user_id: UserId, session: Session, family: Lineage) -> UserId | None:
    """Return the current `user_id` of a connection of this session, or the original one if that is another user's."""
    for candidate in (family.current(user_id), user_id):
        facts = family.facts(candidate)
        if facts is not None and family.was_connected(candidate) and session.accepts(facts):
            return candidate
    return None


def connection_by_reference_id(session: Session, of_user: Iterable[Facts]) -> UserId | None:
    """Return a connection of this user and provider that was made after the session started, under an unknown id.

    A connection that was only found by a call to Terra does not count: a sync does not finish a login.
    """
    # A position may only be exact to the second, so the whole first second of the session counts.
    since = session.created_at // 1000 * 1000
    known = list(of_user)
    candidates = [
        (at, facts.user_id)
        for facts in known
        if facts.owner == session.reference_id
        and session.allows(facts.text(Kind.PROVIDER))
        and (at := facts.at(Kind.LOGIN)) is not None
        and at >= since
    ]
    return _goes_by(min(candidates)[1], session, Lineage(known)) if candidates else None


def session_view(
    session: Session,
    *,
    connected: UserId | None,
    provider: str | None = None,
    reported: Iterable[Reason] = (),
    now: datetime,
) -> SessionView:
    """Return the session's view.

    Args:
        session: the session, merged with the data of its redirects and of Terra's report.
        connected: the `user_id` that it connected, if any.
        provider: the provider of that connection.
        reported: the reasons of the failure in Terra's events about its connections.
        now: the current time, for `expired`, which is computed and never stored.
    """
    if connected is not None:
        return SessionView(session, SessionStatus.CONNECTED, user_id=connected, provider=provider)
    reasons = session.failed_reasons | set(reported)
    if reasons:
        return SessionView(session, SessionStatus.FAILED, reason=max(reasons, key=_SPECIFICITY.__getitem__))
    if session.needs_app:
        return SessionView(session, SessionStatus.NEEDS_APP)
    expired = now.timestamp() * 1000 >= session.expires_at
    return SessionView(session, SessionStatus.EXPIRED if expired else SessionStatus.PENDING)
