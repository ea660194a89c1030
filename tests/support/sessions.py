"""A session as it is stored."""

from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.sessions.session import Flow, Session, hash_secret

CREATED = 1_700_000_000_500
SESSION = Session(
    session_id=SessionId("s-1"),
    reference_id=ReferenceId("alice"),
    flow=Flow.PROVIDER,
    resource="FITBIT",
    user_id=UserId("issued"),
    success_hash=hash_secret("secret"),
    failure_hash=hash_secret("another"),
    return_to=None,
    language=None,
    created_at=CREATED,
    expires_at=CREATED + 3_600_000,
    ttl=CREATED // 1000 + 604_800,
)
