"""Connections to public addresses only, with a deadline: httpcore's documented extension point, a network backend.

A host is resolved once. If any of its addresses is not public, nothing is connected. The connection goes to exactly one
of these addresses, so that a name that changes its address in between (DNS rebinding) has no effect. httpcore sends the
host's name in the TLS handshake, and verifies the certificate for it.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

from terra_connections.data.fetch_errors import Refusal, Refused

CONNECT_WITHIN = timedelta(seconds=5)
"""For each address of a host."""

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host, as text."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All public IPv6 addresses. Outside of it are those that contain an IPv4 address: mapped, compatible, and NAT64."""


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet.

    Addresses that contain another one (6to4, Teredo) are not, whatever they contain.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    match found:
        case IPv4Address():
            return found.is_global and not found.is_multicast
        case IPv6Address():
            is_tunnel = found.sixtofour is not None or found.teredo is not None
            return found in _GLOBAL_UNICAST and found.is_global and not is_tunnel


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, by the operating system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Deadline:
    """The end of a fetch.

    httpcore has a timeout for each wait only: a server that keeps sending single bytes would never time out.
    """

    def __init__(self, within: timedelta, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + within.total_seconds()

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            httpcore.ReadTimeout: none.
        """
        left = self._at - self._clock()
        if left <= 0:
            message = "The fetch takes too long."
            raise httpcore.ReadTimeout(message)
        return left


class PublicNetwork(httpcore.NetworkBackend):
    """Connects to public addresses, and ends everything at a deadline."""

    def __init__(
        self,
        deadline: Deadline,
        *,
        resolve: Resolve = resolve,
        allows: Callable[[str], bool] = is_public,
        inner: httpcore.NetworkBackend | None = None,
    ) -> None:
        """Create a backend for one fetch.

        Args:
            deadline: the end of the fetch.
            resolve: resolves a host.
            allows: whether an address may be connected to.
            inner: connects to an address.
        """
        self._deadline = deadline
        self._resolve = resolve
        self._allows = allows
        self._inner = inner or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline replaces it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve a host, and connect to the first of its addresses that accepts the connection.

        Raises:
            Refused: the host has an address that is not allowed.
            httpcore.ConnectError: it has no address, or none of them accepts.
        """
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectError("The host has no address.")
        for address in self._addresses(host, port):
            within = min(self._deadline.left(), CONNECT_WITHIN.total_seconds())
            try:
                stream = self._inner.connect_tcp(address, port, within, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label is too long
            message = "The host cannot be resolved."
            raise httpcore.ConnectError(message) from error
        if not all(map(self._allows, addresses)):
            raise Refused(Refusal.ADDRESS)
        return addresses


class _TimedStream(httpcore.NetworkStream):
    """A stream whose every wait ends at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline replaces it
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        self._stream.write(buffer, self._deadline.left())

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.NetworkStream:
        within = min(self._deadline.left(), CONNECT_WITHIN.total_seconds())
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, within), self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._stream.get_extra_info(info)
