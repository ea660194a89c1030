"""The subjects to measure: the handlers, the floor and the peer, all on one running stack."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import httpx
from botocore import xform_name

from benchmarks.execution import Subject
from benchmarks.tables import make_tables
from local import database
from tests.integration.handlers import environments, http_event
from tests.integration.redirects import begin
from tests.integration.webhooks import PATH, Webhook, as_bytes
from tests.support import Terra, auth_event, connections_of, eventually, new_user_id
from tools import build
from tools.environment import ROOT
from tools.progress import step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.tls import Tls
    from local.testing import Stack

FLOOR: Final = "floor"
OUR_FLOOR: Final = "floor, our layer"
PEER: Final = ROOT / "benchmarks" / "peer"
_HERE: Final = ROOT / "benchmarks"
_KEYS: Final = {"user_id", "delivery_id", "session_id"}

Call = tuple[str, dict[str, Any]]
"""A DynamoDB operation, and its parameters."""
Event = dict[str, Any]


class Doors:
    """The handlers on a running stack: events for them, and their DynamoDB calls."""

    def __init__(self, stack: Stack, api: httpx.Client, terra: Terra) -> None:
        self._stack = stack
        self._api = api
        self.succeeded, self.failed = (begin(api, terra, f"bench-{uuid4()}") for _ in range(2))
        self.person = self.succeeded.session["reference_id"]
        api.post(PATH, **self._sent(auth_event(self.succeeded.user_id, self.person))).raise_for_status()
        eventually(lambda: connections_of(api, self.person))

    def webhook(self) -> Event:
        """A webhook about a new connection."""
        return self._delivered(auth_event(new_user_id(), f"bench-{uuid4()}"))

    def data(self) -> Event:
        """A webhook with data, as most of Terra's are."""
        user = {"user_id": self.succeeded.user_id, "provider": "FITBIT", "reference_id": self.person}
        return self._delivered({"type": "daily", "user": user, "version": "2022-03-16", "data": [{"n": str(uuid4())}]})

    def success(self) -> Event:
        """The redirect of a user whose connection is known."""
        return self.succeeded.event("success")

    def failure(self) -> Event:
        """The redirect of a user who gave up."""
        return self.failed.event("failure", reason="access_denied")

    def new_session(self) -> Event:
        """A request to start a user's login."""
        body = json.dumps({"reference_id": f"bench-{uuid4()}", "resource": "FITBIT"})
        return http_event("POST", "/sessions", headers={"content-type": "application/json"}, body=body)

    def listing(self) -> Event:
        """A request for a user's connections."""
        return http_event("GET", "/connections", query=f"reference_id={self.person}")

    def calls_of(self, function: str, event: Event) -> list[Call]:
        """Return the DynamoDB calls of a warm function for an event; its tables are the stack's."""
        for _ in range(2):
            already = len(self._stack.aws_calls.read_bytes()) if self._stack.aws_calls.exists() else 0
            address = f"{event['rawPath']}?{event['rawQueryString']}"
            method = event["requestContext"]["http"]["method"]
            answer = self._api.request(method, address, headers=event["headers"], content=event.get("body"))
            answer.raise_for_status()
        told = [json.loads(line) for line in self._stack.aws_calls.read_bytes()[already:].splitlines()]
        return [
            # botocore adds a new token to each transaction.
            (xform_name(call["operation"]), {k: v for k, v in call["params"].items() if k != "ClientRequestToken"})
            for call in told
            if call["function"] == logical_id(function) and call["service"] == "dynamodb"
        ]

    def _delivered(self, body: Mapping[str, Any]) -> Event:
        delivery = self._sent(body)
        return http_event("POST", PATH, headers=delivery["headers"], body=delivery["content"].decode())

    def _sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a webhook of Terra's, as arguments for httpx."""
        delivery = Webhook(as_bytes(body), self._stack.signing_secret)
        return {"content": delivery.body, "headers": delivery.headers}


