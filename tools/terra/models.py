"""The Admin API's objects. Unknown members are ignored, and secrets are never shown."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import Any

from pydantic import BaseModel, Field, SecretStr

WEBHOOK = "webhook"
NAME_PREFIX = "destination-"
"""Of the name of a stored signing secret, before the id of its destination."""


class Token(BaseModel):
    """The caller's token."""

    scopes: list[str] = []
    dev_ids: list[str] | None = None
    expires_at: datetime | None = None


class Destination(BaseModel):
    """A destination of the environment.

    Attributes:
        signing_secret: only in the response that creates a webhook, and null in a repeated one.
    """

    id: str
    type: str = WEBHOOK
    url: str = ""
    active: bool = True
    event_types: list[str] = []
    signing_secret: SecretStr | None = None

    @property
    def secret_name(self) -> str:
        """The name of its signing secret in the stack's secret."""
        return NAME_PREFIX + self.id


class DestinationConfig(BaseModel):
    """A destination with its configuration, which is null if Terra cannot read it."""

    class Values(BaseModel):
        """That of a webhook."""

        delivery: str | None = None

    config: Values | None = None

    @property
    def delivery(self) -> str | None:
        """The delivery mode: push, which is the default, or ping."""
        return self.config.delivery if self.config else None


class Destinations(BaseModel):
    """A list of destinations."""

    data: list[Destination]


class DestinationSecrets(BaseModel):
    """A destination's secrets in plain text; null if it signs with the environment's."""

    class Values(BaseModel):
        """Those of a webhook."""

        signing_secret: SecretStr | None = None

    secrets: Values


class GeneratedEvent(BaseModel):
    """An event that Terra has generated, with a made-up user."""

    event_id: str
    user_id: str


class SyntheticUser(BaseModel):
    """A connection whose data Terra generates."""

    user_id: str
    reference_id: str | None = None
    provider: str = ""
    status: str = ""

    @property
    def is_generating(self) -> bool:
        """Whether it still delivers data."""
        return self.status == "generating"


class SyntheticUsers(BaseModel):
    """A list of synthetic users."""

    data: list[SyntheticUser]


class Page(BaseModel):
    """A page of a list, in the envelope of every list."""

    data: list[dict[str, Any]]
    has_more: bool = False
    next_cursor: str | None = None


class Preview(BaseModel):
    """The response to a dry run."""

    would: str
    preview: dict[str, Any] = Field(default_factory=dict)


class Problem(BaseModel):
    """An error response; a client branches on `code`."""

    code: str = ""
    detail: str | None = None
    title: str | None = None
    errors: list[str] = []
