"""The environment's destinations: where each webhook goes, and what signs it.

Terra's Admin API (OpenAPI document 2026.10.09): an event is delivered to every active destination whose event types
admit it, with a delivery, a secret and retries of its own. The destination that the command line configures is one of
them. Destinations of other types than `webhook` are kept and shown; nothing is delivered to them.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, Field

from terra_simulator.identifiers import below, token_hex

CONFIGURED: Final = "1000000000000000001"
"""The id of the destination that the command line configures."""

AUTH_EVENTS: Final = (
    "auth",
    "auth_cancelled",
    "deauth",
    "user_reauth",
    "access_revoked",
    "permission_change",
    "connection_error",
)
DATA_EVENTS: Final = (
    "activity",
    "athlete",
    "body",
    "daily",
    "health_observation",
    "hormone",
    "lab_report",
    "menstruation",
    "nutrition",
    "planned_workout",
    "sleep",
)
OTHER_EVENTS: Final = (
    "large_request_processing",
    "large_request_sending",
    "s3_payload",
    "healthcheck",
    "processing",
    "rate_limit_hit",
    "google_no_datasource",
)
Vocabulary = Literal["types", "groups"]


class ConfigField(BaseModel):
    """A field of a destination type's `config`."""

    name: str
    type: Literal["string", "integer", "object"] = "string"
    required: bool = True
    secret: bool = False
    enum: list[str] | None = None


def _fields(*names: str, secret: Iterable[str] = (), optional: Iterable[str] = ()) -> list[ConfigField]:
    return [
        ConfigField(
            name=name,
            type="integer" if name == "port" else "object" if name == "service_account_key" else "string",
            required=name not in optional,
            secret=name in secret,
        )
        for name in names
    ]


DESTINATION_TYPES: Final[dict[str, list[ConfigField]]] = {
    "webhook": [
        ConfigField(name="url"),
        ConfigField(name="delivery", required=False, enum=["push", "ping"]),
    ],
    "s3": _fields("bucket", "region", "access_key_id", "secret_access_key", secret=["secret_access_key"]),
    "sqs": _fields(
        "queue",
        "region",
        "access_key_id",
        "secret_access_key",
        "s3_bucket",
        secret=["secret_access_key"],
        optional=["region", "s3_bucket"],
    ),
    "gcs": _fields("bucket", "service_account_key", secret=["service_account_key"]),
    "firestore": _fields("database", "service_account_key", secret=["service_account_key"], optional=["database"]),
    "supabase": _fields("project_url", "bucket", "api_key", secret=["api_key"]),
    "mongodb": _fields("scheme", "host", "database", "username", "password", secret=["password"]),
    "kafka": _fields("host", "port", "topic", "username", "password", secret=["password"]),
    "sql": _fields("scheme", "host", "port", "database", "username", "password", secret=["password"]),
    "azureblob": _fields("account_url", "container", "sas_token", secret=["sas_token"]),
}


class Destination(BaseModel):
    """One destination, with its secret."""

    id: str
    type: str = "webhook"
    config: dict[str, Any] = Field(default_factory=dict)
    event_types: list[str] = Field(default_factory=list)
    """Empty: every type, also future ones."""
    active: bool = True
    signing_secret: str | None = None
    """None: it signs with the environment's."""
    previous_secret: str | None = None
    """After a rotation with overlap: the secret that also signs, until `previous_until`."""
    previous_until: float = 0.0
    failures: int = 0
    """Failed attempts since the last delivery or update."""

    @property
    def url(self) -> str:
        """The address of a webhook; empty if it has none."""
        return str(self.config.get("url") or "")

    @property
    def is_pinged(self) -> bool:
        """Whether it gets data events as `s3_payload`, with a URL of the payload."""
        return self.config.get("delivery") == "ping"

    @property
    def shown_url(self) -> str:
        """The address without embedded credentials."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def admits(self, event_type: str, vocabulary: Vocabulary) -> bool:
        """Return whether a webhook's `type` is delivered here."""
        name = event_type.partition(".")[0]
        if vocabulary == "groups" and name in AUTH_EVENTS:
            name = "auth"
        return not self.event_types or name in self.event_types

    def secrets(self, now: float, *, environment: str) -> list[str]:
        """Return the secrets that sign a delivery now: two during the overlap of a rotation."""
        own = self.signing_secret or environment
        return [own, self.previous_secret] if self.previous_secret and now < self.previous_until else [own]

    def missing(self) -> list[str]:
        """Return the required fields of `config` that are not set."""
        fields = DESTINATION_TYPES[self.type]
        return [f"config.{each.name}" for each in fields if each.required and self.config.get(each.name) in {None, ""}]


class Destinations(BaseModel):
    """Every destination, as kept in the state file."""

    by_id: dict[str, Destination] = Field(default_factory=dict)

    @property
    def configured(self) -> Destination | None:
        """The destination of the command line, unless it was deleted."""
        return self.by_id.get(CONFIGURED)

    def configure(self, url: str | None, signing_secret: str, delivery: str | None) -> None:
        """Set the destination of the command line; without a URL there is none, without a delivery that stays."""
        if url is None:
            self.by_id.pop(CONFIGURED, None)
            return
        destination = self.by_id.setdefault(CONFIGURED, Destination(id=CONFIGURED))
        destination.config["url"] = url
        destination.signing_secret = signing_secret
        if delivery is not None:
            destination.config["delivery"] = delivery

    def admitting(self, event_type: str, vocabulary: Vocabulary) -> Iterator[Destination]:
        """Yield the webhooks that an event is delivered to."""
        for destination in self.by_id.values():
            if destination.type == "webhook" and destination.active and destination.admits(event_type, vocabulary):
                yield destination


def carries_data(event_type: str) -> bool:
    """Return whether an event has data of users; the types that Terra does not document are supposed to have some."""
    return event_type not in {*AUTH_EVENTS, *OTHER_EVENTS}


def known_event_types(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the names that `event_types` may contain.

    Terra publishes no list. `types`: each auth event has a name of its own; `groups`: `auth` covers all of them.
    """
    auth = AUTH_EVENTS if vocabulary == "types" else ("auth",)
    return (*auth, *DATA_EVENTS, *OTHER_EVENTS)


def new_destination_id() -> str:
    """Return a 64-bit id as text, like Terra's."""
    return str(2 * 10**18 + below(10**18))


def new_secret() -> str:
    """Return a signing secret."""
    return token_hex(32)
