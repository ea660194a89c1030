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
    """Returns scripted responses, and has a clock."""

    def __init__(self, *script: Sequence[Provider] | Exception) -> None:
        self.script = list(script)
        self.asked: list[timedelta] = []
        self.now = 1000.0
        self.catalogue = ProviderCache(self.ask, clock=lambda: self.now)

    def ask(self, within: timedelta) -> Sequence[Provider]:
        self.asked.append(within)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def read(self) -> tuple[list[str], bool]:
        listing = self.catalogue.read()
        return [provider.resource for provider in listing.providers], listing.is_stale

    def wait(self, by: timedelta) -> None:
        self.now += by.total_seconds()


def test_a_provider_is_shown_with_its_name_kind_and_icon() -> None:
    [provider] = parse_providers([FITBIT], sdk=["APPLE"])
    assert provider.as_json() == {
        "resource": "FITBIT",
        "name": "Fitbit",
        "type": "api",
        "icon_url": "https://icons.example/fitbit.webp",
    }


def test_terra_says_which_providers_are_of_its_sdk() -> None:
    providers = parse_providers([{"provider": "APPLE"}, FITBIT], sdk=["APPLE", None, {}])
    assert [(provider.resource, provider.type.value) for provider in providers] == [("APPLE", "sdk"), ("FITBIT", "api")]


@pytest.mark.parametrize("enabled", [False, "yes", 0, 1, []])
def test_what_is_not_enabled_is_not_listed(enabled: object) -> None:
    assert parse_providers([FITBIT | {"enabled": enabled}], sdk=[]) == []


@pytest.mark.parametrize("entry", [{"provider": "FITBIT"}, {"provider": "FITBIT", "enabled": None}])
def test_what_terra_lists_for_the_account_without_further_word_is_enabled(entry: object) -> None:
    assert len(parse_providers([entry], sdk=[])) == 1


@pytest.mark.parametrize(
    "entry", [None, 7, "FITBIT", [], {}, {"provider": None}, {"provider": "fit bit"}, {"provider": "X" * 65}]
)
def test_a_strange_entry_costs_itself_and_not_the_others(entry: object) -> None:
    assert [provider.resource for provider in parse_providers([entry, FITBIT, entry], sdk=[])] == ["FITBIT"]


@pytest.mark.parametrize("name", [None, "", "  ", 7, "\x00\n"])
def test_a_provider_without_a_name_is_called_by_its_id(name: object) -> None:
    assert parse_providers([FITBIT | {"name": name}], sdk=[])[0].name == "FITBIT"


def test_a_name_is_one_line_of_reasonable_length() -> None:
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
def test_an_icon_that_is_no_plain_https_address_is_none(icon: object) -> None:
    assert parse_providers([FITBIT | {"icon": icon}], sdk=[])[0].icon_url is None


def test_providers_are_listed_once_and_by_name_whatever_terras_order() -> None:
    entries = [{"provider": "B", "name": "no id: too short"}, {"provider": "ZZ", "name": "alpha"}, FITBIT, FITBIT]
    assert [p.resource for p in parse_providers(entries, sdk=[])] == ["ZZ", "FITBIT"]
    assert parse_providers(entries, sdk=[]) == parse_providers(entries[::-1], sdk=[])


def test_terra_is_asked_again_only_after_minutes() -> None:
    terra = Terra(named("FITBIT"), named("FITBIT", "OURA"))
    for _ in range(3):
        assert terra.read() == (["FITBIT"], False)
    terra.wait(FRESH_FOR - timedelta(seconds=1))
    assert terra.read() == (["FITBIT"], False)
    terra.wait(timedelta(seconds=1))
    assert terra.read() == (["FITBIT", "OURA"], False)
    assert terra.asked == [FIRST_WITHIN, REFRESH_WITHIN]


@pytest.mark.parametrize("trouble", [DOWN, TerraRejected("401"), TooManyRequests("429", retry_after=5)])
def test_an_old_list_is_served_while_terra_is_in_trouble(trouble: Exception) -> None:
    terra = Terra(named("FITBIT"), trouble, trouble, named("OURA"))
    terra.read()
    terra.wait(FRESH_FOR)
    assert terra.read() == (["FITBIT"], True)
    assert terra.read() == (["FITBIT"], True)
    assert len(terra.asked) == 2, "people do not all wait for a Terra that is down"
    terra.wait(ASK_AGAIN_AFTER)
    assert terra.read() == (["FITBIT"], True)
    terra.wait(timedelta(days=30))
    assert terra.read() == (["OURA"], False)


def test_terras_own_wait_is_kept() -> None:
    terra = Terra(named("FITBIT"), TooManyRequests("429", retry_after=600), named("OURA"))
    terra.read()
    terra.wait(FRESH_FOR)
    terra.read()
    terra.wait(timedelta(seconds=599))
    assert terra.read() == (["FITBIT"], True)
    terra.wait(timedelta(seconds=1))
    assert terra.read() == (["OURA"], False)


