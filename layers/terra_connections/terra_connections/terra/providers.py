"""The providers that are enabled for the account, parsed from Terra's list.

The list is for a connect screen, and for explaining Terra's rejections. No connection depends on it, so a stale list is
better than none, and invalid entries are left out.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

_RESOURCE = re.compile(r"[A-Z0-9_]{2,64}", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
_MAX_NAME = 100
_ICON = re.compile(r"[!-~]{1,2048}", re.ASCII)


class ProviderType(StrEnum):
    """How a provider is connected: on its own site (api), or by Terra's SDK inside a phone app (sdk)."""

    API = "api"
    SDK = "sdk"


@dataclass(frozen=True, slots=True)
class Provider:
    """One wearable platform."""

    resource: str
    name: str
    type: ProviderType
    icon_url: str | None

    def as_json(self) -> dict[str, Any]:
        """Return `Provider` of openapi.yaml."""
        return {"resource": self.resource, "name": self.name, "type": self.type.value, "icon_url": self.icon_url}


def parse_providers(entries: Sequence[object], *, sdk: Collection[object]) -> list[Provider]:
    """Return the enabled providers, sorted by name and without duplicates.

    Args:
        entries: `providers` of `GET /integrations/detailed`. Entries without a valid id are left out.
        sdk: the ids of Terra's SDK providers.
    """
    found: dict[str, Provider] = {}
    for entry in entries:
        provider = _provider(entry, sdk)
        if provider is not None:
            found.setdefault(provider.resource, provider)
    # Terra documents no order, and a fixed order keeps the list's ETag stable.
    return sorted(found.values(), key=lambda provider: (provider.name.casefold(), provider.resource))


def resource_of(entry: object) -> str | None:
    """Return the id of an entry of Terra's list; None if it has no valid one."""
    resource = entry.get("provider") if isinstance(entry, dict) else None
    return resource if isinstance(resource, str) and _RESOURCE.fullmatch(resource) else None


def _provider(entry: object, sdk: Collection[object]) -> Provider | None:
    resource = resource_of(entry)
    if resource is None or not isinstance(entry, dict):
        return None
    # With a dev-id, Terra lists only enabled providers. If it lists others, their `enabled` is not true.
    if entry.get("enabled") is not None and entry["enabled"] is not True:
        return None
    return Provider(
        resource=resource,
        name=_name(entry.get("name")) or resource,
        type=ProviderType.SDK if resource in sdk else ProviderType.API,
        icon_url=_icon_url(entry.get("icon")),
    )


def _name(value: object) -> str:
    return _UNPRINTABLE.sub(" ", value).strip()[:_MAX_NAME].strip() if isinstance(value, str) else ""


def _icon_url(value: object) -> str | None:
    """Return a URL that is safe for an app to load: https, with a host and without credentials; else None."""
    if not isinstance(value, str) or not _ICON.fullmatch(value):
        return None
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        return None
    return value if is_usable else None