def subjects(stack: Stack, built: Path, peers_packages: Path, tls: Tls) -> list[Subject]:
    """Return every subject, the floor among them."""
    layers = [built / "TerraConnectionsLayer" / "python", built / "DependenciesLayer" / "python"]
    headers = {"authorization": f"Bearer {stack.service_key}"}
    with (
        httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as api,
        httpx.Client(base_url=stack.terra_url, timeout=60) as terra,
    ):
        doors = Doors(stack, api, Terra(terra, stack.signing_secret))
        asked = [
            ("terra_webhook", "terra_webhook", doors.webhook, 200),
            ("terra_webhook: data", "terra_webhook", doors.data, 200),
            ("auth_success", "auth_success", doors.success, 200),
            ("auth_failure", "auth_failure", doors.failure, 200),
            ("list_connections", "list_connections", doors.listing, 200),
        ]
        calls = {name: doors.calls_of(function, event()) for name, function, event, _ in asked}
    tables, peers_tables = (make_tables(stack, suffix) for suffix in ("Measured", "Peer"))
    copy_items(stack, tables)
    renamed = {getattr(stack.tables, name): table for name, table in tables.items()}
    peers_login = seed_peer(stack, peers_tables, doors.person)
    variables = {
        function: {**of, **{f"{name.upper()}_TABLE": table for name, table in tables.items()}}
        for function, of in environments(stack).items()
    }
    ours = partial(tls.environment, packages=layers[1])
    peers = partial(as_published, tls, packages=peers_packages)
    floor, beside = variables["terra_webhook"], variables["terra_webhook"] | variables["create_session"]
    beside |= {f"PEER_{name.upper()}": table for name, table in peers_tables.items()}
    theirs = [
        ("webhook", doors.webhook, 200),
        ("auth_success", lambda: http_event("GET", "/auth/success", query=peers_login), 200),
        ("create_session", doors.new_session, 201),
        ("list_connections", doors.listing, 200),
    ]
    return [
        Subject("nothing", [_HERE / "nothing"], ours(floor), dict, 200),
        Subject(FLOOR, [_HERE / "floor", peers_packages], peers(floor), dict, 200, trips=1),
        Subject(
            "floor, connected while loading",
            [_HERE / "floor", peers_packages],
            {**peers(floor), "_HANDLER": "connected.lambda_handler"},
            dict,
            200,
            trips=1,
        ),
        Subject(OUR_FLOOR, [_HERE / "floor", layers[1]], ours(floor), dict, 200, trips=1),
        *(
            Subject(
                name,
                [built / logical_id(function), *layers],
                ours(variables[function]),
                event,
                status,
                trips=len(calls[name]) if name in calls else None,
                bare=f"{name}: bare" if name in calls else None,
            )
            for name, function, event, status in [
                *asked,
                ("create_session", "create_session", doors.new_session, 201),
            ]
        ),
        *(
            Subject(
                f"{name}: bare",
                [_HERE / "bare", peers_packages],
                peers(floor),
                fresh(calls[name], renamed),
                200,
                trips=len(calls[name]),
            )
            for name in calls
        ),
        *(
            Subject(f"peer: {name}", [PEER, peers_packages], peers(beside), event, status)
            for name, event, status in theirs
        ),
    ]


def as_published(tls: Tls, variables: Mapping[str, str], packages: Path) -> dict[str, str]:
    """Return the variables of subjects that are not this project's: no template sets AWS_CA_BUNDLE for them."""
    return tls.environment({name: value for name, value in variables.items() if name != "AWS_CA_BUNDLE"}, packages)


def fresh(calls: Sequence[Call], tables: Mapping[str, str]) -> Callable[[], Event]:
    """Return a factory of events that make these calls on other tables.

    Written keys are new in each event, as they are with each webhook.
    """
    text = json.dumps(calls)
    for name, other in tables.items():
        text = text.replace(f'"{name}"', f'"{other}"')
    written = {key for _, params in calls for write in params.get("TransactItems", []) for key in keys_of(write)}

    def event() -> Event:
        anew = text
        for key in written:
            anew = anew.replace(key, f"{uuid4()}{uuid4()}"[: len(key)])
        return {"calls": json.loads(anew)}

    return event


def keys_of(write: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the keys of an item that a transaction writes or checks."""
    return [
        value["S"]
        for of in write.values()
        for name, value in {**of.get("Key", {}), **of.get("Item", {})}.items()
        if name in _KEYS
    ]


def logical_id(function: str) -> str:
    """Return the logical id of a function, by its folder."""
    return "".join(word.capitalize() for word in function.split("_"))


def packages_of(folder: Path) -> Path:
    """Return the packages of a benchmark folder, installed and compiled as for the layers, but not reduced."""
    lock = folder / "requirements.txt"
    place = ROOT / "build" / f"{folder.name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not place.exists():
        unfinished = place.with_suffix(".new")
        with step(f"installing what {folder.relative_to(ROOT)} runs on"):
            build.make_packages(lock, unfinished, ["x86_64", "aarch64"], None)
        unfinished.rename(place)
    return place


def copy_items(stack: Stack, tables: Mapping[str, str]) -> None:
    """Copy the items of the stack's tables, which are few."""
    client = database.connect(stack.dynamodb_url)
    for name, table in tables.items():
        for item in client.scan(TableName=getattr(stack.tables, name))["Items"]:
            client.put_item(TableName=table, Item=item)


def seed_peer(stack: Stack, tables: Mapping[str, str], person: str) -> str:
    """Create a session of the peer and its connection; return the query of that user's redirect."""
    session_id, state, user_id = uuid4().hex, uuid4().hex, f"peer-{uuid4()}"
    session = {
        "session_id": {"S": session_id},
        "state_hash": {"S": hashlib.sha256(state.encode()).hexdigest()},
        "reference_id": {"S": person},
        "user_id": {"S": user_id},
        "created_at": {"N": "0"},
    }
    connection = {"user_id": user_id, "reference_id": person, "provider": "FITBIT", "status": "connected"}
    client = database.connect(stack.dynamodb_url)
    client.put_item(TableName=tables["sessions"], Item=session)
    client.put_item(TableName=tables["connections"], Item={name: {"S": value} for name, value in connection.items()})
    return f"session={session_id}&state={state}"
