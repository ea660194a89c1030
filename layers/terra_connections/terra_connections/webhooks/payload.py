"""Parses the bodies of Terra's webhooks to facts. No content of a body makes the parser raise.

Formats: Terra's OpenAPI document, "webhooks" (2026.07), and the older ones that still occur: a success with
`reference_id` beside `user`, a failed login as `auth` with `status: error`, and a `user_reauth` with a plain
`old_user_id` beside `new_user` or `user` (Terra's help centre, "Reauth webhook: user_id changes").
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from terra_connections.connections.facts import (
    Facts,
    Position,
    TerraUser,
    error_facts,
    login_facts,
    login_failure_facts,
    reconnect_facts,
    revocation_facts,
    scope_change_facts,
    scopes_from,
)
from terra_connections.ids import reference_id_from, session_id_from, user_id_from
from terra_connections.sessions.session import WidgetReport, reason_from

MALFORMED = "malformed"
S3_PAYLOAD = "s3_payload"
"""Ping mode: the body has the URL of a payload."""
LARGE_REQUEST_SENDING = "large_request_sending"
"""It has the number of the deliveries that a request for a longer period causes."""
LARGE_REQUESTS = frozenset({"large_request_processing", LARGE_REQUEST_SENDING})
"""Announcements of the deliveries that a request for a longer period causes."""

_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_PROVIDER = re.compile(r"[A-Za-z0-9_]{2,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """A parsed event.

    Attributes:
        type: Terra's type, or `malformed` if the body lacks required fields of its type.
        facts: its facts about connections.
        report: its data about a login, if it contains Terra's id of one.
        content: the body as JSON; None if it is not JSON.
        has_data: whether the body is a payload: health data, or of a type that is not known.
    """

    type: str
    facts: tuple[Facts, ...] = ()
    report: WidgetReport | None = None
    content: object = field(default=None, compare=False, repr=False)
    has_data: bool = field(default=False, compare=False)

    @property
    def is_data_delivery(self) -> bool:
        """Whether it delivers health data: in its body, or at a URL in it."""
        return self.has_data or self.type == S3_PAYLOAD


class _MalformedError(Exception):
    """The body lacks required fields of its type. It is recorded and counted as `malformed`."""


def parse(body: bytes, at: Position) -> WebhookEvent:
    """Parse a body whose signature is verified. Never raises: an invalid body is an event of type `malformed`.

    Args:
        body: the bytes as received.
        at: the event's position.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    type_ = content.get("type") if isinstance(content, dict) else None
    has_data = bool(body) and not (isinstance(type_, str) and type_ in _WITHOUT_DATA)
    return replace(_event(content, at), content=content, has_data=has_data)


def _event(content: object, at: Position) -> WebhookEvent:
    if not isinstance(content, dict):
        return WebhookEvent(MALFORMED)
    type_ = content.get("type")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
        return WebhookEvent(MALFORMED)
    read = _PARSERS.get(type_)
    if read is None:
        return WebhookEvent(type_)
    try:
        return read(content, at)
    except _MalformedError:
        return WebhookEvent(MALFORMED)


def _auth(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    status = content.get("status")
    if status == "error":
        return _login_failed(content, at)
    if status != "success":
        raise _MalformedError
    user, login = _user(content), session_id_from(content.get("widget_session_id"))
    report = WidgetReport(login, user_ids=frozenset({user.user_id})) if login else None
    return WebhookEvent("auth", facts=(login_facts(user, at, widget_session_id=login),), report=report)


def _auth_cancelled(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    return WebhookEvent("auth_cancelled", report=_login_failed(content, at).report)


def _login_failed(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    """Parse a failed login. It is matched to its session by an id only: the user may have another login in progress."""
    reason, login = reason_from(content.get("reason")), session_id_from(content.get("widget_session_id"))
    report = WidgetReport(login, reasons=frozenset({reason})) if login else None
    try:
        user = _user(content)
    except _MalformedError:
        # The newer format has no user.
        return WebhookEvent("auth", report=report)
    return WebhookEvent("auth", facts=(login_failure_facts(user, at, reason=reason),), report=report)


def _user_reauth(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    new = _user(content, "new_user" if "new_user" in content else "user")
    # `old_user` may be null or invalid. The connection must get its new id nevertheless.
    old = None
    if user_id_from(_member(content, "old_user").get("user_id")):
        old = _user(content, "old_user")
    elif flat := user_id_from(content.get("old_user_id")):
        old = TerraUser(flat)
    return WebhookEvent("user_reauth", facts=tuple(reconnect_facts(new, old, at)))


def _deauth(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    return WebhookEvent("deauth", facts=(revocation_facts(_user(content), at, by="deauth"),))


def _access_revoked(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    return WebhookEvent("access_revoked", facts=(revocation_facts(_user(content), at, by="access_revoked"),))


def _connection_error(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    return WebhookEvent("connection_error", facts=(error_facts(_user(content), at),))


def _permission_change(content: Mapping[str, Any], at: Position) -> WebhookEvent:
    added, removed = scopes_from(content.get("scopes_added")), scopes_from(content.get("scopes_removed"))
    facts = scope_change_facts(_user(content), at, added=added or (), removed=removed or ())
    return WebhookEvent("permission_change", facts=(facts,))


_PARSERS = {
    "access_revoked": _access_revoked,
    "auth": _auth,
    "auth_cancelled": _auth_cancelled,
    "connection_error": _connection_error,
    "deauth": _deauth,
    "permission_change": _permission_change,
    "user_reauth": _user_reauth,
}
_WITHOUT_DATA = frozenset(
    {*_PARSERS, *LARGE_REQUESTS, S3_PAYLOAD, "google_no_datasource", "healthcheck", "processing", "rate_limit_hit"}
)
"""The types that are not payloads. Every other one is, so that a new type of data is kept."""


def _member(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = content.get(name)
    return member if isinstance(member, dict) else {}


def _user(content: Mapping[str, Any], name: str = "user") -> TerraUser:
    user = _member(content, name)
    user_id = user_id_from(user.get("user_id"))
    if user_id is None:
        raise _MalformedError
    provider = _text(user.get("provider"), _PROVIDER) or _text(content.get("provider"), _PROVIDER)
    return TerraUser(
        user_id,
        owner=reference_id_from(user.get("reference_id")) or reference_id_from(content.get("reference_id")),
        provider=provider.upper() if provider else None,
        scopes=scopes_from(user.get("scopes")),
    )


def _text(value: object, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
