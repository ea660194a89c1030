"""`make restore STAGE=... FROM=<table>`: merge a restored or retained table into a stage's Connections table.

DynamoDB restores a backup into a new table, and a deleted stack leaves its table. The stage's own table has the
tombstones of the users who were erased since. The items are therefore merged into it by the code that stores Terra's
events: newer facts stay, and nothing is written for an erased user. Merging the same table again changes nothing, so an
interrupted run is repeated. `make reconcile`, or the next scheduled sweep, then verifies the result with Terra.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terra_connections.connections.store import ConnectionStore
from terra_connections.errors import TerraConnectionsError
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tools import stages
from tools.environment import ROOT
from tools.progress import say, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

_PAGE: Final = 300
_BATCH: Final = 20  # connections; a transaction takes 100 writes
_KEY: Final = [{"AttributeName": "user_id", "KeyType": "HASH"}]
_AGAIN: Final = "What was merged stays: run the same command again."


@dataclass
class Merged:
    """What was read from the other table so far."""

    connections: int = 0
    tombstones: int = 0

    def __str__(self) -> str:
        return f"{self.connections} connections and {self.tombstones} tombstones"


def merge(
    client: DynamoDBClient,
    *,
    source: str,
    target: str,
    sessions: str,
    key: str,
    merged: Merged,
) -> None:
    """Merge another table into the stage's own.

    Args:
        client: the DynamoDB client.
        source: the other table.
        target: the stage's Connections.
        sessions: the stage's Sessions.
        key: the value of `key` in the secret PseudonymKey.
        merged: counts what was merged.
    """
    pseudonyms = Pseudonyms(key)
    users = UserStore(client, connections_table=target, sessions_table=sessions, pseudonyms=pseudonyms)
    _merge_tombstones(client, source=source, target=target, merged=merged)
    backup, own = (ConnectionStore(client, table, users=users) for table in (source, target))
    start = None
    while True:
        found, start = backup.page(0, of=1, start=start, limit=_PAGE)
        for first in range(0, len(found), _BATCH):
            batch = found[first : first + _BATCH]
            own.record(batch)
            merged.connections += len(batch)
        if start is None:
            return


def _merge_tombstones(client: DynamoDBClient, *, source: str, target: str, merged: Merged) -> None:
    """Copy the tombstones that the stage's own table lacks, or has of an earlier erasure only."""
    pages = client.get_paginator("scan").paginate(
        TableName=source,
        FilterExpression="begins_with(user_id, :erased) AND #ttl > :now",
        ExpressionAttributeNames={"#ttl": "ttl"},
        ExpressionAttributeValues={":erased": {"S": "erased:"}, ":now": {"N": str(int(time.time()))}},
    )
    for item in (item for page in pages for item in page["Items"]):
        tombstone: Any = item
        with suppress(client.exceptions.ConditionalCheckFailedException):  # the own one is at least as new
            client.put_item(
                TableName=target,
                Item=tombstone,
                ConditionExpression="attribute_not_exists(user_id) OR #ttl < :ttl",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={":ttl": tombstone["ttl"]},
            )
        merged.tombstones += 1


def check(client: DynamoDBClient, *, source: str, target: str) -> None:
    """Reject a table that cannot be merged.

    Raises:
        StageError: it is not named, does not exist, is not ready, or is not a table of connections.
    """
    if not source:
        message = "Name the table to merge: make restore STAGE=... FROM=<table> (docs/runbook.md)."
        raise stages.StageError(message)
    if source == target:
        message = f"FROM={source} is the stage's own table. FROM is the restored or retained one (docs/runbook.md)."
        raise stages.StageError(message)
    try:
        table = client.describe_table(TableName=source)["Table"]
    except client.exceptions.ResourceNotFoundException:
        message = f"There is no table {source} in {client.meta.region_name}: aws dynamodb list-tables lists its tables."
        raise stages.StageError(message) from None
    if table["TableStatus"] != "ACTIVE":
        message = (
            f"The table {source} is {table['TableStatus']}: wait until it is ACTIVE "
            f"(aws dynamodb wait table-exists --table-name {source})."
        )
        raise stages.StageError(message)
    if table["KeySchema"] != _KEY:
        message = f"The table {source} is not one of connections: its key is not user_id."
        raise stages.StageError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge a table with the user's AWS credentials."""
    parser = argparse.ArgumentParser(prog="make restore", description=__doc__)
    parser.add_argument("stage", nargs="?", default="", help="a stage of samconfig.toml")
    parser.add_argument("--source", default="", metavar="TABLE", help="the restored or retained table")
    options = parser.parse_args(arguments)
    merged = Merged()
    try:
        stage = stages.read(options.stage, ROOT / "samconfig.toml")
        outputs, session = stages.outputs(stage), stage.session()
        client = session.client("dynamodb")
        check(client, source=options.source, target=outputs["ConnectionsTable"])
        secret = session.client("secretsmanager").get_secret_value(SecretId=outputs["PseudonymKeyArn"])
        with step(f"merging {options.source} into {outputs['ConnectionsTable']}", lambda: str(merged)):
            merge(
                client,
                source=options.source,
                target=outputs["ConnectionsTable"],
                sessions=outputs["SessionsTable"],
                key=json.loads(secret["SecretString"])["key"],
                merged=merged,
            )
    except stages.StageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (*stages.AWS_ERRORS, TerraConnectionsError) as error:
        sys.stderr.write(f"The merge ended after {merged}: {stages.one_line(error)} {_AGAIN}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"Interrupted after {merged}. {_AGAIN}\n")
        return 130
    say(f"Merged {merged}. Users erased since then stay erased.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
