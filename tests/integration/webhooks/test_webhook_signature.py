"""Every form of a valid signature is accepted, and nothing else."""

import base64
import hashlib
import hmac
from collections.abc import Callable

import httpx
import pytest

from local.testing import Stack
from tests.support.handlers import Handlers, http_event
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import PATH, Webhook, now_s, signed

Make = Callable[..., Webhook]
Headers = list[tuple[str, str]]

MAX_AGE_S = 90_000
MAX_AHEAD_S = 300


def v1_of(delivery: Webhook) -> str:
    return signed(delivery.secret, delivery.body, delivery.t)


VALID: dict[str, Callable[[Webhook], Headers]] = {
    "the new name": lambda d: [("X-Terra-Signature", d.signature)],
    "the old name only": lambda d: [("Terra-Signature", d.signature)],
    "the oldest name, in lower case": lambda d: [("terra-signature", d.signature)],
    "in capitals": lambda d: [("X-TERRA-SIGNATURE", d.signature)],
    "both names": lambda d: [("X-Terra-Signature", d.signature), ("Terra-Signature", d.signature)],
    "the old name beside a wrong new one": lambda d: [
        ("X-Terra-Signature", "t=1,v1=00"),
        ("Terra-Signature", d.signature),
    ],
    "the same name twice, which a gateway joins": lambda d: [("X-Terra-Signature", d.signature)] * 2,
    "two groups in one value": lambda d: [("X-Terra-Signature", f"{d.signature},{d.signature}")],
    "a valid group after an old one": lambda d: [("X-Terra-Signature", f"t=12345678,v1=00,{d.signature}")],
    "a valid group before an old one": lambda d: [("X-Terra-Signature", f"{d.signature},t=12345678,v1=00")],
    "the second of two v1": lambda d: [("X-Terra-Signature", f"t={d.t},v1={'0' * 64},v1={v1_of(d)}")],
    "the first of two v1": lambda d: [("X-Terra-Signature", f"t={d.t},v1={v1_of(d)},v1={'0' * 64}")],
    "spaces around the comma": lambda d: [("X-Terra-Signature", f"t={d.t} , v1={v1_of(d)}")],
    "an unknown scheme beside it": lambda d: [("X-Terra-Signature", f"t={d.t},v0=abc,v1={v1_of(d)},v2=xyz")],
}
INVALID: dict[str, Callable[[Webhook], Headers]] = {
    "no header": lambda _: [],
    "an empty header": lambda _: [("X-Terra-Signature", "")],
    "another secret": lambda d: [("X-Terra-Signature", d.but(secret="wrong").signature)],
    "an empty secret": lambda d: [("X-Terra-Signature", d.but(secret="").signature)],
    "no t": lambda d: [("X-Terra-Signature", f"v1={v1_of(d)}")],
    "no v1": lambda d: [("X-Terra-Signature", f"t={d.t}")],
    "an empty v1": lambda d: [("X-Terra-Signature", f"t={d.t},v1=")],
    "v1 before t": lambda d: [("X-Terra-Signature", f"v1={v1_of(d)},t={d.t}")],
    "the v1 of another group's t": lambda d: [("X-Terra-Signature", f"t={d.t - 1},v1={v1_of(d)},t={d.t},v1=00")],
    "another t": lambda d: [("X-Terra-Signature", f"t={d.t - 1},v1={v1_of(d)}")],
    "another scheme": lambda d: [("X-Terra-Signature", f"t={d.t},v0={v1_of(d)}")],
    "the beginning of v1": lambda d: [("X-Terra-Signature", f"t={d.t},v1={v1_of(d)[:32]}")],
    "more after v1": lambda d: [("X-Terra-Signature", f"t={d.t},v1={v1_of(d)}0")],
    "t and v1 in two headers": lambda d: [("X-Terra-Signature", f"t={d.t}"), ("Terra-Signature", f"v1={v1_of(d)}")],
    "a negative t": lambda d: [("X-Terra-Signature", d.but(t=-d.t).signature)],
    "semicolons": lambda d: [("X-Terra-Signature", d.signature.replace(",", ";"))],
    "no name": lambda d: [("X-Terra-Signature", v1_of(d))],
    "another header": lambda d: [("Authorization", d.signature)],
    "the body's plain hash": lambda d: [
        ("X-Terra-Signature", f"t={d.t},v1={hashlib.sha256(f'{d.t}.'.encode() + d.body).hexdigest()}")
    ],
    "the body signed without t": lambda d: [
        ("X-Terra-Signature", f"t={d.t},v1={hmac.new(d.secret.encode(), d.body, hashlib.sha256).hexdigest()}")
    ],
    "thousands of groups": lambda d: [("X-Terra-Signature", ",".join([f"t={d.t},v1=00"] * 300))],
    "letters for t": lambda d: [("X-Terra-Signature", f"t=now,v1={v1_of(d)}")],
    "digits that are not ASCII": lambda d: [("X-Terra-Signature", f"t=1\u00b2,v1={v1_of(d)}")],
    "a t beyond every clock": lambda d: [("X-Terra-Signature", d.but(t=10**30).signature)],
}


def sent(delivery: Webhook, headers: Headers) -> list[tuple[bytes, bytes]]:
    more = [("content-type", "application/json"), ("x-terra-trace-id", delivery.trace_id or "")]
    return [(name.encode(), value.encode("latin-1")) for name, value in [*headers, *more]]


