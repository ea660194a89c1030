"""The start of a session: a login link from Terra, and the stored session of the user."""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from terra_connections.connections.store import ConnectionStore
from terra_connections.dynamodb import RetryBudget
from terra_connections.errors import (
    ErasureInProgress,
    InputRefused,
    RequestInProgress,
    TooManySessions,
    UnknownResource,
)
from terra_connections.ids import ReferenceId, SessionId
from terra_connections.sessions.idempotency import Claim, ClaimStore
from terra_connections.sessions.return_target import ReturnTargets
from terra_connections.sessions.session import (
    OPEN_FOR,
    Flow,
    Repair,
    Session,
    SessionStatus,
    SessionView,
    hash_secret,
    new_secret,
)
from terra_connections.sessions.store import SessionStore
from terra_connections.terra.client import TerraClient
from terra_connections.terra.models import LoginRequest
from terra_connections.terra.provider_cache import ProviderCache
from terra_connections.users.store import SESSION_KEPT_FOR, UserStore


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """The parameters of a new session.

    Attributes:
        reference_id: the user.
        resource: the provider; None lets the user pick one.
        resources: the providers that the user may pick from; empty means all of them.
        return_to: the name of the return target, if any.
        language: the user's language, if known.
        repairs: the connection that the login repairs, if any; `resource` is then its provider.
    """

    reference_id: ReferenceId
    resource: str | None
    resources: tuple[str, ...]
    return_to: str | None
    language: str | None
    repairs: Repair | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The result of starting a session.

    Attributes:
        answer: `Session` of openapi.yaml, with its `auth_url`.
        is_replay: whether it is the stored response to the first request with the same Idempotency-Key.
    """

    answer: dict[str, Any]
    is_replay: bool = False


def start_session(  # noqa: PLR0913 - one keyword for each dependency
    request: SessionRequest,
    claim: Claim | None,
    *,
    base_url: str,
    now: datetime,
    open_limit: int,
    terra: TerraClient,
    providers: ProviderCache,
    return_targets: ReturnTargets,
    sessions: SessionStore,
    claims: ClaimStore,
    connections: ConnectionStore,
    users: UserStore,
    count_login: Callable[[str], None],
) -> Started:
    """Create a session, or return the one that the same request created before.

    Args:
        request: the user, the provider or providers, and the return target.
        claim: the claim for the request's idempotency key, if it has one.
        base_url: this stack's own base URL. Terra redirects the browser only to it.
        now: the session's creation time.
        open_limit: the limit of the user's unfinished logins; 0 means no limit.
        terra: the API that prepares the login.
        providers: read only after Terra has rejected a request; the cached list then avoids further such requests.
        return_targets: the configured targets.
        sessions: the store of the session.
        claims: the store of the claim.
        connections: stores the owner of the `user_id` that Terra issues.
        users: shows how many logins the user has started, and whether the user is being erased.
        count_login: counts the new session as `begun`.

    Raises:
        UnknownReturnTarget, RequestInProgress, IdempotencyKeyReused: Terra was not called.
        TooManySessions, UnknownResource, SdkOnlyProvider, InputRefused, TerraRejected, TerraUnavailable,
            TooManyRequests: the idempotency key can be used again.
    """
    if request.return_to is not None:
        return_targets.check(request.return_to)
    earlier = None if claim is None else claims.claim(claim, now=now)
    if earlier is not None:
        return Started(earlier, is_replay=True)
    try:
        if open_limit:
            _enforce_open_limit(request.reference_id, open_limit, sessions=sessions, users=users, now=now)
        new = _new_session(request, claim, now=now)
        session, answer = _prepare_login(new, base_url=base_url, terra=terra, providers=providers, now=now)
        _store(session, claim, answer, sessions=sessions, claims=claims, connections=connections)
    except Exception:
        if claim is not None:
            claims.release(claim)
        raise
    count_login("begun")
    return Started(answer)


def start_again(session: Session, *, start: Callable[[SessionRequest, Claim], Started]) -> dict[str, Any]:
    """Create a session with the parameters of a failed one; every retry returns the same new session.

    Concurrent requests wait for the first one: a browser shows the response to the last press of a button.

    Args:
        session: the failed session.
        start: `start_session` with its dependencies.

    Raises:
        NotDurable: the wait for the first request took too long.
        UnknownReturnTarget, TooManySessions, UnknownResource, SdkOnlyProvider, InputRefused, TerraRejected,
            TerraUnavailable, TooManyRequests: as in `start_session`.
    """
    request = SessionRequest(
        session.reference_id,
        session.resource,
        session.resources,
        session.return_to,
        session.language,
        session.repairs,
    )
    claim = Claim(session.retry_claim_id, secrets.token_hex(16), session.failure_hash)
    retry_budget = RetryBudget()
    while True:
        try:
            return start(request, claim).answer
        except RequestInProgress:
            retry_budget.wait()


def _enforce_open_limit(
    reference_id: ReferenceId, limit: int, *, sessions: SessionStore, users: UserStore, now: datetime
) -> None:
    """Limit the unfinished logins of a user, because each one creates a permanently unused user at Terra.

    The logins of the last hour are read by key. The index is queried for the open ones only if these reach the limit.
    Erased open sessions count until they would have expired. Concurrent requests may exceed the limit.

    Raises:
        ErasureInProgress: the user is being erased.
        TooManySessions: the limit is reached until one of the sessions ends.
    """
    now_ms = int(now.timestamp() * 1000)
    standing = users.standing(reference_id, now=now)
    if standing.erased_until is not None and standing.erased_until >= now_ms:
        message = "This user is being erased. Begin a new login afterwards."
        raise ErasureInProgress(message)
    an_hour_ago = now_ms - int(OPEN_FOR.total_seconds() * 1000)
    begun = [name for name in standing.begun if name.kind == "session" and name.at > an_hour_ago]
    if len(begun) + len(standing.ends_of_erased) < limit:
        return
    ends = sorted([*sessions.open_session_expiries(reference_id, now=now), *standing.ends_of_erased])
    if len(ends) >= limit:
        message = f"This user has {len(ends)} unfinished logins, and may have {limit}."
        wait = ends[-limit] / 1000 - now.timestamp()
        raise TooManySessions(message, retry_after=math.ceil(wait))


@dataclass(frozen=True, slots=True)
class _NewSession:
    """A session before Terra has prepared its login, with the secrets of its two redirects."""

    session: Session
    success: str
    failure: str

    def login(self, base_url: str) -> LoginRequest:
        """Return the request to Terra."""
        session_id = self.session.session_id
        return LoginRequest(
            reference_id=self.session.reference_id,
            language=self.session.language,
            success_url=f"{base_url}/auth/success?{urlencode({'session': session_id, 'state': self.success})}",
            failure_url=f"{base_url}/auth/failure?{urlencode({'session': session_id, 'state': self.failure})}",
        )


def _new_session(request: SessionRequest, claim: Claim | None, *, now: datetime) -> _NewSession:
    success, failure = new_secret(), new_secret()
    session = Session(
        session_id=SessionId(secrets.token_urlsafe(16)),
        reference_id=request.reference_id,
        flow=Flow.PROVIDER if request.resource else Flow.WIDGET,
        resource=request.resource,
        user_id=None,
        success_hash=hash_secret(success),
        failure_hash=hash_secret(failure),
        return_to=request.return_to,
        language=request.language,
        resources=tuple(dict.fromkeys(request.resources)),
        claim_id=None if claim is None else claim.claim_id,
        repairs=request.repairs,
        created_at=int(now.timestamp() * 1000),
        expires_at=int((now + OPEN_FOR).timestamp() * 1000),
        ttl=int((now + SESSION_KEPT_FOR).timestamp()),
    )
    return _NewSession(session, success, failure)


def _prepare_login(
    new: _NewSession, *, base_url: str, terra: TerraClient, providers: ProviderCache, now: datetime
) -> tuple[Session, dict[str, Any]]:
    """Prepare the login at Terra; return the session with Terra's id of it, and the response to the request."""
    session, login = new.session, new.login(base_url)
    warnings: tuple[str, ...] = ()
    if session.resource is None:
        try:
            widget = terra.widget_session(login, resources=session.resources)
        except InputRefused as refused:
            raise providers.explained(refused, session.resources) from refused
        auth_url, warnings = widget.url, widget.warnings
        if warnings and session.resources:
            # Terra does not document what the page offers if it knows none of the providers; it may offer all.
            providers.require_one_of(session.resources)
        # The session expires with Terra's link: after that, the link no longer works.
        link_ends = int((now + widget.open_for).timestamp() * 1000)
        session = replace(session, widget_session_id=widget.session_id, expires_at=min(session.expires_at, link_ends))
    else:
        providers.check(session.resource)
        try:
            issued = terra.authenticate_user(login, resource=session.resource)
        except (UnknownResource, InputRefused) as refused:
            raise providers.explained(refused, [session.resource]) from refused
        auth_url = issued.auth_url
        session = replace(session, user_id=issued.user_id)
    view = SessionView(session, SessionStatus.PENDING)
    answer = {**view.as_json(), "auth_url": auth_url}
    return session, {**answer, "warnings": list(warnings)} if warnings else answer


def _store(
    session: Session,
    claim: Claim | None,
    answer: dict[str, Any],
    *,
    sessions: SessionStore,
    claims: ClaimStore,
    connections: ConnectionStore,
) -> None:
    """Store a new session, the response for its idempotency key, and the owner of the `user_id`, in one write.

    Raises:
        RequestInProgress: the claim expired, and another request has claimed the key.
        ErasureInProgress: the user was erased after the request arrived, or is being erased.
    """
    writes = [sessions.creation(session)]
    if claim is not None:
        writes.append(claims.settlement(claim, answer, expires_at=session.expires_at))
    stored = connections.record(session.announcement, together_with=writes, are_new=True, begun=session.begun)
    if stored is None:
        message = "Another request with this Idempotency-Key took over."
        raise RequestInProgress(message)
