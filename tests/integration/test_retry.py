"""POST /auth/retry: whoever sees that a login failed presses "Try again", once or twice or in two tabs."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.testing import Stack
from tests.integration.handlers import Handlers, http_event
from tests.integration.redirects import Attempt, begin, begin_widget, page_and_headers
from tests.integration.tables import Tables
from tests.integration.test_erasure import erase, everything
from tests.integration.webhooks import now_s
from tests.support import Terra, auth_event, connections_of, decide, eventually, query_of, session_status

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LOGIN, WIDGET = "/authenticateUser", "/api/widget/session"
FAILED = "Nothing was connected"
TOO_MANY = "Too many attempts"
TROUBLE = "Please try again in a moment"


def try_again(browser: httpx.Client, secret: Mapping[str, str]) -> httpx.Response:
    return browser.post("/auth/retry", params=secret)


def fail(browser: httpx.Client, begun: Attempt) -> httpx.Response:
    return begun.come_back(browser, "failure", reason="access_denied")


def secret_of(call: Mapping[str, Any]) -> dict[str, str]:
    """The session and the state that Terra was told."""
    return query_of(call["body"]["auth_failure_redirect_url"])


def test_a_failed_login_is_tried_again_for_the_same(
    api: httpx.Client, browser: httpx.Client, terra: Terra, stack: Stack, person: str
) -> None:
    begun = begin(api, terra, person, resource="GARMIN", language="de-CH", return_to="ios")
    fail(browser, begun)
    answer = try_again(browser, begun.secret)
    assert answer.status_code == 303
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.content == b""
    first, second = terra.calls(LOGIN)
    assert second["query"] == first["query"] == {"resource": "GARMIN"}
    assert {name: second["body"][name] for name in ("reference_id", "language")} == {
        "reference_id": person,
        "language": "de-CH",
    }
    new = secret_of(second)
    assert not set(new.values()) & set(begun.secret.values())
    assert session_status(api, begun.session)["status"] == "failed"
    terra.settings(redirect_waits_for_webhook=True)
    back = browser.get(decide(answer.headers["location"], "allow"))
    assert "terraconnections-demo://connected?" in back.text
    assert stack.demo_url not in back.text
    shown = api.get(f"/sessions/{new['session']}").json()
    assert (shown["status"], shown["reference_id"], shown["resource"]) == ("connected", person, "GARMIN")


@pytest.mark.parametrize("resources", [[], ["GARMIN", "OURA"]])
def test_on_terras_page_the_same_can_be_picked_again(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str, resources: list[str]
) -> None:
    begun = begin_widget(api, terra, person, **({"resources": resources} if resources else {}))
    browser.get(begun.give_up())
    answer = try_again(browser, begun.secret)
    first, second = terra.calls(WIDGET)
    assert answer.headers["location"].startswith(f"{terra.client.base_url}/widget/session/")
    assert answer.headers["location"] != begun.session["auth_url"]
    assert second["body"].get("providers") == first["body"].get("providers")
    shown = api.get(f"/sessions/{secret_of(second)['session']}").json()
    assert (shown["status"], shown["reference_id"], shown["resource"]) == ("pending", person, None)


def test_pressing_again_leads_to_the_same_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    answers = [try_again(browser, begun.secret) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [303] * 3
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(terra.calls(LOGIN)) == 2


def test_pressing_twice_at_once_leads_to_the_same_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    terra.fault(LOGIN, "slow", delay_s=1, times=1)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: try_again(browser, begun.secret), range(4)))
    assert [answer.status_code for answer in answers] == [303] * 4
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(terra.calls(LOGIN)) == 2


def test_what_failed_twice_is_tried_a_third_time(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    again = try_again(browser, begun.secret).headers["location"]
    assert FAILED in browser.get(decide(again, "deny")).text
    third = try_again(browser, secret_of(terra.calls(LOGIN)[-1]))
    assert third.status_code == 303
    assert len({begun.session["auth_url"], again, third.headers["location"]}) == 3


# -- where it would do no good -----------------------------------------------------------------------------------------


def test_a_login_under_way_is_not_begun_anew(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin(api, terra, person)
    answer = try_again(browser, begun.secret)
    assert (answer.status_code, "Almost there" in answer.text) == (200, True)
    assert len(terra.calls(LOGIN)) == 1


def test_what_is_connected_is_not_begun_anew(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    terra.deliver(auth_event(begun.user_id, person))
    answer = try_again(browser, begun.secret)
    assert "Your wearable is connected" in answer.text
    assert len(terra.calls(LOGIN)) == 1


def test_what_needs_the_app_is_not_begun_anew(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin_widget(api, terra, person)
    begun.come_back(browser)
    assert "One more step on your phone" in try_again(browser, begun.secret).text
    assert len(terra.calls(WIDGET)) == 1


def test_what_failed_long_ago_is_begun_anew_in_the_app_only(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    tables.change_session(begun.session_id, expires_at=now_s() * 1000 - 1)
    answer = try_again(browser, begun.secret)
    assert (answer.status_code, FAILED in answer.text) == (200, True)
    assert len(terra.calls(LOGIN)) == 1


def test_an_app_with_a_page_of_its_own_is_told_again(
    api: httpx.Client, browser: httpx.Client, terra: Terra, stack: Stack, person: str
) -> None:
    begun = begin(api, terra, person, return_to="web")
    answer = try_again(browser, begun.secret)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{stack.demo_url}/connected?session_id={begun.session_id}")
    assert len(terra.calls(LOGIN)) == 1


def test_a_wrong_state_begins_nothing_and_tells_nothing(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, handlers: Handlers, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    before = tables.count()
    unknown = try_again(browser, {"session": "unknown", "state": begun.state})
    assert unknown.status_code == 400
    wrongs: list[dict[str, str]] = [{"session": begun.session_id, "state": "x"}, {"session": begun.session_id}, {}]
    for wrong in wrongs:
        assert page_and_headers(try_again(browser, wrong)) == page_and_headers(unknown)
    event = http_event("POST", "/auth/retry", query=f"session={begun.session_id}&state=x")
    assert handlers.run("auth_retry", event).trips == ["dynamodb.GetItem"]
    assert tables.count() == before
    assert len(terra.calls(LOGIN)) == 1


def test_only_a_pressed_button_begins_a_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    assert browser.get("/auth/retry", params=begun.secret).status_code == 404
    assert len(terra.calls(LOGIN)) == 1


# -- when it does not work ---------------------------------------------------------------------------------------------


def test_as_many_logins_may_be_open_as_for_the_app(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    begin(api, terra, person)
    event = http_event("POST", "/auth/retry", query="&".join(f"{name}={value}" for name, value in begun.secret.items()))
    refused = handlers.run("auth_retry", event, environment={"OPEN_SESSIONS_PER_PERSON": "1"})
    assert refused.status == 429
    assert refused.result is not None
    assert TOO_MANY in refused.result["body"]
    assert 0 < int(refused.result["headers"]["retry-after"]) <= 3600
    assert len(terra.calls(LOGIN)) == 2
    # Nothing was begun that would be in the way now.
    assert handlers.run("auth_retry", event, environment={"OPEN_SESSIONS_PER_PERSON": "2"}).status == 303


@pytest.mark.parametrize("trouble", [{"kind": "status", "status": 500}, {"kind": "status", "status": 404}])
def test_if_terra_fails_the_button_can_be_pressed_again(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str, trouble: dict[str, Any]
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    terra.fault(LOGIN, **trouble, times=1)
    answer = try_again(browser, begun.secret)
    assert (answer.status_code, TROUBLE in answer.text) == (503, True)
    assert try_again(browser, begun.secret).status_code == 303


def test_an_erasure_takes_what_a_repeat_would_be_answered_with(
    api: httpx.Client, browser: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    try_again(browser, begun.secret)
    new = secret_of(terra.calls(LOGIN)[-1])["session"]
    assert everything(dynamodb, stack, f"retry:{begun.session_id}") != []
    assert erase(api, person).status_code == httpx.codes.NO_CONTENT
    for word in (person, begun.session_id, new):
        assert everything(dynamodb, stack, word) == []
    assert try_again(browser, begun.secret).status_code == 400


def test_a_login_that_was_tried_again_connects_like_any_other(
    api: httpx.Client, browser: httpx.Client, terra: Terra, person: str
) -> None:
    begun = begin(api, terra, person)
    fail(browser, begun)
    decide(try_again(browser, begun.secret).headers["location"], "allow")
    [connection] = eventually(lambda: connections_of(api, person))
    # The person and the provider are the failed session's, too: it is shown as connected from now on.
    assert session_status(api, begun.session)["user_id"] == connection["user_id"]
