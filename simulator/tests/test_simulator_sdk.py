"""Terra's official SDK as a client of the simulator."""

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from receiver import Receiver
from simulator_process import API_KEY, DEV_ID, SIGNING_SECRET, Terra

with warnings.catch_warnings():
    # The SDK's own warnings are not this project's to fix.
    warnings.simplefilter("ignore")
    import terra as sdk
    from terra.errors.not_found_error import NotFoundError
    from terra.utils.verify_signature import WebhookVerificationError, verify_terra_webhook_signature


@pytest.fixture
def client(terra: Terra) -> Iterator[sdk.Terra]:
    with httpx.Client(timeout=10, trust_env=False) as transport:
        yield sdk.Terra(dev_id=DEV_ID, api_key=API_KEY, base_url=f"{terra.url}/api/v2", httpx_client=transport)


def fields(response: Any) -> Any:  # noqa: ANN401 - the SDK's unions of models
    return response.model_dump() if hasattr(response, "model_dump") else response


def test_the_sdk_connects_reads_and_disconnects_a_user(terra: Terra, client: sdk.Terra) -> None:
    started = client.authentication.authenticateuser(resource="FITBIT", reference_id="anna")
    assert started.status == "success"
    assert started.user_id is not None
    assert started.auth_url is not None
    assert fields(client.user.getinfoforuserid(user_id=started.user_id))["is_authenticated"] is False

    terra.decide(started.auth_url)

    info = fields(client.user.getinfoforuserid(user_id=started.user_id))
    assert info["is_authenticated"] is True
    assert info["user"]["reference_id"] == "anna"
    (mine,) = fields(client.user.getinfoforuserid(reference_id="anna"))
    assert fields(mine)["user_id"] == started.user_id
    assert fields(client.user.getinfoformultipleuserids(request=[started.user_id]))[0]
    assert client.authentication.deauthenticateuser(user_id=started.user_id).status == "success"
    with pytest.raises(NotFoundError):
        client.user.getinfoforuserid(user_id=started.user_id)


def test_the_sdk_gets_a_mobile_token(client: sdk.Terra) -> None:
    response = client.authentication.generateauthtoken()

    assert (response.status, response.expires_in) == ("success", 180)
    assert response.token


def test_the_sdk_lists_users_complete_and_in_pages(terra: Terra, client: sdk.Terra) -> None:
    terra.set(version="july")  # the SDK's version
    user_ids = [terra.connect("anna"), terra.connect("berta")]

    whole = fields(client.user.getalluserids())
    paged = fields(client.user.getalluserids(page=1, per_page=1))

    assert [user["user_id"] for user in whole["users"]] == user_ids
    assert [user["user_id"] for user in paged["data"]["results"]] == user_ids[1:]


def test_the_sdk_lists_integrations(client: sdk.Terra) -> None:
    assert fields(client.integrations.detailedfetch(sdk=True))["providers"]


def test_the_sdk_verifies_the_signature_of_the_simulator(terra: Terra, receiver: Receiver) -> None:
    terra.connect("änna")

    (arrival,) = receiver.wait_for(1)
    body = arrival.body.decode()
    assert verify_terra_webhook_signature(body, arrival.signature, SIGNING_SECRET)
    with pytest.raises(WebhookVerificationError):
        verify_terra_webhook_signature(f"{body} ", arrival.signature, SIGNING_SECRET)
