"""The simulator's responses and webhooks against Terra's published OpenAPI document."""

import copy
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from receiver import Arrival, Receiver
from simulator_process import DEV_ID, Terra
from terra_simulator.data.bodies import DATA_TYPES, RECORD_TYPES, UNKNOWN

DOCUMENT = os.environ.get("TERRA_OPENAPI")  # noqa: TID251 - only the machine knows the document's path

pytestmark = pytest.mark.skipif(
    not DOCUMENT,
    reason="TERRA_OPENAPI is not set: give it the path of Terra's OpenAPI document (https://docs.tryterra.co)",
)

EVENTS = {
    "auth": "AuthSuccessEvent",
    "auth_cancelled": "AuthErrorEvent",
    "deauth": "DeauthEvent",
    "user_reauth": "UserReauthEvent",
    "access_revoked": "AccessRevokedEvent",
    "permission_change": "PermissionChangeEvent",
    "connection_error": "ConnectionErrorEvent",
    "activity": "ActivityEvent",
    "athlete": "AthleteEvent",
    "body": "BodyEvent",
    "lab_report.completed": "LabReportCompletedEvent",
    "lab_report.failed": "LabReportFailedEvent",
    "large_request_processing": "LargeRequestProcessingEvent",
    "large_request_sending": "LargeRequestSendingEvent",
    "s3_payload": "S3PayloadEvent",
    "daily": "DailyEvent",
    "health_observation": "HealthObservationEvent",
    "hormone": "HormoneEvent",
    "menstruation": "MenstruationEvent",
    "nutrition": "NutritionEvent",
    "planned_workout": "PlannedWorkoutEvent",
    "sleep": "SleepEvent",
}


DATA_PATHS = ("activity", "athlete", "body", "daily", "menstruation", "nutrition", "sleep")
AMBIGUOUS = ("/subscriptions", *(f"/{name}" for name in DATA_PATHS))
"""Endpoints with two shapes of responses, each of which matches both branches of `oneOf`: it is read as `anyOf`."""
UNCONNECTED = {"lab_report.completed", "lab_report.failed"}
MARKERS = {"large_request_processing", "large_request_sending", "s3_payload"}


