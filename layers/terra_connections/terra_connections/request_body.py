"""The request bodies of the API, and a message for each invalid field.

Every message is defined in this module, so that none of pydantic's own messages reaches a caller. pydantic's
documentation ("Error Messages", customizing) maps the stable `type` of an error to a custom message in this way.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from terra_connections.data_types import REQUESTED
from terra_connections.errors import InvalidRequest
from terra_connections.ids import ReferenceId, UserId, reference_id_error, user_id_from
from terra_connections.unknown_name import unknown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MAX_BYTES = 64 * 1024
_MAX_ERRORS = 10
_MAX_NAME = 64
_MAX_PROVIDERS = 100
_MAX_TYPES = 20
_SENTENCES = {
    "json_invalid": "is not JSON: {error}",
    "model_type": "must be a JSON object, not {given}",
    "extra_forbidden": "{unknown}",
    "date_type": "must be a string, not {given}",
    "datetime_type": "must be a string, not {given}",
    "string_type": "must be a string, not {given}",
    "tuple_type": "must be an array of strings, not {given}",
    "too_short": "must name at least one provider; leave the field out to offer all of them",
    "too_long": "must name at most {max_length} providers",
}
"""The message for each type of pydantic error. Any other type is `_OURS`: its message comes from the validator."""
_OURS = "terra_connections"
_GIVEN: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}
_PROVIDER_CODE = re.compile(r"[A-Za-z0-9_]{2,64}", re.ASCII)
_DATA_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError(_OURS, "{sentence}", {"sentence": sentence})


def _reference_id(value: object) -> object:
    if isinstance(value, str) and (sentence := reference_id_error(value)):
        raise _wrong(sentence)
    return value


def _provider_code(value: str) -> str:
    if not _PROVIDER_CODE.fullmatch(value):
        message = "must be the code of a provider, for example FITBIT; GET /providers lists them"
        raise _wrong(message)
    return value.upper()


def _language_tag(value: str) -> str:
    if not _LANGUAGE_TAG.fullmatch(value):
        message = "must be a language tag, for example en or de-CH"
        raise _wrong(message)
    return value


def _none_is_empty(value: object, validate: Callable[[object], tuple[str, ...]]) -> tuple[str, ...]:
    return () if value is None else validate(value)


class UserBody(BaseModel):
    """A body with one `reference_id`, optional with a user token. null is the same as left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reference_id: Annotated[ReferenceId | None, BeforeValidator(_reference_id)] = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Parse a request body.

        Raises:
            InvalidRequest: with a message for each invalid field, ten at most.
        """
        if not body.strip():
            raise InvalidRequest([("body", "is empty; send a JSON object")])
        if len(body) > _MAX_BYTES:
            raise InvalidRequest([("body", f"must have at most {_MAX_BYTES // 1024} kB")])
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            details = error.errors(include_url=False)[:_MAX_ERRORS]
            raise InvalidRequest([(_field(one), cls._sentence(one)) for one in details]) from None

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def _sentence(cls, error: "ErrorDetails") -> str:
        if error["type"] == _OURS:
            return error["msg"]
        return _SENTENCES[error["type"]].format(
            given=_GIVEN.get(type(error["input"]), ""),
            unknown=unknown("field", str(error["loc"][-1]), cls._names()) if error["loc"] else "",
            **error.get("ctx", {}),
        )


def _field(error: "ErrorDetails") -> str:
    return ".".join(str(part) for part in error["loc"])[:_MAX_NAME] or "body"


_ProviderCode = Annotated[
    str, AfterValidator(_provider_code), Field(json_schema_extra={"pattern": f"^{_PROVIDER_CODE.pattern}$"})
]


def _user_id(value: object) -> object:
    if isinstance(value, str) and user_id_from(value) is None:
        message = "must be the user_id of a connection: at most 128 letters, digits, dashes and underscores"
        raise _wrong(message)
    return value


class NewSession(UserBody):
    """The body of a new session: the user, and one provider, several to choose from, or all of them.

    Or the connection to repair, by its `user_id`.
    """

    resource: _ProviderCode | None = None
    # Not strict: behind a validator pydantic reads an array as a list, which is not a tuple.
    resources: Annotated[
        tuple[_ProviderCode, ...],
        Field(min_length=1, max_length=_MAX_PROVIDERS, strict=False),
        WrapValidator(_none_is_empty),
    ] = ()
    user_id: Annotated[UserId | None, BeforeValidator(_user_id)] = None
    return_to: str | None = None
    language: (
        Annotated[
            str, AfterValidator(_language_tag), Field(json_schema_extra={"pattern": f"^{_LANGUAGE_TAG.pattern}$"})
        ]
        | None
    ) = None

    @field_validator("resources")
    @classmethod
    def _stands_alone(cls, resources: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if resources and others.data.get("resource") is not None:
            message = "may not be given together with resource"
            raise _wrong(message)
        return resources

    @field_validator("user_id")
    @classmethod
    def _has_a_provider_of_its_own(cls, user_id: UserId | None, others: ValidationInfo) -> UserId | None:
        if user_id is not None and (others.data.get("resource") is not None or others.data.get("resources")):
            message = "may not be given together with resource or resources: the connection has a provider"
            raise _wrong(message)
        return user_id


def _time(value: object) -> object:
    """Parse a time, or a day, which begins at midnight UTC."""
    if not isinstance(value, str):
        return value
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None:
        message = "must be a day (2026-11-30) or a time (2026-11-30T08:00:00Z)"
        raise _wrong(message)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _types(values: tuple[str, ...]) -> tuple[str, ...]:
    if not 0 < len(values) <= _MAX_TYPES or not all(_DATA_TYPE.fullmatch(value) for value in values):
        message = f"must name 1 to {_MAX_TYPES} types of data, for example daily; leave the field out for all of them"
        raise _wrong(message)
    return values


_Time = Annotated[datetime | None, BeforeValidator(_time)]


class NewReplay(UserBody):
    """The body of a new replay: one `user_id`, or a user, and optionally types and a period."""

    user_id: Annotated[UserId | None, BeforeValidator(_user_id)] = None
    types: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_types), WrapValidator(_none_is_empty)] = ()
    from_: Annotated[_Time, Field(alias="from")] = None
    to: _Time = None

    @model_validator(mode="after")
    def _names_one_user(self) -> Self:
        if (self.user_id is None) == (self.reference_id is None):
            message = "must have either user_id or reference_id"
            raise _wrong(message)
        if self.from_ and self.to and self.from_ >= self.to:
            message = "must have a from that is earlier than its to"
            raise _wrong(message)
        return self

    @property
    def since(self) -> int | None:
        """The beginning of the period in Unix milliseconds."""
        return None if self.from_ is None else int(self.from_.timestamp() * 1000)

    @property
    def until(self) -> int | None:
        """Its end in Unix milliseconds."""
        return None if self.to is None else int(self.to.timestamp() * 1000)


def _day(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value) if _DAY.fullmatch(value) else _no_day()
    except ValueError:
        return _no_day()


def _no_day() -> NoReturn:
    message = "must be a day, for example 2026-11-30"
    raise _wrong(message)


def _requested_types(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        message = "must name at least one type; leave the field out for all of them"
        raise _wrong(message)
    for value in values:
        if value not in REQUESTED:
            raise _wrong(unknown("type", value[:_MAX_NAME], REQUESTED))
    return tuple(dict.fromkeys(values))


_Day = Annotated[date | None, BeforeValidator(_day)]


class NewBackfill(UserBody):
    """The body of a new backfill: one `user_id`, or a user, the first day, and optionally the last one and types."""

    user_id: Annotated[UserId | None, BeforeValidator(_user_id)] = None
    types: Annotated[
        tuple[str, ...], Field(strict=False), AfterValidator(_requested_types), WrapValidator(_none_is_empty)
    ] = ()
    from_: Annotated[_Day, Field(alias="from")] = None
    to: _Day = None

    @model_validator(mode="after")
    def _is_about_a_period_of_one_user(self) -> Self:
        if self.user_id is not None and self.reference_id is not None:
            message = "must not have both user_id and reference_id"
            raise _wrong(message)
        if self.from_ is None:
            message = "must have a from, the first day"
            raise _wrong(message)
        if self.to is not None and self.from_ > self.to:
            message = "must have a from that is not later than its to"
            raise _wrong(message)
        return self

    @property
    def first(self) -> date:
        """The first day."""
        if self.from_ is None:
            raise InvalidRequest([("from", "is required")])
        return self.from_
