"""A GET of an untrusted URL, which yields the content in parts.

httpcore, the lower layer of httpx, sends exactly one request: it follows no redirects, reads no proxies from the
environment, adds no header other than Host, and decompresses nothing.
"""

import gzip
import io
import ssl
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import cache
from http import HTTPStatus

import httpcore

from terra_connections.data.fetch_errors import Expired, Failure, Refusal, Refused, Unavailable
from terra_connections.data.payload_urls import PayloadUrl
from terra_connections.data.public_network import Deadline, PublicNetwork, Resolve, is_public, resolve

MOST_BYTES = 100_000_000
"""Of the content, after decompression, and also before it."""
WITHIN = timedelta(seconds=60)
"""For the whole fetch, from resolving the host to the last byte."""
_PART = 65536
_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


@cache
def _public_roots() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


def safe_get(
    url: PayloadUrl,
    *,
    most_bytes: int = MOST_BYTES,
    within: timedelta = WITHIN,
    resolve: Resolve = resolve,
    allows: Callable[[str], bool] = is_public,
    roots: Callable[[], ssl.SSLContext] = _public_roots,
) -> Iterator[bytes]:
    """Fetch a URL, and yield its content, decompressed if it has the content encoding gzip.

    Args:
        url: an accepted URL.
        most_bytes: the largest content.
        within: the time for the whole fetch. It ends the wait for a part, and is checked at each part.
        resolve: resolves the host.
        allows: whether an address may be connected to.
        roots: returns the TLS settings, with the certificates that a server's is verified by.

    Raises:
        Expired: the server no longer serves the URL.
        Refused: a rule forbids the fetch.
        Unavailable: the server failed, or the content was not complete within the time.
    """
    network = PublicNetwork(Deadline(within), resolve=resolve, allows=_any if url.is_local else allows)
    scheme = b"http" if url.is_local else b"https"
    address = httpcore.URL(scheme=scheme, host=url.host.encode(), port=url.port, target=url.target.encode())
    context = None if url.is_local else roots()
    try:
        with (
            httpcore.ConnectionPool(ssl_context=context, network_backend=network, max_connections=1) as pool,
            pool.stream("GET", address) as response,
        ):
            _require_content(response, most_bytes)
            yield from _limited(_decoded(_limited(response.iter_stream(), most_bytes), _header(response)), most_bytes)
    except httpcore.TimeoutException as error:
        raise Unavailable(Failure.TIME) from error
    except httpcore.ConnectError as error:
        if isinstance(error.args[0], ssl.SSLCertVerificationError):
            raise Refused(Refusal.CERTIFICATE) from error
        raise Unavailable(Failure.CONNECTION) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise Unavailable(Failure.CONNECTION) from error


def _any(_address: str) -> bool:
    return True


def _require_content(response: httpcore.Response, most_bytes: int) -> None:
    status = response.status
    if status in _RETRIED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unavailable(Failure.STATUS)
    if status >= HTTPStatus.BAD_REQUEST:
        raise Expired
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise Refused(Refusal.REDIRECT)
    if status != HTTPStatus.OK:
        raise Refused(Refusal.STATUS)
    length = _header(response, b"content-length")
    if not length and _header(response, b"transfer-encoding").lower() != b"chunked":
        raise Refused(Refusal.LENGTH)
    if length and int(length) > most_bytes:  # h11 has checked that it is a number
        raise Refused(Refusal.SIZE)


def _header(response: httpcore.Response, name: bytes = b"content-encoding") -> bytes:
    return b",".join(value.strip() for key, value in response.headers if key.lower() == name)


def _limited(parts: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        if size > most_bytes:
            raise Refused(Refusal.SIZE)
        yield part


def _decoded(parts: Iterator[bytes], encoding: bytes) -> Iterator[bytes]:
    """Yield the content. Compressed content is never decompressed by more than a part at once."""
    match encoding.lower():
        case b"" | b"identity":
            yield from parts
        case b"gzip":
            with gzip.GzipFile(fileobj=io.BufferedReader(_Raw(parts), _PART)) as content:
                try:
                    while part := content.read(_PART):
                        yield part
                except (OSError, EOFError, zlib.error) as error:
                    raise Refused(Refusal.ENCODING) from error
        case _:
            raise Refused(Refusal.ENCODING)


class _Raw(io.RawIOBase):
    """A file of parts, which is read once."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(next(self._parts, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
