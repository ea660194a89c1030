"""Clients of DynamoDB that are made in other ways than wiring.py makes them, and the calls that each has to make."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import botocore.session
from botocore.config import Config

from terra_connections import wiring
from terra_connections.connections.store import ConnectionStore
from terra_connections.users.pseudonym import SHORTEST_KEY, Pseudonyms
from terra_connections.users.store import UserStore
from terra_connections.webhooks import payload as event
from terra_connections.webhooks.delivery import delivery, position
from terra_connections.webhooks.delivery_store import DeliveryStore
from terra_connections.webhooks.signature import Proof, Tolerance


def client(*, is_told_its_name: bool = False, parameter_validation: bool = True) -> Any:  # noqa: ANN401 - as wiring's
    """A client with wiring.py's patience, and of its other options only these."""
    session = botocore.session.get_session()
    user_agent = session.user_agent() if is_told_its_name else None
    options = Config(user_agent=user_agent, parameter_validation=parameter_validation)
    return session.create_client("dynamodb", config=wiring._QUICK.merge(options))  # noqa: SLF001 - not to say it twice


def calls(client: Any, body: bytes) -> Mapping[str, Callable[[], object]]:  # noqa: ANN401 - as above
    """One small write, and the transaction by which a webhook keeps a new connection."""
    writes = writes_of(body)
    return {
        "PutItem": partial(client.put_item, TableName="Deliveries", Item={"delivery_id": {"S": "one attribute"}}),
        "TransactWriteItems": partial(client.transact_write_items, TransactItems=writes),
    }


def writes_of(body: bytes) -> Sequence[Mapping[str, Any]]:
    """The writes of a webhook, as the stores compose them: two of the delivery, the connection, a condition."""
    now, proof = datetime.now(UTC), Proof("current", "1700000000")
    tolerance = Tolerance(past=timedelta(minutes=5), future=timedelta(minutes=5))
    told = event.parse(body, position(proof, None))
    taken = delivery(trace_id="a-trace", proof=proof, body=body, type_=told.type, now=now, tolerance=tolerance)
    nothing: Any = _Nothing()
    pseudonyms = Pseudonyms("k" * SHORTEST_KEY)
    users = UserStore(nothing, connections_table="Connections", sessions_table="Sessions", pseudonyms=pseudonyms)
    deliveries = DeliveryStore("Deliveries").writes(taken)
    ConnectionStore(nothing, "Connections", users=users).record(told.facts, together_with=deliveries)
    written: Sequence[Mapping[str, Any]] = nothing.written
    return written


class _Nothing:
    """A database that holds nothing yet, and remembers what it was told."""

    written: Sequence[Mapping[str, Any]] = ()

    def batch_get_item(self, **_asked: object) -> Mapping[str, Any]:
        return {"Responses": {}, "UnprocessedKeys": {}}

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> None:  # noqa: N803 - boto's word
        self.written = TransactItems
