"""HTTP to Terra: one request and its response, with a limit on the whole exchange."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread

import httpx

from terra_connections.errors import TerraUnavailable

CONNECT_WITHIN = timedelta(seconds=3)
"""For each of the two attempts, and in each for TCP and for TLS."""
MAX_RESPONSE = 5_000_000  # bytes; a page of 500 users has a few hundred thousand


@dataclass(frozen=True, slots=True)
class TerraResponse:
    """A response that was received as a whole.

    Attributes:
        status: its HTTP status.
        retry_after: the value of Retry-After, or else of X-Terra-RateLimit-Reset-After, if it has one.
        content: its body.
    """

    status: int
    retry_after: str | None
    content: bytes


def client() -> httpx.Client:
    """Return an HTTP client for Terra. It follows no redirects, and reads nothing from the environment.

    It tries to connect twice. Nothing else is retried: a request that was sent may have created a pending user, and
    Terra's auth endpoints have no idempotency key.
    """
    # Terra or a proxy may have closed an older connection while the function was frozen.
    limits = httpx.Limits(keepalive_expiry=5)
    return httpx.Client(
        transport=httpx.HTTPTransport(retries=1, limits=limits, trust_env=False),
        # A compressed response could have any size after decompression, so it is neither requested nor accepted.
        headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "terra-connections"},
        trust_env=False,
        follow_redirects=False,
    )


def exchange(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None,
    within: timedelta,
) -> TerraResponse:
    """Send a request and return its response.

    httpx has a timeout for each wait, but not for the whole exchange: a server that keeps sending single bytes would
    never time out. The exchange therefore runs in a thread, and the caller waits for it for at most `within`. A thread
    that is still running then is abandoned: it ends at the next part of the body, or with the timeout of a wait.

    Raises:
        TerraUnavailable: the response was not complete within the time, or is too large.
    """
    future: Future[TerraResponse] = Future()
    ends_at = time.monotonic() + within.total_seconds()
    connect = min(CONNECT_WITHIN, within / 4).total_seconds()
    request = client.build_request(
        method,
        url,
        headers=dict(headers),
        content=content,
        timeout=httpx.Timeout(within.total_seconds(), connect=connect, pool=connect),
    )

    def run() -> None:
        try:
            future.set_result(_send(client, request, ends_at))
        except Exception as error:  # noqa: BLE001 - every exception is raised where the result is awaited
            future.set_exception(error)

    Thread(target=run, name="terra", daemon=True).start()
    try:
        return future.result(within.total_seconds())
    except (TimeoutError, httpx.TransportError) as error:
        message = "Terra did not answer in time."
        raise TerraUnavailable(message) from error


def _send(client: httpx.Client, request: httpx.Request, ends_at: float) -> TerraResponse:
    response = client.send(request, stream=True)
    try:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise unusable_response()
        received = bytearray()
        for chunk in response.iter_bytes():
            received += chunk
            if len(received) > MAX_RESPONSE or time.monotonic() > ends_at:
                raise unusable_response()
    finally:
        response.close()
    # Terra's limit of requested days may have its own header only.
    wait = response.headers.get("retry-after") or response.headers.get("x-terra-ratelimit-reset-after")
    return TerraResponse(response.status_code, wait, bytes(received))


def unusable_response() -> TerraUnavailable:
    """Return the error for an invalid response."""
    return TerraUnavailable("Terra answered something that cannot be used.")
