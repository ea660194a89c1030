"""`sam local`: the connection from containers to this machine, and the one-line message without a container engine."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from local import sam_invoke, sam_local
from local.relay import relay
from tools.environment import ROOT

LOOPBACK = "127.0.0.1"


# A container and the relay have different addresses. On Linux every 127.x.x.x is a loopback address.
CONTAINER = "127.0.0.2"


async def exchange(port: int, sent: bytes, *, source: str = CONTAINER) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port, local_addr=(source, 0))
    try:
        writer.write(sent)
        return await reader.readexactly(len(sent))
    finally:
        writer.close()
        with suppress(ConnectionError):  # the same error again
            await writer.wait_closed()


def test_a_relay_forwards_both_directions_and_listens_on_one_address() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # for a connection that is still open at the end of the test
            while sent := await reader.read(1000):
                writer.write(sent)
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(echo, LOOPBACK, 0) as service:
            target = service.sockets[0].getsockname()[1]
            async with await relay(LOOPBACK, target) as relaying:
                [(address, port)] = [socket.getsockname() for socket in relaying.sockets]
                assert address == LOOPBACK
                sent = bytes(range(256)) * 4000
                received = await asyncio.gather(*(exchange(port, sent) for _ in range(3)))
                assert received == [sent] * 3

                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await exchange(port, sent, source=LOOPBACK)  # a program on this machine, such as a browser

    asyncio.run(run())


def test_a_relay_closes_the_connection_if_its_service_has_ended() -> None:
    async def run() -> None:
        async with await asyncio.start_server(lambda _reader, _writer: None, LOOPBACK, 0) as service:
            free = service.sockets[0].getsockname()[1]
        async with await relay(LOOPBACK, free) as relaying:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await exchange(relaying.sockets[0].getsockname()[1], b"request")

    asyncio.run(run())


def test_only_whole_addresses_are_replaced() -> None:
    environment = {"A": "http://127.0.0.1:400/api", "B": "http://127.0.0.1:4000/api", "C": "400"}
    reached = {"http://127.0.0.1:400": "http://172.17.0.1:5000"}
    assert sam_local.seen_from_container(environment, reached) == {
        "A": "http://172.17.0.1:5000/api",
        "B": "http://127.0.0.1:4000/api",
        "C": "400",
    }


def test_the_issuer_keeps_its_name_in_a_container() -> None:
    environment = {"OIDC_ISSUER": "http://127.0.0.1:5001", "OIDC_JWKS_URL": "http://127.0.0.1:5001/jwks"}
    assert sam_local.seen_from_container(environment, {"http://127.0.0.1:5001": "http://172.17.0.1:7"}) == {
        "OIDC_ISSUER": "http://127.0.0.1:5001",
        "OIDC_JWKS_URL": "http://172.17.0.1:7/jwks",
    }


@pytest.mark.parametrize("docker", [None, "#!/bin/sh\necho cannot connect >&2\nexit 1\n"])
def test_a_missing_container_engine_is_reported_in_one_line(tmp_path: Path, docker: str | None) -> None:
    if docker is not None:
        (tmp_path / "docker").write_text(docker)
        (tmp_path / "docker").chmod(0o755)
    run = subprocess.run(
        [sys.executable, "-m", "local.stack", "--sam", "--directory", str(tmp_path / "stack")],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (1, "", 1)
    assert "make run needs none" in run.stderr
    assert ("cannot connect" in run.stderr) == (docker is not None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "No function is named: make invoke F=create_session. The functions are announce_data, "),
        (["create_sesion"], "There is no function create_sesion: make invoke F=create_session. The functions are "),
        (["create_session"], "No stack is running here: run make sam-local"),
    ],
)
def test_a_mistake_in_make_invoke_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert sam_invoke.main([*arguments, "--directory", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(expected)
    assert error.count("\n") == 1
