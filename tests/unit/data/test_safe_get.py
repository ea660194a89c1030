"""A fetch connects to public addresses only, verifies the server, follows nothing, and has limits. On real sockets."""

import gzip
import os
import socket
import threading
import zlib
from collections.abc import Sequence
from datetime import timedelta

import pytest

from terra_connections.data.fetch_errors import Expired, NotFetched, Refused, Unavailable
from terra_connections.data.payload_urls import PayloadUrl
from terra_connections.data.public_network import is_public, resolve
from terra_connections.data.safe_get import safe_get
from tests.support import hostile
from tests.support.hostile import Behavior, send_bytes
from tests.support.payload_server import HOST, PayloadServer, payload_server, response

LOOPBACK = "127.0.0.1"
CONTENT = b'{"type": "daily"}'


def url(port: int = 443, host: str = HOST) -> PayloadUrl:
    return PayloadUrl(host, port, is_local=False, target="/payloads/1.json?signature=x")


def fetched(server: PayloadServer, *, most_bytes: int = 1_000_000, within: float = 20.0, host: str = HOST) -> bytes:
    """Fetch from a server on this machine, as if its address were public."""
    parts = safe_get(
        url(server.port, host),
        most_bytes=most_bytes,
        within=timedelta(seconds=within),
        resolve=lambda _host, _port: [LOOPBACK],
        allows=lambda address: address == LOOPBACK,
        roots=server.roots,
    )
    return b"".join(parts)


def reason(behave: Behavior, *, most_bytes: int = 1_000_000, within: float = 20.0) -> tuple[type[NotFetched], str]:
    with payload_server(behave) as server, pytest.raises(NotFetched) as error:
        fetched(server, most_bytes=most_bytes, within=within)
    assert str(error.value) == error.value.reason
    return type(error.value), error.value.reason


# --- addresses -------------------------------------------------------------------------------------------------------

NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - an attempt
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "192.0.0.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "3.5.140.2", "52.95.150.1", "2a05:d07a:a000::1", "2600:9000::1"])
def test_a_public_address_is_accepted(address: str) -> None:
    assert is_public(address)


SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "localhost",
    "::1",
    "::ffff:127.0.0.1",
    "169.254.169.254",
    "2852039166",
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_a_private_address_is_connected_to(host: str) -> None:
    """The allow-list has no such host. If it had one, the address would still be refused: with the real resolver."""
    with payload_server(send_bytes(response(CONTENT))) as server:
        with pytest.raises(Refused, match="address"):
            b"".join(safe_get(url(server.port, host)))
        assert server.connections == 0


@pytest.mark.parametrize(
    "addresses", [[LOOPBACK], ["::1"], ["8.8.8.8", LOOPBACK], [LOOPBACK, "8.8.8.8"], ["::ffff:127.0.0.1"]]
)
def test_a_name_with_a_private_address_is_not_connected_to(addresses: Sequence[str]) -> None:
    with payload_server(send_bytes(response(CONTENT))) as server:
        with pytest.raises(Refused, match="address"):
            b"".join(safe_get(url(server.port), resolve=lambda _host, _port: addresses))
        assert server.connections == 0


