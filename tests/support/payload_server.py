"""A server of payloads with its own certificate authority: it behaves as a test sets it, and counts its connections."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import trustme

from tests.support.hostile import Behavior, Server, serving

HOST = "payloads.example.com"


def response(content: bytes, *, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole response. Its content-length is that of the content, unless `headers` has another."""
    fields = {"content-length": str(len(content)), **(headers or {})}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
    return "\r\n".join(lines).encode() + content


@dataclass
class PayloadServer:
    """A server on the loopback address.

    Attributes:
        authority: issued its certificate.
    """

    authority: trustme.CA
    _server: Server

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def requests(self) -> list[bytes]:
        """The head of each request, as it came."""
        return self._server.received

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return self._server.connections

    def roots(self) -> ssl.SSLContext:
        """Return the TLS settings of a client that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@contextmanager
def payload_server(
    behave: Behavior, *, name: str = HOST, authority: trustme.CA | None = None, is_tls: bool = True
) -> Iterator[PayloadServer]:
    """Serve on a free port, with a certificate for `name`."""
    authority = authority or trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    with serving(behave, tls=context if is_tls else None) as server:
        yield PayloadServer(authority, server)