class Document:
    """Terra's document, with `oneOf` of the ambiguous endpoints read as `anyOf`."""

    def __init__(self, path: Path) -> None:
        self._tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        self._relaxed = copy.deepcopy(self._tree)
        for endpoint in AMBIGUOUS:
            media = self._relaxed["paths"][endpoint]["get"]["responses"]["200"]["content"]["application/json"]
            media["schema"] = {"anyOf": media["schema"].pop("oneOf"), **media["schema"]}
        contents = {"urn:terra": self._tree, "urn:terra-relaxed": self._relaxed}
        self._registry: Registry[Any] = Registry().with_resources(
            (name, DRAFT202012.create_resource(tree)) for name, tree in contents.items()
        )

    def check_answer(self, response: httpx.Response, method: str, path: str, status: str | None = None) -> None:
        """Validate a response against its schema. Its media type and status must be documented."""
        name = "urn:terra-relaxed" if path in AMBIGUOUS else "urn:terra"
        pointer = ["paths", path, method, "responses", status or str(response.status_code)]
        described = self._found(pointer)
        if "$ref" in described:
            pointer = described["$ref"].removeprefix("#/").split("/")
            described = self._found(pointer)
        media_type = response.headers["content-type"]
        assert media_type in described["content"], media_type
        self._check(response.json(), name, [*pointer, "content", media_type, "schema"])

    def check_component(self, response: httpx.Response, component: str) -> None:
        """Validate a response whose schema is documented, but not for each path."""
        media_type = response.headers["content-type"]
        pointer = ["components", "responses", component, "content", media_type, "schema"]
        self._found(pointer)
        self._check(response.json(), "urn:terra", pointer)

    def check_event(self, arrival: Arrival) -> None:
        """Validate a webhook against the schema of its type."""
        self._check(arrival.event, "urn:terra", ["components", "schemas", EVENTS[arrival.type]])

    def check_fields(self, arrival: Arrival) -> None:
        """Require that every field of a record is in the document, whose schemas accept unknown ones."""
        schemas = self._tree["components"]["schemas"]
        reference = schemas[EVENTS[arrival.type]]["properties"]["data"]["items"]["$ref"]
        for record in arrival.event["data"]:
            assert self._unknown_fields(record, {"$ref": reference}) == set()

    def _unknown_fields(self, value: Any, schema: Any) -> set[str]:  # noqa: ANN401 - JSON
        if "$ref" in schema:
            return self._unknown_fields(value, self._found(schema["$ref"].removeprefix("#/").split("/")))
        if "anyOf" in schema:
            branch = next(each for each in schema["anyOf"] if each.get("type") != "null")
            return self._unknown_fields(value, branch)
        if isinstance(value, list):
            return {name for each in value for name in self._unknown_fields(each, schema["items"])}
        if not isinstance(value, dict):
            return set()
        known = schema["properties"]
        deeper = [self._unknown_fields(value[name], known[name]) for name in value.keys() & known.keys()]
        return set(value.keys() - known.keys()).union(*deeper)

    def _found(self, pointer: list[str]) -> Any:  # noqa: ANN401 - any place of the document
        place = self._tree
        for step in pointer:
            place = place[step]
        return place

    def _check(self, instance: Any, name: str, pointer: list[str]) -> None:  # noqa: ANN401 - JSON
        steps = "/".join(quote(step.replace("~", "~0").replace("/", "~1")) for step in pointer)
        validator = Draft202012Validator(
            {"$ref": f"{name}#/{steps}"}, registry=self._registry, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        errors = sorted(validator.iter_errors(instance), key=str)
        assert not errors, errors


@pytest.fixture(scope="module")
def document() -> Document:
    assert DOCUMENT is not None
    return Document(Path(DOCUMENT))


@pytest.fixture(autouse=True)
def _as_in_july(terra: Terra) -> None:
    """The document is that of July 2026. The tests of `version` cover October's changes."""
    terra.set(version="july")


def test_logins_are_as_documented(terra: Terra, document: Document) -> None:
    path = "/auth/authenticateUser"

    for query in ("?resource=FITBIT", "", "?resource=UNKNOWN"):
        document.check_answer(terra.back_end.post(f"/api/v2{path}{query}"), "post", path)
    token = terra.back_end.post("/api/v2/auth/generateAuthToken")
    document.check_answer(token, "post", "/auth/generateAuthToken")


def test_the_widget_session_returns_the_documented_response_of_its_predecessor(
    terra: Terra, document: Document
) -> None:
    response = terra.back_end.post("/api/widget/session", json={"providers": "FITBIT"})

    document.check_answer(response, "post", "/auth/generateWidgetSession", "200")


def test_disconnecting_is_as_documented(terra: Terra, document: Document) -> None:
    path, user_id = "/auth/deauthenticateUser", terra.connect()

    for _ in range(2):
        response = terra.back_end.delete(f"/api/v2{path}", params={"user_id": user_id})
        document.check_answer(response, "delete", path)


@pytest.mark.parametrize("shape", ["array", "object"])
def test_user_info_is_as_documented(terra: Terra, document: Document, shape: str) -> None:
    terra.set(userinfo_reference_shape=shape)
    user_id, pending = terra.connect(), terra.authenticate()["user_id"]

    for query in (f"?user_id={user_id}", f"?user_id={pending}", "?reference_id=anna", "?user_id=unknown", ""):
        document.check_answer(terra.back_end.get(f"/api/v2/userInfo{query}"), "get", "/userInfo")


def test_lists_are_as_documented(terra: Terra, document: Document) -> None:
    user_id = terra.connect()
    terra.authenticate(None)

    for query, key in (("", "users"), ("?page=0&per_page=1", "data")):
        response = terra.back_end.get(f"/api/v2/subscriptions{query}")
        document.check_answer(response, "get", "/subscriptions")
        assert key in response.json()
    document.check_answer(terra.back_end.get("/api/v2/subscriptions?page=x"), "get", "/subscriptions")
    for body in ([user_id], "nothing"):
        response = terra.back_end.post("/api/v2/bulkUserInfo", json=body)
        document.check_answer(response, "post", "/bulkUserInfo")


def test_integrations_are_as_documented(terra: Terra, document: Document) -> None:
    for headers in ({}, {"dev-id": DEV_ID}):
        for path in ("/integrations", "/integrations/detailed"):
            response = terra.browser.get(f"/api/v2{path}", params={"sdk": "true"}, headers=headers)
            document.check_answer(response, "get", path)


def test_rejections_are_as_documented(terra: Terra, document: Document) -> None:
    path = "/api/v2/subscriptions"
    document.check_component(terra.browser.get(path), "Unauthorized")
    document.check_component(terra.back_end.get(path, headers={"x-api-key": "wrong"}), "Forbidden")


def test_webhooks_of_logins_are_as_documented(terra: Terra, receiver: Receiver, document: Document) -> None:
    terra.set(redirect_waits_for_webhook=True)
    terra.connect("anna")
    terra.connect("anna")
    terra.set(reauth_old_user="null", success_shape="old")
    user_id = terra.connect("anna")
    terra.connect(None)
    terra.decide(terra.authenticate("anna")["auth_url"], "deny")
    terra.decide(terra.authenticate(None)["auth_url"], "deny")
    widget = terra.back_end.post("/api/widget/session").json()["url"]
    terra.decide(terra.browser.post(widget, data={"provider": "OURA"}).headers["location"])
    terra.browser.post(widget, data={"decision": "deny"})
    terra.back_end.delete("/api/v2/auth/deauthenticateUser", params={"user_id": user_id})

    arrivals = receiver.wait_for(11)

    for arrival in arrivals:
        document.check_event(arrival)
    assert {arrival.type for arrival in arrivals} == {"auth", "auth_cancelled", "user_reauth", "deauth"}


@pytest.mark.parametrize("event", sorted(EVENTS.keys() - {"auth_cancelled", "user_reauth"} - UNCONNECTED - MARKERS))
def test_webhooks_about_users_are_as_documented(
    terra: Terra, receiver: Receiver, document: Document, event: str
) -> None:
    user_id = terra.control("POST", "/users", {"reference_id": "anna", "silent": True})["user"]["user_id"]

    terra.control("POST", f"/users/{user_id}/events", {"type": event})

    document.check_event(receiver.arrivals[0])


@pytest.mark.parametrize("samples", [False, True])
@pytest.mark.parametrize("event_type", sorted(set(DATA_TYPES) - {UNKNOWN}))
def test_generated_data_are_as_documented(
    terra: Terra, receiver: Receiver, document: Document, event_type: str, *, samples: bool
) -> None:
    user_id = terra.control("POST", "/users", {"reference_id": "anna", "silent": True})["user"]["user_id"]
    fields = {"type": event_type, "samples": samples}
    has_records = event_type in RECORD_TYPES
    days = {"days": 1 if samples else 40} if has_records else {}
    terra.control("POST", f"/users/{user_id}/data", fields | days)
    terra.control("POST", f"/users/{user_id}/data", fields | {"corrections": 2})

    assert len(receiver.arrivals) == 3
    for arrival in receiver.arrivals:
        document.check_event(arrival)
        if has_records:
            document.check_fields(arrival)


@pytest.mark.parametrize("status", [1, 2, 3])
def test_observations_are_as_documented(terra: Terra, receiver: Receiver, document: Document, status: int) -> None:
    user_id = terra.control("POST", "/users", {"silent": True})["user"]["user_id"]
    fields = {"type": "health_observation", "days": 30, "status": status}
    terra.control("POST", f"/users/{user_id}/data", fields)

    document.check_event(receiver.arrivals[0])
    document.check_fields(receiver.arrivals[0])
    kinds = {each["observation_data"]["observation_type"] for each in receiver.arrivals[0].event["data"]}
    assert kinds == {"headache", "insulin_delivery", "state_of_mind"}


@pytest.mark.parametrize("name", DATA_PATHS)
def test_requests_for_data_are_as_documented(terra: Terra, receiver: Receiver, document: Document, name: str) -> None:
    user_id = terra.control("POST", "/users", {"reference_id": "anna", "silent": True})["user"]["user_id"]
    query = {"user_id": user_id, "start_date": "2026-05-25", "end_date": "2026-06-28"}

    for more in ({}, {"to_webhook": "false"}, {"user_id": ""}, {"user_id": "unknown"}):
        response = terra.back_end.get(f"/api/v2/{name}", params=query | more)
        document.check_answer(response, "get", f"/{name}")
    document.check_component(terra.browser.get(f"/api/v2/{name}", params=query), "Unauthorized")
    for arrival in receiver.wait_for(1 if name == "athlete" else 4):
        document.check_event(arrival)


def test_planned_workouts_are_as_documented(terra: Terra, document: Document) -> None:
    user_id = terra.control("POST", "/users", {"silent": True})["user"]["user_id"]
    response = terra.back_end.get("/api/v2/plannedWorkouts", params={"user_id": user_id})

    document.check_answer(response, "get", "/plannedWorkouts")
    assert len(response.json()) == 1


def test_a_ping_and_its_payload_are_as_documented(terra: Terra, receiver: Receiver, document: Document) -> None:
    user_id = terra.control("POST", "/users", {"silent": True})["user"]["user_id"]
    terra.set(webhook_delivery="ping")
    terra.control("POST", f"/users/{user_id}/data", {"type": "sleep"})

    document.check_event(receiver.arrivals[0])
    payload = terra.browser.get(receiver.arrivals[0].event["url"])
    document.check_event(Arrival(receiver.arrivals[0].headers, payload.content))
