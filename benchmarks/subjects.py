"""What is measured: our doors, the floor below them, and the peer beside them, all on one running stack."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import boto3
import httpx

from benchmarks.execution import Subject
from local import artifacts, aws_services
from local.environment import ROOT
from local.progress import step
from tests.integration.handlers import environments, http_event
from tests.integration.redirects import begin
from tests.integration.webhooks import PATH, Webhook, as_bytes
from tests.support import Terra, auth_event, connections_of, eventually, new_user_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.testing import Stack

FLOOR: Final = "floor"
PEER: Final = ROOT / "benchmarks" / "peer"
_HERE: Final = ROOT / "benchmarks"
_TABLES: Final = ("connections", "sessions", "deliveries")


def subjects(stack: Stack, built: Path, peers_packages: Path) -> list[Subject]:
    """Every subject, the floor among them."""
    layers = [built / "TerraConnectionsLayer" / "python", built / "DependenciesLayer" / "python"]
    variables = environments(stack)
    headers = {"authorization": f"Bearer {stack.service_key}"}
    with (
        httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as api,
        httpx.Client(base_url=stack.terra_url, timeout=60) as terra,
    ):
        client = Terra(terra, stack.signing_secret)
        succeeded, failed = (begin(api, client, f"bench-{uuid4()}") for _ in range(2))
        api.post(PATH, **sent(stack, succeeded.user_id, succeeded.session["reference_id"])).raise_for_status()
        eventually(lambda: connections_of(api, succeeded.session["reference_id"]))
    person = succeeded.session["reference_id"]

    def webhook() -> Mapping[str, Any]:
        delivery = sent(stack, new_user_id(), f"bench-{uuid4()}")
        return http_event("POST", PATH, headers=delivery["headers"], body=delivery["content"].decode())

    def new_session() -> Mapping[str, Any]:
        body = json.dumps({"reference_id": f"bench-{uuid4()}", "resource": "FITBIT"})
        return http_event("POST", "/sessions", headers={"content-type": "application/json"}, body=body)

    def listing() -> Mapping[str, Any]:
        return http_event("GET", "/connections", query=f"reference_id={person}")

    ours = [
        ("terra_webhook", webhook, 200),
        ("auth_success", lambda: succeeded.event("success"), 200),
        ("auth_failure", lambda: failed.event("failure", reason="access_denied"), 200),
        ("create_session", new_session, 201),
        ("list_connections", listing, 200),
    ]
    floor = variables["terra_webhook"]
    beside = {**floor, **variables["create_session"], **peers_tables(stack)}
    login = {"session": uuid4().hex, "state": uuid4().hex}
    seed_peer(stack, login, person)

    def peers_success() -> Mapping[str, Any]:
        return http_event("GET", "/auth/success", query=f"session={login['session']}&state={login['state']}")

    theirs = [
        ("webhook", webhook, 200),
        ("auth_success", peers_success, 200),
        ("create_session", new_session, 201),
        ("list_connections", listing, 200),
    ]
    doors = [(name, [built / folder(name), *layers], variables[name], event, status) for name, event, status in ours]
    return [
        Subject("nothing", [_HERE / "nothing"], floor, dict, 200),
        Subject(FLOOR, [_HERE / "floor", layers[1]], floor, dict, 200),
        Subject("floor, boto3 as published", [_HERE / "floor", peers_packages], floor, dict, 200),
        *(Subject(*door) for door in doors),
        *(Subject(f"peer: {name}", [PEER, peers_packages], beside, event, status) for name, event, status in theirs),
    ]


def folder(function: str) -> str:
    """The logical id of a function, by its folder."""
    return "".join(word.capitalize() for word in function.split("_"))


def sent(stack: Stack, user_id: str, person: str) -> dict[str, Any]:
    """A webhook of Terra's that tells of a new connection, as httpx sends it."""
    delivery = Webhook(as_bytes(auth_event(user_id, person)), stack.signing_secret)
    return {"content": delivery.body, "headers": delivery.headers}


def packages_of(folder: Path) -> Path:
    """The packages of a folder of the benchmark, installed and compiled as ours are, and not reduced."""
    lock = folder / "requirements.txt"
    place = ROOT / "build" / f"{folder.name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not place.exists():
        unfinished = place.with_suffix(".new")
        with step(f"installing what {folder.relative_to(ROOT)} runs on"):
            artifacts.make_packages(lock, unfinished, ["x86_64", "aarch64"], None)
        unfinished.rename(place)
    return place


def peers_tables(stack: Stack) -> dict[str, str]:
    """Make tables for the peer, with the keys and indexes of ours; their names as environment variables."""
    dynamodb = client(stack)
    for name in _TABLES:
        ours = dynamodb.describe_table(TableName=getattr(stack.tables, name))["Table"]
        indexes = [
            {"IndexName": index["IndexName"], "KeySchema": index["KeySchema"], "Projection": index["Projection"]}
            for index in ours.get("GlobalSecondaryIndexes", [])
        ]
        dynamodb.create_table(
            TableName=f"Peer{name}",
            KeySchema=ours["KeySchema"],
            AttributeDefinitions=ours["AttributeDefinitions"],
            BillingMode="PAY_PER_REQUEST",
            **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        )
    return {f"PEER_{name.upper()}": f"Peer{name}" for name in _TABLES}


def seed_peer(stack: Stack, login: Mapping[str, str], person: str) -> None:
    """One session of the peer's, and the connection that came of it."""
    session = {
        "session_id": login["session"],
        "state_hash": hashlib.sha256(login["state"].encode()).hexdigest(),
        "reference_id": person,
        "user_id": f"peer-{uuid4()}",
    }
    connection = {"user_id": session["user_id"], "reference_id": person, "provider": "FITBIT", "status": "connected"}
    dynamodb = client(stack)
    for table, item in (("Peersessions", session), ("Peerconnections", connection)):
        values = {name: {"S": value} for name, value in item.items()}
        if table == "Peersessions":
            values["created_at"] = {"N": "0"}
        dynamodb.put_item(TableName=table, Item=values)


def client(stack: Stack) -> Any:  # noqa: ANN401 - what is copied between tables has many shapes
    """DynamoDB Local."""
    return boto3.client(
        "dynamodb",
        endpoint_url=stack.dynamodb_url,
        region_name=stack.region,
        aws_access_key_id=aws_services.CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws_services.CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
