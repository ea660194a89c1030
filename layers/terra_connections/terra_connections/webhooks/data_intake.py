"""Keep a data delivery: its body in the bucket first, then its pointer in the transaction of the delivery.

A crash between the two leaves an object without a pointer; the retry finds it and writes the pointer. In the other
order the body would be lost: the retry would be a duplicate. For the same reason the URL of a ping is sent to its queue
before the transaction.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from terra_connections.connections.facts import Position
from terra_connections.data.delivery import DataDelivery
from terra_connections.data.payload import payload_from
from terra_connections.data.receipts import ReceiptStore
from terra_connections.data.store import PayloadStore
from terra_connections.dynamodb import TransactWrite
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.webhooks.delivery import Delivery
from terra_connections.webhooks.delivery_store import DeliveryStore
from terra_connections.webhooks.payload import LARGE_REQUEST_SENDING, S3_PAYLOAD, WebhookEvent
from terra_connections.webhooks.ping import Announced, FetchOrder, FetchQueue, ping_digest, ping_from
from terra_connections.webhooks.signature import VerifiedSignature


@dataclass(frozen=True, slots=True)
class DataIntake:
    """Keeps payloads."""

    payloads: PayloadStore
    deliveries: DeliveryStore
    pseudonyms: Pseudonyms
    fetches: FetchQueue
    receipts: ReceiptStore

    def expect(self, event: WebhookEvent, *, now: datetime) -> list[TransactWrite]:
        """Return the write of what an event without data announces: the number of chunks of a request."""
        return self.receipts.expects(event.content, now=now) if event.type == LARGE_REQUEST_SENDING else []

    def keep(
        self,
        event: WebhookEvent,
        body: bytes,
        received: Delivery,
        *,
        proof: VerifiedSignature,
        position: Position,
        trace_id: str | None,
        terra_reference: str | None,
    ) -> list[TransactWrite]:
        """Store a body, and return the write of its pointer, whose record in the stream causes the event.

        Of a ping, the URL is sent to the queue instead; the pointer is written when the payload is fetched. A malformed
        ping is stored as it came.

        Args:
            event: the parsed event.
            body: the bytes as received.
            received: the delivery.
            proof: its signature.
            position: the event's position.
            trace_id: Terra's id of the delivery.
            terra_reference: Terra's id of the request that caused it.

        Raises:
            NotDurable, ClientError, BotoCoreError: it is not stored.
        """
        if event.type == S3_PAYLOAD and (ping := ping_from(event.content)):
            announced = Announced(
                digest=ping_digest(body),
                signed_at=proof.signed_at,
                position=position,
                ttl=received.ttl,
                user_id=ping.user_id,
                trace_id=trace_id,
                terra_reference=terra_reference,
            )
            self.fetches.send(FetchOrder(announced, ping.url, ping.expires_in))
            return []
        payload = payload_from(event.content, size=len(body), sha256=hashlib.sha256(body).hexdigest())
        reference_id = payload.reference_id
        kept = DataDelivery.of(
            payload,
            signed=received.signed,
            signed_at=proof.signed_at,
            position=position,
            pseudonym=None if reference_id is None else self.pseudonyms.in_keys(reference_id),
            trace_id=trace_id,
            terra_reference=terra_reference,
        )
        self.payloads.put(kept, body)
        return [self.deliveries.pointer(kept, ttl=received.ttl)]
