"""The simulator's pages: the templates in `templates/`, which escape every value, and the files in `static/`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

_TEMPLATES: Final = Environment(
    loader=PackageLoader("terra_simulator"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

HEADERS: Final = {
    # No form-action here: browsers apply it to the redirect that follows the form, which leads to the developer's app.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
SAME_ORIGIN_HEADERS: Final = {
    # The referrer stays on this site: without one, browsers send forms with the Origin `null`, which counts as foreign.
    **HEADERS,
    "Content-Security-Policy": f"{HEADERS['Content-Security-Policy']}; form-action 'self'",
    "Referrer-Policy": "same-origin",
}


def routes() -> list[BaseRoute]:
    """Return the path of style sheets, scripts and images."""
    return [Mount("/_static", StaticFiles(packages=[("terra_simulator", "static")]))]


def text(template: str, **values: object) -> str:
    """Return the HTML of a template."""
    return _TEMPLATES.get_template(template).render(values)


def render(
    template: str, *, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] = HEADERS, **values: object
) -> HTMLResponse:
    """Return a page."""
    return HTMLResponse(text(template, **values), status, headers)


def message(
    heading: str, explanation: str, status: HTTPStatus = HTTPStatus.OK, *, back: str | None = None
) -> HTMLResponse:
    """Return a page with one message, and a link back to the developer's app if there is one."""
    return render("message.html", status=status, heading=heading, explanation=explanation, back=back)
