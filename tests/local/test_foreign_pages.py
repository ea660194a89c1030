"""A page of another site must neither control nor read the local stack through the developer's browser."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import httpx
import pytest

from local import testing
from terra_simulator.origin_guard import is_foreign
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from local.testing import Stack

EVIL = "http://evil.example"
FOREIGN = {
    "a simple request": {"origin": EVIL, "content-type": "text/plain"},
    "a page without an origin": {"origin": "null"},
    "a page of this machine": {"origin": "http://127.0.0.1:1"},
    "a rebound name": {"host": "evil.example:8000"},
    "a rebound name, same-origin": {"host": "evil.example", "origin": "http://evil.example"},
    "an image": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    "an image of this machine": {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
}
# Each endpoint of the stack, and its response to a program.
ENDPOINTS = {
    "MiniStack": ("aws_url", "POST", "/"),
    "MiniStack's own": ("aws_url", "GET", "/_ministack/health"),
    "the gateway's control": ("control_url", "POST", "/schedules/NoSuchFunction"),
    "the issuer's tokens": ("oidc_issuer", "POST", "/token"),
    "the issuer's keys": ("oidc_issuer", "POST", "/keys/rotate"),
    "the simulator's control": ("terra_url", "GET", "/_control/settings"),
    "the simulator's page": ("terra_url", "GET", "/"),
    "the demo": ("demo_url", "GET", "/timeline.json?reference_id=ada"),
}


@pytest.mark.parametrize("page", FOREIGN)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_control_endpoint_rejects_foreign_pages(stack: Stack, endpoint: str, page: str) -> None:
    where, method, path = ENDPOINTS[endpoint]
    response = httpx.request(method, getattr(stack, where) + path, headers=FOREIGN[page], timeout=30)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def lambda_function() -> dict[str, object]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("drive_by.py", "import getpass\ndef handler(event, context): return getpass.getuser()\n")
    return {
        "FunctionName": "drive-by",
        "Runtime": "python3.12",
        "Role": "arn:aws:iam::000000000000:role/r",
        "Handler": "drive_by.handler",
        "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"origin": EVIL, "content-type": "text/plain"}, 403), ({"host": "evil.example"}, 403), ({}, 400)],
    ids=["simple request", "rebound name", "a program"],
)
def test_no_code_can_be_uploaded_and_run(stack: Stack, headers: dict[str, str], status: int) -> None:
    body = json.dumps(lambda_function())
    made = httpx.post(f"{stack.aws_url}/2015-03-31/functions", content=body, headers=headers, timeout=30)
    run = f"{stack.aws_url}/2015-03-31/functions/drive-by/invocations"
    ran = httpx.post(run, content="{}", headers=headers, timeout=30)
    assert [made.status_code, ran.status_code] == [status, status]


@pytest.mark.parametrize("headers", [{"origin": EVIL}, {"host": "evil.example"}], ids=str)
def test_no_secret_is_read(stack: Stack, headers: dict[str, str]) -> None:
    target = {"x-amz-target": "secretsmanager.GetSecretValue", "content-type": "application/x-amz-json-1.1"}
    body = json.dumps({"SecretId": "terra-connections/ServiceKeys"})
    own = httpx.post(stack.aws_url, content=body, headers=target, timeout=30)
    assert stack.service_key in own.text
    response = httpx.post(stack.aws_url, content=body, headers={**target, **headers}, timeout=30)
    assert response.status_code == 403
    assert stack.service_key not in response.text


def test_only_the_required_services_are_enabled(stack: Stack) -> None:
    services = httpx.get(f"{stack.aws_url}/_ministack/health", timeout=30).json()["services"]
    assert set(services) == {"secretsmanager", "sqs", "events", "s3"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_requests_of_boto3_are_accepted(stack: Stack, host: str) -> None:
    port = urlsplit(stack.aws_url).port
    session = boto3.Session("local", "local", region_name=stack.region)
    secrets = session.client("secretsmanager", endpoint_url=f"http://{host}:{port}")
    queues = session.client("sqs", endpoint_url=f"http://{host}:{port}")
    held = secrets.get_secret_value(SecretId="terra-connections/ServiceKeys")
    assert json.loads(held["SecretString"]) == {"local": stack.service_key}
    assert queues.list_queues()["QueueUrls"]


def test_ministack_as_the_database_rejects_foreign_pages(tmp_path: Path) -> None:
    with testing.running_stack(directory=tmp_path, variables={"DATABASE": "ministack"}) as running:
        target = {"x-amz-target": "DynamoDB_20120810.ListTables", "content-type": "application/x-amz-json-1.0"}
        for headers, status in (({}, 200), ({"origin": EVIL}, 403), ({"host": "evil.example"}, 403)):
            response = httpx.post(running.dynamodb_url, content="{}", headers={**target, **headers}, timeout=30)
            assert response.status_code == status
        services = httpx.get(f"{running.dynamodb_url}/_ministack/health", timeout=30).json()["services"]
        assert set(services) == {"dynamodb", "dynamodbstreams"}
        assert eventually(lambda: running.engine == "ministack")


def test_the_issuer_accepts_only_pages_of_the_demo(stack: Stack) -> None:
    token_request = {"subject": "ada"}
    for origin, status in ((stack.demo_url, 200), (EVIL, 403)):
        headers = {"origin": origin, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}
        response = httpx.post(f"{stack.oidc_issuer}/token", json=token_request, headers=headers, timeout=30)
        assert response.status_code == status


@pytest.mark.parametrize("endpoint", ["the simulator's page", "the demo"])
def test_a_link_on_a_foreign_page_can_be_followed(stack: Stack, endpoint: str) -> None:
    where, _, path = ENDPOINTS[endpoint]
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert httpx.get(getattr(stack, where) + path, headers=headers, timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("host", "foreign"),
    [
        ("127.0.0.1:4566", False),
        ("localhost:4566", False),
        ("LOCALHOST", False),
        ("[::1]:4566", False),
        ("[::1]", False),
        ("172.17.0.1:40000", False),  # this machine as seen from containers: an IP address cannot be rebound
        ("host.docker.internal:4566", False),
        ("evil.example", True),
        ("evil.example:4566", True),
        ("127.0.0.1.evil.example:4566", True),
        ("localhost.evil.example", True),
        ("127.0.0.1:4566@evil.example", True),
        ("", True),
    ],
)
def test_hosts_other_than_this_machine_are_foreign(host: str, foreign: bool) -> None:  # noqa: FBT001 - a table
    assert is_foreign([(b"host", host.encode())]) is foreign


def test_a_request_with_no_or_two_hosts_is_foreign() -> None:
    assert is_foreign([])
    assert is_foreign([(b"host", b"127.0.0.1"), (b"host", b"evil.example")])
