"""The story of a new session."""

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
from terra_connections.dynamodb import Patience
from terra_connections.errors import (
    ErasureInProgress,
    InputRefused,
    InvalidRequest,
    RequestInProgress,
    TooManySessions,
    UnknownResource,
)
from terra_connections.ids import ReferenceId, SessionId
from terra_connections.sessions.idempotency import Claim
from terra_connections.sessions.return_target import ReturnTargets
from terra_connections.sessions.session import (
    OPEN_FOR,
    Flow,
    Session,
    SessionStatus,
    SessionView,
    hash_of,
    new_secret,
)
from terra_connections.sessions.store import SessionStore
from terra_connections.terra.client import TerraApi
from terra_connections.terra.models import LoginAsked
from terra_connections.terra.provider_cache import Catalogue
from terra_connections.users.store import SESSION_KEPT_FOR, UserStore

_MAX_KEY_LENGTH = 255


def claim_for(caller: Caller, idempotency_key: str | None, body: bytes) -> Claim | None:
    """The claim that an Idempotency-Key asks for: of this caller, for this body.

    Raises:
        InvalidRequest: the key is empty or too long.
    """
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= _MAX_KEY_LENGTH:
        raise InvalidRequest([("Idempotency-Key", "must have 1 to 255 characters")])
    key = hashlib.sha256(json.dumps([caller.name, caller.subject, idempotency_key]).encode()).hexdigest()
    return Claim(f"idempotency:{key}", secrets.token_hex(16), hashlib.sha256(body).hexdigest())


class Wish(Protocol):
    """What a session is to be for: told by a request's body, or by a session that is tried again."""

    @property
    def resource(self) -> str | None:
        """The provider; None lets the person pick."""

    @property
    def resources(self) -> tuple[str, ...]:
        """What they may pick from; empty is everything."""

    @property
    def return_to(self) -> str | None:
        """The name of the return target."""


@dataclass(frozen=True, slots=True)
class Started:
    """What starting a session led to.

    Attributes:
        answer: the contract's `Session` with its `auth_url`.
        is_replay: whether it is the stored answer to the first request with the same Idempotency-Key.
    """

    answer: dict[str, Any]
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class SessionStarter:
    """Starts sessions: asks Terra for a login link, and remembers who it is for."""

    terra: TerraApi
    sessions: SessionStore
    connections: ConnectionStore
    users: UserStore
    targets: ReturnTargets
    open_limit: int
    catalogue: Catalogue
    """Asked only where Terra has refused something; what it holds then spares Terra the next such request."""

    def start(
        self,
        asked: Wish,
        *,
        person: ReferenceId,
        language: str | None,
        base_url: str,
        claim: Claim | None,
        now: datetime,
    ) -> Started:
        """A new session, or the one that the same request made before.

        Args:
            asked: for which provider or providers, and where to afterwards.
            person: for whom.
            language: what they read, if that is known.
            base_url: this stack's own address: Terra sends the browser back to it and nowhere else.
            claim: of the request's idempotency key, if it has one.
            now: the session's creation time.

        Raises:
            UnknownReturnTarget, RequestInProgress, IdempotencyKeyReused: nothing was asked of Terra.
            TooManySessions, UnknownResource, SdkOnlyProvider, InputRefused, TerraRejected, TerraUnavailable,
                TooManyRequests: the key is free again.
        """
        if asked.return_to is not None:
            self.targets.check(asked.return_to)
        if claim is None:
            self._check_open(person, now=now)
            session, answer = self._ask_terra(
                asked, person=person, language=language, base_url=base_url, claim_id=None, now=now
            )
            self._keep(session, None, answer)
            return Started(answer)
        before = self.sessions.claim(claim, now=now)
        if before is not None:
            return Started(before, is_replay=True)
        try:
            self._check_open(person, now=now)
            session, answer = self._ask_terra(
                asked, person=person, language=language, base_url=base_url, claim_id=claim.claim_id, now=now
            )
            self._keep(session, claim, answer)
        except Exception:
            self.sessions.release(claim)
            raise
        return Started(answer)

    def start_again(self, session: Session, *, base_url: str, now: datetime) -> dict[str, Any]:
        """A new session for what a failed one was for, as `start` answers it: the same for every repeat.

        Whoever asks while it is being made waits for it: a browser shows the answer to the last press of a button.

        Raises:
            NotDurable: it took too long.
            UnknownReturnTarget, TooManySessions, UnknownResource, SdkOnlyProvider, InputRefused, TerraRejected,
                TerraUnavailable, TooManyRequests: as `start` does.
        """
        claim = Claim(session.retry_claim_id, secrets.token_hex(16), session.failure_hash)
        patience = Patience()
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
                patience.wait()

    def _keep(self, session: Session, claim: Claim | None, answer: dict[str, Any]) -> None:
        """Keep a new session, the answer to a repeat of its request, and whose the issued `user_id` is, in one write.

        Raises:
            RequestInProgress: the claim's lease ran out and another request took over.
            ErasureInProgress: the user was erased since the request came, or is being erased.
        """
        writes = self.sessions.creation(session, claim, answer)
        kept = self.connections.record(session.announcement, together_with=writes, are_new=True, begun=session.begun)
        if kept is None:
            message = "Another request with this Idempotency-Key took over."
            raise RequestInProgress(message)

    def _check_open(self, person: ReferenceId, *, now: datetime) -> None:
        """Whoever begins logins and finishes none has to wait: each is a user at Terra that nobody will ever be.

        What they have begun within the hour is read by key. Only where that is too much the index is asked which of
        it is still open. Open sessions that were erased count until they would have ended. Requests at the same moment
        may pass together.

        Raises:
            ErasureInProgress: the user is being erased.
            TooManySessions: until one of them ends.
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
        ends = sorted([*self.sessions.ends_of_open(person, now=now), *standing.ends_of_erased])
        if len(ends) >= self.open_limit:
            message = f"This user has {len(ends)} unfinished logins, and may have {self.open_limit}."
            wait = ends[-self.open_limit] / 1000 - now.timestamp()
            raise TooManySessions(message, retry_after=math.ceil(wait))

    def _ask_terra(
        self,
        asked: Wish,
        *,
        person: ReferenceId,
        language: str | None,
        base_url: str,
        claim_id: str | None,
        now: datetime,
    ) -> tuple[Session, dict[str, Any]]:
        session_id = SessionId(secrets.token_urlsafe(16))
        success, failure = new_secret(), new_secret()
        login = LoginAsked(
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
            success_hash=hash_of(success),
            failure_hash=hash_of(failure),
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
                # No document says what the page offers if Terra knows none of the providers: perhaps all that it has.
                self.catalogue.require_one_of(session.resources)
            # Whoever comes later finds a dead link: to go on waiting, or to be given it again, would be no use.
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
