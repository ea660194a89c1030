"""`terra-simulator serve`: run the simulator until a signal ends it.

It listens on 127.0.0.1 unless `--host` says otherwise. SIGTERM and Ctrl-C save the state and end the process at once.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette

from terra_simulator.app import application, payload_application
from terra_simulator.clock import Clock
from terra_simulator.control_client import PORT
from terra_simulator.settings import (
    DEFAULT_DEV_ID,
    ConfiguredWebhook,
    Credentials,
    Settings,
)
from terra_simulator.simulator import Simulator
from terra_simulator.sockets import CuttableProtocol, cut_all
from terra_simulator.state_file import UnreadableStateError

HOST: Final = "127.0.0.1"


class CannotServeError(Exception):
    """The simulator cannot start with these options."""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser("serve", help="run the simulator", description="Run the simulator.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--port", type=int, default=PORT, help=f"{PORT}; 0 selects a free one")
    add("--host", default=HOST, help=f"{HOST}; 0.0.0.0 in a container")
    add("--public-url", help="how browsers and other programs reach the simulator, if not by its own address")
    add("--dev-id", default=DEFAULT_DEV_ID, help=f"the developer account's dev-id ({DEFAULT_DEV_ID})")
    add("--app-name", default="your app", help="the name of your app on the consent page")
    add("--webhook-url", help="where webhooks go")
    add("--state", type=Path, metavar="FILE", help="keeps users and undelivered webhooks across restarts")
    add("--seed", type=int, help="the same ids, tokens and data in every run")
    add("--time", type=_time, metavar="TIME", help="stop the clock at this time, such as 2026-07-01T12:00:00Z")
    add("--retry-scale", type=float, default=1.0, help="factor on Terra's retry delays, such as 0.001")
    faults = parser.add_argument_group("faults of webhooks (`terra-simulator data set` changes them later)")
    add = faults.add_argument
    add("--lose", type=float, nargs="?", const=0.1, default=0.0, metavar="SHARE", help="lose a share (0.1 to 1)")
    add("--duplicate", type=int, nargs="?", const=2, default=1, metavar="COPIES", help="send each several times (2)")
    add(
        *("--reorder",),
        type=float,
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="SECONDS",
        help="let each wait a random time, at most so long (1)",
    )
    add("--delay", type=float, default=0.0, metavar="SECONDS", help="send each so much later")
    secure = parser.add_argument_group("HTTPS, for the payloads of s3_payload")
    secure.add_argument("--https-port", type=int, help="also serve them on this port")
    secure.add_argument("--certificate", metavar="FILE")
    secure.add_argument("--certificate-key", metavar="FILE")
    parser.add_argument("--stop-with-stdin", action="store_true", help="end when standard input ends")


def run(options: argparse.Namespace) -> int:
    """Serve until a signal arrives."""
    credentials = Credentials.from_environment()
    if options.https_port is not None and not (options.certificate and options.certificate_key):
        message = "--https-port needs --certificate and --certificate-key"
        raise CannotServeError(message)
    with contextlib.ExitStack() as sockets:
        listening = [
            sockets.enter_context(_bound(options.host, port))
            for port in (options.port, options.https_port)
            if port is not None
        ]
        url, *secure = (f"{HOST}:{each.getsockname()[1]}" for each in listening)
        url = f"http://{url}"
        try:
            settings = Settings(
                public_url=(options.public_url or url).rstrip("/"),
                app_name=options.app_name,
                retry_scale=options.retry_scale,
                payload_url=f"https://{secure[0]}/payloads" if secure else None,
                data_seed=options.seed or 0,
                webhook_loss=options.lose,
                webhook_copies=options.duplicate,
                webhook_spread_s=options.reorder,
                webhook_delay_s=options.delay,
            )
        except ValidationError as error:
            message = "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
            raise CannotServeError(message) from None
        webhook = ConfiguredWebhook(webhook_url=options.webhook_url, signing_secret=credentials.signing_secret)
        simulator = Simulator(
            settings,
            dev_id=options.dev_id,
            api_key=credentials.api_key,
            webhook=webhook,
            state_path=options.state,
            clock=Clock(options.time),
            seed=options.seed,
        )
        asyncio.run(_serve(simulator, listening, options, credentials.shown(), url))
    return 0


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


async def _serve(
    simulator: Simulator, listening: Sequence[socket.socket], options: argparse.Namespace, credentials: str, url: str
) -> None:
    try:
        simulator.load()
    except UnreadableStateError as error:
        # Without saving: a state file that could not be read must not be overwritten.
        await simulator.outbox.close()
        raise CannotServeError(str(error)) from error
    try:
        servers = [_Server(_config(application(simulator)))]
        if options.https_port is not None:
            config = _config(payload_application(simulator))
            config.ssl_certfile, config.ssl_keyfile = options.certificate, options.certificate_key
            try:
                config.load()
            except OSError as error:
                message = f"the certificate or its key cannot be read ({error})"
                raise CannotServeError(message) from error
            servers.append(_Server(config))
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, _stop, servers)
        if options.stop_with_stdin:
            loop.add_reader(sys.stdin.fileno(), _stop_at_end, servers)
        secure = f"; payloads of s3_payload on {simulator.settings.payload_url}" if len(servers) > 1 else ""
        print(f"Terra simulator on {url}{secure}", flush=True)
        if credentials:
            print(f"  dev-id {options.dev_id}, {credentials}", flush=True)
        await asyncio.gather(*(server.serve(sockets=[each]) for server, each in zip(servers, listening, strict=True)))
    finally:
        await simulator.close()


def _stop(servers: Sequence[_Server]) -> None:
    for server in servers:
        server.stop()


def _stop_at_end(servers: Sequence[_Server]) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        _stop(servers)


def _bound(host: str, port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only if the protocol is named; without it every response takes 40 ms longer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        message = f"port {port} on {host} cannot be used ({reason}): choose another by --port or --https-port"
        raise CannotServeError(message) from error
    return listening


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


def _time(text: str) -> float:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        message = f"{text}: add Z or another offset from UTC"
        raise argparse.ArgumentTypeError(message)
    return at.timestamp()
