"""The allow-list of payload URLs: attempts to lead a fetch out of it, by the spelling of a URL."""

import re

import pytest

from terra_connections.data.fetch_errors import Refused
from terra_connections.data.payload_urls import MOST_CHARACTERS, PayloadUrl, PayloadUrls
from terra_connections.errors import Misconfigured
from tests.support import cloudformation

GOOD = "https://good.example.com/payloads/"
LIST = PayloadUrls.parse(f"{GOOD},https://storage.example.com/bucket/payloads/", is_local=False)

ATTEMPTS = {
    "another host": "https://evil.example.net/payloads/1.json",
    "another path": "https://good.example.com/other/1.json",
    "a longer path segment": "https://good.example.com/payloads-of-others/1.json",
    "a longer host": "https://good.example.com.evil.example.net/payloads/1.json",
    "a shorter host": "https://example.com/payloads/1.json",
    "a subdomain": "https://x.good.example.com/payloads/1.json",
    "a trailing dot": "https://good.example.com./payloads/1.json",
    "user info": "https://good.example.com@evil.example.net/payloads/1.json",
    "user info with a port": "https://good.example.com:443@evil.example.net/payloads/1.json",
    "user info with a prefix of the list": "https://good.example.com/payloads/@evil.example.net/../1.json",
    "user info before the host": "https://user@good.example.com/payloads/1.json",
    "user and password": "https://user:password@good.example.com/payloads/1.json",
    "an encoded at sign": "https://good.example.com%40evil.example.net/payloads/1.json",
    "a backslash": "https://evil.example.net\\@good.example.com/payloads/1.json",
    "a backslash after the host": "https://good.example.com\\payloads/1.json",
    "a backslash in the path": "https://good.example.com/payloads/..\\other/1.json",
    "a tab": "https://good.example.com/payloads/\t1.json",
    "a tab in the scheme": "ht\ttps://good.example.com/payloads/1.json",
    "a line break": "https://good.example.com/payloads/1.json\r\nHost: evil.example.net",
    "a trailing line break": "https://good.example.com/payloads/1.json\n",
    "a leading space": " https://good.example.com/payloads/1.json",
    "a space": "https://good.example.com/payloads/1.json HTTP/1.1",
    "a null byte": "https://good.example.com/payloads/1.json\x00",
    "a fragment": "https://good.example.com/payloads/1.json#@evil.example.net",
    "a fragment before the host": "https://good.example.com#@evil.example.net/payloads/1.json",
    "a query before the host": "https://good.example.com?@evil.example.net/payloads/1.json",
    "a Cyrillic letter": "https://gооd.example.com/payloads/1.json",
    "a full-width dot": "https://good。example.com/payloads/1.json",
    "an encoded name": "https://xn--gd-fmcb.example.com/payloads/1.json",
    "upper case": "HTTPS://GOOD.EXAMPLE.COM/payloads/1.json",
    "another port": "https://good.example.com:8443/payloads/1.json",
    "Lambda's runtime API": "https://good.example.com:9001/payloads/1.json",
    "Lambda's own address": "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
    "no TLS": "http://good.example.com/payloads/1.json",
    "instance metadata": "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "instance metadata with TLS": "https://169.254.169.254/payloads/1.json",
    "a decimal address": "https://2130706433/payloads/1.json",
    "an octal address": "https://0177.0.0.1/payloads/1.json",
    "a hexadecimal address": "https://0x7f.1/payloads/1.json",
    "a mapped address": "https://[::ffff:127.0.0.1]/payloads/1.json",
    "a file": "file:///proc/self/environ",
    "another scheme": "gopher://good.example.com/payloads/1.json",
    "no scheme": "//good.example.com/payloads/1.json",
    "a parent": "https://good.example.com/payloads/../other/1.json",
    "a parent at the end": "https://good.example.com/payloads/..",
    "a current folder": "https://good.example.com/payloads/./1.json",
    "an encoded parent": "https://good.example.com/payloads/%2e%2e/other/1.json",
    "a half encoded parent": "https://good.example.com/payloads/.%2E/other/1.json",
    "an encoded slash": "https://good.example.com/payloads/..%2fother/1.json",
    "an encoded backslash": "https://good.example.com/payloads/..%5cother/1.json",
    "a doubly encoded slash": "https://good.example.com/payloads/..%252fother/1.json",
    "an encoded line break": "https://good.example.com/payloads/1%0d%0aHost:evil",
    "an incomplete encoding": "https://good.example.com/payloads/%2",
    "an empty segment": "https://good.example.com/payloads//evil.example.net/1.json",
    "the prefix itself": GOOD,
    "only a query": f"{GOOD}?x=1",
    "an empty URL": "",
    "too long": GOOD + "a" * MOST_CHARACTERS,
}