@pytest.mark.parametrize("form", VALID)
def test_a_valid_signature_is_accepted(browser: httpx.Client, webhook: Make, reference_id: str, form: str) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    response = browser.post(PATH, content=delivery.body, headers=sent(delivery, VALID[form](delivery)))
    assert (response.status_code, response.json()) == (200, {"status": "accepted"})


@pytest.mark.parametrize("form", INVALID)
def test_an_invalid_signature_is_401_without_detail_and_writes_nothing(
    browser: httpx.Client, stack: Stack, tables: Tables, webhook: Make, reference_id: str, form: str
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    response = browser.post(PATH, content=delivery.body, headers=sent(delivery, INVALID[form](delivery)))
    assert response.status_code == 401
    assert response.json() == {
        "type": f"{stack.demo_url}/docs/problems.md#not_signed",
        "title": "Not signed by Terra",
        "status": 401,
        "code": "not_signed",
    }
    assert tables.connection(user_id) is None
    assert tables.deliveries(delivery.keys) == []


@pytest.mark.parametrize(
    ("shift", "status"),
    [
        (0, 200),
        (-MAX_AGE_S + 20, 200),
        (-MAX_AGE_S - 20, 401),
        (MAX_AHEAD_S - 20, 200),
        (MAX_AHEAD_S + 20, 401),
        (-10 * 365 * 86_400, 401),
        (10 * 365 * 86_400, 401),
    ],
)
def test_a_signature_is_accepted_within_the_tolerance(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str, shift: int, status: int
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id), t=now_s() + shift)
    assert delivery.post(browser).status_code == status
    assert (tables.connection(user_id) is not None) == (status == 200)


def test_the_tolerance_can_be_configured(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    strict = {"SIGNATURE_MAX_AGE_SECONDS": "300", "SIGNATURE_MAX_AHEAD_SECONDS": "1"}
    for shift, status in ((-290, 200), (-310, 401), (30, 401)):
        delivery = webhook(auth_event(new_user_id(), reference_id), t=now_s() + shift)
        assert handlers.run("terra_webhook", delivery.event(), environment=strict).status == status


@pytest.mark.parametrize("place", [0, 10, -1])
def test_a_body_changed_by_one_byte_is_rejected(
    browser: httpx.Client, webhook: Make, reference_id: str, place: int
) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    changed = bytearray(delivery.body)
    changed[place] ^= 1
    assert browser.post(PATH, content=bytes(changed), headers=delivery.headers).status_code == 401


def test_equal_json_in_other_bytes_is_rejected(browser: httpx.Client, webhook: Make, reference_id: str) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    assert browser.post(PATH, content=delivery.body + b"\n", headers=delivery.headers).status_code == 401
    assert browser.post(PATH, content=delivery.body.replace(b": ", b":"), headers=delivery.headers).status_code == 401


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-www-form-urlencoded", None])
def test_bytes_that_the_gateway_encodes_are_verified_as_they_were_sent(
    browser: httpx.Client, webhook: Make, reference_id: str, content_type: str | None
) -> None:
    delivery = webhook(auth_event(new_user_id(), f"{reference_id} \u00e9\U0001f600"))
    headers = {name: value for name, value in delivery.headers.items() if name != "content-type"}
    if content_type is not None:
        headers["content-type"] = content_type
    assert delivery.post(browser, headers).json() == {"status": "accepted"}


def test_an_encoded_event_is_decoded_once(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    body = base64.b64encode(delivery.body).decode()
    encoded = http_event("POST", PATH, headers=delivery.headers, body=body, is_base64=True)
    assert handlers.run("terra_webhook", encoded).json == {"status": "accepted"}
    plain = http_event("POST", PATH, headers=delivery.headers, body=body)
    assert handlers.run("terra_webhook", plain).status == 401


def test_header_names_are_read_in_any_case(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    for spell in (str.upper, str.title, str.lower):
        headers = {spell(name): value for name, value in delivery.headers.items()}
        event = http_event("POST", PATH, headers=headers, body=delivery.body.decode())
        assert handlers.run("terra_webhook", event).status == 200


@pytest.mark.parametrize("setting", ["both", "new", "old"])
def test_the_signatures_of_the_simulator_are_accepted(
    terra: Terra, stack: Stack, reference_id: str, setting: str
) -> None:
    terra.settings(signature_headers=setting)
    [response] = terra.deliver(auth_event(new_user_id(), reference_id))
    assert (response["status"], "accepted" in response["body"]) == (200, True)
    [forged] = terra.deliver(auth_event(new_user_id(), reference_id), secret=stack.service_key)
    assert forged["status"] == 401
    [rotated] = terra.deliver(auth_event(new_user_id(), reference_id), secrets=["unknown here", stack.signing_secret])
    assert rotated["status"] == 200


def test_the_vector_that_terra_publishes_verifies(handlers: Handlers) -> None:
    """Secret `key`, body `123`, and a `t` of 1970."""
    signature = "t=12345678,v1=dca55eca8f595bd4d80250ab9609c7cbecec8e581c5c3822294f7c2ee1c99377"
    event = http_event("POST", PATH, headers={"terra-signature": signature}, body="123")
    secret = {"at": "secrets-manager.*:before", "do": "answer", "body": {"SecretString": '{"published": "key"}'}}
    long_tolerance = {"SIGNATURE_MAX_AGE_SECONDS": "9999999999"}
    # Later runs find the record of the first one.
    assert handlers.run("terra_webhook", event, secret, environment=long_tolerance).status == 200
    event["body"] = "124"
    assert handlers.run("terra_webhook", event, secret, environment=long_tolerance).status == 401
