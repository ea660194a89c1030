"""The bodies of Terra's webhooks, built from facts, without sending or storing anything.

Shapes: the webhook schemas of Terra's published OpenAPI document, and for the older ones its earlier documentation.
"""

from collections.abc import Mapping
from typing import Final, Literal

from terra_simulator.users import Login, User

Body = dict[str, object]

SCHEMA_VERSION: Final = "2022-03-16"
DATA_TYPES: Final = frozenset(
    {
        "activity",
        "body",
        "daily",
        "health_observation",
        "hormone",
        "menstruation",
        "nutrition",
        "planned_workout",
        "sleep",
    }
)
_MESSAGES: Final = {
    "access_revoked": "User revoked access",
    "connection_error": "Connection degraded: the provider rejected Terra's access token; "
    "the user may need to reauthenticate",
    "permission_change": "User permissions have been modified",
}


def connected(user: User, *, login: Login | None, shape: Literal["new", "old"]) -> Body:
    """`auth` with status success: a login was finished."""
    body: Body = {
        "type": "auth",
        "status": "success",
        "message": "User has successfully authenticated",
        "user": user.as_terra(),
    }
    if login is not None:
        body["flow_id"] = login.flow_id
        if login.widget_session_id is not None:
            body["widget_session_id"] = login.widget_session_id
    if shape == "old":
        body["reference_id"] = user.reference_id
    return body


def cancelled(login: Login, *, reason: str | None) -> Body:
    """`auth_cancelled`: a login failed or was abandoned. It names no user and no provider."""
    return {
        "type": "auth_cancelled",
        "status": "error",
        "flow_id": login.flow_id,
        "reason": reason,
        "reference_id": login.reference_id,
    }


def cancelled_as_before(login: Login, user: User, *, reason: str | None) -> Body:
    """The older form of a cancellation: `auth` with status error."""
    return {
        "type": "auth",
        "status": "error",
        "message": "User authentication failed",
        "reason": reason,
        "provider": login.resource,
        "reference_id": login.reference_id,
        "widget_session_id": login.widget_session_id,
        "user": user.as_terra() | {"active": False},
    }


def reconnected(new: User, old: User | None) -> Body:
    """`user_reauth`: the same account under the same reference_id got a new user_id."""
    return {
        "type": "user_reauth",
        "status": "warning",
        "message": "User has reauthenticated and old ID has been deleted",
        "version": SCHEMA_VERSION,
        "new_user": new.as_terra(),
        "old_user": None if old is None else old.as_terra() | {"active": False},
    }


def disconnected(user: User) -> Body:
    """`deauth`: the end user, or the developer's own DELETE, ended the connection."""
    return {
        "type": "deauth",
        "status": "success",
        "message": "User has deauthenticated",
        "user": user.as_terra() | {"active": False},
    }


def about(user: User, event_type: str, extra: Mapping[str, object]) -> Body:
    """Any other event about a user, with the fields its type has; `extra` adds to them or replaces them."""
    body: Body = {"type": event_type, "user": user.as_terra()}
    if event_type == "deauth":
        body = disconnected(user)
    elif event_type == "auth":
        body = connected(user, login=None, shape="new")
    elif event_type in _MESSAGES:
        body |= {"status": "warning", "message": _MESSAGES[event_type]}
    elif event_type in DATA_TYPES:
        body |= {"version": SCHEMA_VERSION, "data": []}
    elif event_type == "athlete":
        body |= {"version": SCHEMA_VERSION, "athlete": {}}
    if event_type == "permission_change":
        body |= {"version": SCHEMA_VERSION, "scopes_added": "", "scopes_removed": ""}
    return body | dict(extra)


def without_scopes(body: Body) -> Body:
    """The same event from a Terra that does not repeat the scopes granted now."""
    user = body["user"]
    return body | {"user": {**user, "scopes": None}} if isinstance(user, Mapping) else body
