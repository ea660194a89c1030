"""The pages that a person sees where the app has none of its own: small, without script, from no other server."""

import base64
import hashlib
from http import HTTPStatus
from string import Template

from terra_connections.http_api import Response
from terra_connections.session import Reason, SessionStatus, SessionView

_STYLE = """
:root{color-scheme:light dark;--ink:#16241d;--dim:#4c5a53;--paper:#f3f6f4;--card:#fff;
--good:#0b6b3f;--wait:#7a5200;--bad:#a3261d}
@media(prefers-color-scheme:dark){:root{--ink:#eef3f0;--dim:#b4c0ba;--paper:#101613;--card:#1a231f;
--good:#5fd39b;--wait:#f0bd5b;--bad:#ff9a90}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);color:var(--ink);
font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:26rem;padding:2.5rem 2rem;border-radius:1.25rem;background:var(--card);text-align:center;
box-shadow:0 1px 2px #0002,0 12px 32px #0001}
svg{width:4rem;height:4rem;fill:none;stroke:currentColor;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.good{color:var(--good)}.wait{color:var(--wait)}.bad{color:var(--bad)}
h1{margin:1rem 0 .5rem;font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}
p{margin:0;color:var(--dim);text-wrap:balance}
"""
_CSP = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<svg class="$mood" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10"/><path d="$sign"/></svg>
<h1>$title</h1>
<p>$text</p>
</main>
</body>
</html>
"""
)
_SIGNS = {"good": "M7.5 12.5l3 3 6-6.5", "wait": "M12 6.5V12l3.5 2", "bad": "M12 7v6m0 3.5v.01"}

PRIVATE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
"""For every answer to a redirect: its address holds the session's secret."""

_CONFIRMING_AGAIN_AFTER = 5  # seconds; Terra is asked no more often


def _page(status: HTTPStatus, mood: str, title: str, text: str, **headers: str) -> Response:
    return Response(
        status,
        _PAGE.substitute(style=_STYLE, mood=mood, sign=_SIGNS[mood], title=title, text=text),
        {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": _CSP,
            "x-frame-options": "DENY",
            **PRIVATE,
            **headers,
        },
    )


_CONNECTED = _page(
    HTTPStatus.OK, "good", "Your wearable is connected", "You can close this page and go back to the app."
)
_CONFIRMING = _page(
    HTTPStatus.OK,
    "wait",
    "Almost there",
    "We are waiting for your provider to confirm the connection. This page looks again by itself.",
    refresh=str(_CONFIRMING_AGAIN_AFTER),
)
_EXPIRED = _page(
    HTTPStatus.OK,
    "wait",
    "Not confirmed in time",
    "If the connection is confirmed later, it will appear in the app. Otherwise, start again from there.",
)
_CANCELLED = _page(
    HTTPStatus.OK, "bad", "Nothing was connected", "The login was cancelled. You can start again from the app."
)
_FAILED = _page(
    HTTPStatus.OK,
    "bad",
    "That did not work",
    "Your provider did not complete the login. Please start again from the app.",
)
_SCOPES = _page(
    HTTPStatus.OK,
    "bad",
    "Some permissions are missing",
    "Please start again from the app and leave the permissions that your provider shows switched on.",
)
UNKNOWN_LINK = _page(
    HTTPStatus.BAD_REQUEST,
    "bad",
    "This link is not valid",
    "It may be incomplete or too old. Please start again from the app.",
)
TROUBLE = _page(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "wait",
    "Please try again in a moment",
    "Something on our side did not answer. Nothing is lost: reload this page.",
    **{"retry-after": "5"},
)


def page_for(view: SessionView) -> Response:
    """The page that says how a login went."""
    match view.status:
        case SessionStatus.CONNECTED:
            return _CONNECTED
        case SessionStatus.PENDING:
            return _CONFIRMING
        case SessionStatus.EXPIRED:
            return _EXPIRED
        case SessionStatus.FAILED:
            return {Reason.ACCESS_DENIED: _CANCELLED, Reason.MISSING_SCOPES: _SCOPES}.get(
                view.reason or Reason.UNKNOWN, _FAILED
            )
