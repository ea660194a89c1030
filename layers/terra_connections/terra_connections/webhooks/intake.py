"""Store a verified webhook: its delivery, the facts about connections and the report of a login, in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime

from terra_connections.connections.facts import only_revocations
from terra_connections.connections.store import ConnectionStore
from terra_connections.dynamodb import TransactWrite
from terra_connections.sessions.widget_reports import WidgetReportStore
from terra_connections.webhooks.delivery import Delivery
from terra_connections.webhooks.delivery_store import DeliveryStore
from terra_connections.webhooks.payload import WebhookEvent


def store_webhook(
    event: WebhookEvent,
    delivery: Delivery,
    *,
    deliveries: DeliveryStore,
    reports: WidgetReportStore,
    connections: ConnectionStore,
    now: datetime,
    together_with: Sequence[TransactWrite] = (),
    on_connected: Callable[[], None] | None = None,
) -> bool:
    """Store the facts and the report of an event, and return whether its delivery is new.

    Of a duplicate only the revocations are stored: the first delivery may have been a copy with forged headers, and a
    disconnect must not be lost because of it.

    Args:
        event: the parsed event.
        delivery: its delivery.
        deliveries: stores the delivery.
        reports: stores the event's report about a login.
        connections: stores the facts.
        now: the current time.
        together_with: further writes of a new delivery.
        on_connected: as in `ConnectionStore.record`.

    Raises:
        NotDurable: contention or throttling lasted too long; nothing is stored.
    """
    stored = connections.record(
        event.facts,
        together_with=[*deliveries.writes(delivery), *together_with],
        login=event.report.widget_session_id if event.report else None,
        of_login=reports.writes(event.report, now=now),
        on_connected=on_connected,
    )
    if stored is None:
        connections.record(only_revocations(event.facts))
    return stored is not None
