"""GET /providers over real HTTP, in a separate gateway, whose function restarts when a test requests it."""

import asyncio
import json
import shutil
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import aws_services
from local.gateway import Gateway
from local.stack import PSEUDONYM_KEY
from local.template_file import parse
from local.testing import Stack
from tests.support.handlers import secret_arns, secret_value
from tests.support.terra import Terra
from tests.support.waiting import BUSY
from tools.environment import ROOT

SECOND = "timedelta(seconds=1)"
FUNCTIONS = {"Authorize": "authorize", "ListProviders": "list_providers"}
DETAILED, NAMES = "/integrations/detailed", "/integrations"


class Api:
    """The API with two functions only; `list_providers` caches for a second instead of minutes."""

    def __init__(self, client: httpx.Client, folder: Path, log: list[str]) -> None:
        self.client = client
        self.log = log
        self._handler = folder / "functions/list_providers/handler.py"

    def forget(self) -> None:
        """Make new processes respond: the gateway reloads a changed handler."""
        self._handler.write_text(self._handler.read_text() + "\n")

    def get(self, **headers: str) -> httpx.Response:
        return self.client.get("/providers", headers=headers)

    def listed(self) -> list[str]:
        response = self.get()
        assert response.status_code == httpx.codes.OK, response.text
        return [provider["resource"] for provider in response.json()["providers"]]


def project(folder: Path) -> Path:
    """Copy the stack with the two functions and shorter cache times."""
    template = parse(ROOT / "template.yaml")
    kept = {
        name: resource
        for name, resource in template["Resources"].items()
        if name in FUNCTIONS or resource["Type"] in {"AWS::Serverless::LayerVersion", "AWS::Serverless::HttpApi"}
    }
    (folder / "template.yaml").write_text(json.dumps({**template, "Resources": kept, "Outputs": {}}))
    for name in FUNCTIONS.values():
        shutil.copytree(ROOT / "functions" / name, folder / "functions" / name)
    shutil.copytree(ROOT / "layers", folder / "layers")
    module = folder / "layers/terra_connections/terra_connections/terra/provider_cache.py"
    source = module.read_text()
    for usual in ("FRESH_FOR = timedelta(minutes=5)", "ASK_AGAIN_AFTER = timedelta(seconds=30)"):
        assert usual in source
        source = source.replace(usual, f"{usual.partition('=')[0]}= {SECOND}")
    module.write_text(source)
    return folder


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder, log = project(tmp_path_factory.mktemp("providers")), list[str]()
    # The functions' environment names tables, queues and buses that these two do not use.
    named, arns = {name: name for name in parse(ROOT / "template.yaml")["Resources"]}, secret_arns(stack)
    gateway = Gateway(
        folder / "template.yaml",
        parameters={
            "TerraDevId": stack.terra_dev_id,
            "TerraApiUrl": f"{stack.terra_url}/api/v2",
            "AwsEndpointUrlDynamodb": stack.dynamodb_url,
            "AwsEndpointUrlSecretsManager": stack.aws_url,
            **{f"{name}Arn": arn for name, arn in arns.items() if name != PSEUDONYM_KEY},
        },
        physical_ids={**named, PSEUDONYM_KEY: arns[PSEUDONYM_KEY]},
        secrets={arns[PSEUDONYM_KEY]: secret_value(stack, arns[PSEUDONYM_KEY])},
        port=0,
        python=Path(sys.executable),
        dependencies=Path(sysconfig.get_path("purelib")),
        directory=folder / "scratch",
        environment={**aws_services.CREDENTIALS, "AWS_REGION": stack.region, "AWS_EC2_METADATA_DISABLED": "true"},
        on_log=log.append,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(gateway.start(), loop).result(60)
        headers = {"authorization": f"Bearer {stack.service_key}"}
        with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as client:
            yield Api(client, folder, log)
    finally:
        asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def cold(gateway: Api, terra: Terra) -> Api:
    """A function with an empty cache, and a Terra without faults."""
    terra.settings(enabled_providers=["OURA", "APPLE", "FITBIT"])
    gateway.forget()
    return gateway


def turn_stale() -> None:
    """Wait until the function would query Terra again."""
    time.sleep(1.1)


def test_the_enabled_providers_are_listed_by_name(cold: Api, terra: Terra) -> None:
    response = cold.get()

    assert response.status_code == httpx.codes.OK
    assert response.headers["content-type"] == "application/json"
    icons = "https://access.tryterra.co/api/v2/static/assets/img/app_icons"
    assert response.json() == {
        "providers": [
            {"resource": "APPLE", "name": "Apple Health", "type": "sdk", "icon_url": f"{icons}/apple.webp"},
            {"resource": "FITBIT", "name": "Fitbit", "type": "api", "icon_url": f"{icons}/fitbit.webp"},
            {"resource": "OURA", "name": "Oura", "type": "api", "icon_url": f"{icons}/oura.webp"},
        ]
    }
    assert [call["path"] for call in terra.calls("")] == [f"/api/v2{DETAILED}", f"/api/v2{NAMES}"]


def test_a_fresh_list_is_served_without_a_request_to_terra(cold: Api, terra: Terra) -> None:
    began = time.monotonic()
    responses = [cold.get().content for _ in range(5)]

    assert len(set(responses)) == 1
    assert len(terra.calls(DETAILED)) <= 1 + int(time.monotonic() - began)


def test_an_enabled_provider_is_listed_after_the_cache_time(cold: Api, terra: Terra) -> None:
    assert "GARMIN" not in cold.listed()
    terra.settings(enabled_providers=["GARMIN"])
    turn_stale()
    assert cold.listed() == ["GARMIN"]


FAILURES: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "html", "status": 502},
    {"kind": "empty", "status": 200},
    {"kind": "legacy", "status": 401},
    {"kind": "rate_limit", "retry_after": 1},
    {"kind": "malformed"},
    {"kind": "disconnect"},
    {"kind": "slow", "delay_s": 60},
    {"kind": "wrong_shape", "body": {"status": "success", "providers": [None, 7, "FITBIT"]}},
]


