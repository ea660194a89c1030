"""Lets only containers reach programs that listen on this machine's loopback address.

A connection from the relay's own address comes from this machine and is closed. It could be a web page in a browser,
whose Origin a database would not check. Programs of this machine use the loopback address.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from typing import Final

LOOPBACK: Final = "127.0.0.1"
CHUNK: Final = 64 * 1024


async def relay(address: str, port: int) -> asyncio.Server:
    """Listen on a free port of `address` and forward every connection to a port of the loopback address.

    Raises:
        OSError: The address does not belong to this machine.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # When either side disconnects, the other connection is closed, too. Connections that are open when the program
        # ends are cancelled, which Python 3.11 would report as an error.
        with suppress(OSError, asyncio.CancelledError), closing(writer):
            if writer.get_extra_info("peername")[0] == address:
                return
            there_reader, there_writer = await asyncio.open_connection(LOOPBACK, port)
            with closing(there_writer):
                await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    return await asyncio.start_server(serve, address, 0)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
