"""Serve MiniStack as an AWS account: `python -m tests.support.emulator PORT [API_PORT ...]`, with MiniStack's Python.

On PORT it serves AWS. On each API_PORT it serves the HTTP API of the stack whose parameter PublicBaseUrl is
http://127.0.0.1:API_PORT, as a proxy in front of API Gateway would. MiniStack's own environment runs this program, and
its functions run under the same Python.
"""

import asyncio
import sys
from typing import TYPE_CHECKING

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app
from ministack.services import cloudformation

from terra_simulator.origin_guard import OriginGuard
from tests.support.emulator import buckets, http_api, loops, notifications, resources, stacks, transform, versions

if TYPE_CHECKING:
    from terra_simulator.origin_guard import Receive, Scope, Send

KEEP_ALIVE = 75  # seconds, as in MiniStack's own program
NOT_FOUND = b'{"message":"Not Found"}'


class Account:
    """The ASGI application of all ports."""

    def __init__(self, aws_port: int) -> None:
        self._aws_port = aws_port
        self._guarded = OriginGuard(app.app)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await app.app(scope, receive, send)
        elif (port := scope["server"][1]) == self._aws_port:
            with loops.caused_by(dict(scope["headers"]).get(b"x-amzn-trace-id", b"").decode("latin-1")):
                # The policy of the bucket rejects what does not come over TLS, as every call to AWS does.
                await self._guarded({**scope, "scheme": "https"}, receive, send)
        elif api_id := api_behind(f"http://127.0.0.1:{port}"):
            host = f"{api_id}.execute-api.localhost:{self._aws_port}".encode()
            headers = [(name, host if name == b"host" else value) for name, value in scope["headers"]]
            await app.app({**scope, "headers": headers}, receive, send)
        else:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": NOT_FOUND})


def api_behind(url: str) -> str | None:
    """Return the id of the HTTP API of the stack that has this public base URL."""
    for stack in cloudformation._stacks.all_values():
        parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
        if parameters.get("PublicBaseUrl") == url and stack["StackStatus"] != "DELETE_COMPLETE":
            for resource in stack["_resources"].values():
                if resource["ResourceType"] == "AWS::ApiGatewayV2::Api":
                    return str(resource["PhysicalResourceId"])
    return None


def main() -> None:
    """Serve on the loopback address until a signal ends it."""
    for part in (buckets, http_api, loops, notifications, resources, stacks, transform, versions):
        part.install()
    ports = [int(port) for port in sys.argv[1:]]
    config = Config()
    config.bind = [f"127.0.0.1:{port}" for port in ports]
    config.keep_alive_timeout = KEEP_ALIVE
    asyncio.run(serve(Account(ports[0]), config))


if __name__ == "__main__":
    main()
