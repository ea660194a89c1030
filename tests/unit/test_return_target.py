import json

import pytest

from terra_connections.errors import Misconfigured, UnknownReturnTarget
from terra_connections.return_target import ReturnTargets


def parse(*, is_local: bool = False, **addresses: object) -> ReturnTargets:
    return ReturnTargets.parse(json.dumps(addresses), is_local=is_local)


@pytest.mark.parametrize(
    "address",
    [
        "https://app.example.com/connected",
        "https://app.example.com:8443/a?lang=de",
        "exampleapp://connected",
        "com.example.app://auth/done?from=terra",
    ],
)
def test_exact_addresses_of_pages_and_apps_are_targets(address: str) -> None:
    parse(web=address).check("web")


@pytest.mark.parametrize(
    "address",
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
def test_anything_else_is_refused_by_name(address: object) -> None:
    with pytest.raises(Misconfigured, match="'web'"):
        parse(web=address)


@pytest.mark.parametrize("text", ["[]", "7", "{", '"https://app.example.com"'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        ReturnTargets.parse(text, is_local=False)


def test_a_target_needs_a_plain_name() -> None:
    with pytest.raises(Misconfigured):
        ReturnTargets.parse('{"a b": "https://app.example.com/"}', is_local=False)


def test_only_a_local_stack_sends_people_to_a_laptop() -> None:
    for address in ("http://127.0.0.1:5000/connected", "http://localhost:5000/"):
        parse(web=address, is_local=True)
    with pytest.raises(Misconfigured):
        parse(web="http://192.168.0.1/", is_local=True)


def test_none_at_all_is_fine() -> None:
    for text in ("", "{}"):
        with pytest.raises(UnknownReturnTarget):
            ReturnTargets.parse(text, is_local=False).check("web")


def test_what_the_app_gets_is_added_and_escaped() -> None:
    targets = parse(web="https://app.example.com/a?lang=de", ios="exampleapp://connected")
    assert targets.address("web", {"status": "connected"}) == "https://app.example.com/a?lang=de&status=connected"
    assert targets.address("ios", {"a": "b&c=d\r\n"}) == "exampleapp://connected?a=b%26c%3Dd%0D%0A"
    assert targets.address("removed", {}) is None
