"""The provider list: how Terra's list is parsed, and how long it is cached."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from terra_connections.errors import (
    InputRefused,
    RetryLater,
    SdkOnlyProvider,
    TerraRejected,
    TerraUnavailable,
    TooManyRequests,
    UnknownResource,
)
from terra_connections.terra.client import TerraClient
from terra_connections.terra.provider_cache import (
    ASK_AGAIN_AFTER,
    FIRST_WITHIN,
    FRESH_FOR,
    REFRESH_WITHIN,
    ProviderCache,
)
from terra_connections.terra.providers import Provider, ProviderType, parse_providers

FITBIT = {"provider": "FITBIT", "name": "Fitbit", "icon": "https://icons.example/fitbit.webp", "enabled": True}
DOWN = TerraUnavailable("down")


def named(*resources: str) -> list[Provider]:
    return [Provider(resource, resource.title(), ProviderType.API, None) for resource in resources]


class Terra:
    """Returns prepared responses, and has a clock."""

    def __init__(self, *responses: Sequence[Provider] | Exception) -> None:
        self.responses = list(responses)
        self.timeouts: list[timedelta] = []
        self.now = 1000.0
        self.cache = ProviderCache(self.list_providers, clock=lambda: self.now)

    def list_providers(self, within: timedelta) -> Sequence[Provider]:
        self.timeouts.append(within)
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    def read(self) -> tuple[list[str], bool]:
        listed = self.cache.read()
        return [provider.resource for provider in listed.providers], listed.is_stale

    def wait(self, by: timedelta) -> None:
        self.now += by.total_seconds()


def test_a_provider_is_listed_with_its_name_type_and_icon() -> None:
    [provider] = parse_providers([FITBIT], sdk=["APPLE"])
    assert provider.as_json() == {
        "resource": "FITBIT",
        "name": "Fitbit",
        "type": "api",
        "icon_url": "https://icons.example/fitbit.webp",
    }


def test_providers_in_terra_s_sdk_list_have_the_type_sdk() -> None:
    providers = parse_providers([{"provider": "APPLE"}, FITBIT], sdk=["APPLE", None, {}])
    assert [(provider.resource, provider.type.value) for provider in providers] == [("APPLE", "sdk"), ("FITBIT", "api")]


@pytest.mark.parametrize("enabled", [False, "yes", 0, 1, []])
def test_a_provider_that_is_not_enabled_is_not_listed(enabled: object) -> None:
    assert parse_providers([FITBIT | {"enabled": enabled}], sdk=[]) == []


@pytest.mark.parametrize("entry", [{"provider": "FITBIT"}, {"provider": "FITBIT", "enabled": None}])
def test_a_provider_without_the_field_enabled_is_listed(entry: object) -> None:
    assert len(parse_providers([entry], sdk=[])) == 1


@pytest.mark.parametrize(
    "entry", [None, 7, "FITBIT", [], {}, {"provider": None}, {"provider": "fit bit"}, {"provider": "X" * 65}]
)
def test_a_malformed_entry_does_not_affect_the_other_providers(entry: object) -> None:
    assert [provider.resource for provider in parse_providers([entry, FITBIT, entry], sdk=[])] == ["FITBIT"]


@pytest.mark.parametrize("name", [None, "", "  ", 7, "\x00\n"])
def test_the_name_of_a_provider_without_a_name_is_its_id(name: object) -> None:
    assert parse_providers([FITBIT | {"name": name}], sdk=[])[0].name == "FITBIT"


def test_a_name_is_reduced_to_one_line_of_limited_length() -> None:
    assert parse_providers([FITBIT | {"name": " Fit\r\nbit\ud800 "}], sdk=[])[0].name == "Fit bit"
    assert len(parse_providers([FITBIT | {"name": "x" * 5000}], sdk=[])[0].name) == 100


@pytest.mark.parametrize(
    "icon",
    [
        None,
        7,
        "",
        "http://icons.example/x.png",
        "//icons.example/x.png",
        "/x.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "https://",
        "https:///x.png",
        "https://user:password@icons.example/x.png",
        "https://icons.example/x y.png",
        "https://icons.example/\n.png",
        "https://[::1/x.png",
        "https://icons.example/" + "x" * 2048,
    ],
)
def test_an_icon_without_a_plain_https_url_is_omitted(icon: object) -> None:
    assert parse_providers([FITBIT | {"icon": icon}], sdk=[])[0].icon_url is None


def test_providers_are_listed_once_and_sorted_by_name() -> None:
    entries = [{"provider": "B", "name": "no id: too short"}, {"provider": "ZZ", "name": "alpha"}, FITBIT, FITBIT]
    assert [p.resource for p in parse_providers(entries, sdk=[])] == ["ZZ", "FITBIT"]
    assert parse_providers(entries, sdk=[]) == parse_providers(entries[::-1], sdk=[])


def test_the_list_is_cached_for_minutes() -> None:
    terra = Terra(named("FITBIT"), named("FITBIT", "OURA"))
    for _ in range(3):
        assert terra.read() == (["FITBIT"], False)
    terra.wait(FRESH_FOR - timedelta(seconds=1))
    assert terra.read() == (["FITBIT"], False)
    terra.wait(timedelta(seconds=1))
    assert terra.read() == (["FITBIT", "OURA"], False)
    assert terra.timeouts == [FIRST_WITHIN, REFRESH_WITHIN]


@pytest.mark.parametrize("failure", [DOWN, TerraRejected("401"), TooManyRequests("429", retry_after=5)])
def test_an_old_list_is_returned_while_terra_fails(failure: Exception) -> None:
    terra = Terra(named("FITBIT"), failure, failure, named("OURA"))
    terra.read()
    terra.wait(FRESH_FOR)
    assert terra.read() == (["FITBIT"], True)
    assert terra.read() == (["FITBIT"], True)
    assert len(terra.timeouts) == 2, "further requests do not wait for Terra while it is down"
    terra.wait(ASK_AGAIN_AFTER)
    assert terra.read() == (["FITBIT"], True)
    terra.wait(timedelta(days=30))
    assert terra.read() == (["OURA"], False)


def test_terra_s_retry_after_is_respected() -> None:
    terra = Terra(named("FITBIT"), TooManyRequests("429", retry_after=600), named("OURA"))
    terra.read()
    terra.wait(FRESH_FOR)
    terra.read()
    terra.wait(timedelta(seconds=599))
    assert terra.read() == (["FITBIT"], True)
    terra.wait(timedelta(seconds=1))
    assert terra.read() == (["OURA"], False)


@pytest.mark.parametrize(
    ("failure", "retry_after"),
    [(DOWN, 5), (TerraRejected("401"), 5), (TooManyRequests("429", retry_after=60), 60)],
)
def test_without_an_old_list_every_failure_is_terra_unavailable(failure: Exception, retry_after: int) -> None:
    terra = Terra(failure, named("FITBIT"))
    with pytest.raises(TerraUnavailable) as raised:
        terra.read()
    assert isinstance(raised.value, RetryLater)
    assert raised.value.retry_after == retry_after
    assert raised.value.__cause__ is failure
    assert terra.read() == (["FITBIT"], False)


def test_an_empty_list_is_cached() -> None:
    terra = Terra([], named("FITBIT"))
    assert terra.read() == ([], False)
    assert terra.read() == ([], False)
    assert len(terra.timeouts) == 1


Responses = dict[str, Any]

VALID: Responses = {
    "/integrations/detailed": {"providers": [FITBIT]},
    "/integrations": {"providers": [], "sdk_providers": []},
}


MALFORMED: list[Responses] = [
    {"/integrations/detailed": []},
    {"/integrations/detailed": None},
    {"/integrations/detailed": {}},
    {"/integrations/detailed": {"providers": None}},
    {"/integrations/detailed": {"providers": {}}},
    {"/integrations/detailed": {"providers": [None, 7, "FITBIT"]}},
    {"/integrations/detailed": {"providers": [{"provider": 7}, {"id": "FITBIT"}]}},
    {"/integrations": []},
    {"/integrations": {"providers": []}},
    {"/integrations": {"sdk_providers": {}}},
]


class FakeTerra:
    """Terra, without a network."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self.requests: list[httpx.Request] = []
        self.client = httpx.Client(transport=httpx.MockTransport(self._respond))

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=self._responses[request.url.path])


