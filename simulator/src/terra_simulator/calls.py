"""What every call of Terra's APIs goes through: the journal, and the faults that tests request."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from terra_simulator.simulator import Simulator
from terra_simulator.sockets import cut

HttpEndpoint = Callable[[Request], Awaitable[Response]]


def recorded(terra: Simulator, endpoint: HttpEndpoint) -> HttpEndpoint:
    """Record every call, and apply requested faults."""

    async def handle(request: Request) -> Response:
        call = terra.journal.record(request, await request.body(), now=terra.clock())
        fault = terra.faults.take(request.method, request.url.path)
        if fault is None:
            response = await endpoint(request)
        else:
            await asyncio.sleep(fault.delay_s)
            is_answered_by_endpoint = fault.kind == "slow"
            response = fault.answer(request)
            if is_answered_by_endpoint or fault.stage == "after":
                answered = await endpoint(request)
                response = answered if is_answered_by_endpoint else response
        # The state is saved before the caller gets the response.
        terra.save()
        if fault is not None and fault.kind == "disconnect":
            await cut(request.client)
        else:
            call.status = response.status_code
        return response

    return handle
