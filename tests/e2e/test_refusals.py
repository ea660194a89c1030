"""The API rejects: no key, a wrong key, bad input, a redirect without a session, an unsigned webhook."""

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, create_session, decide, session_status
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id

PRIVATE = [("POST", "/sessions"), ("GET", "/sessions/some"), ("GET", "/connections"), ("DELETE", "/connections/some")]


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_a_caller_without_a_key_is_rejected(browser: httpx.Client, method: str, path: str) -> None:
    response = browser.request(method, path)
    assert response.status_code == 401


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_a_caller_with_a_wrong_key_is_rejected(stack: Stack, browser: httpx.Client, method: str, path: str) -> None:
    response = browser.request(method, path, headers={"authorization": f"Bearer {stack.service_key}x"})
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"resource": "FITBIT"}', "reference_id"),
        (b'{"reference_id": "", "resource": "FITBIT"}', "reference_id"),
        (b'{"reference_id": "alice", "resource": 7}', "resource"),
    ],
)
def test_invalid_input_is_rejected_with_the_name_of_the_field(
    api: httpx.Client, terra: Terra, body: bytes, field: str
) -> None:
    response = api.post("/sessions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert terra.calls("/authenticateUser") == []


def test_a_resource_unknown_to_terra_is_422(api: httpx.Client, reference_id: str) -> None:
    response = api.post("/sessions", json={"reference_id": reference_id, "resource": "NOSUCH"})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_resource")


def test_an_unknown_session_or_connection_is_404(api: httpx.Client) -> None:
    for path in ("/sessions/some", f"/connections/{new_user_id()}"):
        assert api.get(path).status_code == 404


def test_a_redirect_with_a_forged_state_changes_nothing(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    session = create_session(api, reference_id)
    terra.settings(send_webhooks=False)
    came_back = httpx.URL(decide(session["auth_url"], "allow"))

    response = browser.get(came_back.copy_set_param("state", "0" * 43))

    assert response.status_code == 400
    assert session_status(api, session)["status"] == "pending"
    assert connections_of(api, reference_id) == []


def test_a_webhook_signed_with_another_secret_changes_nothing(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    [response] = terra.deliver(auth_event(new_user_id(), reference_id), secret="another")
    assert response["status"] == 401
    assert connections_of(api, reference_id) == []


def test_a_webhook_without_a_signature_changes_nothing(
    api: httpx.Client, browser: httpx.Client, reference_id: str
) -> None:
    response = browser.post("/webhooks/terra", json=auth_event(new_user_id(), reference_id))
    assert (response.status_code, response.json()["code"]) == (401, "not_signed")
    assert connections_of(api, reference_id) == []
