"""Fetch the payload of a ping, and keep it as that of any other data delivery: object, pointer, event."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from terra_connections.data.delivery import DataDelivery, event_id
from terra_connections.data.download import Download, downloaded
from terra_connections.data.fetch_errors import Expired, Refusal, Refused
from terra_connections.data.payload import Payload
from terra_connections.data.payload_urls import PayloadUrl, PayloadUrls
from terra_connections.data.store import PayloadStore
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.webhooks.delivery_store import PointerStore
from terra_connections.webhooks.ping import Announced, DeadFetches, FetchOrder

FETCHED, KNOWN = "fetched", "known"


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result for one message, for the log.

    Attributes:
        outcome: `fetched`, `known` if it was fetched before, or the reason why it is in the dead-letter queue.
    """

    outcome: str
    delivery: DataDelivery | None = None


@dataclass(frozen=True, slots=True)
class PayloadFetcher:
    """Fetches payloads.

    Attributes:
        urls: the allow-list.
        get: fetches an accepted URL (`data.safe_get`).
    """

    urls: PayloadUrls
    payloads: PayloadStore
    pointers: PointerStore
    pseudonyms: Pseudonyms
    dead: DeadFetches
    get: Callable[[PayloadUrl], Iterable[bytes]]

    def work(self, message: str, *, message_id: str) -> Fetched:
        """Fetch the payload of a message. What a retry cannot fetch is sent to the dead-letter queue.

        Raises:
            Unavailable, NotDurable, ClientError, BotoCoreError: the message must be retried.
        """
        try:
            return self._fetch(_order(message), message_id)
        except (Expired, Refused) as error:
            self.dead.send(message, reason=error.reason)
            return Fetched(error.reason)

    def _fetch(self, order: FetchOrder, message_id: str) -> Fetched:
        announced = order.delivery
        # Terra repeats a ping whose response was lost, perhaps after its URL has expired.
        if self.pointers.has(event_id(announced.digest)):
            return Fetched(KNOWN)
        with downloaded(self.get(self.urls.accepted(order.url))) as download:
            kept = self._delivery(announced, download)
            self.payloads.put_file(kept, download.file)
        self.pointers.put(kept, ttl=announced.ttl, otherwise=message_id)
        return Fetched(FETCHED, kept)

    def _delivery(self, announced: Announced, download: Download) -> DataDelivery:
        """Return the delivery, whose key has the time of the position.

        Terra may sign a retry of a ping again, and both messages may be fetched, but they have the same ordering
        timestamp: with `t`, the payload would be stored under two keys.
        """
        payload = _of_its_user(download.payload, announced)
        reference_id = payload.reference_id
        return DataDelivery.of(
            payload,
            signed=announced.digest,
            signed_at=announced.position // 1000,
            position=announced.position,
            pseudonym=None if reference_id is None else self.pseudonyms.in_keys(reference_id),
            trace_id=announced.trace_id,
            terra_reference=announced.terra_reference,
        )


def _order(message: str) -> FetchOrder:
    try:
        return FetchOrder.parse(message)
    except ValueError:
        raise Refused(Refusal.NOT_A_FETCH) from None


def _of_its_user(payload: Payload, announced: Announced) -> Payload:
    """Return the payload with its user. A body that is not JSON names none; the ping, which Terra has signed, may do.

    Raises:
        Refused: they name different users.
    """
    if announced.user_id is None or payload.user_id == announced.user_id:
        return payload
    if payload.user_id is not None:
        raise Refused(Refusal.OTHER_USER)
    return replace(payload, user_id=announced.user_id, reference_id=None)
