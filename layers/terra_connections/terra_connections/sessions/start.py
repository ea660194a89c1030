"""The creation of a session."""

import hashlib
import json
import math
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from terra_connections.auth.caller import Caller
from terra_connections.connections.store import ConnectionStore
from terra_connections.dynamodb import RetryBudget
from terra_connections.errors import (
    ErasureInProgress,
    InputRefused,
    InvalidRequest,
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

_MAX_KEY_LENGTH = 255


def idempotency_claim(caller: Caller, idempotency_key: str | None, body: bytes) -> Claim | None:
    """Return the claim for an Idempotency-Key of this caller and body.

    Raises:
        InvalidRequest: the key is empty or too long.
    """
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= _MAX_KEY_LENGTH:
        raise InvalidRequest([("Idempotency-Key", "must have 1 to 255 characters")])
    key = hashlib.sha256(json.dumps([caller.name, caller.subject, idempotency_key]).encode()).hexdigest()
    return Claim(f"idempotency:{key}", secrets.token_hex(16), hashlib.sha256(body).hexdigest())


class SessionRequest(Protocol):
    """The parameters of a new session, from a request's body or from a session that is retried."""

    @property
    def resource(self) -> str | None:
        """The provider; None lets the user pick one."""

    @property
    def resources(self) -> tuple[str, ...]:
        """The providers that the user may pick from; empty means all of them."""

    @property
    def return_to(self) -> str | None:
        """The name of the return target."""


@dataclass(frozen=True, slots=True)
class Started:
    """The result of starting a session.

    Attributes:
        answer: `Session` of openapi.yaml, with its `auth_url`.
        is_replay: whether it is the stored response to the first request with the same Idempotency-Key.
    """

    answer: dict[str, Any]
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class SessionStarter:
    """Starts sessions: gets a login link from Terra, and stores the session of the user."""

    terra: TerraClient
    sessions: SessionStore
    claims: ClaimStore
    connections: ConnectionStore
    users: UserStore
    targets: ReturnTargets
    open_limit: int
    catalogue: ProviderCache
    """Fetched only after Terra has rejected a request; the cached list then avoids further such requests."""

    def start(
        self,
        asked: SessionRequest,
        *,
        person: ReferenceId,
        language: str | None,
        base_url: str,
        claim: Claim | None,
        now: datetime,
    ) -> Started:
        """Create a session, or return the one that the same request created before.

        Args:
            asked: the provider or providers, and the return target.
            person: the user's `reference_id`.
            language: the user's language, if known.
            base_url: this stack's own base URL. Terra redirects the browser only to it.
            claim: the claim for the request's idempotency key, if it has one.
            now: the session's creation time.

        Raises:
            UnknownReturnTarget, RequestInProgress, IdempotencyKeyReused: Terra was not called.
            TooManySessions, UnknownResource, SdkOnlyProvider, InputRefused, TerraRejected, TerraUnavailable,
                TooManyRequests: the idempotency key can be used again.
        """
        if asked.return_to is not None:
            self.targets.check(asked.return_to)
        if claim is None:
            self._enforce_open_limit(person, now=now)
            session, answer = self._ask_terra(
                asked, person=person, language=language, base_url=base_url, claim_id=None, now=now
            )
            self._keep(session, None, answer)
            return Started(answer)
        before = self.claims.claim(claim, now=now)
        if before is not None:
            return Started(before, is_replay=True)
        try:
            self._enforce_open_limit(person, now=now)
            session, answer = self._ask_terra(
                asked, person=person, language=language, base_url=base_url, claim_id=claim.claim_id, now=now
            )
            self._keep(session, claim, answer)
        except Exception:
            self.claims.release(claim)
            raise
        return Started(answer)

    def start_again(self, session: Session, *, base_url: str, now: datetime) -> dict[str, Any]:
        """Create a session with the parameters of a failed one; every retry returns the same new session.

        Concurrent requests wait for the first one: a browser shows the response to the last press of a button.

        Raises:
            NotDurable: the wait for the first request took too long.
            UnknownReturnTarget, TooManySessions, UnknownResource, SdkOnlyProvider, InputRefused, TerraRejected,
                TerraUnavailable, TooManyRequests: as in `start`.
        """
        claim = Claim(session.retry_claim_id, secrets.token_hex(16), session.failure_hash)
        retry_budget = RetryBudget()
        while True:
            try:
                return self.start(
                    session,
                    person=session.reference_id,
                    language=session.language,
                    base_url=base_url,
                    claim=claim,
                    now=now,
                ).answer
            except RequestInProgress:
                retry_budget.wait()

    def _keep(self, session: Session, claim: Claim | None, answer: dict[str, Any]) -> None:
        """Store a new session, the response for its idempotency key, and the owner of the `user_id`, in one write.

        Raises:
            RequestInProgress: the claim expired, and another request has claimed the key.
            ErasureInProgress: the user was erased after the request arrived, or is being erased.
        """
        writes = [self.sessions.creation(session)]
        if claim is not None:
            writes.append(self.claims.settlement(claim, answer, expires_at=session.expires_at))
        kept = self.connections.record(session.announcement, together_with=writes, are_new=True, begun=session.begun)
        if kept is None:
            message = "Another request with this Idempotency-Key took over."
            raise RequestInProgress(message)

    def _enforce_open_limit(self, person: ReferenceId, *, now: datetime) -> None:
        """Limit the unfinished logins of a user, because each one creates a permanently unused user at Terra.

        The logins of the last hour are read by key. The index is queried for the open ones only if these reach the
        limit. Erased open sessions count until they would have expired. Concurrent requests may exceed the limit.

        Raises:
            ErasureInProgress: the user is being erased.
            TooManySessions: the limit is reached until one of the sessions ends.
        """
        if not self.open_limit:
            return
        now_ms = int(now.timestamp() * 1000)
        standing = self.users.standing(person, now=now)
        if standing.erased_until is not None and standing.erased_until >= now_ms:
            message = "This user is being erased. Begin a new login afterwards."
            raise ErasureInProgress(message)
        an_hour_ago = now_ms - int(OPEN_FOR.total_seconds() * 1000)
        begun = [name for name in standing.begun if name.kind == "session" and name.at > an_hour_ago]
        if len(begun) + len(standing.ends_of_erased) < self.open_limit:
            return
        ends = sorted([*self.sessions.open_session_expiries(person, now=now), *standing.ends_of_erased])
        if len(ends) >= self.open_limit:
            message = f"This user has {len(ends)} unfinished logins, and may have {self.open_limit}."
            wait = ends[-self.open_limit] / 1000 - now.timestamp()
            raise TooManySessions(message, retry_after=math.ceil(wait))

    def _ask_terra(
        self,
        asked: SessionRequest,
        *,
        person: ReferenceId,
        language: str | None,
        base_url: str,
        claim_id: str | None,
        now: datetime,
    ) -> tuple[Session, dict[str, Any]]:
        session_id = SessionId(secrets.token_urlsafe(16))
        success, failure = new_secret(), new_secret()
        login = LoginRequest(
            reference_id=person,
            language=language,
            success_url=f"{base_url}/auth/success?{urlencode({'session': session_id, 'state': success})}",
            failure_url=f"{base_url}/auth/failure?{urlencode({'session': session_id, 'state': failure})}",
        )
        session = Session(
            session_id=session_id,
            reference_id=person,
            flow=Flow.PROVIDER if asked.resource else Flow.WIDGET,
            resource=asked.resource,
            user_id=None,
            success_hash=hash_secret(success),
            failure_hash=hash_secret(failure),
            return_to=asked.return_to,
            language=language,
            resources=tuple(dict.fromkeys(asked.resources)),
            claim_id=claim_id,
            created_at=int(now.timestamp() * 1000),
            expires_at=int((now + OPEN_FOR).timestamp() * 1000),
            ttl=int((now + SESSION_KEPT_FOR).timestamp()),
        )
        warnings: tuple[str, ...] = ()
        if session.resource is None:
            try:
                widget = self.terra.widget_session(login, resources=session.resources)
            except InputRefused as refused:
                raise self.catalogue.explained(refused, session.resources) from refused
            auth_url, warnings = widget.url, widget.warnings
            if warnings and session.resources:
                # Terra does not document what the page offers if it knows none of the providers; it may offer all.
                self.catalogue.require_one_of(session.resources)
            # The session expires with Terra's link: after that, the link no longer works.
            link_ends = int((now + widget.open_for).timestamp() * 1000)
            session = replace(
                session, widget_session_id=widget.session_id, expires_at=min(session.expires_at, link_ends)
            )
        else:
            self.catalogue.check(session.resource)
            try:
                issued = self.terra.authenticate_user(login, resource=session.resource)
            except (UnknownResource, InputRefused) as refused:
                raise self.catalogue.explained(refused, [session.resource]) from refused
            auth_url = issued.auth_url
            session = replace(session, user_id=issued.user_id)
        view = SessionView(session, SessionStatus.PENDING)
        answer = {**view.as_json(), "auth_url": auth_url}
        return session, {**answer, "warnings": list(warnings)} if warnings else answer
