"""Destinations: create, read, update and delete them, and their signing secrets."""

import re
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from terra_simulator.admin.guard import AdminRequest, Call, Change
from terra_simulator.admin.paging import whole
from terra_simulator.admin.refusals import not_found, reject
from terra_simulator.destinations import (
    DESTINATION_TYPES,
    Destination,
    known_event_types,
    new_destination_id,
    new_secret,
)
from terra_simulator.simulator import Simulator

SecretSource = Literal["destination", "environment"]


class NewDestination(AdminRequest):
    """The body of a creation; `url` alone is the deprecated form."""

    type: str = "webhook"
    config: dict[str, Any] | None = None
    url: str | None = None
    event_types: list[str] = Field(default_factory=list)
    active: bool = True
    signing_secret_source: SecretSource = "destination"  # noqa: S105 - its kind


class NewDestinations(AdminRequest):
    """The body of a creation of several destinations, all or none."""

    items: list[NewDestination] = Field(min_length=1, max_length=100)


class DestinationChanges(AdminRequest):
    """The body of an update."""

    config: dict[str, Any] | None = None
    event_types: list[str] | None = None
    active: bool | None = None


class DestinationApi:
    """The endpoints under `/environments/{dev_id}/unified-api/destinations`."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    async def types(self, _call: Call) -> dict[str, object]:
        """Return the types of destinations, with the fields of their configuration."""
        return whole(
            [
                {
                    "type": name,
                    "display_name": name.capitalize(),
                    "icon_url": f"https://access.tryterra.co/static/{name}.svg",
                    "config_fields": [each.model_dump() for each in fields],
                }
                for name, fields in DESTINATION_TYPES.items()
            ]
        )

    async def all(self, _call: Call) -> dict[str, object]:
        """Return every destination, inactive ones too, without secrets."""
        return whole([_summary(each) for each in self._terra.destinations.by_id.values()])

    async def one(self, call: Call) -> dict[str, object]:
        """Return one destination."""
        return _shown(self._found(call))

    async def secrets(self, call: Call) -> dict[str, object]:
        """Return a destination's secrets in plain text; null if it signs with the environment's."""
        destination = self._found(call)
        values = {
            each.name: destination.config.get(each.name)
            for each in DESTINATION_TYPES[destination.type]
            if each.secret and destination.config.get(each.name)
        }
        if destination.type == "webhook":
            values["signing_secret"] = destination.signing_secret
        return {"id": destination.id, "type": destination.type, "secrets": values}

    async def create(self, call: Call) -> Change:
        """Create a destination; the response is the only one with its signing secret."""
        new = self._new(call.fields(NewDestination), prefix="")
        preview = {**_shown(new), "will_return_signing_secret": new.signing_secret is not None}
        del preview["id"]

        def commit() -> dict[str, object]:
            self._terra.destinations.by_id[new.id] = new
            return {**_shown(new), "signing_secret": new.signing_secret}

        return Change("create", preview, commit, HTTPStatus.CREATED)

    async def create_all(self, call: Call) -> Change:
        """Create several destinations, all or none."""
        items = call.fields(NewDestinations).items
        if any(each.url is not None for each in items):
            reject("items: the deprecated url is not accepted in a batch")
        new = [self._new(each, prefix=f"items[{place}].") for place, each in enumerate(items)]

        def commit() -> dict[str, object]:
            self._terra.destinations.by_id |= {each.id: each for each in new}
            return {"data": [{**_shown(each), "signing_secret": each.signing_secret} for each in new]}

        return Change("create", {"count": len(new)}, commit, HTTPStatus.CREATED)

    async def update(self, call: Call) -> Change:
        """Change a destination. A webhook keeps its signing secret; failures are counted anew."""
        destination, changes = self._found(call), call.fields(DestinationChanges)
        new = destination.model_copy(deep=True, update={"failures": 0})
        if changes.active is not None:
            new.active = changes.active
        if changes.event_types is not None:
            new.event_types = changes.event_types
        for name, value in (changes.config or {}).items():
            if value is None:
                new.config.pop(name, None)
            else:
                new.config[name] = value
        self._check(new, prefix="")
        would = "noop" if new == destination else "update"

        def commit() -> dict[str, object]:
            self._terra.destinations.by_id[new.id] = new
            return _shown(new)

        return Change(would, _shown(new), commit)

    async def delete(self, call: Call) -> Change:
        """Delete a destination, its secret and its retries."""
        destination = self._found(call)

        def commit() -> None:
            del self._terra.destinations.by_id[destination.id]

        return Change("delete", _summary(destination), commit, HTTPStatus.NO_CONTENT)

    async def rotate_secret(self, call: Call) -> Change:
        """Replace a webhook's signing secret. The path is Terra's (November 2026); the answer is assumed."""
        destination = self._found(call)
        if destination.type != "webhook":
            reject("type: only a webhook has a signing secret")

        def commit() -> dict[str, object]:
            destination.previous_secret = destination.signing_secret or self._terra.environment_secret
            destination.previous_until = self._terra.clock() + self._terra.settings.rotation_overlap_s
            destination.signing_secret = new_secret()
            return {**_shown(destination), "signing_secret": destination.signing_secret}

        return Change("rotate", {"id": destination.id, "will_return_signing_secret": True}, commit)

    def _found(self, call: Call) -> Destination:
        destination = self._terra.destinations.by_id.get(call.parameter("destination_id"))
        if destination is None:
            not_found("destination")
        return destination

    def _new(self, fields: NewDestination, *, prefix: str) -> Destination:
        if fields.url is not None and fields.config is not None:
            reject(f"{prefix}url: cannot be combined with config")
        if fields.type not in DESTINATION_TYPES:
            reject(f"{prefix}type: {fields.type} is not a type of destination")
        is_webhook = fields.type == "webhook"
        has_own_secret = fields.signing_secret_source == "destination"  # noqa: S105 - its kind
        if not has_own_secret and not is_webhook:
            reject(f"{prefix}signing_secret_source: only a webhook has a signing secret")
        new = Destination(
            id=new_destination_id(),
            type=fields.type,
            config={"url": fields.url} if fields.url is not None else fields.config or {},
            event_types=fields.event_types,
            active=fields.active,
            signing_secret=new_secret() if is_webhook and has_own_secret else None,
        )
        self._check(new, prefix=prefix)
        return new

    def _check(self, destination: Destination, *, prefix: str) -> None:
        """Raise Refusal with everything that is wrong with a destination."""
        fields = {each.name: each for each in DESTINATION_TYPES[destination.type]}
        errors = [f"config.{name}: unknown field" for name in destination.config if name not in fields]
        for name, value in destination.config.items():
            allowed = fields[name].enum if name in fields else None
            if allowed and value not in allowed:
                errors.append(f"config.{name}: must be one of {', '.join(allowed)}")
        known = known_event_types(self._terra.settings.destination_vocabulary)
        errors += [f"event_types: unknown event type {name}" for name in destination.event_types if name not in known]
        if destination.type == "webhook" and destination.url and not _is_address(destination.url):
            errors.append("config.url: must be an http or https address")
        if destination.active:
            errors += [f"{name}: required for an active destination" for name in destination.missing()]
        if errors:
            reject(*(prefix + each for each in errors))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not re.search(r"\s", url)


def _summary(destination: Destination) -> dict[str, object]:
    return {
        "id": destination.id,
        "type": destination.type,
        "url": destination.shown_url,
        "active": destination.active,
        "event_types": destination.event_types,
    }


def _shown(destination: Destination) -> dict[str, object]:
    config: dict[str, object] = {}
    for each in DESTINATION_TYPES[destination.type]:
        value = destination.config.get(each.name)
        if each.secret and each.type == "object":
            config[f"has_{each.name}"] = value is not None
        elif each.secret:
            config[f"{each.name}_masked"] = None if value is None else f"****{str(value)[-4:]}"
        else:
            config[each.name] = value
    if destination.type == "webhook":
        config |= {"url": destination.shown_url or None, "delivery": config["delivery"] or "push"}
    missing = destination.missing()
    return {**_summary(destination), "configured": not missing, "missing": missing, "config": config}
