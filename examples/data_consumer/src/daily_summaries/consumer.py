"""What an event does to the table. Events may be repeated, late and in any order: the table is the same in the end."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from daily_summaries.payloads import Payloads, parsed
from daily_summaries.record_types import TYPES, records_of
from daily_summaries.table import Table, Version, partition_of

Detail = Mapping[str, Any]


class Consumer:
    """Applies events to the table. It writes one log line for each delivery, without health data."""

    def __init__(self, payloads: Payloads, table: Table, logger: Logger) -> None:
        self._payloads = payloads
        self._table = table
        self._logger = logger

    def receive(self, event: Mapping[str, Any]) -> None:
        """Apply an event of the bus; ignore other types than those of the rule."""
        match event["detail-type"]:
            case "data_received" | "data_claimed":
                outcome = self._apply(event["detail"], event["time"])
                detail = event["detail"]
                self._logger.info("delivery", outcome=outcome, type=detail["type"], event_id=detail["event_id"])
            case "erased":
                self._erase(event["detail"])

    def _apply(self, detail: Detail, published_at: str) -> str:
        """Apply a delivery, and return the outcome for the log."""
        user_id, reference_id = detail["user_id"], detail["reference_id"]
        if detail["type"] not in TYPES:
            return "unknown_type"
        if not (user_id or reference_id):
            return "unknown_user"
        if self._is_erased(detail):
            return "erased"
        if user_id and reference_id:
            # Before the payload is read: the owner counts even if the payload no longer exists.
            names = ("reference_id", "connection_id", "provider")
            owner = {name: detail[name] for name in names} | {"at": published_at}
            self._table.set_owner(user_id, owner, detail["position"])
        body = self._payloads.read(detail)
        if body is None:
            return "missing"
        content = parsed(body)
        if content is None:
            return "not_json"
        self._keep(user_id or partition_of(reference_id), detail, content)
        # The user may have been erased since the payload was read.
        return "erased" if self._is_erased(detail) else "applied"

    def _keep(self, partition: str, detail: Detail, content: object) -> None:
        """Store the records of a payload. If it has a record twice, the last one counts."""
        found = list(records_of(detail["type"], content))
        for record in {record.name: record for record in found if record}.values():
            self._table.keep(partition, record, Version(detail["position"], detail["sha256"]))
        if None in found:
            self._logger.warning("records_without_key", type=detail["type"], event_id=detail["event_id"])

    def _is_erased(self, detail: Detail) -> bool:
        """Whether the delivery's user was erased; then erase what this or an interrupted run may have written."""
        user_id, reference_id, position = detail["user_id"], detail["reference_id"], detail["position"]
        if not self._table.is_erased(user_id, reference_id, position):
            return False
        if user_id:
            self._table.erase(user_id, reference_id)
        elif reference_id:
            self._table.erase_up_to(reference_id, position)
        return True

    def _erase(self, detail: Detail) -> None:
        """Erase a connection; with the last one, also everything else of the user."""
        reference_id = detail["reference_id"]
        self._table.erase(detail["connection"]["user_id"], reference_id)
        if not detail["connections"]:
            self._table.erase_up_to(reference_id, detail["position"])
