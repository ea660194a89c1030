"""The database with the tables of template.yaml: Amazon's DynamoDB Local, or MiniStack if that is unavailable.

The engine is identified by a request to the endpoint, never assumed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import httpx
from botocore.config import Config

from local import fetch
from local.aws_services import CREDENTIALS, REGION, start_ministack
from local.processes import ProcessGroup, StackError, answers
from local.template_file import parse
from tools.progress import say
from tools.setup import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import KeySchemaElementTypeDef

DYNAMODB_LOCAL: Final = "dynamodb-local"
MINISTACK: Final = "ministack"
ACTIVE_TIMEOUT: Final = 30.0

TABLE: Final = "AWS::DynamoDB::Table"

# Only the quick compiler: the start takes half the processor time, and so do the first thousands of requests.
JAVA_OPTIONS: Final = ("-XX:TieredStopAtLevel=1", "-Djava.library.path=DynamoDBLocal_lib")


@dataclass(frozen=True)
class Wanted:
    """The engine to start, with its settings."""

    engine: str
    java: Path | None = None
    folder: Path | None = None


def choose(engine: str) -> Wanted:
    """Choose the engine and fetch what it needs; `engine` is the variable DATABASE."""
    if engine not in ("", DYNAMODB_LOCAL, MINISTACK):
        message = f"DATABASE={engine} is invalid: use {DYNAMODB_LOCAL} or {MINISTACK}, or leave it empty."
        raise StackError(message)
    if engine == MINISTACK:
        return Wanted(MINISTACK)
    try:
        return Wanted(DYNAMODB_LOCAL, fetch.java(), fetch.dynamodb_local())
    except SetupError as error:
        if engine == DYNAMODB_LOCAL:
            raise
        say(f"  {error}")
        say("  MiniStack replaces DynamoDB Local for this run.")
        return Wanted(MINISTACK)


async def start(processes: ProcessGroup, wanted: Wanted, port: int, directory: Path | None) -> str:
    """Start the engine, on disk in `directory` or in memory without one, and return which engine responded."""
    if wanted.java is None or wanted.folder is None:
        kept = {} if directory is None else {"PERSIST_STATE": "1", "STATE_DIR": str(directory / "ministack")}
        scratch = (directory or processes.logs) / "ministack-scratch"
        child = await start_ministack(processes, "database", port, scratch, ("dynamodb", "dynamodbstreams"), kept)
    else:
        if directory is None:
            where = ["-inMemory"]
        else:
            files = directory / "dynamodb"
            files.mkdir(parents=True, exist_ok=True)
            where = ["-dbPath", str(files)]
        java = [str(wanted.java), *JAVA_OPTIONS, *native_access(wanted.java)]
        options = ["-sharedDb", "-disableTelemetry", "-port", str(port), *where]
        # Java decodes file names in the locale's encoding; the C locale's is ASCII only.
        locale = {"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}
        command = [*java, "-jar", fetch.JAR, *options]
        child = await processes.start("database", command, environment=locale, directory=wanted.folder)
        await answers(child, f"http://127.0.0.1:{port}/")
    return await identify(f"http://127.0.0.1:{port}")


def native_access(java: Path) -> list[str]:
    """Allow the SQLite library explicitly if Java supports it: a newer Java warns, and will block it later."""
    known = 22
    return ["--enable-native-access=ALL-UNNAMED"] if fetch.version_of(java) >= known else []


async def identify(endpoint: str) -> str:
    """Return which engine serves an endpoint."""
    async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
        # On a busy machine either engine listens before it can respond.
        for _ in range(40):
            health = await client.get(f"{endpoint}/_ministack/health")
            if health.status_code == httpx.codes.OK and '"services"' in health.text:
                return MINISTACK
            root = await client.get(endpoint)
            if root.headers.get("Server", "").startswith("Jetty") and "com.amazonaws.dynamodb" in root.text:
                return DYNAMODB_LOCAL
            await asyncio.sleep(0.25)
    message = f"The server at {endpoint} is neither DynamoDB Local nor MiniStack."
    raise StackError(message)


# --- tables ----------------------------------------------------------------------------------------------------------


def declared_tables(template: Path) -> dict[str, dict[str, Any]]:
    """Return the properties of every table that a template declares, by logical id."""
    return declared(template, TABLE)


def declared(template: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of every resource of a type, by logical id; references stay unresolved."""
    return {
        name: resource.get("Properties", {})
        for name, resource in parse(template)["Resources"].items()
        if resource["Type"] == kind
    }


