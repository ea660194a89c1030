"""Cut a client's connection without a response, which ASGI does not support."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

Address = tuple[str, int]


class CuttableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with a list of the open connections."""

    connected: ClassVar[dict[Address, asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection by its client's address."""
        super().connection_made(transport)
        if self.client is not None:
            self.connected[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        if self.client is not None:
            self.connected.pop(self.client, None)
        super().connection_lost(exc)


async def cut(client: Any) -> None:  # noqa: ANN401 - starlette's Address and plain tuples both are (host, port)
    """End a client's connection at once; returns when uvicorn has noticed."""
    transport = CuttableProtocol.connected.get(tuple(client))
    if transport is not None:
        transport.abort()
    await asyncio.sleep(0)


def cut_all() -> None:
    """End every client's connection at once."""
    for transport in list(CuttableProtocol.connected.values()):
        transport.abort()
