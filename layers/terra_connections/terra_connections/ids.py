"""The types of the ids, and their validation."""

import re
from typing import NewType

ReferenceId = NewType("ReferenceId", str)
"""The user's id in the app that uses this stack: 1 to 256 characters without control characters."""
UserId = NewType("UserId", str)
"""Terra's id of one connection of a user."""
SessionId = NewType("SessionId", str)
"""Our id of one login: 128 random bits. It is not a secret."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_MAX_REFERENCE_ID = 256
_NOT_IN_A_REFERENCE_ID = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def user_id_from(value: object) -> UserId | None:
    """Return the value as a `user_id`, or None if it is not a valid one."""
    return UserId(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def session_id_from(value: object) -> SessionId | None:
    """Return the value as a `session_id` (ours, or Terra's of a widget session), or None if it is not a valid one."""
    return SessionId(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def reference_id_from(value: object) -> ReferenceId | None:
    """Return the value as a `reference_id`, or None. Terra sends null, `""` or the text `null` for a missing one."""
    return ReferenceId(value) if isinstance(value, str) and reference_id_error(value) is None else None


def reference_id_error(text: str) -> str | None:
    """Return why a text is not a valid `reference_id`, as a message for the caller; None if it is valid."""
    if not text:
        return "must not be empty"
    if text == "null":
        return "must not be the word null, which Terra reads as no reference_id"
    if len(text) > _MAX_REFERENCE_ID:
        return f"must have at most {_MAX_REFERENCE_ID} characters"
    if _NOT_IN_A_REFERENCE_ID.search(text):
        return "must not contain control characters"
    return None
