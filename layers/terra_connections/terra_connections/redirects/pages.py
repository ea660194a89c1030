"""The result pages for apps without a page of their own: small, without scripts and external resources."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from http import HTTPStatus
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any

from terra_connections.api_gateway import Response
from terra_connections.redirects.branding import Brand
from terra_connections.redirects.language import LANGUAGES, RIGHT_TO_LEFT
from terra_connections.redirects.provider_names import provider_name
from terra_connections.sessions.session import Reason, SessionStatus, SessionView

PAPERS = _LIGHT, _DARK = ("#ffffff", "#18211d")
"""The background colours of the buttons, in light and dark mode."""

_STYLE = Template("""
:root{color-scheme:light dark;--ink:#16241d;--dim:#4c5a53;--line:#dfe6e2;--edge:#7b8881;--paper:#f2f6f4;--card:$light;
--good:#0b6b3f;--good-bg:#e3f4ea;--wait:#7a5200;--wait-bg:#fcf1da;--bad:#a3261d;--bad-bg:#fdeae8;
--button:$light_button;--on-button:$light_text;--button-edge:$light_edge}
@media(prefers-color-scheme:dark){:root{--ink:#eef3f0;--dim:#b4c0ba;--line:#2c3833;--edge:#74817b;--paper:#0f1512;--card:$dark;
--good:#5fd39b;--good-bg:#153426;--wait:#f0bd5b;--wait-bg:#372a10;--bad:#ff9a90;--bad-bg:#3c1c19;
--button:$dark_button;--on-button:$dark_text;--button-edge:$dark_edge}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100svh;display:flex;flex-direction:column;align-items:center;
padding:1.5rem;background:var(--paper);color:var(--ink);
font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;-webkit-text-size-adjust:100%}
header{display:flex;align-items:center;gap:.625rem;font-weight:600;overflow-wrap:anywhere}
header img{block-size:2rem;max-inline-size:8rem}
main{width:100%;max-width:26rem;margin-block:auto;padding:2.5rem 2rem;border:1px solid var(--line);
border-radius:1.25rem;background:var(--card);text-align:center;box-shadow:0 1px 2px #0000000a,0 12px 32px #0000000f}
svg{display:block;margin-inline:auto;width:4.5rem;height:4.5rem;padding:1.125rem;border-radius:50%;fill:none;
stroke:currentColor;stroke-width:2.25;stroke-linecap:round;stroke-linejoin:round}
.good{color:var(--good);background:var(--good-bg)}
.wait{color:var(--wait);background:var(--wait-bg)}
.bad{color:var(--bad);background:var(--bad-bg)}
.none{color:var(--dim);background:var(--paper)}
h1{margin:1.25rem 0 .5rem;font-size:1.5rem;line-height:1.3;letter-spacing:-.01em;text-wrap:balance;
overflow-wrap:anywhere}
:lang(ar) h1,:lang(ja) h1{letter-spacing:0}
:lang(ja){word-break:auto-phrase}
p{margin:0;color:var(--dim);text-wrap:balance}
form{margin:0}
.button{display:flex;align-items:center;justify-content:center;width:100%;min-height:3.25rem;margin-top:1.75rem;
padding:.75rem 1.25rem;border:2px solid var(--button-edge);border-radius:.875rem;background:var(--button);
color:var(--on-button);font:inherit;font-weight:600;text-decoration:none;cursor:pointer}
.button+.button,form+.button{margin-top:.75rem}
.second{border-color:var(--edge);background:none;color:var(--ink)}
.button:hover{filter:brightness(.94)}
.button:focus-visible{outline:3px solid var(--ink);outline-offset:3px}
footer{max-width:26rem;padding-top:1.5rem;font-size:.875rem;line-height:1.5;text-align:center;text-wrap:balance;
color:var(--dim)}
@media(max-width:30rem){main{padding:2rem 1.25rem}}
@media(prefers-reduced-motion:no-preference){.looking{animation:looking 2.5s ease-in-out infinite}
@keyframes looking{50%{opacity:.55}}}
@media(forced-colors:active){.second{border-color:ButtonText}}
""")
_PAGE = Template("""<!doctype html>
<html lang="$language" dir="$direction">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<title>$title$of_brand</title>
<style>$style</style>
</head>
<body>
$header<main>
<svg class="$mood" viewBox="0 0 24 24" aria-hidden="true"><path d="$sign"/></svg>
<h1>$title</h1>
<p>$text</p>
$buttons</main>
$footer</body>
</html>
""")
_HEADER = Template("<header>$logo<bdi>$name</bdi></header>\n")
_FOOTER = Template("<footer>$text</footer>\n")
_AGAIN = Template('<form method="post" action="retry">$fields<button class="button">$text</button></form>\n')
_FIELD = Template('<input type="hidden" name="$name" value="$value">')
_BACK = Template('<a class="button$rank" href="$address">$text</a>\n')
_CLOCK = "M12 7v5l3 2M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19"
_SIGNS = {
    "good": "M5 12.5l4.5 4.5L19 7.5",
    "wait": _CLOCK,
    "wait looking": _CLOCK,
    "none": "M7 7l10 10M17 7L7 17",
    "bad": "M12 4.5v9m0 5.5v.01",
}
_MOODS = (
    {"connected": "good", "confirming": "wait looking"}
    | dict.fromkeys(("cancelled", "cancelled_repair", "unchanged"), "none")
    | dict.fromkeys(("needs_app", "expired", "too_many", "trouble"), "wait")
)

PRIVATE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
"""The headers of every response to a redirect, because the redirect's URL contains the session's secret."""


@dataclass(frozen=True, slots=True)
class PageLinks:
    """The links of a page.

    Attributes:
        back: the URL of the button to the app.
        again: the fields that the button "Try again" posts to /auth/retry, if a retry is possible.
        refresh: the `Refresh` header, for an automatic refresh or redirect.
    """

    back: str | None = None
    again: Mapping[str, str] | None = None
    refresh: str | None = None


class Pages:
    """The pages with a brand's style. Every method accepts a supported language, or None for the default."""

    def __init__(self, brand: Brand, *, is_local: bool) -> None:
        """Apply the brand to the style.

        Args:
            brand: the branding.
            is_local: whether Terra is the local simulator, to which a form may lead over http.
        """
        light, dark = brand.on(_LIGHT), brand.on(_DARK)
        self._style = _STYLE.substitute(
            light=_LIGHT,
            light_button=light.button,
            light_text=light.text,
            light_edge=light.edge,
            dark=_DARK,
            dark_button=dark.button,
            dark_text=dark.text,
            dark_edge=dark.edge,
        )
        name = escape(brand.name)
        self._of_brand = f" · {name}" if name else ""
        logo = f'<img src="{brand.logo}" alt="">' if brand.logo else ""
        self._header = _HEADER.substitute(logo=logo, name=name) if name else ""
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        pictures = "data:" if brand.logo else "'none'"
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src {pictures}; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        # Chromium also applies form-action to the redirect after the form: to Terra, or a provider of Terra.
        self._again_leads_to = "'self' https: http:" if is_local else "'self' https:"

    def page_for(self, view: SessionView, language: str | None, ways: PageLinks) -> Response:
        """Return the page with the result of a login. It names the provider, if that is known."""
        headers = {"refresh": ways.refresh} if ways.refresh else {}
        return self._page(HTTPStatus.OK, _name(view), language, ways, headers, provider=provider_name(view.resource))

    def unknown_link(self, language: str | None) -> Response:
        """Return the page for an invalid link. It is the same for every reason, so that it reveals nothing."""
        return self._page(HTTPStatus.BAD_REQUEST, "unknown_link", language)

    def too_many(self, language: str | None, *, retry_after: int) -> Response:
        """Return the page for a user with too many unfinished logins."""
        headers = {"retry-after": str(retry_after)}
        return self._page(HTTPStatus.TOO_MANY_REQUESTS, "too_many", language, headers=headers)

    def trouble(self, language: str | None) -> Response:
        """Return the page for an error that the user did not cause."""
        return self._page(HTTPStatus.SERVICE_UNAVAILABLE, "trouble", language, headers={"retry-after": "5"})

    def _page(
        self,
        status: HTTPStatus,
        name: str,
        language: str | None,
        ways: PageLinks | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        provider: str | None = None,
    ) -> Response:
        """Render a page; without `ways` it belongs to no known login."""
        language = language or LANGUAGES[0]
        texts = _texts(language)
        mood = _MOODS.get(name, "bad")
        title, text = _text_of(texts[name], "title", provider), _text_of(texts[name], "text", provider)
        buttons, leads_to = "", "'none'"
        if ways and ways.again:
            leads_to = self._again_leads_to
            fields = [_FIELD.substitute(name=name, value=escape(value)) for name, value in ways.again.items()]
            buttons += _AGAIN.substitute(fields="".join(fields), text=texts["again"])
        elif ways and mood in {"bad", "none"}:
            text += f" {texts['restart']}"
        if ways and ways.back:
            text = texts[name].get("text_back", text)
            rank = " second" if ways.again else ""
            buttons += _BACK.substitute(address=escape(ways.back), text=texts["back"], rank=rank)
        body = _PAGE.substitute(
            language=language,
            direction="rtl" if language in RIGHT_TO_LEFT else "ltr",
            title=title,
            of_brand=self._of_brand,
            style=self._style,
            header=self._header,
            mood=mood,
            sign=_SIGNS[mood],
            text=text,
            buttons=buttons,
            footer=_FOOTER.substitute(text=texts["privacy"]) if ways else "",
        )
        return Response(
            status,
            body,
            {
                "content-type": "text/html; charset=utf-8",
                "content-language": language,
                "vary": "accept-language",
                "content-security-policy": f"{self._policy}; form-action {leads_to}",
                "x-frame-options": "DENY",
                **PRIVATE,
                **headers,
            },
        )


def _name(view: SessionView) -> str:
    """Return the page's name in texts/."""
    match view.status:
        case SessionStatus.PENDING:
            return "confirming"
        case SessionStatus.FAILED:
            match view.reason:
                case Reason.MISSING_SCOPES | Reason.PROVIDER_ERROR | Reason.OTHER_ACCOUNT:
                    return view.reason.value
                case _ if view.is_still_connected:
                    return "unchanged"
                case Reason.ACCESS_DENIED:
                    return "cancelled" if view.session.repairs is None else "cancelled_repair"
                case _:
                    return "failed" if view.session.repairs is None else "failed_repair"
        case _:
            return view.status.value


def _text_of(texts: Mapping[str, str], name: str, provider: str | None) -> str:
    """Return a title or text: the one that names the provider, if there is one and the provider is known."""
    if provider is not None and f"{name}_of" in texts:
        return texts[f"{name}_of"].replace("{provider}", provider)
    return texts[name]


@cache
def _texts(language: str) -> dict[str, Any]:
    """Load a language's texts on first use."""
    texts: dict[str, Any] = json.loads((Path(__file__).parent / "texts" / f"{language}.json").read_text("utf-8"))
    return texts
