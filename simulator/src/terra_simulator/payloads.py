"""Serves the payloads of `s3_payload` under their URLs, as Amazon S3 serves presigned ones, until they expire.

Terra's documentation: the URL is valid for minutes from its creation, and then 400. A storage server such as SeaweedFS
refuses expired URLs, too; this one needs no other program, and can also misbehave: see the setting `payload_fault`.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from itertools import repeat
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from terra_simulator.calls import recorded
from terra_simulator.identifiers import new_id
from terra_simulator.outbox import Pointer, as_bytes, readable
from terra_simulator.simulator import Simulator
from terra_simulator.sockets import cut

_BLOCK: Final = 1_000_000


class Payloads:
    """The URLs' only endpoint."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    def routes(self) -> list[BaseRoute]:
        """Return its path."""
        return [Route("/payloads/{name:path}", recorded(self._terra, self.fetch), methods=["GET"])]

    async def fetch(self, request: Request) -> Response:
        """Return a payload."""
        pointer = self._terra.outbox.pointer(request.query_params.get("X-Amz-Signature", ""))
        if pointer is None or pointer.name != request.path_params["name"]:
            return _refusal(HTTPStatus.FORBIDDEN, "AccessDenied", "Access Denied")
        if self._terra.clock() >= pointer.expires_at:
            return _refusal(HTTPStatus.BAD_REQUEST, "ExpiredToken", "The provided token has expired.")
        pointer.fetches += 1
        return self._served(request, pointer)

    def _served(self, request: Request, pointer: Pointer) -> Response:  # noqa: PLR0911 - one for each fault
        settings, content = self._terra.settings, pointer.content
        json_type = {"Content-Type": "application/json"}
        match settings.payload_fault:
            case "none":
                return Response(content, headers=json_type)
            case "wrong_user":
                return Response(_of_another_user(content), headers=json_type)
            case "redirect":
                return RedirectResponse(settings.payload_redirect_to, HTTPStatus.FOUND)
            case "gzip_bomb":
                packed = json_type | {"Content-Encoding": "gzip"}
                return StreamingResponse(_packed(_large(content, settings.payload_bytes)), headers=packed)
            case "large":
                sized = json_type | {"Content-Length": str(settings.payload_bytes)}
                return StreamingResponse(_large(content, settings.payload_bytes), headers=sized)
            case "slow":
                sized = json_type | {"Content-Length": str(len(content))}
                return StreamingResponse(_slowly(content, settings.payload_pause_s), headers=sized)
            case "truncated":
                sized = json_type | {"Content-Length": str(len(content))}
                return StreamingResponse(_half(content, request), headers=sized)


def _refusal(status: HTTPStatus, code: str, message: str) -> Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(text, status, media_type="application/xml")


def _of_another_user(content: bytes) -> bytes:
    body: Any = readable(content)
    user = {**body["user"], "user_id": new_id()} if isinstance(body, dict) and "user" in body else {"user_id": new_id()}
    return as_bytes({**body, "user": user}) if isinstance(body, dict) else content


async def _large(content: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield a JSON body of exactly this size: the event with spaces before its last brace."""
    body = json.loads(content) if content.startswith(b"{") else {}
    start = as_bytes(body)[:-1]
    yield start
    left = max(0, size - len(start) - 1)
    for block in repeat(b" " * _BLOCK, left // _BLOCK):
        yield block
        await asyncio.sleep(0)
    yield b" " * (left % _BLOCK) + b"}"


async def _packed(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield blocks as gzip, each as soon as it is packed."""
    packer = zlib.compressobj(level=1, wbits=31)
    async for block in blocks:
        yield packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


async def _slowly(content: bytes, pause_s: float) -> AsyncIterator[bytes]:
    for place in range(len(content)):
        yield content[place : place + 1]
        await asyncio.sleep(pause_s)


async def _half(content: bytes, request: Request) -> AsyncIterator[bytes]:
    yield content[: len(content) // 2]
    await cut(request.client)
