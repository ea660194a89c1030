"""The bodies that the API takes, read with a sentence for each field that is wrong."""

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from terra_connections.errors import InvalidRequest
from terra_connections.ids import ReferenceId, reference_id_from


def _reference_id(value: object) -> ReferenceId:
    reference_id = reference_id_from(value)
    if reference_id is None:
        message = (
            "must be 1 to 256 characters without control characters, and not the word null, which Terra reads as none"
        )
        raise ValueError(message)
    return reference_id


class Person(BaseModel):
    """A body that names one person; a user's token need not name its own subject."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reference_id: Annotated[ReferenceId | None, BeforeValidator(_reference_id)] = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a request body.

        Raises:
            InvalidRequest: with a sentence for each field that is wrong.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise InvalidRequest(
                [
                    (".".join(str(part) for part in trouble["loc"]) or "body", trouble["msg"])
                    for trouble in error.errors(include_input=False, include_url=False)
                ]
            ) from None


_Resource = Annotated[str, Field(pattern="^[A-Z0-9_]{2,64}$")]


class NewSession(Person):
    """What the caller asks for: one person; and one provider, or some to pick from, or all of them."""

    resource: _Resource | None = None
    resources: Annotated[tuple[_Resource, ...], Field(min_length=1, max_length=100)] = ()
    return_to: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    language: Annotated[str, Field(pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")] | None = None

    @field_validator("resources")
    @classmethod
    def _stands_alone(cls, resources: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if others.data.get("resource") is not None:
            message = "may not be given together with resource"
            raise ValueError(message)
        return resources
