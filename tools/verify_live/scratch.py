"""What a run creates at Terra, recognizable by a marker, and its removal, by the same run or by the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools.stages import StageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.terra.admin import AdminApi
    from tools.terra.models import Destination, SyntheticUser
    from tools.verify_live.data_api import DataApi

MARKER: Final = "terra-connections-verify-live"
"""In the URL of every scratch destination, and the beginning of every `reference_id`."""
SYNTHETIC, LOGIN, OF_TOKEN, OF_SDK = (f"{MARKER}-{each}" for each in ("synthetic", "login", "token", "sdk"))
REFERENCES: Final = (SYNTHETIC, LOGIN, OF_TOKEN, OF_SDK)


@dataclass(frozen=True)
class Found:
    """What there is of this or of earlier runs."""

    destinations: list[Destination]
    synthetic: list[SyntheticUser]
    connections: list[str]

    def __str__(self) -> str:
        counts = {
            "destination": len(self.destinations),
            "synthetic user": len(self.synthetic),
            "connection": len(self.connections),
        }
        return ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count)


class Scratch:
    """Finds and removes it."""

    def __init__(self, api: AdminApi, data: DataApi | None) -> None:
        self._api = api
        self._data = data

    def find(self) -> Found:
        """Return what is there. A stopped synthetic user is not, unless its connection can be removed."""
        return Found(self._destinations(), self._generating(), self._connections())

    def remove(self) -> list[str]:
        """Remove everything; return the errors, each of which left something behind."""
        errors: list[str] = []

        def attempt(action: Callable[[], None]) -> None:
            try:
                action()
            except StageError as error:
                errors.append(str(error))

        attempt(self._stop)
        attempt(self._disconnect)
        attempt(self._delete)
        return errors

    def _stop(self) -> None:
        for each in self._generating():
            self._api.stop_synthetic_user(each.user_id)

    def _disconnect(self) -> None:
        for each in self._connections():
            if self._data is not None:
                self._data.deauthenticate(each)

    def _delete(self) -> None:
        for each in self._destinations():
            self._api.delete(each.id)

    def _destinations(self) -> list[Destination]:
        return [each for each in self._api.webhooks() if f"/{MARKER}-" in each.url]

    def _generating(self) -> list[SyntheticUser]:
        own = [each for each in self._api.synthetic_users() if (each.reference_id or "").startswith(MARKER)]
        return [each for each in own if each.is_generating]

    def _connections(self) -> list[str]:
        if self._data is None:
            return []
        return [user_id for reference_id in REFERENCES for user_id in self._data.user_ids(reference_id)]
