"""Publish the events about payloads, each with its current owner; delete the payloads of erased users instead."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from terra_connections.change_events.event_bus import MOST_ENTRIES, EventBus
from terra_connections.connections.connection import Connection
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.delivery import DataDelivery, Key
from terra_connections.data.store import PayloadStore
from terra_connections.ids import ReferenceId, UserId


class DataEvent(StrEnum):
    """The type of an event."""

    RECEIVED = "data_received"
    CLAIMED = "data_claimed"


@dataclass(frozen=True, slots=True)
class Published:
    """The result of a batch.

    Attributes:
        failed: the deliveries whose events EventBridge did not accept.
        deleted: the number of payloads that were deleted, because their user is erased.
        live: the other deliveries.
    """

    failed: tuple[DataDelivery, ...]
    deleted: int
    live: tuple[DataDelivery, ...]


@dataclass(frozen=True, slots=True)
class DataPublisher:
    """Publishes events about payloads."""

    payloads: PayloadStore
    connections: ConnectionStore
    bus: EventBus

    def publish(
        self, deliveries: Sequence[DataDelivery], *, type_: DataEvent = DataEvent.RECEIVED, replay_id: str | None = None
    ) -> Published:
        """Publish an event for each delivery, in order.

        The tombstones are read before the events are published. An erasure writes them before it lists the payloads, so
        each payload is seen by the erasure or by this function.

        Raises:
            NotDurable, ClientError, BotoCoreError: some of the events are not published. A retry repeats the others.
        """
        user_ids = {delivery.user_id for delivery in deliveries if delivery.user_id is not None}
        views, erased_ids = self.connections.views_with_erased(user_ids)
        reports = self._reports(deliveries)
        erased_until = self.connections.erased_until({owner for owner in reports.values() if owner is not None})
        erased = [
            delivery
            for delivery in deliveries
            if delivery.user_id in erased_ids
            or delivery.position <= erased_until.get(reports.get(delivery.key) or ReferenceId(""), -1)
        ]
        self.payloads.delete(delivery.key for delivery in erased)
        live = [delivery for delivery in deliveries if delivery not in erased]
        details = [self._detail(delivery, views, reports, replay_id) for delivery in live]
        failed: list[DataDelivery] = []
        for start in range(0, len(live), MOST_ENTRIES):
            refused = self.bus.put_details(type_.value, details[start : start + MOST_ENTRIES])
            failed += [live[start + number] for number in refused]
        return Published(tuple(failed), len(erased), tuple(live))

    def _reports(self, deliveries: Iterable[DataDelivery]) -> dict[str, ReferenceId | None]:
        """Return the `reference_id` of each report, by its key."""
        keys = [each.key for each in deliveries if (parts := Key.parse(each.key)) and parts.pseudonym is not None]
        return {key: self.payloads.reference_id(key) for key in keys}

    def _detail(
        self,
        delivery: DataDelivery,
        views: Mapping[UserId, Connection],
        reports: Mapping[str, ReferenceId | None],
        replay_id: str | None,
    ) -> dict[str, Any]:
        """Return the detail of an event, as in docs/events.md."""
        view = None if delivery.user_id is None else views.get(delivery.user_id)
        return {
            **delivery.as_values(),
            "connection_id": view.connection_id if view else None,
            "reference_id": view.reference_id if view else reports.get(delivery.key),
            "provider": delivery.provider or (view.provider if view else None),
            "bucket": self.payloads.bucket,
            "replay_id": replay_id,
        }
