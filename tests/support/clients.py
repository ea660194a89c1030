"""The three clients - synchronous and asynchronous Python, TypeScript - called alike, with the names of Python."""

# ruff: noqa: ANN401 - JSON

import asyncio
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from terra_connections_client import (
    AsyncTerraConnections,
    InvalidNotification,
    TerraConnections,
    TerraConnectionsError,
    read_notification,
)
from tools import clients
from tools.environment import ROOT

DRIVER = ROOT / "tests" / "support" / "client_driver.mjs"
BODIES = {"create_session", "create_replay", "create_backfill"}
"""The methods whose arguments are a request body in TypeScript."""
POSITIONAL = ("session_id", "reference_id", "user_id", "backfill_id")


class Failure(Exception):
    """The error of a client."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["message"])
        self.name: str = error["name"]
        self.status: int | None = error.get("status")
        self.code: str | None = error.get("code")
        self.retry_after: float | None = error.get("retry_after")
        self.request_id: str | None = error.get("request_id")
        self.problem: dict[str, Any] | None = error.get("problem")


class Client(Protocol):
    """A client of the API."""

    def call(self, method: str, /, url: str, token: str, options: Mapping[str, float], **given: Any) -> Any:
        """Call a method of a new client. Raise a Failure if it raises."""

    def read_notification(self, headers: Mapping[str, str], body: str, keys: str | Sequence[str]) -> Any:
        """Verify and read a request to NotifyUrl."""


def failure(error: Exception) -> Failure:
    names = ("status", "code", "retry_after", "request_id", "problem")
    found = {name: getattr(error, name) for name in names if hasattr(error, name)}
    return Failure({"name": type(error).__name__, "message": str(error), **found})


class SyncPython:
    """TerraConnections."""

    def call(self, method: str, /, url: str, token: str, options: Mapping[str, Any], **given: Any) -> Any:
        try:
            with TerraConnections(url, token, **options) as client:
                result = getattr(client, method)(**given)
                return list(result) if hasattr(result, "__next__") else result
        except TerraConnectionsError as error:
            raise failure(error) from error

    def read_notification(self, headers: Mapping[str, str], body: str, keys: str | Sequence[str]) -> Any:
        try:
            return read_notification(headers, body.encode(), keys=keys)
        except (InvalidNotification, ValueError) as error:
            raise failure(error) from error


class AsyncPython(SyncPython):
    """AsyncTerraConnections."""

    def call(self, method: str, /, url: str, token: str, options: Mapping[str, Any], **given: Any) -> Any:
        async def result() -> Any:
            async with AsyncTerraConnections(url, token, **options) as client:
                called = getattr(client, method)(**given)
                return [each async for each in called] if hasattr(called, "__anext__") else await called

        try:
            return asyncio.run(result())
        except TerraConnectionsError as error:
            raise failure(error) from error


class TypeScript:
    """The TypeScript client, in a process of Node.js."""

    def __init__(self, compiled: Path) -> None:
        """Start the process.

        Args:
            compiled: the module of the compiled client.
        """
        command = [str(clients.node().program), str(DRIVER), compiled.as_uri()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def call(self, method: str, /, url: str, token: str, options: Mapping[str, Any], **given: Any) -> Any:
        camel = {camel_case(name): value for name, value in options.items()}
        return self._ask({"url": url, "options": {"token": token, **camel}, **typescript_call(method, given)})

    def read_notification(self, headers: Mapping[str, str], body: str, keys: str | Sequence[str]) -> Any:
        return self._ask({"method": "readNotification", "given": [headers, body, keys]})

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Failure(answer["error"])
        return answer["result"]


def camel_case(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def typescript_call(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call of the TypeScript client with the arguments of the Python client."""
    options = {"idempotency_key"} if method in BODIES else set(given) - set(POSITIONAL)
    body = {name.rstrip("_"): value for name, value in given.items() if name not in options}
    first = [body] if method in BODIES else list(body.values())
    second = {camel_case(name): given[name] for name in options & given.keys()}
    return {"method": camel_case(method), "given": [*first, second] if second else first}
