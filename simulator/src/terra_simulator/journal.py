"""The calls that the simulated Terra received, so that tests can count them."""

from collections import deque
from typing import Final

from pydantic import BaseModel
from starlette.requests import Request

from terra_simulator.outbox import readable

LONGEST: Final = 10_000
"""Older calls are dropped beyond this many."""


class Call(BaseModel):
    """One REST call, without its credentials."""

    time: float
    method: str
    path: str
    query: dict[str, str]
    body: object = None
    status: int | None = None
    """None while it runs, and if its connection was cut."""


class Journal:
    """The calls, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=LONGEST)

    def record(self, request: Request, body: bytes, *, now: float) -> Call:
        """Record a call as it arrives."""
        call = Call(
            time=now,
            method=request.method,
            path=request.url.path,
            query=dict(request.query_params),
            body=readable(body) if body else None,
        )
        self._calls.append(call)
        return call

    def calls(self, *, path: str | None = None, method: str | None = None) -> list[Call]:
        """Return the calls, all or those with this end of the path and this method."""
        return [
            call for call in self._calls if call.path.endswith(path or "") and (method is None or call.method == method)
        ]

    def clear(self) -> None:
        """Delete all calls."""
        self._calls.clear()
