"""Terra's newer and older responses, and a data token in place of an API key, in every call to Terra."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import httpx
import pytest

from local import aws_services
from local.testing import Stack
from tests.support.api import create_session
from tests.support.handlers import Handlers, Run, http_event
from tests.support.metrics import metrics
from tests.support.sweeps import Sweeping, connect_at_terra, connection_item, metric_sums, own_sweeping
from tests.support.terra import Terra

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WIDGET = "/api/widget/session"
DATA_TOKEN = "terra_dt_integration0123456789"


def session_request(reference_id: str, **fields: object) -> dict[str, Any]:
    return http_event("POST", "/sessions", body=json.dumps({"reference_id": reference_id, **fields}))


def calls_to_terra(run: Run) -> list[str]:
    return [trip for trip in run.trips if trip.startswith("terra.")]


@pytest.fixture(params=["october", "july"])
def version(terra: Terra, request: pytest.FixtureRequest) -> str:
    terra.settings(version=request.param)
    return str(request.param)


# -- every call, in each version and with each kind of credential ------------------------------------------------------


@pytest.fixture(params=["API key", "data token"])
def credential(stack: Stack, terra: Terra, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The environment of a function whose secret contains the credential."""
    if request.param == "API key":
        yield {}
        return
    terra.settings(data_token=DATA_TOKEN)
    secrets = boto3.client(
        "secretsmanager",
        endpoint_url=stack.aws_url,
        region_name=stack.region,
        aws_access_key_id=aws_services.CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws_services.CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    made = secrets.create_secret(
        Name=f"terra-connections/TerraSecret-{uuid4()}", SecretString=json.dumps({"api_key": DATA_TOKEN})
    )
    arn = made["ARN"]
    yield {"TERRA_SECRET_ARN": arn}
    secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


def test_every_call_to_terra_succeeds_and_no_log_contains_the_credential(
    handlers: Handlers, terra: Terra, version: str, credential: dict[str, str], reference_id: str
) -> None:
    user_id = terra.connect(reference_id)["user_id"]
    by_user = json.dumps({"reference_id": reference_id})
    runs = {
        "a login": (201, "create_session", session_request(reference_id, resource="FITBIT")),
        "a widget": (201, "create_session", session_request(reference_id, resources=["OURA"])),
        "a sync": (200, "sync_connections", http_event("POST", "/connections/sync", body=by_user)),
        "a token": (201, "create_mobile_token", http_event("POST", "/mobile-tokens", body=by_user)),
        "a disconnect": (
            204,
            "disconnect",
            http_event("DELETE", f"/connections/{user_id}", path_parameters={"user_id": user_id}),
        ),
        "providers": (200, "list_providers", http_event("GET", "/providers")),
    }
    for what, (status, function, event) in runs.items():
        run = handlers.run(function, event, environment=credential)
        assert run.status == status, (version, what, run.result)
        assert calls_to_terra(run), what
        assert DATA_TOKEN not in run.log, what


# -- /subscriptions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sweeping(handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, terra: Terra) -> Iterator[Sweeping]:
    terra.settings(send_webhooks=False)
    with own_sweeping(handlers, dynamodb, stack) as own:
        yield own


@pytest.mark.parametrize("shape", ["flat", "data", "users"])
def test_a_sweep_reads_every_page_of_each_shape(sweeping: Sweeping, terra: Terra, shape: str) -> None:
    terra.settings(subscriptions_shape=shape, largest_page=2)
    lost = set(connect_at_terra(terra, 5))
    runs = sweeping.sweep()
    assert metric_sums(runs, "Sweeps") == {"finished": 1}
    assert {user_id for user_id in lost if sweeping.connection(user_id)} == lost
    assert [call["query"]["page"] for call in terra.calls("/subscriptions")] == (
        ["0"] if shape == "users" else ["0", "1", "2"]
    )


@pytest.mark.parametrize(
    "body",
    [
        {"status": "success"},
        {"status": "success", "max_page": 0, "results": []},
        {"status": "success", "next": None, "max_page": 0},
        {"status": "success", "next": "1", "max_page": 2, "results": []},
        {"status": "success", "next": None, "results": [{"provider": "FITBIT"}]},
        {"users": [], "next": 1},
        {"status": "error", "message": "no", "next": None, "results": []},
    ],
    ids=str,
)
def test_a_partial_page_revokes_nothing(sweeping: Sweeping, terra: Terra, body: object) -> None:
    """The connection is gone at Terra. While the list is incomplete, no sweep decides about it."""
    sweeping.load([connection_item("gone-at-terra")])
    terra.fault("/subscriptions", "wrong_shape", body=body)
    assert sweeping.has_started()
    for _ in range(12):
        message = sweeping.receive()
        if message is None:
            break
        sweeping.process(message)
    assert sweeping.revoked() == set()
    assert sweeping.state()["phase"] == "collecting"


# -- the widget --------------------------------------------------------------------------------------------------------


def test_providers_that_terra_does_not_offer_are_in_the_warnings(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    session = create_session(api, reference_id, resource=None, resources=["OURA", "NOSUCH", "STRAVA"])
    assert len(session["warnings"]) == 2
    assert "NOSUCH" in session["warnings"][0]
    assert "STRAVA" in session["warnings"][1]
    [call] = terra.calls(WIDGET)
    assert call["body"]["providers"] == "OURA,NOSUCH,STRAVA"
    shown = api.get(f"/sessions/{session['session_id']}").json()
    assert "warnings" not in shown


def test_a_session_without_warnings_has_no_such_member_and_costs_one_call(
    handlers: Handlers, terra: Terra, reference_id: str
) -> None:
    assert terra
    run = handlers.run("create_session", session_request(reference_id, resources=["OURA", "APPLE"]))
    assert run.status == 201
    assert "warnings" not in run.json
    assert calls_to_terra(run) == ["terra.session"]


def test_the_same_key_gives_the_same_warnings(handlers: Handlers, terra: Terra, reference_id: str) -> None:
    assert terra
    event = session_request(reference_id, resources=["OURA", "NOSUCH"])
    event["headers"] = {"idempotency-key": reference_id}
    first = handlers.run("create_session", event)
    assert len(first.json["warnings"]) == 1
    assert handlers.run("create_session", event).json == first.json


def test_a_session_with_only_unknown_providers_is_422(
    api: httpx.Client, terra: Terra, version: str, reference_id: str
) -> None:
    response = api.post("/sessions", json={"reference_id": reference_id, "resources": ["NOSUCH", "FITBITT"]})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_resource"), version
    assert "NOSUCH, FITBITT" in response.json()["detail"]
    assert "Did you mean FITBIT?" in response.json()["detail"]
    assert len(terra.calls(WIDGET)) == 1


def test_a_widget_whose_providers_cannot_be_looked_up_is_created_with_its_warnings(
    handlers: Handlers, terra: Terra, reference_id: str
) -> None:
    terra.fault("/integrations/detailed", "status", status=500)
    run = handlers.run("create_session", session_request(reference_id, resources=["NOSUCH"]))
    assert run.status == 201
    assert len(run.json["warnings"]) == 1


WARNINGS: list[tuple[object, list[str] | None]] = [
    (None, None),
    ([], None),
    (7, None),
    ({"a": "b"}, None),
    ([None, 7, "", " "], None),
    ("alone", ["alone"]),
    (["a\r\nb\x00c", 7, "d"], ["a b c", "d"]),
    (["x" * 1000], ["x" * 300]),
    (["w"] * 50, ["w"] * 20),
]


@pytest.mark.parametrize(("warnings", "expected"), WARNINGS, ids=lambda value: str(value)[:40])
def test_malformed_warnings_do_not_fail_a_session(
    api: httpx.Client, terra: Terra, reference_id: str, warnings: object, expected: list[str] | None
) -> None:
    body = {"session_id": "x", "url": "https://widget.example.com/x", "expires_in": 900, "warnings": warnings}
    terra.fault(WIDGET, "wrong_shape", body=body, status=201)
    response = api.post("/sessions", json={"reference_id": reference_id})
    assert response.status_code == 201
    assert response.json().get("warnings") == expected


@pytest.mark.parametrize(
    ("status", "body", "expected_status", "code"),
    [
        (400, {"message": "no", "status": "error", "invalid_user_ids": ["x"]}, 422, "refused_by_terra"),
        (403, {"message": "invalid credentials", "status": "error"}, 502, "terra_rejected"),
        (403, {"code": "environment_disabled", "status": "error"}, 502, "terra_environment_disabled"),
        (404, {"message": "no", "status": "error"}, 502, "terra_rejected"),
    ],
)
def test_each_rejection_of_the_widget_has_its_code(
    api: httpx.Client, terra: Terra, reference_id: str, status: int, body: object, expected_status: int, code: str
) -> None:
    terra.fault(WIDGET, "wrong_shape", body=body, status=status)
    response = api.post("/sessions", json={"reference_id": reference_id})
    assert (response.status_code, response.json()["code"]) == (expected_status, code)


# -- errors in the request ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["APPLE", "SAMSUNG"])
def test_an_sdk_provider_is_422_and_the_detail_names_mobile_tokens(
    handlers: Handlers, terra: Terra, reference_id: str, resource: str
) -> None:
    assert terra
    run = handlers.run("create_session", session_request(reference_id, resource=resource))
    assert (run.status, run.json["code"]) == (422, "sdk_only_provider")
    assert resource in run.json["detail"]
    assert "POST /mobile-tokens" in run.json["detail"]
    assert calls_to_terra(run) == ["terra.authenticateUser", "terra.detailed", "terra.integrations"]


@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_catalogue_explains_a_rejected_provider_for_any_status_of_terra(
    handlers: Handlers, terra: Terra, reference_id: str, status: int
) -> None:
    terra.fault("/authenticateUser", "status", status=status)
    codes = {
        resource: handlers.run("create_session", session_request(reference_id, resource=resource)).json["code"]
        for resource in ("APPLE", "FITBITT", "HEALTH_CONNECT")
    }
    # Health Connect is not enabled for the simulated account.
    assert codes == {
        "APPLE": "sdk_only_provider",
        "FITBITT": "unknown_resource",
        "HEALTH_CONNECT": "unknown_resource",
    }


def test_an_unknown_provider_is_422_with_a_suggestion(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    assert terra
    response = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBITT"})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_resource")
    assert "Did you mean FITBIT?" in response.json()["detail"]
    assert "GET /providers" in response.json()["detail"]


@pytest.mark.parametrize(("resource", "code"), [("APPLE", "refused_by_terra"), ("NOSUCH", "unknown_resource")])
def test_a_rejection_of_terra_is_422_without_the_catalogue(
    handlers: Handlers, terra: Terra, reference_id: str, resource: str, code: str
) -> None:
    terra.fault("/integrations/detailed", "status", status=500)
    run = handlers.run("create_session", session_request(reference_id, resource=resource))
    assert (run.status, run.json["code"]) == (422, code)


def test_a_wrong_url_of_terra_is_502(handlers: Handlers, terra: Terra, reference_id: str) -> None:
    elsewhere = {"TERRA_API_URL": f"{terra.client.base_url}/api/v9"}
    run = handlers.run("create_session", session_request(reference_id, resource="FITBIT"), environment=elsewhere)
    assert (run.status, run.json["code"]) == (502, "terra_rejected")


# -- errors of the account ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"resource": "FITBIT"}, {"resources": ["OURA"]}], ids=["a login", "a widget"])
@pytest.mark.parametrize(
    ("account", "status", "code", "message"),
    [
        ("user_limit", 502, "terra_user_limit", "raise the limit in Terra's dashboard"),
        ("entitlement_required", 502, "terra_entitlement_required", "the product unified_api"),
        ("environment_disabled", 502, "terra_environment_disabled", "enable it in Terra's dashboard"),
        ("authorization_unavailable", 503, "terra_authorization_unavailable", "cannot check at the moment"),
    ],
)
def test_an_account_error_has_its_code_and_remedy_and_is_counted(
    handlers: Handlers,
    terra: Terra,
    reference_id: str,
    fields: dict[str, Any],
    account: str,
    status: int,
    code: str,
    message: str,
) -> None:
    terra.settings(account=account)
    run = handlers.run("create_session", session_request(reference_id, **fields))
    assert (run.status, run.json["code"]) == (status, code)
    assert message in run.json["detail"]
    assert run.result is not None
    assert ("retry-after" in run.result["headers"]) == (status == 503)
    found = metrics(run)
    assert found["Problems"] == [{"function": "create_session", "code": code, "value": 1}]
    assert len(found["TerraFailures"]) == 1
    assert len(calls_to_terra(run)) == 1
