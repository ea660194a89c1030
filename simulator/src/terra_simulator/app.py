"""The simulator as one ASGI application."""

from starlette.applications import Starlette

from terra_simulator import pages
from terra_simulator.admin.api import AdminApi
from terra_simulator.consent import ConsentPages
from terra_simulator.console.routes import Console
from terra_simulator.control import ControlApi
from terra_simulator.payloads import Payloads
from terra_simulator.rest import RestApi
from terra_simulator.simulator import Simulator


def application(simulator: Simulator) -> Starlette:
    """Combine Terra's API, the end user's pages and the control API."""
    return Starlette(
        routes=[
            *ControlApi(simulator).routes(),
            *Console(simulator).routes(),
            *ConsentPages(simulator).routes(),
            *pages.routes(),
            *AdminApi(simulator).routes(),
            *Payloads(simulator).routes(),
            *RestApi(simulator).routes(),
        ]
    )


def payload_application(simulator: Simulator) -> Starlette:
    """Return what is served over HTTPS: only the payloads."""
    return Starlette(routes=Payloads(simulator).routes())
