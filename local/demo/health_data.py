"""The demo's back end: a user's latest deliveries, and their days from the consumer's table (docs/data.md)."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import boto3

from daily_summaries.summaries import Connection, connections_of
from daily_summaries.table import Table
from local.aws_services import CREDENTIALS, REGION
from local.data_consumer import TABLE

if TYPE_CHECKING:
    from local.demo.connections import Connections
    from local.demo.notifications import Notifications

Json = dict[str, Any]

DAYS: Final = 14
DELIVERIES: Final = 5


class HealthData:
    """Reads the consumer's table."""

    def __init__(self, connections: Connections, dynamodb_url: str, notifications: Notifications) -> None:
        self._connections = connections
        self._dynamodb_url = dynamodb_url
        self._notifications = notifications

    async def of(self, authorization: str) -> Json:
        """Return the data of the user of a token: the API verifies it, and returns whose it is.

        Raises:
            NotAvailableError: the API did not accept the token, or did not respond.
        """
        listed = await self._connections.of(authorization)
        references = {connection["reference_id"] for connection in listed}
        found = [
            each for one in sorted(references) for each in await asyncio.to_thread(connections_of, self._table, one)
        ]
        user_ids = {connection["user_id"] for connection in listed} | {id_ for each in found for id_ in each.user_ids}
        deliveries = self._notifications.deliveries_of(user_ids)[-DELIVERIES:]
        return {
            "deliveries": [delivery_as_json(detail) for detail in reversed(deliveries)],
            "connections": [as_json(connection) for connection in found if connection.days],
            "last_data": self._notifications.last_data(user_ids),
        }

    @cached_property
    def _table(self) -> Table:
        access_key, secret_key = CREDENTIALS.values()
        session = boto3.Session(access_key, secret_key, region_name=REGION)
        return Table(session.resource("dynamodb", endpoint_url=self._dynamodb_url).Table(TABLE))


def delivery_as_json(detail: Json) -> Json:
    """Return what the page shows of a delivery."""
    names = ("event_id", "type", "provider", "position", "records", "first_day", "last_day", "bytes")
    return {name: detail[name] for name in names}


def as_json(connection: Connection) -> Json:
    """Return a connection with its latest days."""
    latest = list(connection.days.items())[-DAYS:]
    days = [{"day": day, **{name: float(value) for name, value in found.items()}} for day, found in latest]
    return {"provider": connection.provider, "days": days}
