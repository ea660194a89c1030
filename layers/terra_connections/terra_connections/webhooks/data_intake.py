"""Keep a data delivery: its body in the bucket first, then its pointer in the transaction of the delivery.

A crash between the two leaves an object without a pointer; the retry finds it and writes the pointer. In the other
order the body would be lost: the retry would be a duplicate.
"""

from dataclasses import dataclass

from terra_connections.connections.facts import Position
from terra_connections.data.delivery import DataDelivery
from terra_connections.data.payload import payload_from
from terra_connections.data.store import PayloadStore
from terra_connections.dynamodb import TransactWrite
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.webhooks.delivery import Delivery
from terra_connections.webhooks.delivery_store import DeliveryStore
from terra_connections.webhooks.signature import VerifiedSignature


@dataclass(frozen=True, slots=True)
class DataIntake:
    """Keeps payloads."""

    payloads: PayloadStore
    deliveries: DeliveryStore
    pseudonyms: Pseudonyms

    def keep(
        self,
        content: object,
        body: bytes,
        received: Delivery,
        *,
        proof: VerifiedSignature,
        position: Position,
        trace_id: str | None,
        terra_reference: str | None,
    ) -> TransactWrite:
        """Store a body, and return the write of its pointer, whose record in the stream causes the event.

        Args:
            content: the body as JSON; None if it is not JSON.
            body: the bytes as received.
            received: the delivery.
            proof: its signature.
            position: the event's position.
            trace_id: Terra's id of the delivery.
            terra_reference: Terra's id of the request that caused it.

        Raises:
            NotDurable, ClientError, BotoCoreError: it is not stored.
        """
        payload = payload_from(content, body)
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
        return self.deliveries.pointer(kept, ttl=received.ttl)