def providers_of(terra: FakeTerra) -> list[Provider]:
    """Return the result of `providers` for Terra's two responses."""

    def no_key() -> str:
        raise AssertionError

    api = TerraClient(terra.client, api_url="https://terra.example", widget_url="", dev_id="our-id", api_key=no_key)
    return api.providers(within=timedelta(seconds=1))


def test_the_request_for_the_list_has_the_dev_id_and_no_api_key() -> None:
    terra = FakeTerra(VALID)
    assert [provider.resource for provider in providers_of(terra)] == ["FITBIT"]
    assert [request.url.raw_path for request in terra.requests] == [
        b"/integrations/detailed?sdk=true",
        b"/integrations",
    ]
    for request in terra.requests:
        assert request.headers["dev-id"] == "our-id"
        assert "x-api-key" not in request.headers


@pytest.mark.parametrize("responses", MALFORMED, ids=str)
def test_a_malformed_list_of_providers_is_terra_unavailable(responses: Responses) -> None:
    with pytest.raises(TerraUnavailable):
        providers_of(FakeTerra(VALID | responses))


@pytest.mark.parametrize("path", VALID)
def test_an_error_with_status_200_is_a_rejection(path: str) -> None:
    with pytest.raises(TerraRejected):
        providers_of(FakeTerra(VALID | {path: {**VALID[path], "status": "error"}}))