def connect(endpoint: str) -> DynamoDBClient:
    """Return a client for a local endpoint."""
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3, "mode": "standard"}),
    )


async def make_tables(endpoint: str, declared: Mapping[str, Mapping[str, Any]]) -> None:
    """Create what is missing under the tables' logical ids: tables, indexes, streams, expiry."""
    await asyncio.to_thread(_make_tables, connect(endpoint), declared)


def _make_tables(client: DynamoDBClient, declared: Mapping[str, Mapping[str, Any]]) -> None:
    present = {name for page in client.get_paginator("list_tables").paginate() for name in page["TableNames"]}
    for name, properties in declared.items():
        if name in present:
            _adapt(client, name, properties)
        else:
            client.create_table(**_creation(name, properties))
            _wait_until_active(client, name)
        _set_expiry(client, name, properties)


def _creation(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Translate CloudFormation's properties into CreateTable's; backups and encryption have no meaning here."""
    request: dict[str, Any] = {"TableName": name, "BillingMode": "PAY_PER_REQUEST"}
    for part in ("KeySchema", "AttributeDefinitions", "LocalSecondaryIndexes"):
        if part in properties:
            request[part] = properties[part]
    if "GlobalSecondaryIndexes" in properties:
        request["GlobalSecondaryIndexes"] = [_index(index) for index in properties["GlobalSecondaryIndexes"]]
    if stream := properties.get("StreamSpecification"):
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream["StreamViewType"]}
    return request


def _index(index: Mapping[str, Any]) -> dict[str, Any]:
    return {part: index[part] for part in ("IndexName", "KeySchema", "Projection")}


def _adapt(client: DynamoDBClient, name: str, properties: Mapping[str, Any]) -> None:
    """Update an existing table to the template, or raise an error if that is impossible."""
    table = client.describe_table(TableName=name)["Table"]
    declared = {index["IndexName"]: index for index in properties.get("GlobalSecondaryIndexes", ())}
    present = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", ())}
    types = {one["AttributeName"]: one["AttributeType"] for one in properties["AttributeDefinitions"]}
    fits = (
        _keys(table["KeySchema"]) == _keys(properties["KeySchema"])
        and all(
            types.get(one["AttributeName"], one["AttributeType"]) == one["AttributeType"]
            for one in table["AttributeDefinitions"]
        )
        and all(
            _keys(present[index]["KeySchema"]) == _keys(declared[index]["KeySchema"])
            for index in present.keys() & declared.keys()
        )
    )
    if not fits:
        message = (
            f"The kept table {name} has other keys than template.yaml now declares: make clean forgets the old data."
        )
        raise StackError(message)
    for index in declared.keys() - present.keys():
        client.update_table(
            TableName=name,
            AttributeDefinitions=properties["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": _index(declared[index])}],  # type: ignore[typeddict-item]
        )
        _wait_until_active(client, name)
    stream = properties.get("StreamSpecification")
    if stream and not table.get("StreamSpecification", {}).get("StreamEnabled"):
        client.update_table(
            TableName=name,
            StreamSpecification={"StreamEnabled": True, "StreamViewType": stream["StreamViewType"]},
        )
        _wait_until_active(client, name)


def _keys(schema: Sequence[KeySchemaElementTypeDef]) -> set[tuple[str, str]]:
    return {(part["AttributeName"], part["KeyType"]) for part in schema}


def _set_expiry(client: DynamoDBClient, name: str, properties: Mapping[str, Any]) -> None:
    wanted = properties.get("TimeToLiveSpecification")
    if not wanted or not wanted.get("Enabled"):
        return
    now = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if now.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") and now.get("AttributeName") == wanted["AttributeName"]:
        return
    specification = {"Enabled": True, "AttributeName": wanted["AttributeName"]}
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)  # type: ignore[arg-type]


def _wait_until_active(client: DynamoDBClient, name: str) -> None:
    until = time.monotonic() + ACTIVE_TIMEOUT
    while time.monotonic() < until:
        table = client.describe_table(TableName=name)["Table"]
        states = [table["TableStatus"], *(index["IndexStatus"] for index in table.get("GlobalSecondaryIndexes", ()))]
        if set(states) == {"ACTIVE"}:
            return
        time.sleep(0.1)
    message = f"The table {name} did not become active within {ACTIVE_TIMEOUT:.0f} s."
    raise StackError(message)
