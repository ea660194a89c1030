"""A login that worked, read by msgspec's structs.

It knows no "or None": what may hold anything has no type, and is judged by event.py's own rules.
Lone surrogates, which JSON can spell, make the whole body unreadable for msgspec; event.py lets the field go.
"""

from typing import Any, Literal

import msgspec

from benchmarks.alternatives.success import success
from terra_connections.connections.facts import Position, scopes_from
from terra_connections.ids import reference_id_from, session_id_from, user_id_from
from terra_connections.webhooks.payload import _PROVIDER, MALFORMED, Event, _text


class _User(msgspec.Struct):
    user_id: Any = None
    provider: Any = None
    reference_id: Any = None
    scopes: Any = None


class _Success(msgspec.Struct):
    type: Literal["auth"]
    status: Literal["success"]
    user: _User
    provider: Any = None
    reference_id: Any = None
    widget_session_id: Any = None


_decode = msgspec.json.Decoder(_Success).decode


def parse(body: bytes, at: Position) -> Event:
    """What event.parse makes of a login that worked, and malformed of everything else."""
    try:
        told = _decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return Event(MALFORMED)
    user_id = user_id_from(told.user.user_id)
    if user_id is None:
        return Event(MALFORMED)
    return success(
        user_id,
        at,
        owner=reference_id_from(told.user.reference_id) or reference_id_from(told.reference_id),
        provider=_text(told.user.provider, _PROVIDER) or _text(told.provider, _PROVIDER),
        scopes=scopes_from(told.user.scopes),
        login=session_id_from(told.widget_session_id),
    )