# -- explaining a rejection --------------------------------------------------------------------------------------------

APPLE = Provider("APPLE", "Apple Health", ProviderType.SDK, None)
REJECTED = InputRefused("no")


def test_a_fresh_list_rejects_a_provider_of_the_sdk_without_a_call_to_terra() -> None:
    terra = Terra([APPLE, *named("FITBIT")])
    terra.cache.check("APPLE")
    assert terra.timeouts == []
    terra.read()
    with pytest.raises(SdkOnlyProvider, match="POST /mobile-tokens"):
        terra.cache.check("APPLE")
    assert len(terra.timeouts) == 1


def test_an_old_list_rejects_nothing_and_no_list_rejects_an_unlisted_provider() -> None:
    terra = Terra([APPLE])
    terra.read()
    terra.cache.check("GARMIN")
    terra.wait(FRESH_FOR)
    terra.cache.check("APPLE")
    assert len(terra.timeouts) == 1


def test_a_rejection_is_explained_by_the_list() -> None:
    terra = Terra([APPLE, *named("FITBIT", "GARMIN")])
    unknown = terra.cache.explained(REJECTED, ["GARMINN"])
    assert isinstance(unknown, UnknownResource)
    assert "Did you mean GARMIN?" in str(unknown)
    assert isinstance(terra.cache.explained(REJECTED, ["APPLE"]), SdkOnlyProvider)
    assert terra.cache.explained(REJECTED, ["FITBIT"]) is REJECTED
    assert terra.cache.explained(REJECTED, ["APPLE", "FITBIT"]) is REJECTED
    assert terra.cache.explained(REJECTED, []) is REJECTED
    assert len(terra.timeouts) == 1


def test_an_unknown_provider_without_a_similar_name_gets_no_suggestion() -> None:
    terra = Terra(named("FITBIT"))
    assert "Did you mean" not in str(terra.cache.explained(REJECTED, ["ZZZ"]))


@pytest.mark.parametrize("failure", [DOWN, TooManyRequests("slow")], ids=str)
def test_without_a_list_a_rejection_is_not_changed(failure: Exception) -> None:
    assert Terra(failure).cache.explained(REJECTED, ["APPLE"]) is REJECTED


def test_a_rejected_request_for_the_list_explains_the_rejection() -> None:
    rejected = TerraRejected("no")
    assert Terra(rejected).cache.explained(REJECTED, ["FITBIT"]) is rejected


def test_one_listed_provider_of_several_is_sufficient() -> None:
    terra = Terra(named("FITBIT"))
    terra.cache.require_one_of(["ZZZ", "FITBIT"])
    with pytest.raises(UnknownResource, match="ZZZ, YYY"):
        terra.cache.require_one_of(["ZZZ", "YYY"])
    Terra(DOWN).cache.require_one_of(["ZZZ"])
