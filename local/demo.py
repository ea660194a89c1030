"""The demo page: it stands for the app that people are sent back to, and shows what came with them.

`python -m local.demo --port N`
"""

from __future__ import annotations

import argparse
import html
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

from local import leash

if TYPE_CHECKING:
    from starlette.requests import Request

SHOWN: Final = ("session_id", "status", "resource")
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - demo app</title>
<style>
  body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1.2rem }}
  html {{ color: #1d2733; background: #fff }}
  h1 {{ font-size: 1.6rem }}
  dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem }}
  dt {{ color: #5a6776 }} dd {{ margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace }}
  footer {{ margin-top: 2rem; font-size: .9rem; color: #5a6776 }}
</style>
<main>
<h1>{title}</h1>
{body}
<footer>This page stands for your app. It believes nothing in its address: what is true, your back end asks of
<code>GET /sessions/{{session_id}}</code> and <code>GET /connections</code>.</footer>
</main>
</html>
"""


async def connected(request: Request) -> HTMLResponse:
    """Show what the person brought back to the app."""
    rows = "".join(
        f"<dt>{name}</dt><dd>{html.escape(request.query_params.get(name, '')) or '&ndash;'}</dd>" for name in SHOWN
    )
    return HTMLResponse(PAGE.format(title="Back in the app", body=f"<dl>{rows}</dl>"), headers=HEADERS)


async def home(_request: Request) -> RedirectResponse:
    """There is one page so far."""
    return RedirectResponse("/connected", status_code=303)


HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
}
app = Starlette(routes=[Route("/", home), Route("/connected", connected)])


def main() -> None:
    """Serve the page on the loopback address until asked to end."""
    parser = argparse.ArgumentParser(prog="python -m local.demo")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    leash.follow()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
