"""openapi.yaml as a page of the demo's server, rendered by Swagger UI: its "Try it out" calls the local stack.

Swagger UI's files are those of the package mkdocs-swagger-ui-tag, which `make docs` uses for the same page of the site.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import yaml
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tools.environment import ROOT

if TYPE_CHECKING:
    from starlette.requests import Request

PATH: Final = "/api"
_FILES: Final = files("mkdocs_swagger_ui_tag") / "swagger-ui"
_PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API reference</title>
<link rel="icon" href="/favicon.svg">
<link rel="stylesheet" href="{PATH}/files/stylesheets/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="{PATH}/files/javascripts/swagger-ui-bundle.js"></script>
<script src="/api-reference.js"></script>
</body>
</html>
"""


def routes(api_url: str) -> list[Route | Mount]:
    """Return the page, the contract with the address of this stack's API, and Swagger UI's files."""

    async def page(_request: Request) -> HTMLResponse:
        # Swagger UI sets styles in elements, and its icons are data.
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            f"connect-src 'self' {api_url}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": policy})

    async def contract(_request: Request) -> JSONResponse:
        text = (ROOT / "openapi.yaml").read_text()
        parsed: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
        return JSONResponse({**parsed, "servers": [{"url": api_url, "description": "the local stack"}]})

    return [
        Route(PATH, page),
        Route(f"{PATH}/openapi.json", contract),
        Mount(f"{PATH}/files", StaticFiles(directory=str(_FILES))),
    ]
