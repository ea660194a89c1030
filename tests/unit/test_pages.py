import base64
import hashlib
import re
from dataclasses import replace

import pytest

from terra_connections import pages
from terra_connections.http_api import Response
from terra_connections.session import Reason, SessionStatus, SessionView
from tests.unit.test_session import SESSION

ALL = [
    *(
        pages.page_for(SessionView(replace(SESSION), status, reason))
        for status in SessionStatus
        for reason in (None, *Reason)
    ),
    pages.UNKNOWN_LINK,
    pages.TROUBLE,
]


@pytest.mark.parametrize("page", ALL)
def test_a_page_is_small_private_and_from_nobody_else(page: Response) -> None:
    assert len(page.body.encode()) < 12_000
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "//" not in page.body
    assert "<script" not in page.body
    style = re.search(r"<style>(.*?)</style>", page.body, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_only_the_page_that_waits_looks_again() -> None:
    assert [page for page in ALL if "refresh" in page.headers] == [
        pages.page_for(SessionView(SESSION, SessionStatus.PENDING, reason)) for reason in (None, *Reason)
    ]
