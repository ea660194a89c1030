"""One kept data delivery: its key in the bucket, and everything that is announced about it besides its owner.

```text
p/<user_id>/<type>/<time>-<digest>.json.gz                    of a user
r/<pseudonym of reference_id>/<type>/<time>-<digest>.json.gz  a report, which names a reference_id and no user_id
n/<type>/<time>-<digest>.json.gz, ...bin.gz                   without a user; .bin if it is not JSON
```

`time` is `t` of the signature in Unix milliseconds, in 15 digits, so that a listing is in order; of a ping it is the
second of its position. `digest` is the
beginning of the hash of what was signed. Both are signed: a captured body has one key, whatever its other headers say.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self
from uuid import UUID, uuid5

from terra_connections.connections.facts import Position
from terra_connections.data.payload import Payload
from terra_connections.ids import UserId

_EVENT_IDS = UUID("5ba9dd0e-6ad4-4f5c-9a3c-2f1d5a8f6c11")
"""The namespace of the event ids (RFC 9562, version 5)."""
_DIGEST_DIGITS = 32
_KEY = re.compile(
    r"(?:p/(?P<user_id>[^/]+)|r/(?P<pseudonym>[^/]+)|n)/(?P<type>[^/]+)/(?P<time>[0-9]{15})-[^/]+\.gz", re.ASCII
)
_SHORT_TEXT = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class Key:
    """The parts of a key.

    Attributes:
        user_id: the user.
        pseudonym: of a report, that of its `reference_id`.
        time: Unix milliseconds.
    """

    user_id: UserId | None
    pseudonym: str | None
    type: str
    time: int

    @classmethod
    def parse(cls, key: str) -> "Key | None":
        """Parse a key; None if it is not one of a payload."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        user_id = found["user_id"]
        return cls(UserId(user_id) if user_id else None, found["pseudonym"], found["type"], int(found["time"]))


def event_id(signed: str) -> str:
    """Return the id of a delivery's event.

    Args:
        signed: the hash that identifies the delivery.
    """
    return str(uuid5(_EVENT_IDS, signed))


def user_prefix(user_id: UserId) -> str:
    """Return the beginning of the keys of a user's payloads."""
    return f"p/{user_id}/"


def report_prefix(pseudonym: str) -> str:
    """Return the beginning of the keys of the reports about a `reference_id`."""
    return f"r/{pseudonym}/"


@dataclass(frozen=True, slots=True)
class DataDelivery:
    """What is announced about a payload, besides its owner.

    Attributes:
        event_id: the id of its event; the same on every retry, because it is computed from what was signed.
        trace_id: Terra's id of the delivery, if it is printable.
        terra_reference: Terra's id of the request that caused it, if any.
        position: as that of other events (`connections.facts.Position`).
        bytes: the size of the body.
        sha256: the hash of the body.
    """

    event_id: str
    key: str
    type: str
    position: Position
    records: int
    bytes: int
    sha256: str
    user_id: UserId | None = None
    provider: str | None = None
    first_day: str | None = None
    last_day: str | None = None
    trace_id: str | None = None
    terra_reference: str | None = None

    @classmethod
    def of(
        cls,
        payload: Payload,
        *,
        signed: str,
        signed_at: int,
        position: Position,
        pseudonym: str | None,
        trace_id: str | None,
        terra_reference: str | None,
    ) -> Self:
        """Return the delivery of a payload.

        Args:
            payload: the facts about its body.
            signed: the hash that identifies the delivery: `webhooks.delivery.Delivery.signed`, or `ping_digest`.
            signed_at: the time of its key, in Unix seconds: `t`, or that of a ping's position.
            position: the event's position.
            pseudonym: that of the payload's `reference_id`, if it has one.
            trace_id: Terra's id of the delivery.
            terra_reference: Terra's id of the request that caused it.
        """
        prefix = "n/"
        if payload.user_id is not None:
            prefix = user_prefix(payload.user_id)
        elif pseudonym is not None:
            prefix = report_prefix(pseudonym)
        name = f"{signed_at * 1000:015d}-{signed[:_DIGEST_DIGITS]}.{'json' if payload.is_json else 'bin'}.gz"
        return cls(
            event_id=event_id(signed),
            key=f"{prefix}{payload.type}/{name}",
            type=payload.type,
            position=position,
            records=payload.records,
            bytes=payload.bytes,
            sha256=payload.sha256,
            user_id=payload.user_id,
            provider=payload.provider,
            first_day=payload.first_day,
            last_day=payload.last_day,
            trace_id=_short(trace_id),
            terra_reference=_short(terra_reference),
        )

    def as_values(self) -> dict[str, Any]:
        """Return its fields, as they are stored and published."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the delivery with these fields; others are ignored."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    def as_metadata(self) -> dict[str, str]:
        """Return the metadata of its object: the fields that its key does not contain."""
        values = {name.replace("_", "-"): value for name, value in asdict(self).items() if value is not None}
        return {name: str(value) for name, value in values.items() if name not in {"key", "user-id"}}

    @classmethod
    def from_metadata(cls, key: str, metadata: Mapping[str, str]) -> Self:
        """Return the delivery of an object.

        Raises:
            KeyError, ValueError: the object was not stored by this stack.
        """
        values: dict[str, Any] = {name.replace("-", "_"): value for name, value in metadata.items()}
        parts = Key.parse(key)
        if parts is None:
            message = "not a key of a payload"
            raise ValueError(message)
        values |= {"key": key, "user_id": parts.user_id}
        values |= {name: int(values[name]) for name in ("position", "records", "bytes")}
        return cls.from_values(values)


def _short(text: str | None) -> str | None:
    """Return an id that can be a value of an object's metadata."""
    return text if text is not None and _SHORT_TEXT.fullmatch(text) else None
