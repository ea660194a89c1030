"""The body of POST /sessions, and the story of a new session."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from terra_connections.errors import InvalidRequest
from terra_connections.ids import ReferenceId, SessionId, reference_id_from
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


def _reference_id(value: str) -> ReferenceId:
    reference_id = reference_id_from(value)
    if reference_id is None:
        message = (
            "must be 1 to 256 characters without control characters, and not the word null, which Terra reads as none"
        )
        raise ValueError(message)
    return reference_id


class NewSession(BaseModel):
    """What the caller asks for: one person, one provider."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reference_id: Annotated[str, AfterValidator(_reference_id)]
    resource: Annotated[str, Field(pattern="^[A-Z0-9_]{2,64}$")]
    return_to: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    language: Annotated[str, Field(pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")] | None = None

    @classmethod
    def parse(cls, body: bytes) -> "NewSession":
        """Read a request body.

        Raises:
            InvalidRequest: with a sentence for each field that is wrong.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise InvalidRequest(
                [
                    (".".join(str(part) for part in trouble["loc"]) or "body", trouble["msg"])
                    for trouble in error.errors(include_input=False, include_url=False)
                ]
            ) from None


def claim_for(caller: str, idempotency_key: str | None, body: bytes) -> Claim | None:
    """The claim that an Idempotency-Key asks for: of this caller, for this body.

    Raises:
        InvalidRequest: the key is empty or too long.
    """
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= _MAX_KEY_LENGTH:
        raise InvalidRequest([("Idempotency-Key", "must be 1 to 255 characters")])
    key = hashlib.sha256(json.dumps([caller, idempotency_key]).encode()).hexdigest()
    return Claim(f"idempotency:{key}", secrets.token_hex(16), hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class SessionStarter:
    """Starts sessions: asks Terra for a login link, and remembers who it is for."""

    terra: TerraApi
    sessions: SessionStore
    targets: ReturnTargets

    def start(self, asked: NewSession, *, base_url: str, claim: Claim | None, now: datetime) -> dict[str, Any]:
        """A new session, or the one that the same request made before; the contract's `Session` with its `auth_url`.

        Args:
            asked: for whom and for which provider.
            base_url: this stack's own address: Terra sends the browser back to it and nowhere else.
            claim: of the request's idempotency key, if it has one.
            now: the session's creation time.

        Raises:
            UnknownReturnTarget, RequestInProgress, IdempotencyKeyReused: nothing was asked of Terra.
            UnknownResource, TerraRejected, TerraUnavailable, TooManyRequests: the key is free again.
        """
        if asked.return_to is not None:
            self.targets.check(asked.return_to)
        if claim is None:
            session, answer = self._ask_terra(asked, base_url=base_url, claim_id=None, now=now)
            self.sessions.add(session)
            return answer
        before = self.sessions.claim(claim, now=now)
        if before is not None:
            return before
        try:
            session, answer = self._ask_terra(asked, base_url=base_url, claim_id=claim.claim_id, now=now)
            self.sessions.add_claimed(session, claim, answer)
        except Exception:
            self.sessions.release(claim)
            raise
        return answer

    def _ask_terra(
        self, asked: NewSession, *, base_url: str, claim_id: str | None, now: datetime
    ) -> tuple[Session, dict[str, Any]]:
        session_id, state = SessionId(secrets.token_urlsafe(16)), secrets.token_urlsafe(32)
        secret = {"session": session_id, "state": state}
        reference_id = ReferenceId(asked.reference_id)
        login = self.terra.authenticate_user(
            resource=asked.resource,
            reference_id=reference_id,
            language=asked.language,
            success_url=_redirect_url(base_url, "success", secret),
            failure_url=_redirect_url(base_url, "failure", secret),
        )
        session = Session(
            session_id=session_id,
            reference_id=reference_id,
            flow=Flow.PROVIDER,
            resource=asked.resource,
            user_id=login.user_id,
            state_hash=hash_of(state),
            return_to=asked.return_to,
            language=asked.language,
            claim_id=claim_id,
            created_at=int(now.timestamp() * 1000),
            expires_at=int((now + OPEN_FOR).timestamp() * 1000),
            ttl=int((now + KEPT_FOR).timestamp()),
        )
        view = SessionView(session, SessionStatus.PENDING)
        return session, {**view.as_json(), "auth_url": login.auth_url}


def _redirect_url(base_url: str, outcome: str, secret: Mapping[str, str]) -> str:
    return f"{base_url}/auth/{outcome}?{urlencode(secret)}"
