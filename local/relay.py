"""Lets containers reach programs that listen on this machine's loopback address, and lets nobody else.

What comes from the relay's own address comes from this machine: a web page in a browser, for example, whose Origin a
database would not look at. Programs here have the loopback address.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from typing import Final

LOOPBACK: Final = "127.0.0.1"
CHUNK: Final = 64 * 1024


async def relay(address: str, port: int) -> asyncio.Server:
    """Listen on a free port of `address` and pass every connection on to a port of the loopback address.

    Raises:
        OSError: The address is not this machine's.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whichever side breaks off, the other one's connection is closed, too. What is open when the program ends is
        # cancelled, which Python 3.11 would report as an error.
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
