"""The ids that everything is known by, and what a text must look like to be one."""

import re
from typing import NewType

ReferenceId = NewType("ReferenceId", str)
"""The person's id in the app that uses this stack: 1 to 256 characters without control characters."""
UserId = NewType("UserId", str)
"""Terra's id of one connection of a person."""
SessionId = NewType("SessionId", str)
"""Our id of one attempt to connect: 128 random bits, and no secret."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_MAX_REFERENCE_ID = 256
_NOT_IN_A_REFERENCE_ID = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def user_id_from(value: object) -> UserId | None:
    """A `user_id`, if this is one."""
    return UserId(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def session_id_from(value: object) -> SessionId | None:
    """A `session_id` - ours, or Terra's of a widget session - if this is one."""
    return SessionId(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def reference_id_from(value: object) -> ReferenceId | None:
    """A `reference_id`, if this is one. Terra writes none as null, as `""` and as the text `null`."""
    return ReferenceId(value) if isinstance(value, str) and reference_id_error(value) is None else None


def reference_id_error(text: str) -> str | None:
    """What keeps a text from being a `reference_id`, as a sentence for the caller; None if nothing does."""
    if not text:
        return "must not be empty"
    if text == "null":
        return "must not be the word null, which Terra reads as no reference_id"
    if len(text) > _MAX_REFERENCE_ID:
        return f"must have at most {_MAX_REFERENCE_ID} characters"
    if _NOT_IN_A_REFERENCE_ID.search(text):
        return "must not contain control characters"
    return None