def test_a_name_is_resolved_once_and_that_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the second answer would be another address."""
    answers = [[LOOPBACK], ["127.0.0.2"]]
    asked: list[tuple[str, int]] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return answers[len(asked) - 1]

    def never(*arguments: object, **_more: object) -> object:
        assert arguments[0] == LOOPBACK, "only an address is passed on to the operating system"
        return real(*arguments)  # type: ignore[arg-type]

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", never)
    with payload_server(send_bytes(response(CONTENT))) as server:
        parts = safe_get(url(server.port), resolve=rebinding, allows=lambda a: a == LOOPBACK, roots=server.roots)
        assert b"".join(parts) == CONTENT
    assert asked == [(HOST, server.port)]


def test_the_next_address_is_used_if_one_does_not_accept() -> None:
    with payload_server(send_bytes(response(CONTENT))) as server:
        parts = safe_get(
            url(server.port),
            resolve=lambda _host, _port: ["::1", LOOPBACK],
            allows=lambda _address: True,
            roots=server.roots,
        )
        assert b"".join(parts) == CONTENT


def test_a_name_that_cannot_be_resolved_is_retried() -> None:
    def failing(_host: str, _port: int) -> list[str]:
        raise socket.gaierror

    with pytest.raises(Unavailable, match="connection"):
        b"".join(safe_get(url(), resolve=failing))
    with pytest.raises(Unavailable, match="connection"):
        b"".join(safe_get(url(), resolve=lambda _host, _port: []))
    with pytest.raises(Unavailable, match="connection"):
        b"".join(safe_get(url(host=f"{'a' * 64}.example.com")))


def test_the_resolver_returns_each_address_once() -> None:
    assert resolve("127.0.0.1", 443) == ["127.0.0.1"]


# --- the request -----------------------------------------------------------------------------------------------------


def test_the_request_has_the_target_as_it_came_and_no_header_but_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with payload_server(send_bytes(response(CONTENT))) as server:
        assert fetched(server) == CONTENT
    host = f"{HOST}:{server.port}"
    assert server.requests == [f"GET /payloads/1.json?signature=x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect"])
@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/", "https://evil.example.net/", "/payloads/2"])
def test_no_redirect_is_followed(status: str, location: str) -> None:
    moved = response(b"", status=status, headers={"location": location})
    with payload_server(send_bytes(moved)) as server:
        with pytest.raises(Refused, match="redirect"):
            fetched(server)
        assert server.connections == 1


def test_a_certificate_for_another_host_is_refused() -> None:
    with payload_server(send_bytes(response(CONTENT)), name="other.example.com") as server:
        with pytest.raises(Refused, match="certificate"):
            fetched(server)
        assert server.requests == []


def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    with payload_server(send_bytes(response(CONTENT))) as server:
        with pytest.raises(Refused, match="certificate"):
            b"".join(safe_get(url(server.port), resolve=lambda _host, _port: [LOOPBACK], allows=lambda _address: True))
        assert server.requests == []


def test_a_server_without_tls_is_not_sent_a_request() -> None:
    with payload_server(send_bytes(response(CONTENT)), is_tls=False) as server:
        with pytest.raises(Unavailable, match="connection"):
            fetched(server)
        assert not any(b"GET" in request for request in server.requests)


def test_a_local_stack_fetches_from_this_machine_without_tls() -> None:
    with payload_server(send_bytes(response(CONTENT)), is_tls=False) as server:
        local = PayloadUrl(LOOPBACK, server.port, is_local=True, target="/payloads/1.json")
        assert b"".join(safe_get(local)) == CONTENT


# --- the response ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found", "410 Gone"])
def test_a_url_that_is_no_longer_served_has_expired(status: str) -> None:
    assert reason(send_bytes(response(b"<Code>ExpiredToken</Code>", status=status))) == (Expired, "expired")


@pytest.mark.parametrize("status", ["408 x", "429 Too Many Requests", "500 x", "503 Slow Down", "504 x"])
def test_a_failure_of_the_server_is_retried(status: str) -> None:
    assert reason(send_bytes(response(b"", status=status))) == (Unavailable, "server_error")


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content"])
def test_only_200_is_content(status: str) -> None:
    assert reason(send_bytes(response(b"", status=status))) == (Refused, "status")


def chunked(*parts: bytes) -> bytes:
    content = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (*parts, b""))
    return response(b"", headers={"content-length": "", "transfer-encoding": "chunked"}) + content


def test_content_in_chunks_is_fetched() -> None:
    with payload_server(send_bytes(chunked(b"abc", b"def"))) as server:
        assert fetched(server) == b"abcdef"


BROKEN = {
    "a shorter content": response(b"abc", headers={"content-length": "10"}),
    "a chunk without an end": chunked(b"abc")[:-5],
    "no response": b"",
    "half of the headers": b"HTTP/1.1 200 OK\r\ncontent-le",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a length that is not a number": response(b"", headers={"content-length": "many"}),
    "two lengths": response(b"abc", headers={"content-length": "3\r\ncontent-length: 4"}),
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_malformed_or_incomplete_response_is_retried(answer: bytes) -> None:
    assert reason(send_bytes(answer)) == (Unavailable, "connection")


def test_a_longer_content_than_its_length_is_not_read() -> None:
    with payload_server(send_bytes(response(b"abcdef", headers={"content-length": "3"}))) as server:
        assert fetched(server) == b"abc"


def test_a_reset_in_the_middle_is_retried() -> None:
    def behave(connection: socket.socket, _is_stopped: threading.Event) -> None:
        connection.sendall(response(b"abc", headers={"content-length": "10"}))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    assert reason(behave) == (Unavailable, "connection")


def test_content_whose_end_is_unknown_is_refused() -> None:
    """A connection that breaks could not be distinguished from the end."""
    assert reason(send_bytes(response(CONTENT, headers={"content-length": ""}))) == (Refused, "length")


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_content_of_exactly_the_limit_is_fetched() -> None:
    with payload_server(send_bytes(response(b"x" * 1000))) as server:
        assert len(fetched(server, most_bytes=1000)) == 1000


def test_a_content_above_the_limit_is_refused_before_it_is_read() -> None:
    assert reason(send_bytes(response(b"", headers={"content-length": "1001"})), most_bytes=1000) == (Refused, "size")


def test_a_content_without_end_is_refused_at_the_limit() -> None:
    def behave(connection: socket.socket, is_stopped: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not is_stopped.is_set():
            connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")

    assert reason(behave) == (Refused, "size")


@pytest.mark.parametrize("behave", [hostile.drip, hostile.drip_head, hostile.stall_after(0), hostile.stall_after(9)])
def test_a_slow_server_ends_the_fetch_at_its_time(behave: Behavior) -> None:
    assert reason(behave, within=1.0) == (Unavailable, "time")


def test_a_server_that_does_not_answer_the_handshake_ends_the_fetch() -> None:
    with hostile.unreachable() as address:
        port = int(address.rpartition(":")[2])
        parts = safe_get(
            url(port),
            within=timedelta(seconds=1),
            resolve=lambda _host, _port: [LOOPBACK],
            allows=lambda _address: True,
        )
        with pytest.raises(Unavailable, match="time"):
            b"".join(parts)


def compressed(content: bytes, encoding: str = "gzip") -> bytes:
    return response(content, headers={"content-encoding": encoding})


def test_compressed_content_is_decompressed() -> None:
    for encoded in (gzip.compress(CONTENT), gzip.compress(CONTENT[:5]) + gzip.compress(CONTENT[5:])):
        with payload_server(send_bytes(compressed(encoded))) as server:
            assert fetched(server) == CONTENT
    with payload_server(send_bytes(compressed(CONTENT, "identity"))) as server:
        assert fetched(server) == CONTENT


def test_a_gzip_bomb_is_refused_at_the_limit_of_the_decompressed_content() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 60_000
    assert reason(send_bytes(compressed(bomb))) == (Refused, "size")


def test_a_bomb_of_empty_members_is_refused_at_the_limit() -> None:
    assert reason(send_bytes(compressed(gzip.compress(b"") * 60_000))) == (Refused, "size")


WRONGLY_ENCODED = {
    "not compressed": compressed(CONTENT),
    "cut off": compressed(gzip.compress(os.urandom(1000))[:-100]),
    "a wrong checksum": compressed(gzip.compress(CONTENT)[:-8] + bytes(8)),
    "damaged": compressed(gzip.compress(b"x" * 1000)[:15] + b"\xff" * 20),
    "deflate": compressed(zlib.compress(CONTENT), "deflate"),
    "br": compressed(CONTENT, "br"),
    "zstd": compressed(CONTENT, "zstd"),
    "twice": compressed(gzip.compress(gzip.compress(CONTENT)), "gzip, gzip"),
}


@pytest.mark.parametrize("answer", WRONGLY_ENCODED.values(), ids=WRONGLY_ENCODED)
def test_content_that_cannot_be_decompressed_is_refused(answer: bytes) -> None:
    assert reason(send_bytes(answer)) == (Refused, "encoding")
