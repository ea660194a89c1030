"""The subjects to measure on a running stack: the baseline, and each function with the peer that does the same."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import httpx

from benchmarks.execution import Subject, WrongAnswerError
from benchmarks.figures import KEPT
from benchmarks.tables import make_tables
from local import database
from tests.support.api import connections_of
from tests.support.handlers import environments, http_event
from tests.support.redirects import begin
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually
from tests.support.webhooks import PATH, Webhook, as_bytes
from tools import build
from tools.environment import ROOT
from tools.progress import step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.tls import Tls
    from local.testing import Stack

BASELINE: Final = "baseline"
BARE: Final = "bare: kept data"
"""The two calls of a kept delivery, made with boto3 from the same layer."""
PEER: Final = ROOT / "benchmarks" / "peer"

Event = dict[str, Any]


class Events:
    """Events for the functions of a running stack."""

    def __init__(self, stack: Stack, api: httpx.Client, terra: Terra) -> None:
        self._signing_secret = stack.signing_secret
        self._succeeded, self._failed = (begin(api, terra, f"bench-{uuid4()}") for _ in range(2))
        self.reference_id: str = self._succeeded.session["reference_id"]
        connected = self._signed(auth_event(self._succeeded.user_id, self.reference_id))
        api.post(PATH, content=connected.body, headers=connected.headers).raise_for_status()
        eventually(lambda: connections_of(api, self.reference_id))

    def webhook(self) -> Event:
        """A webhook about a new connection."""
        return self._signed(auth_event(new_user_id(), f"bench-{uuid4()}")).event()

    def data(self) -> Event:
        """A webhook with data, as most of Terra's are."""
        user = {"user_id": self._succeeded.user_id, "provider": "FITBIT", "reference_id": self.reference_id}
        data = {"type": "daily", "user": user, "version": "2022-03-16", "data": [{"n": str(uuid4())}]}
        return self._signed(data).event()

    def payload(self) -> Event:
        """A webhook with data of 16 KB: heart rates of a day."""
        user = {"user_id": self._succeeded.user_id, "provider": "FITBIT", "reference_id": self.reference_id}
        metadata = {"start_time": "2026-11-01T00:00:00+00:00", "end_time": "2026-11-01T23:59:00+00:00"}
        samples = [
            {"timestamp": f"2026-11-01T{minute // 10:02}:{minute % 10 * 6:02}:00.000000+00:00", "bpm": minute % 90 + 50}
            for minute in range(235)
        ]
        record = {"metadata": metadata, "heart_rate_data": {"detailed": {"hr_samples": samples}}, "n": str(uuid4())}
        return self._signed({"type": "daily", "user": user, "version": "2022-03-16", "data": [record]}).event()

    def success(self) -> Event:
        """The redirect of a user whose connection is known."""
        return self._succeeded.event("success")

    def failure(self) -> Event:
        """The redirect of a user who gave up."""
        return self._failed.event("failure", reason="access_denied")

    def new_session(self) -> Event:
        """A request to start a user's login."""
        body = json.dumps({"reference_id": f"bench-{uuid4()}", "resource": "FITBIT"})
        return http_event("POST", "/sessions", headers={"content-type": "application/json"}, body=body)

    def connections(self) -> Event:
        """A request for a user's connections."""
        return http_event("GET", "/connections", query=f"reference_id={self.reference_id}")

    def _signed(self, body: Mapping[str, Any]) -> Webhook:
        return Webhook(as_bytes(body), self._signing_secret)


def subjects(stack: Stack, built: Path, peer_packages: Path, tls: Tls) -> list[Subject]:
    """Return the baseline, and each function followed by its peer."""
    headers = {"authorization": f"Bearer {stack.service_key}"}
    with (
        httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as api,
        httpx.Client(base_url=stack.terra_url, timeout=60) as terra,
    ):
        events = Events(stack, api, Terra(terra, stack.signing_secret))
    tables, peer_tables = (make_tables(stack, suffix) for suffix in ("Measured", "Peer"))
    copy_items(stack, tables)
    login = seed_peer(stack, peer_tables, events.reference_id)
    table_variables = {f"{name.upper()}_TABLE": table for name, table in tables.items()}
    # DataDeliveries=ignore: the local stack keeps data, a deployed one does not by default.
    table_variables["PAYLOADS_BUCKET"] = ""
    variables = {function: {**of, **table_variables} for function, of in environments(stack).items()}
    layers = [built / "TerraConnectionsLayer" / "python", built / "DependenciesLayer" / "python"]
    peer_variables = {**variables["terra_webhook"], **variables["create_session"]}
    peer_variables |= {f"PEER_{name.upper()}": table for name, table in peer_tables.items()}
    # No template sets it for a handler that is not this project's.
    del peer_variables["AWS_CA_BUNDLE"]
    peer_environment = tls.environment(peer_variables, peer_packages)
    baseline = Subject(BASELINE, [ROOT / "benchmarks" / "baseline", peer_packages], peer_environment, dict, 200)

    def peer_redirect(outcome: str) -> Event:
        return http_event("GET", f"/auth/{outcome}", query=login)

    measured = [baseline]
    for name, function, event, peer_event, status in (
        ("terra_webhook", "terra_webhook", events.webhook, events.webhook, 200),
        ("terra_webhook: data", "terra_webhook", events.data, events.data, 200),
        ("auth_success", "auth_success", events.success, lambda: peer_redirect("success"), 200),
        ("auth_failure", "auth_failure", events.failure, lambda: peer_redirect("failure"), 200),
        ("list_connections", "list_connections", events.connections, events.connections, 200),
        ("create_session", "create_session", events.new_session, events.new_session, 201),
    ):
        folder = built / "".join(word.capitalize() for word in function.split("_"))
        environment = tls.environment(variables[function], layers[1])
        peer = Subject(f"peer: {name}", [PEER, peer_packages], peer_environment, peer_event, status)
        measured += [Subject(name, [folder, *layers], environment, event, status, peer=peer.name), peer]
    if stack.payloads is None:
        message = "The local stack must keep data deliveries."
        raise WrongAnswerError(message)
    kept = {**variables["terra_webhook"], "PAYLOADS_BUCKET": stack.payloads["bucket"]}
    environment = tls.environment(kept, layers[1])
    webhook = [built / "TerraWebhook", *layers]
    return [
        *measured,
        Subject(KEPT, webhook, environment, events.payload, 200, peer=BARE),
        Subject(BARE, [ROOT / "benchmarks" / "bare_keep", layers[1]], environment, events.payload, 200),
    ]


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


def seed_peer(stack: Stack, tables: Mapping[str, str], reference_id: str) -> str:
    """Create a session of the peer and its connection; return the query of that user's redirect."""
    session_id, state, user_id = uuid4().hex, uuid4().hex, f"peer-{uuid4()}"
    session = {
        "session_id": {"S": session_id},
        "state_hash": {"S": hashlib.sha256(state.encode()).hexdigest()},
        "reference_id": {"S": reference_id},
        "user_id": {"S": user_id},
        "created_at": {"N": "0"},
    }
    connection = {"user_id": user_id, "reference_id": reference_id, "provider": "FITBIT", "status": "connected"}
    client = database.connect(stack.dynamodb_url)
    client.put_item(TableName=tables["sessions"], Item=session)
    client.put_item(TableName=tables["connections"], Item={name: {"S": value} for name, value in connection.items()})
    return f"session={session_id}&state={state}"
