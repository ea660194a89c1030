"""Bodies of Terra's webhooks."""

from typing import Any
from uuid import uuid4


def auth_event(user_id: str, reference_id: str | None, *, provider: str = "FITBIT", **more: object) -> dict[str, Any]:
    """Terra's `auth` success event, as in its OpenAPI document."""
    user = {"user_id": user_id, "provider": provider, "scopes": "ACTIVITY,SLEEP", "active": True}
    if reference_id is not None:
        user["reference_id"] = reference_id
    return {"type": "auth", "status": "success", "message": "User has successfully authenticated", "user": user, **more}


def deauth_event(user_id: str, reference_id: str | None, *, provider: str = "FITBIT") -> dict[str, Any]:
    user = {"user_id": user_id, "provider": provider, "reference_id": reference_id, "active": False}
    return {"type": "deauth", "status": "success", "message": "User has deauthenticated", "user": user}


def new_user_id() -> str:
    return str(uuid4())
