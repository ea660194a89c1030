"""Reading an issuer's keys over real HTTP on this machine: which responses are accepted, and the time limits."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from terra_connections.auth.jwks import FETCH_TIMEOUT, Issuer, IssuerUnreachable
from terra_connections.errors import Misconfigured
from tests.support.waiting import BUSY

KEYS = [{"kty": "RSA", "kid": "1"}]
DISCOVERY = "/.well-known/openid-configuration"
Respond = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Returns the configured response for each path, and records the requests."""

    def __init__(self) -> None:
        self.responses: dict[str, Respond] = {}
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                server.responses[self.path](self)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.responses = {
            DISCOVERY: as_json({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}),
            "/jwks": as_json({"keys": KEYS}),
        }

    def issuer(self, *, jwks_url: str = "") -> Issuer:
        return Issuer(self.url, jwks_url=jwks_url, is_local=True)


def as_json(content: object, *, status: int = 200) -> Respond:
    return as_bytes(json.dumps(content).encode(), status=status)


def as_bytes(content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Respond:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content-length": str(len(content)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return respond


def silent(request: BaseHTTPRequestHandler) -> None:
    """Send nothing until the client hangs up."""
    request.connection.recv(1)


def dripping(request: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, for longer than any client should wait."""
    request.send_response(200)
    request.end_headers()
    ends_at = time.monotonic() + 30
    try:
        while time.monotonic() < ends_at:
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.2)
    except OSError:
        return  # the client hung up, as expected


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield running
    running.http.shutdown()
    running.http.server_close()
    thread.join()


def test_the_keys_are_read_from_the_url_of_the_discovery_document(server: Server) -> None:
    assert server.issuer().jwks() == KEYS
    assert server.requests == [DISCOVERY, "/jwks"]


def test_the_keys_are_read_from_the_configured_url(server: Server) -> None:
    server.responses["/elsewhere"] = as_json({"keys": [1]})
    assert server.issuer(jwks_url=f"{server.url}/elsewhere").jwks() == [1]
    assert server.requests == ["/elsewhere"]


def test_an_issuer_with_a_path_or_a_slash_is_found(server: Server) -> None:
    address = f"{server.url}/realms/app/"
    server.responses[f"/realms/app{DISCOVERY}"] = as_json({"issuer": address, "jwks_uri": f"{server.url}/jwks"})
    assert Issuer(address, jwks_url="", is_local=True).jwks() == KEYS


@pytest.mark.parametrize(
    "document",
    [
        {"jwks_uri": "{url}/jwks"},
        {"issuer": "{url}/", "jwks_uri": "{url}/jwks"},
        {"issuer": "https://evil.example.com", "jwks_uri": "{url}/jwks"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": None},
        {"issuer": "{url}", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "{url}", "jwks_uri": "http://login.example.com/jwks"},
        {"issuer": "{url}", "jwks_uri": "https://user:password@login.example.com/jwks"},
        {"issuer": "{url}", "jwks_uri": "https://[/jwks"},
    ],
)
def test_a_discovery_document_of_another_issuer_or_with_an_unsafe_key_url_is_rejected(
    server: Server, document: dict[str, str | None]
) -> None:
    server.responses[DISCOVERY] = as_bytes(json.dumps(document).replace("{url}", server.url).encode())
    with pytest.raises(IssuerUnreachable):
        server.issuer().jwks()
    assert "/jwks" not in server.requests


@pytest.mark.parametrize(
    "respond",
    [
        as_json({"keys": KEYS}, status=500),
        as_json({"keys": KEYS}, status=404),
        as_json({"keys": KEYS}, status=203),
        as_bytes(b"", status=204),
        as_bytes(b"{}", status=302, headers={"location": DISCOVERY}),
        as_json({"keys": {}}),
        as_json({"keys": None}),
        as_json({}),
        as_json([]),
        as_bytes(b""),
        as_bytes(b"<html>"),
        as_bytes(b"\xff\xfe"),
        as_bytes(b"[" * 100_000),
        as_bytes(b'{"keys": []', headers={"content-length": "1000"}),
        as_bytes(b'{"keys": ["' + b"a" * 600_000 + b'"]}'),
    ],
)
def test_a_response_that_is_not_a_key_set_is_rejected(server: Server, respond: Respond) -> None:
    server.responses["/jwks"] = respond
    with pytest.raises(IssuerUnreachable):
        server.issuer().jwks()
    assert server.requests == [DISCOVERY, "/jwks"]


@pytest.mark.parametrize("respond", [silent, dripping])
@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
def test_a_request_to_a_slow_issuer_ends_at_the_time_limit(server: Server, path: str, respond: Respond) -> None:
    server.responses[path] = respond
    began = time.monotonic()
    with pytest.raises(IssuerUnreachable):
        server.issuer().jwks()
    # The limit, and one read timeout more.
    assert time.monotonic() - began < FETCH_TIMEOUT.total_seconds() + 1 + BUSY


def test_an_untrusted_certificate_is_rejected(server: Server, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    url = f"https://localhost:{server.http.server_port}/jwks"
    with pytest.raises(IssuerUnreachable) as unreachable:
        Issuer("https://login.example.com", jwks_url=url, is_local=False).jwks()
    assert "CERTIFICATE_VERIFY_FAILED" in str(unreachable.value.__cause__)
    assert server.requests == []


def test_an_issuer_that_does_not_listen_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(IssuerUnreachable):
        Issuer(url, jwks_url="", is_local=True).jwks()


def test_proxies_in_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert server.issuer().jwks() == KEYS


@pytest.mark.parametrize(
    ("address", "jwks_url", "wrong"),
    [
        ("http://login.example.com", "", "OidcIssuer"),
        ("login.example.com", "", "OidcIssuer"),
        ("https://", "", "OidcIssuer"),
        ("https://user@login.example.com", "", "OidcIssuer"),
        ("https://login.example.com", "http://login.example.com/jwks", "OidcJwksUrl"),
        ("https://login.example.com", "http://192.0.2.1.example.com/jwks", "OidcJwksUrl"),
        ("https://login.example.com", "http://8.8.8.8/jwks", "OidcJwksUrl"),
        ("https://login.example.com", "file:///jwks", "OidcJwksUrl"),
    ],
)
def test_an_issuer_or_key_url_without_https_is_misconfigured(address: str, jwks_url: str, wrong: str) -> None:
    for is_local in (True, False):
        with pytest.raises(Misconfigured, match=wrong):
            Issuer(address, jwks_url=jwks_url, is_local=is_local)


def test_only_a_local_stack_reads_keys_by_http() -> None:
    Issuer("http://127.0.0.1:5001", jwks_url="http://localhost:5001/jwks", is_local=True)
    # The address of this machine, as a function in a container sees it.
    for bridge in ("172.17.0.1", "host.docker.internal"):
        Issuer("http://127.0.0.1:5001", jwks_url=f"http://{bridge}:5001/jwks", is_local=True)
    with pytest.raises(Misconfigured, match="OidcIssuer"):
        Issuer("http://127.0.0.1:5001", jwks_url="", is_local=False)
