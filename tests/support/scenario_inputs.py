"""What the code makes of the inputs of a scenario: facts from Terra's responses, and stored sessions."""

from dataclasses import replace

from terra_connections.connections.facts import Facts, Kind, Position, TerraUser, confirmed_facts, scopes_from
from terra_connections.ids import ReferenceId, SessionId, UserId, reference_id_from
from terra_connections.sessions.session import Flow, Repair, Session, hash_secret
from tests.support.oracle import SessionAttempt, VerificationInput


def verification_facts(verified: VerificationInput) -> Facts:
    """Return the facts that follow from a response of Terra about a user_id."""
    user, at = TerraUser(UserId(verified.user_id)), Position(verified.at)
    if verified.result != "authenticated":
        return user.facts(at, Kind.ABSENT if verified.result == "unknown" else Kind.PRESENT)
    owner, granted = reference_id_from(verified.reference_id), scopes_from(verified.scopes)
    return confirmed_facts(replace(user, owner=owner, provider=verified.provider, scopes=granted), at)


def new_session(attempt: SessionAttempt, *, ttl: int) -> Session:
    """Return the session of an attempt as it is stored first; `ttl` in seconds since 1970."""
    return Session(
        session_id=SessionId(attempt.session_id),
        reference_id=ReferenceId(attempt.reference_id),
        flow=Flow.WIDGET if attempt.widget else Flow.PROVIDER,
        resource=attempt.resource,
        user_id=None if attempt.user_id is None else UserId(attempt.user_id),
        repairs=None if attempt.repairs is None else Repair(UserId(attempt.repairs), Position(attempt.last_login)),
        widget_session_id=None if attempt.widget is None else SessionId(attempt.widget),
        success_hash=hash_secret("success"),
        failure_hash=hash_secret("failure"),
        return_to=None,
        language=None,
        created_at=attempt.created_at,
        expires_at=attempt.created_at + 3_600_000,
        ttl=ttl,
    )
