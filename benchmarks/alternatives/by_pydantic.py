"""A login that worked, read by pydantic's models. What does not fit is None where event.py takes it so.

Lone surrogates, which JSON can spell, make the whole body unreadable for pydantic's parser; event.py lets the field go.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, GetCoreSchemaHandler, StringConstraints, ValidationError
from pydantic_core import CoreSchema, core_schema

from benchmarks.alternatives.success import success
from terra_connections.connections.facts import Position, scopes_from
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.webhooks.payload import MALFORMED, Event


class _OrNone:
    """Whatever does not fit is None, without a detour through Python."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=None, on_error="default")


_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
_Owner = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
_Provider = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{2,64}$")]


class _User(BaseModel):
    user_id: _Id
    provider: Annotated[_Provider | None, _OrNone()] = None
    reference_id: Annotated[_Owner | None, _OrNone()] = None
    scopes: Any = None


class _Success(BaseModel):
    type: Literal["auth"]
    status: Literal["success"]
    user: _User
    provider: Annotated[_Provider | None, _OrNone()] = None
    reference_id: Annotated[_Owner | None, _OrNone()] = None
    widget_session_id: Annotated[_Id | None, _OrNone()] = None


def parse(body: bytes, at: Position) -> Event:
    """What event.parse makes of a login that worked, and malformed of everything else."""
    try:
        told = _Success.model_validate_json(body)
    except ValidationError:
        return Event(MALFORMED)
    owner = next((each for each in (told.user.reference_id, told.reference_id) if each not in {None, "null"}), None)
    return success(
        UserId(told.user.user_id),
        at,
        owner=ReferenceId(owner) if owner else None,
        provider=told.user.provider or told.provider,
        scopes=scopes_from(told.user.scopes),
        login=SessionId(told.widget_session_id) if told.widget_session_id else None,
    )
