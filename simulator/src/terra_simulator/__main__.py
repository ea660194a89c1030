"""Run the simulator: `terra-simulator --port 4000 --dev-id local-dev --webhook-url URL`.

TERRA_SIMULATOR_API_KEY and TERRA_SIMULATOR_SIGNING_SECRET set the API key and the signing secret. Listens on 127.0.0.1
only. SIGTERM and Ctrl-C save the state and end the process at once.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from terra_simulator.app import application, payload_application
from terra_simulator.settings import ConfiguredWebhook, Credentials, Settings
from terra_simulator.simulator import Simulator
from terra_simulator.sockets import CuttableProtocol, cut_all
from terra_simulator.state_file import UnreadableStateError

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """A server that leaves signals to `_serve`, which saves the state first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def stop(self) -> None:
        """Stop without waiting for running calls."""
        self.should_exit = self.force_exit = True
        # Interrupted calls are not errors to report. From Python 3.12 on, a server waits for them when it ends.
        logging.getLogger("uvicorn.error").disabled = True
        cut_all()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal arrives; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        credentials = Credentials.from_environment()
    except KeyError as error:
        return _fail(f"the environment variable {error.args[0]} is not set")
    if options.https_port is not None and not (options.certificate and options.certificate_key):
        return _fail("--https-port needs --certificate and --certificate-key")
    with contextlib.ExitStack() as sockets:
        try:
            listening = [
                sockets.enter_context(_bound(port)) for port in (options.port, options.https_port) if port is not None
            ]
        except UnusablePortError as error:
            return _fail(str(error))
        url, *secure = (f"{HOST}:{each.getsockname()[1]}" for each in listening)
        url = f"http://{url}"
        settings = Settings(
            public_url=(options.public_url or url).rstrip("/"),
            retry_scale=options.retry_scale,
            payload_url=f"https://{secure[0]}/payloads" if secure else None,
        )
        webhook = ConfiguredWebhook(webhook_url=options.webhook_url, signing_secret=credentials.signing_secret)
        try:
            asyncio.run(_serve(listening, settings, webhook, options, credentials.api_key, url))
        except (UnreadableStateError, UnreadableCertificateError) as error:
            return _fail(str(error))
    return 0


class UnusablePortError(Exception):
    """A port on which the simulator cannot listen."""


def _bound(port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only if the protocol is named; without it every response takes 40 ms longer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        message = f"port {port} on {HOST} cannot be used ({error.strerror}): choose another by --port or --https-port"
        raise UnusablePortError(message) from error
    return listening


async def _serve(
    listening: Sequence[socket.socket],
    settings: Settings,
    webhook: ConfiguredWebhook,
    options: argparse.Namespace,
    api_key: str,
    url: str,
) -> None:
    simulator = Simulator(settings, dev_id=options.dev_id, api_key=api_key, webhook=webhook, state_path=options.state)
    try:
        simulator.load()
    except UnreadableStateError:
        # Without saving: a state file that could not be read must not be overwritten.
        await simulator.outbox.close()
        raise
    try:
        servers = [_Server(_config(application(simulator)))]
        if options.https_port is not None:
            config = _config(payload_application(simulator))
            config.ssl_certfile, config.ssl_keyfile = options.certificate, options.certificate_key
            try:
                config.load()
            except OSError as error:
                message = f"the certificate or its key cannot be read ({error})"
                raise UnreadableCertificateError(message) from error
            servers.append(_Server(config))
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, _stop, servers)
        secure = f"; payloads of s3_payload on {simulator.settings.payload_url}" if len(servers) > 1 else ""
        print(f"Terra simulator on {url}{secure}", flush=True)
        await asyncio.gather(*(server.serve(sockets=[each]) for server, each in zip(servers, listening, strict=True)))
    finally:
        await simulator.close()


class UnreadableCertificateError(Exception):
    """The certificate for HTTPS, or its key, cannot be used."""


def _stop(servers: Sequence[_Server]) -> None:
    for server in servers:
        server.stop()


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=CuttableProtocol,
        lifespan="off",
        ws="none",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Longer than clients keep idle connections, so that none is closed under a request just sent.
        timeout_keep_alive=75,
        # For clients that connect while the server is closing.
        timeout_graceful_shutdown=1,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="terra-simulator", description="Simulate Terra on this machine.")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 selects a free one")
    parser.add_argument("--dev-id", required=True, help="the developer account's dev-id")
    parser.add_argument("--webhook-url", help="where webhooks go")
    parser.add_argument("--state", type=Path, help="file that keeps users and undelivered webhooks")
    parser.add_argument("--retry-scale", type=float, default=1.0, help="factor on Terra's retry delays, such as 0.001")
    parser.add_argument("--https-port", type=int, help="also serve the payloads of s3_payload over HTTPS on this port")
    parser.add_argument("--certificate", help="file of the certificate for HTTPS")
    parser.add_argument("--certificate-key", help="file of its key")
    parser.add_argument("--public-url", help="how browsers reach the simulator, if not by its own address")
    return parser


def _fail(message: str) -> int:
    print(f"Terra simulator: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