@pytest.mark.parametrize("url", ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_url_that_only_looks_like_one_of_the_list_is_refused(url: str) -> None:
    with pytest.raises(Refused) as error:
        LIST.accepted(url)
    # Nothing of the URL is in the error, which is logged.
    assert str(error.value) == error.value.reason == "url"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (GOOD + "1.json", "/payloads/1.json"),
        (
            GOOD + "40f7b0e1/activity-2026-07-01.json?X-Amz-Signature=0a&X-Amz-Credential=AKIA%2F20260701%2Feu-west-2",
            "/payloads/40f7b0e1/activity-2026-07-01.json?X-Amz-Signature=0a&X-Amz-Credential=AKIA%2F20260701%2Feu-west-2",
        ),
        (GOOD + "a%20b/..c.json?x=../%2e%2e/?y", "/payloads/a%20b/..c.json?x=../%2e%2e/?y"),
    ],
)
def test_a_url_below_a_prefix_is_sent_as_it_came(url: str, target: str) -> None:
    assert LIST.accepted(url) == PayloadUrl("good.example.com", 443, is_local=False, target=target)


def test_an_empty_list_accepts_no_url() -> None:
    with pytest.raises(Refused):
        PayloadUrls.parse("", is_local=False).accepted(GOOD + "1.json")


PARAMETER = cloudformation.parsed()["Parameters"]["PayloadUrls"]
LOCAL = "http://127.0.0.1:8333/payloads/"
"""The template accepts it, because it also describes the local stack."""

UNUSABLE = [
    "https://good.example.com",
    "https://good.example.com/",
    "https://good.example.com/payloads",
    "https://good.example.com:443/payloads/",
    "https://good.example.com:8443/payloads/",
    "https://user@good.example.com/payloads/",
    "https://GOOD.example.com/payloads/",
    "https://good.example.com./payloads/",
    "https://good.example.com/payloads/../",
    "https://good.example.com//",
    "https://good.example.com/payloads/?x=1",
    "https://localhost/payloads/",
    "https://127.0.0.1/payloads/",
    "https://0x7f000001/payloads/",
    "https://2130706433/payloads/",
    "https://[::1]/payloads/",
    "https://*.example.com/payloads/",
    "http://good.example.com/payloads/",
    LOCAL,
    " https://good.example.com/payloads/",
    "https://good.example.com/payloads/,",
    ",".join([GOOD] * 11),
]


@pytest.mark.parametrize("text", UNUSABLE)
def test_a_list_that_could_accept_more_than_intended_is_rejected(text: str) -> None:
    """At a deployment, and, if the environment was changed in another way, when the function starts."""
    with pytest.raises(Misconfigured, match="PAYLOAD_URLS must"):
        PayloadUrls.parse(text, is_local=False)
    accepted = re.fullmatch(PARAMETER["AllowedPattern"], text) is not None
    assert accepted == (text == LOCAL or text.count(",") > 1)


def test_the_default_accepts_the_urls_that_terra_has_published() -> None:
    assert re.fullmatch(PARAMETER["AllowedPattern"], PARAMETER["Default"])
    assert re.fullmatch(PARAMETER["AllowedPattern"], "")
    urls = PayloadUrls.parse(PARAMETER["Default"], is_local=False)
    s3 = "https://terra-payload-bucket.s3.eu-west-2.amazonaws.com/payloads/40f7b0e1/activity-2026-07-01.json?X-Amz-Date=0"
    assert urls.accepted(s3).host == "terra-payload-bucket.s3.eu-west-2.amazonaws.com"
    google = "https://storage.googleapis.com/terra-services-p-bkt-payloads/1.json?X-Goog-Signature=0"
    assert urls.accepted(google).target == "/terra-services-p-bkt-payloads/1.json?X-Goog-Signature=0"
    for other in (google.replace("-p-bkt", "-q-bkt"), "https://storage.googleapis.com/1.json"):
        with pytest.raises(Refused):
            urls.accepted(other)


def test_only_a_local_stack_fetches_without_tls() -> None:
    text = f"{GOOD},http://127.0.0.1:8333/payloads/"
    urls = PayloadUrls.parse(text, is_local=True)
    local = urls.accepted("http://127.0.0.1:8333/payloads/1.json?x=1")
    assert local == PayloadUrl("127.0.0.1", 8333, is_local=True, target="/payloads/1.json?x=1")
    assert not urls.accepted(GOOD + "1.json").is_local
    with pytest.raises(Refused):
        urls.accepted("http://127.0.0.1:9001/payloads/1.json")