def label(failure: dict[str, Any]) -> str:
    return " ".join(str(value) for value in failure.values())


@pytest.mark.parametrize("failure", FAILURES, ids=label)
def test_an_error_of_terra_is_503_only_with_an_empty_cache(cold: Api, terra: Terra, failure: dict[str, Any]) -> None:
    terra.fault(DETAILED, **failure)
    began = time.monotonic()
    rejected = cold.get()
    assert time.monotonic() - began < 8 + BUSY, "a user is waiting"
    assert rejected.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert rejected.headers["content-type"] == "application/problem+json"
    assert rejected.headers["cache-control"] == "no-store"
    assert int(rejected.headers["retry-after"]) >= 1
    assert rejected.json()["code"] == "terra_unavailable"

    terra.client.delete("/_control/faults")
    before = cold.get()
    assert (before.status_code, before.headers["cache-control"]) == (httpx.codes.OK, "private, max-age=300")

    terra.fault(DETAILED, **failure)
    turn_stale()
    began = time.monotonic()
    during = cold.get()
    assert time.monotonic() - began < 3 + BUSY, "a user is waiting"
    assert (during.status_code, during.content) == (httpx.codes.OK, before.content)
    assert during.headers["cache-control"] == "private, max-age=30"
    assert during.headers["etag"] == before.headers["etag"]


def test_a_failure_of_the_second_request_keeps_the_cached_list(cold: Api, terra: Terra) -> None:
    before = cold.listed()
    terra.fault("/v2/integrations", kind="status", status=500)
    turn_stale()
    assert cold.listed() == before
    assert cold.get().headers["cache-control"] == "private, max-age=30"


def test_a_list_that_was_stale_becomes_fresh_again(cold: Api, terra: Terra) -> None:
    cold.listed()
    terra.fault(DETAILED, kind="status", status=503, times=1)
    terra.settings(enabled_providers=["GARMIN"])
    turn_stale()
    assert "GARMIN" not in cold.listed()
    turn_stale()
    assert cold.listed() == ["GARMIN"]
    assert cold.get().headers["cache-control"] == "private, max-age=300"


def test_a_malformed_entry_does_not_remove_the_others(cold: Api, terra: Terra) -> None:
    entries = [None, {"provider": 7}, {"provider": "FITBIT", "icon": "http://plain.example/x.png"}, "OURA"]
    terra.fault(DETAILED, kind="wrong_shape", body={"status": "success", "providers": entries})
    assert cold.get().json() == {
        "providers": [{"resource": "FITBIT", "name": "FITBIT", "type": "api", "icon_url": None}]
    }


def test_an_account_without_providers_has_an_empty_list(cold: Api, terra: Terra) -> None:
    terra.settings(enabled_providers=[])
    assert cold.listed() == []


def test_concurrent_cold_calls_all_get_the_list(cold: Api) -> None:
    with ThreadPoolExecutor(8) as callers:
        responses = list(callers.map(lambda _: cold.get(), range(8)))
    assert {(response.status_code, response.content) for response in responses} == {(200, responses[0].content)}


def test_a_client_with_the_current_list_gets_304(cold: Api, terra: Terra) -> None:
    first = cold.get()
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", "*", f'"another", {etag}'):
        response = cold.get(**{"If-None-Match": known})
        assert (response.status_code, response.content) == (httpx.codes.NOT_MODIFIED, b""), known
        for header in ("etag", "cache-control", "content-type"):
            assert response.headers[header] == first.headers[header]
    assert cold.get(**{"If-None-Match": '"another"'}).content == first.content
    terra.settings(enabled_providers=["GARMIN"])
    turn_stale()
    changed = cold.get(**{"If-None-Match": etag})
    assert changed.status_code == httpx.codes.OK
    assert changed.headers["etag"] != etag


def test_the_list_is_private_and_requires_a_key(cold: Api) -> None:
    assert cold.get().headers["cache-control"].startswith("private")
    assert cold.client.get("/providers", headers={"authorization": "Bearer wrong"}).status_code == httpx.codes.FORBIDDEN
    with httpx.Client(base_url=cold.client.base_url) as stranger:
        assert stranger.get("/providers").status_code == httpx.codes.UNAUTHORIZED


def test_the_running_stack_lists_the_providers(api: httpx.Client) -> None:
    providers = api.get("/providers").json()["providers"]
    assert {"resource", "name", "type", "icon_url"} == set().union(*providers)
