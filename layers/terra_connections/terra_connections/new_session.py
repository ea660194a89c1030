"""The story of a new session."""

import hashlib
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from terra_connections.caller import Caller
from terra_connections.errors import InvalidRequest, TooManySessions
from terra_connections.ids import ReferenceId, SessionId
from terra_connections.request_body import NewSession
from terra_connections.return_target import ReturnTargets
from terra_connections.session import (
    KEPT_FOR,
    OPEN_FOR,
    Flow,
    Session,
    SessionStatus,
    SessionView,
    hash_of,
)
from terra_connections.session_store import Claim, SessionStore
from terra_connections.terra_api import TerraApi

_MAX_KEY_LENGTH = 255


def claim_for(caller: Caller, idempotency_key: str | None, body: bytes) -> Claim | None:
    """The claim that an Idempotency-Key asks for: of this caller, for this body.

    Raises:
        InvalidRequest: the key is empty or too long.
    """
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= _MAX_KEY_LENGTH:
        raise InvalidRequest([("Idempotency-Key", "must be 1 to 255 characters")])
    key = hashlib.sha256(json.dumps([caller.name, caller.subject, idempotency_key]).encode()).hexdigest()
    return Claim(f"idempotency:{key}", secrets.token_hex(16), hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class SessionStarter:
    """Starts sessions: asks Terra for a login link, and remembers who it is for."""

    terra: TerraApi
    sessions: SessionStore
    targets: ReturnTargets
    open_limit: int

    def start(
        self,
        asked: NewSession,
        *,
        person: ReferenceId,
        language: str | None,
        base_url: str,
        claim: Claim | None,
        now: datetime,
    ) -> dict[str, Any]:
        """A new session, or the one that the same request made before; the contract's `Session` with its `auth_url`.

        Args:
            asked: for which provider, and what else was asked for.
            person: for whom.
            language: what they read, if that is known.
            base_url: this stack's own address: Terra sends the browser back to it and nowhere else.
            claim: of the request's idempotency key, if it has one.
            now: the session's creation time.

        Raises:
            UnknownReturnTarget, RequestInProgress, IdempotencyKeyReused: nothing was asked of Terra.
            TooManySessions, UnknownResource, TerraRejected, TerraUnavailable, TooManyRequests: the key is free again.
        """
        if asked.return_to is not None:
            self.targets.check(asked.return_to)
        if claim is None:
            self._check_open(person, now=now)
            session, answer = self._ask_terra(
                asked, person=person, language=language, base_url=base_url, claim_id=None, now=now
            )
            self.sessions.add(session)
            return answer
        before = self.sessions.claim(claim, now=now)
        if before is not None:
            return before
        try:
            self._check_open(person, now=now)
            session, answer = self._ask_terra(
                asked, person=person, language=language, base_url=base_url, claim_id=claim.claim_id, now=now
            )
            self.sessions.add_claimed(session, claim, answer)
        except Exception:
            self.sessions.release(claim)
            raise
        return answer

    def _check_open(self, person: ReferenceId, *, now: datetime) -> None:
        """Whoever begins logins and finishes none has to wait: each is a user at Terra that nobody will ever be.

        Counted by an index, so requests at the same moment may pass together.

        Raises:
            TooManySessions: until one of them ends.
        """
        if not self.open_limit:
            return
        ends = sorted(self.sessions.ends_of_open(person, now=now))
        if len(ends) >= self.open_limit:
            message = f"This person has {len(ends)} logins that nobody has finished."
            wait = ends[-self.open_limit] / 1000 - now.timestamp()
            raise TooManySessions(message, retry_after=math.ceil(wait))

    def _ask_terra(
        self,
        asked: NewSession,
        *,
        person: ReferenceId,
        language: str | None,
        base_url: str,
        claim_id: str | None,
        now: datetime,
    ) -> tuple[Session, dict[str, Any]]:
        session_id, state = SessionId(secrets.token_urlsafe(16)), secrets.token_urlsafe(32)
        secret = {"session": session_id, "state": state}
        login = self.terra.authenticate_user(
            resource=asked.resource,
            reference_id=person,
            language=language,
            success_url=_redirect_url(base_url, "success", secret),
            failure_url=_redirect_url(base_url, "failure", secret),
        )
        session = Session(
            session_id=session_id,
            reference_id=person,
            flow=Flow.PROVIDER,
            resource=asked.resource,
            user_id=login.user_id,
            state_hash=hash_of(state),
            return_to=asked.return_to,
            language=language,
            claim_id=claim_id,
            created_at=int(now.timestamp() * 1000),
            expires_at=int((now + OPEN_FOR).timestamp() * 1000),
            ttl=int((now + KEPT_FOR).timestamp()),
        )
        view = SessionView(session, SessionStatus.PENDING)
        return session, {**view.as_json(), "auth_url": login.auth_url}


def _redirect_url(base_url: str, outcome: str, secret: Mapping[str, str]) -> str:
    return f"{base_url}/auth/{outcome}?{urlencode(secret)}"
