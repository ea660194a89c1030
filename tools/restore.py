"""`make restore STAGE=... FROM=<table>`: merge the items of a restored backup into a stage's Connections table.

DynamoDB restores a backup into a new table. The stage's own table keeps the tombstones of users who were erased since.
The restored items are therefore merged into it by the code that stores Terra's events: newer facts stay, and nothing
is written for an erased user. `make reconcile`, or the next scheduled sweep, then verifies the result with Terra.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from terra_connections.connections.store import ConnectionStore
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tools import stages
from tools.environment import ROOT
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

_PAGE = 300
_BATCH = 20  # connections; a transaction takes 100 writes


def merge(client: DynamoDBClient, *, source: str, target: str, sessions: str, key: str) -> tuple[int, int]:
    """Merge a restored table into the stage's own.

    Args:
        client: the DynamoDB client.
        source: the restored table.
        target: the stage's Connections.
        sessions: the stage's Sessions.
        key: the value of `key` in the secret PseudonymKey.

    Returns:
        The number of connections and of tombstones in the backup.
    """
    pseudonyms = Pseudonyms(key)
    users = UserStore(client, connections_table=target, sessions_table=sessions, pseudonyms=pseudonyms)
    tombstones = _merge_tombstones(client, source=source, target=target)
    backup, own = (ConnectionStore(client, table, users=users) for table in (source, target))
    connections, start = 0, None
    while True:
        found, start = backup.page(0, of=1, start=start, limit=_PAGE)
        for first in range(0, len(found), _BATCH):
            own.record(found[first : first + _BATCH])
        connections += len(found)
        if start is None:
            return connections, tombstones


def _merge_tombstones(client: DynamoDBClient, *, source: str, target: str) -> int:
    """Copy the tombstones that the stage's own table lacks, for example if it was emptied. Its own ones are newer."""
    pages = client.get_paginator("scan").paginate(
        TableName=source,
        FilterExpression="begins_with(user_id, :erased)",
        ExpressionAttributeValues={":erased": {"S": "erased:"}},
    )
    count = 0
    for item in (item for page in pages for item in page["Items"]):
        count += 1
        tombstone: Any = item
        try:
            client.put_item(TableName=target, Item=tombstone, ConditionExpression="attribute_not_exists(user_id)")
        except client.exceptions.ConditionalCheckFailedException:
            continue
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge a restored table with the user's AWS credentials."""
    parser = argparse.ArgumentParser(prog="make restore", description=__doc__)
    parser.add_argument("stage", nargs="?", default="", help="a stage of samconfig.toml")
    parser.add_argument("--source", required=True, metavar="TABLE", help="the restored table")
    options = parser.parse_args(arguments)
    try:
        stage = stages.read(options.stage, ROOT / "samconfig.toml")
        outputs, session = stages.outputs(stage), stage.session()
        secret = session.client("secretsmanager").get_secret_value(SecretId=outputs["PseudonymKeyArn"])
        connections, tombstones = merge(
            session.client("dynamodb"),
            source=options.source,
            target=outputs["ConnectionsTable"],
            sessions=outputs["SessionsTable"],
            key=json.loads(secret["SecretString"])["key"],
        )
    except stages.StageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (BotoCoreError, ClientError) as error:
        sys.stderr.write(f"AWS rejected the request: {error}\n")
        return 1
    say(f"Merged {connections} connections and {tombstones} tombstones. Users erased since the backup stay erased.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
