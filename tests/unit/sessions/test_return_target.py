import json

import pytest

from terra_connections.errors import Misconfigured, UnknownReturnTarget
from terra_connections.sessions.return_target import ReturnTargets


def parse(*, is_local: bool = False, **targets: object) -> ReturnTargets:
    return ReturnTargets.parse(json.dumps(targets), is_local=is_local)


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/connected",
        "https://app.example.com:8443/a?lang=de",
        "exampleapp://connected",
        "com.example.app://auth/done?from=terra",
    ],
)
def test_complete_urls_of_pages_and_apps_are_accepted(url: str) -> None:
    parse(web=url).check("web")


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.com/",
        "http://127.0.0.1:5000/",
        "https://",
        "https:///path",
        "//app.example.com/",
        "/path",
        "",
        "app.example.com",
        "https://user:password@app.example.com/",
        "https://app.example.com/#fragment",
        "https://app.example.com/#",
        "https://app.example.com/?status=connected",
        "https://app.example.com:port/",
        "https://[::1/",
        "https://app.example.com\\@evil.example/",
        "https://app.example.com/a b",
        "https://app.example.com/\r\nSet-Cookie: a=b",
        "https://äpp.example.com/",
        "javascript://alert(1)",
        "JavaScript://alert(1)",
        "HTTPS://app.example.com/",
        "data://text/html,x",
        "vbscript://x",
        "file:///etc/passwd",
        "intent://scan/#Intent;scheme=zxing;end",
        "mailto:a@example.com",
        "exampleapp:connected",
        "1app://connected",
        7,
        None,
        ["https://app.example.com/"],
    ],
)
def test_every_other_url_is_rejected_with_the_name_of_its_target(url: object) -> None:
    with pytest.raises(Misconfigured, match="'web'"):
        parse(web=url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("MyApp://connected", "write it in lower case.*myapp:"),
        ("HTTPS://app.example.com/", "write it in lower case.*https:"),
        ("com.example.app:connected", "must read scheme://..., or scheme:/..."),
        ("https:/app.example.com/", "must read https://..."),
        ("app.example.com/connected", "must read scheme://"),
    ],
)
def test_the_error_states_how_to_correct_the_url(url: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        parse(web=url)


def test_a_custom_scheme_may_be_followed_by_one_slash() -> None:
    android = {"url": "com.example.app:/oauth2redirect", "android_package": "com.example.app"}
    targets = parse(ios="com.example.app:/oauth2redirect", android=android)
    assert url_of(targets, "ios", status="connected") == "com.example.app:/oauth2redirect?status=connected"
    assert url_of(targets, "android", status="connected") == (
        "intent:/oauth2redirect?status=connected#Intent;scheme=com.example.app;package=com.example.app;end"
    )


@pytest.mark.parametrize("text", ["[]", "7", "{", '"https://app.example.com"'])
def test_a_value_that_is_not_a_json_object_is_rejected(text: str) -> None:
    with pytest.raises(Misconfigured):
        ReturnTargets.parse(text, is_local=False)


def test_a_target_name_without_spaces_is_required() -> None:
    with pytest.raises(Misconfigured):
        ReturnTargets.parse('{"a b": "https://app.example.com/"}', is_local=False)


def test_only_a_local_stack_accepts_http_urls_of_this_machine() -> None:
    for url in ("http://127.0.0.1:5000/connected", "http://localhost:5000/"):
        parse(web=url, is_local=True)
    with pytest.raises(Misconfigured):
        parse(web="http://192.168.0.1/", is_local=True)


def test_return_targets_are_optional() -> None:
    for text in ("", "{}"):
        with pytest.raises(UnknownReturnTarget):
            ReturnTargets.parse(text, is_local=False).check("web")


def url_of(targets: ReturnTargets, name: str, **parameters: str) -> str:
    target = targets.find(name)
    assert target
    return target.address(parameters)


def test_the_parameters_are_added_to_the_url_and_escaped() -> None:
    targets = parse(web="https://app.example.com/a?lang=de", ios="exampleapp://connected")
    assert url_of(targets, "web", status="connected") == "https://app.example.com/a?lang=de&status=connected"
    assert url_of(targets, "ios", a="b&c=d\r\n;#") == "exampleapp://connected?a=b%26c%3Dd%0D%0A%3B%23"


def test_a_removed_target_is_not_found() -> None:
    assert parse(web="https://app.example.com/").find("removed") is None
    assert parse(web="https://app.example.com/").find(None) is None


def test_pages_are_redirected_to_and_apps_are_opened_from_a_page() -> None:
    targets = parse(
        web="https://app.example.com/",
        ios={"url": "exampleapp://connected"},
        android={"url": "exampleapp://connected", "android_package": "com.example.app"},
    )
    found = {name: targets.find(name) for name in ("web", "ios", "android")}
    assert {name: target and target.is_page for name, target in found.items()} == {
        "web": True,
        "ios": False,
        "android": False,
    }
    assert {name: target and target.opens_by_itself for name, target in found.items()} == {
        "web": False,
        "ios": True,
        "android": False,
    }


def test_an_android_target_is_an_intent_url_with_package_and_fallback() -> None:
    android = {"url": "exampleapp://auth/connected", "android_package": "com.example.app"}
    web = "https://app.example.com/connected?from=terra"
    targets = parse(without_fallback=android, with_fallback={**android, "fallback_url": web})
    assert url_of(targets, "without_fallback", status="connected") == (
        "intent://auth/connected?status=connected#Intent;scheme=exampleapp;package=com.example.app;end"
    )
    assert url_of(targets, "with_fallback", status="a;end") == (
        "intent://auth/connected?status=a%3Bend#Intent;scheme=exampleapp;package=com.example.app;"
        "S.browser_fallback_url=https%3A%2F%2Fapp.example.com%2Fconnected%3Ffrom%3Dterra%26status%3Da%253Bend;end"
    )


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"url": 7},
        {"url": "javascript://x"},
        {"url": "exampleapp://x", "package": "com.example.app"},
        {"url": "exampleapp://x", "android_package": "app"},
        {"url": "exampleapp://x", "android_package": "com.example.app;end"},
        {"url": "exampleapp://x", "android_package": 7},
        {"url": "exampleapp://x", "fallback_url": "https://app.example.com/"},
        {"url": "https://app.example.com/", "android_package": "com.example.app"},
        {"url": "exampleapp://x", "android_package": "com.example.app", "fallback_url": "exampleapp://x"},
        {"url": "exampleapp://x", "android_package": "com.example.app", "fallback_url": "http://app.example.com/"},
        {"url": "exampleapp://x", "android_package": "com.example.app", "fallback_url": "javascript://x"},
        {"url": "exampleapp://x", "android_package": "com.example.app", "fallback_url": 7},
    ],
)
def test_an_invalid_target_object_is_rejected_with_its_name(target: object) -> None:
    with pytest.raises(Misconfigured, match="'android'"):
        parse(android=target)