@pytest.mark.parametrize(
    ("trouble", "retry_after"),
    [(DOWN, 5), (TerraRejected("401"), 5), (TooManyRequests("429", retry_after=60), 60)],
)
def test_without_an_old_list_every_trouble_is_terra_unavailable(trouble: Exception, retry_after: int) -> None:
    terra = Terra(trouble, named("FITBIT"))
    with pytest.raises(TerraUnavailable) as raised:
        terra.read()
    assert isinstance(raised.value, RetryLater)
    assert raised.value.retry_after == retry_after
    assert raised.value.__cause__ is trouble
    assert terra.read() == (["FITBIT"], False)


def test_an_account_without_providers_is_an_answer() -> None:
    terra = Terra([], named("FITBIT"))
    assert terra.read() == ([], False)
    assert terra.read() == ([], False)
    assert len(terra.asked) == 1


Answers = dict[str, Any]

GOOD: Answers = {
    "/integrations/detailed": {"providers": [FITBIT]},
    "/integrations": {"providers": [], "sdk_providers": []},
}


NO_LISTS: list[Answers] = [
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


class TerraHere:
    """Terra, without a network."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.seen: list[httpx.Request] = []
        self.client = httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return httpx.Response(200, json=self._answers[request.url.path])


def asked_of(terra: TerraHere) -> list[Provider]:
    """Return the result of `providers` for Terra's two responses."""

    def no_key() -> str:
        raise AssertionError

    api = TerraClient(terra.client, api_url="https://terra.example", widget_url="", dev_id="our-id", api_key=no_key)
    return api.providers(within=timedelta(seconds=1))


def test_terra_is_asked_with_the_dev_id_and_without_the_key() -> None:
    terra = TerraHere(GOOD)
    assert [provider.resource for provider in asked_of(terra)] == ["FITBIT"]
    assert [request.url.raw_path for request in terra.seen] == [b"/integrations/detailed?sdk=true", b"/integrations"]
    for request in terra.seen:
        assert request.headers["dev-id"] == "our-id"
        assert "x-api-key" not in request.headers


@pytest.mark.parametrize("answers", NO_LISTS, ids=str)
def test_what_is_no_list_of_providers_is_not_believed(answers: Answers) -> None:
    with pytest.raises(TerraUnavailable):
        asked_of(TerraHere(GOOD | answers))


@pytest.mark.parametrize("path", GOOD)
def test_an_error_with_status_200_is_not_believed(path: str) -> None:
    with pytest.raises(TerraRejected):
        asked_of(TerraHere(GOOD | {path: {**GOOD[path], "status": "error"}}))


# -- explaining a rejection --------------------------------------------------------------------------------------------

APPLE = Provider("APPLE", "Apple Health", ProviderType.SDK, None)
REFUSED = InputRefused("no")


def test_a_provider_of_the_sdk_is_refused_by_a_fresh_list_without_asking_terra() -> None:
    terra = Terra([APPLE, *named("FITBIT")])
    terra.catalogue.check("APPLE")
    assert terra.asked == []
    terra.read()
    with pytest.raises(SdkOnlyProvider, match="POST /mobile-tokens"):
        terra.catalogue.check("APPLE")
    assert len(terra.asked) == 1


def test_an_old_list_refuses_nothing_and_no_list_refuses_what_may_have_been_enabled_since() -> None:
    terra = Terra([APPLE])
    terra.read()
    terra.catalogue.check("GARMIN")
    terra.wait(FRESH_FOR)
    terra.catalogue.check("APPLE")
    assert len(terra.asked) == 1


def test_a_refusal_is_explained_by_the_list() -> None:
    terra = Terra([APPLE, *named("FITBIT", "GARMIN")])
    unknown = terra.catalogue.explained(REFUSED, ["GARMINN"])
    assert isinstance(unknown, UnknownResource)
    assert "Did you mean GARMIN?" in str(unknown)
    assert isinstance(terra.catalogue.explained(REFUSED, ["APPLE"]), SdkOnlyProvider)
    assert terra.catalogue.explained(REFUSED, ["FITBIT"]) is REFUSED
    assert terra.catalogue.explained(REFUSED, ["APPLE", "FITBIT"]) is REFUSED
    assert terra.catalogue.explained(REFUSED, []) is REFUSED
    assert len(terra.asked) == 1


def test_a_name_like_no_other_is_given_no_other() -> None:
    terra = Terra(named("FITBIT"))
    assert "Did you mean" not in str(terra.catalogue.explained(REFUSED, ["ZZZ"]))


@pytest.mark.parametrize("trouble", [DOWN, TooManyRequests("slow")], ids=str)
def test_without_a_list_a_refusal_stays_what_it_is(trouble: Exception) -> None:
    assert Terra(trouble).catalogue.explained(REFUSED, ["APPLE"]) is REFUSED


def test_where_not_even_the_list_is_given_it_is_the_operators_fault() -> None:
    rejected = TerraRejected("no")
    assert Terra(rejected).catalogue.explained(REFUSED, ["FITBIT"]) is rejected


def test_of_several_providers_one_that_is_offered_is_enough() -> None:
    terra = Terra(named("FITBIT"))
    terra.catalogue.require_one_of(["ZZZ", "FITBIT"])
    with pytest.raises(UnknownResource, match="ZZZ, YYY"):
        terra.catalogue.require_one_of(["ZZZ", "YYY"])
    Terra(DOWN).catalogue.require_one_of(["ZZZ"])
