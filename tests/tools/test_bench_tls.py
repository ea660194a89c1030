"""TLS in front of the AWS endpoints, as in the benchmark: trusted only by clients that have its root certificate."""

import asyncio
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import certifi
import httpx
import pytest

from benchmarks.tls import behind_tls, roots_of


class Echo(BaseHTTPRequestHandler):
    """Returns the request body."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_more: object) -> None:
        """Print nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A layer with botocore's CA file."""
    (tmp_path / "layer" / "botocore").mkdir(parents=True)
    (tmp_path / "layer" / "botocore" / "cacert.pem").write_bytes(Path(certifi.where()).read_bytes())
    return tmp_path / "layer"


def test_a_function_calls_the_endpoint_over_tls_with_both_root_certificates(
    endpoint: str, packages: Path, tmp_path: Path
) -> None:
    variables = {"AWS_ENDPOINT_URL": endpoint, "QUEUE": f"{endpoint}/1/queue", "OTHER": f"{endpoint}0"}
    large = b"x" * 300_000

    async def post() -> tuple[dict[str, str], bytes, int]:
        async with behind_tls([endpoint], tmp_path) as tls:
            environment = tls.environment(variables, packages)
            roots = ssl.create_default_context(cafile=environment["AWS_CA_BUNDLE"])
            async with httpx.AsyncClient(verify=roots, timeout=60) as client:
                response = await client.post(environment["AWS_ENDPOINT_URL"], content=large)
            return environment, response.content, len(roots.get_ca_certs())

    environment, content, trusted = asyncio.run(post())
    assert content == large
    assert trusted == len(ssl.create_default_context(cafile=certifi.where()).get_ca_certs()) + 1
    assert environment["AWS_ENDPOINT_URL"].startswith("https://127.0.0.1:")
    assert environment["QUEUE"] == f"{environment['AWS_ENDPOINT_URL']}/1/queue"
    assert environment["OTHER"] == f"{endpoint}0"


def test_the_roots_equal_those_of_the_deployed_function(packages: Path) -> None:
    """The file in the template, or else botocore's default: certifi's file if installed, or botocore's own."""
    assert roots_of({"AWS_CA_BUNDLE": "/opt/aws-roots.pem"}, packages) == packages.parent / "aws-roots.pem"
    assert roots_of({}, packages) == packages / "botocore" / "cacert.pem"
    (packages / "certifi").mkdir()
    (packages / "certifi" / "cacert.pem").touch()
    assert roots_of({}, packages) == packages / "certifi" / "cacert.pem"


def test_a_client_without_the_root_certificate_rejects_the_endpoint(endpoint: str, tmp_path: Path) -> None:
    async def post() -> None:
        async with behind_tls([endpoint], tmp_path) as tls, httpx.AsyncClient(timeout=60) as client:
            await client.post(tls.addresses[endpoint], content=b"secret")

    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(post())
