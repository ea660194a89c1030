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
_REFERENCE_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,256}")


def user_id_from(value: object) -> UserId | None:
    """A `user_id`, if this is one."""
    return UserId(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def session_id_from(value: object) -> SessionId | None:
    """A `session_id` - ours, or Terra's of a widget session - if this is one."""
    return SessionId(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def reference_id_from(value: object) -> ReferenceId | None:
    """A `reference_id`, if this is one. Terra writes none as null, as `""` and as the text `null`."""
    if not isinstance(value, str) or value == "null" or not _REFERENCE_ID.fullmatch(value):
        return None
    return ReferenceId(value)
