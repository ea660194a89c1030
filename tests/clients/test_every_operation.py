"""Every operation of openapi.yaml, called by each client on a running stack."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
import yaml

from terra_connections_client import AsyncTerraConnections, TerraConnections
from tests.support.api import decide
from tests.support.clients import Failure
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools.clients import TYPESCRIPT
from tools.environment import ROOT

Call = Callable[..., Any]
NOT_FOR_CLIENTS = {"redirects", "webhooks"}
"""The tags of what browsers and Terra call."""


def operations() -> dict[str, set[str]]:
    """Return the names of each operation's parameters and of the members of its body, by its id."""
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text())

    def resolved(part: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in part:
            return part
        _, _, kind, name = part["$ref"].split("/")
        found: dict[str, Any] = document["components"][kind][name]
        return found

    found: dict[str, set[str]] = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            if not NOT_FOR_CLIENTS & set(operation["tags"]):
                names = {resolved(each)["name"] for each in operation.get("parameters", ())}
                for body in operation.get("requestBody", {}).get("content", {}).values():
                    names |= set(resolved(body["schema"])["properties"])
                found[operation["operationId"]] = names
    return found


def snake_case(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name)


def test_the_clients_have_every_operation_with_its_parameters() -> None:
    # Of GET /connections, the pages have methods of their own. Responses to If-None-Match have no body to return.
    others = {
        "If-None-Match": None,
        "Idempotency-Key": "idempotency_key",
        "from": "from_",
        "limit": None,
        "cursor": None,
    }
    others["include"] = "include_revoked"
    typescript = (TYPESCRIPT / "src" / "client.ts").read_text()
    for name, parameters in operations().items():
        expected = {others.get(parameter, parameter) for parameter in parameters} - {None}
        for client in (TerraConnections, AsyncTerraConnections):
            given = inspect.signature(getattr(client, snake_case(name))).parameters
            assert set(given) - {"self"} == expected, name
        assert re.search(rf"^  (async )?{name}\(", typescript, re.MULTILINE), name


def test_a_user_connects_and_disconnects_a_wearable(
    call: Call, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    session = call("create_session", reference_id=reference_id, resource="FITBIT")
    assert (session["status"], session["reference_id"], session["resource"]) == ("pending", reference_id, "FITBIT")
    assert call("get_session", session_id=session["session_id"])["status"] == "pending"

    browser.get(decide(session["auth_url"], "allow"))
    finished = call("wait_for_session", session_id=session["session_id"], within=30, interval=0.1)

    assert finished["status"] == "connected"
    user_id = finished["user_id"]
    [connection] = eventually(lambda: call("list_connections", reference_id=reference_id))
    assert (connection["user_id"], connection["provider"]) == (user_id, "FITBIT")
    assert call("get_connection", user_id=user_id) == connection
    explanation = call("get_facts", user_id=user_id)
    assert explanation["connection"] == connection
    assert "login" in {fact["kind"] for fact in explanation["facts"]}

    assert call("disconnect", user_id=user_id) is None
    assert call("get_connection", user_id=user_id)["status"] == "revoked"
    assert eventually(lambda: not call("list_connections", reference_id=reference_id))
    [revoked] = call("list_connections", reference_id=reference_id, include_revoked=True)
    assert (revoked["user_id"], revoked["status"]) == (user_id, "revoked")
    assert terra.calls("/auth/deauthenticateUser")


def test_a_user_repairs_a_wearable(call: Call, browser: httpx.Client, terra: Terra, reference_id: str) -> None:
    user_id = terra.connect(reference_id)["user_id"]
    terra.happen(user_id, "connection_error")
    eventually(
        lambda: [each["status"] for each in call("list_connections", reference_id=reference_id)] == ["needs_reauth"]
    )

    session = call("create_session", user_id=user_id)
    assert (session["repairs"], session["reference_id"], session["resource"]) == (user_id, reference_id, "FITBIT")
    browser.get(decide(session["auth_url"], "allow"))
    finished = call("wait_for_session", session_id=session["session_id"], within=30, interval=0.1)

    assert (finished["status"], finished["repairs"]) == ("connected", user_id)
    assert call("get_connection", user_id=user_id)["user_id"] == finished["user_id"] != user_id
    with pytest.raises(Failure) as error:
        call("create_session", user_id=user_id, resource="FITBIT")
    assert (error.value.status, error.value.code) == (400, "invalid_request")


def test_a_login_whose_webhook_is_lost(call: Call, browser: httpx.Client, terra: Terra, reference_id: str) -> None:
    terra.hold()
    session = call("create_session", reference_id=reference_id, resource="FITBIT")
    redirect = decide(session["auth_url"], "allow")

    waited = call("wait_for_session", session_id=session["session_id"], within=0.5, interval=0.2)
    assert waited["status"] == "pending"
    browser.get(redirect)

    assert call("wait_for_session", session_id=session["session_id"], within=30)["status"] == "connected"
    assert len(call("list_connections", reference_id=reference_id)) == 1
    assert {delivery["state"] for delivery in terra.deliveries(type="auth")} <= {"held"}


def test_a_sync_finds_a_connection_without_its_webhook(call: Call, terra: Terra, reference_id: str) -> None:
    terra.hold()
    user = terra.connect(reference_id, provider="GARMIN")
    assert call("list_connections", reference_id=reference_id) == []
    [connection] = call("sync_connections", reference_id=reference_id)
    assert (connection["user_id"], connection["provider"]) == (user["user_id"], "GARMIN")


def test_pages_of_all_users(call: Call, terra: Terra, reference_id: str) -> None:
    users = [f"{reference_id}-{number}" for number in range(5)]
    for user in users:
        terra.connect(user)
        eventually(partial(call, "list_connections", reference_id=user))

    pages = call("connection_pages", page_size=2)
    assert len(pages) > 2
    assert [page["next_cursor"] is None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert {each["reference_id"] for page in pages for each in page["connections"]} >= set(users)
    found = call("all_connections", page_size=2, include_revoked=True)
    assert {connection["reference_id"] for connection in found} >= set(users)
    rest = call("connection_pages", page_size=2, cursor=pages[0]["next_cursor"])
    assert len(rest) >= len(pages) - 1


def test_providers_mobile_tokens_and_erasure(call: Call, terra: Terra, reference_id: str) -> None:
    assert "FITBIT" in {provider["resource"] for provider in call("list_providers")}
    token = call("create_mobile_token", reference_id=reference_id)
    assert token["token"]
    assert token["expires_in"] > 0

    user = terra.connect(reference_id)
    eventually(lambda: call("list_connections", reference_id=reference_id))
    assert call("erase_user", reference_id=reference_id) is None
    with pytest.raises(Failure) as error:
        call("get_connection", user_id=user["user_id"])
    assert (error.value.status, error.value.code) == (404, "not_found")


def test_replays_and_backfills(call: Call, terra: Terra, reference_id: str) -> None:
    terra.connect(reference_id)
    eventually(lambda: call("list_connections", reference_id=reference_id))

    replay = call("create_replay", reference_id=reference_id, types=["daily"], from_="2026-11-01")
    assert re.fullmatch(r"[0-9a-f-]{36}", replay["replay_id"])
    backfill = call("create_backfill", reference_id=reference_id, types=["daily"], from_="2026-01-01", to="2026-01-07")
    assert (backfill["from"], backfill["to"], backfill["reference_id"]) == ("2026-01-01", "2026-01-07", reference_id)
    assert call("get_backfill", backfill_id=backfill["backfill_id"])["backfill_id"] == backfill["backfill_id"]
