"""The supervisor: starts every part of the stack, reports the addresses, and leaves nothing running.

`python -m local.stack [--directory .local] [--in-memory]`. The variables API_PORT, TERRA_PORT, DYNAMODB_PORT, AWS_PORT,
DEMO_PORT and OIDC_PORT set the ports (0 selects a free one), DATABASE sets the database engine, TERRA_API_URL and the
other variables of `terra_account` select another Terra, NOTIFY_URL is a further receiver of the events, and
DATA_DELIVERIES=ignore discards the content of data deliveries, as a deployed stack does by default.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from local import (
    aws_services,
    data_consumer,
    database,
    fetch,
    messages,
    notifications,
    oidc_issuer,
    sam_local,
    terra_account,
)
from local.demo import api_reference, brand, problems_page
from local.gateway import Gateway, StartError, TemplateError
from local.gateway.template import BUCKET, EVENT_BUS, QUEUE, bucket_ids
from local.processes import ProcessGroup, StackError, answers
from local.sam_local import SamLocal
from local.terminal import Terminal
from tools import setup
from tools.environment import ROOT, remove_aws_settings, variable, without_aws
from tools.logs import TERMINAL_LOG
from tools.progress import say, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from local.gateway.template import Stack

DEV_ID: Final = "local-dev"
NOTIFY_KEY: Final = "NotifyKey"
"""The secret of `local.notifications`: no resource here reads it."""
PSEUDONYM_KEY: Final = "PseudonymKey"
"""The secret that the template creates also here; the others are parameters."""
LOOPBACK: Final = "127.0.0.1"
PARENT_INTERVAL: Final = 0.5
TEMPLATE_INTERVAL: Final = 0.5
PORT_RELEASE_TIMEOUT: Final = 8.0


@dataclass(frozen=True)
class Port:
    """A port of the stack, and the variable that sets it."""

    what: str
    variable: str
    default: int


# A block that neither macOS (AirPlay: 5000 and 7000) nor common development servers (3000, 5173, 8000, 8080) use.
PORTS: Final = (
    Port("the demo page", "DEMO_PORT", 4100),
    Port("the API", "API_PORT", 4101),
    Port("the Terra simulator", "TERRA_PORT", 4102),
    Port("the OIDC issuer", "OIDC_PORT", 4103),
    Port("the database", "DYNAMODB_PORT", 4104),
    Port("the other AWS services", "AWS_PORT", 4105),
)


@dataclass(frozen=True)
class Options:
    """The options on the command line."""

    directory: Path
    in_memory: bool
    template: Path
    fetch_only: bool
    parent: int | None
    retry_scale: float
    sam: bool
    records_aws_calls: bool
    loads_on_demand: bool
    parameters: Mapping[str, str]


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m local.stack", description="Run the whole stack on this machine.")
    parser.add_argument("--directory", type=Path, default=ROOT / ".local", help="folder for data, keys and logs")
    parser.add_argument("--in-memory", action="store_true", help="keep no tables and no users")
    parser.add_argument("--fetch-only", action="store_true", help="download the required parts, and start nothing")
    parser.add_argument("--template", type=Path, default=ROOT / "template.yaml")
    parser.add_argument("--parent", type=int, help="stop when this process is no longer the parent")
    parser.add_argument("--retry-scale", type=float, default=1.0, help="the simulator's time between retries, scaled")
    parser.add_argument("--sam", action="store_true", help="run the output of sam build in containers, with sam local")
    parser.add_argument("--record-aws-calls", action="store_true", help="record the functions' AWS calls in log/")
    parser.add_argument("--load-on-demand", action="store_true", help="load a function when it is first invoked")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="of the template")
    parsed = parser.parse_args(arguments)
    parameters = dict(pair.partition("=")[::2] for pair in parsed.parameter)
    directory, template = parsed.directory.absolute(), parsed.template.absolute()
    return Options(
        directory=directory,
        in_memory=parsed.in_memory,
        template=template,
        fetch_only=parsed.fetch_only,
        parent=parsed.parent,
        retry_scale=parsed.retry_scale,
        sam=parsed.sam,
        records_aws_calls=parsed.record_aws_calls,
        loads_on_demand=parsed.load_on_demand,
        parameters=parameters,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stack until a signal ends it, or it fails."""
    options = read_options(sys.argv[1:] if arguments is None else arguments)
    try:
        with ended_by_signals(), ExitStack() as held:
            if options.fetch_only:
                fetch_parts()
                return 0
            if options.sam:
                sam_local.require_docker()
            held.enter_context(the_only_one(options.directory))
            was_killed = (options.directory / "stack.json").exists()
            (options.directory / "stack.json").unlink(missing_ok=True)
            terra_account.check()
            check_data_deliveries()
            notifications.check()
            ports = choose_ports(waits=was_killed)
            wanted = fetch_parts()
            remove_aws_settings()
            asyncio.run(Supervisor(options, ports, wanted).run())
    except (StackError, TemplateError, setup.SetupError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{setup.os_error_message(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


# --- before anything starts ------------------------------------------------------------------------------------------


def fetch_parts() -> database.Wanted:
    """Fetch missing parts, and return the database engine to use."""
    wanted = database.choose(variable("DATABASE"))
    fetch.ministack()
    return wanted


def check_data_deliveries() -> None:
    """Raise an error if the variable has another value than the parameter allows."""
    if (value := variable("DATA_DELIVERIES", "keep")) not in ("keep", "ignore"):
        message = f"DATA_DELIVERIES={value} is invalid: use keep or ignore, or leave it empty for keep."
        raise StackError(message)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP act like Ctrl-C, so that running work (a fetch) is cleaned up."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


@contextmanager
def the_only_one(directory: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when this process ends in any way."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            who = lock.read().strip()
            message = (
                f"A stack already runs in {directory} (process {who}): use that one (its addresses are in "
                f"{directory / 'stack.json'}), or end it with Ctrl-C."
            )
            raise StackError(message) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def choose_ports(*, waits: bool) -> dict[str, int]:
    """Return the port of every part, by variable; all must be free. After a killed stack, wait a moment for them."""
    chosen: dict[str, int] = {}
    for port in PORTS:
        text = variable(port.variable, str(port.default))
        if not text.isdecimal() or int(text) > 65535:  # noqa: PLR2004  # the greatest port
            message = f"{port.variable}={text} is not a port: it is a number up to 65535, or 0 for a free one."
            raise StackError(message)
        number = int(text)
        if number in chosen.values() and number:
            message = f"{port.variable}={number} is already the port of another part: give each its own."
            raise StackError(message)
        chosen[port.variable] = number
    until = time.monotonic() + (PORT_RELEASE_TIMEOUT if waits else 0.0)
    while taken := [port for port in PORTS if (number := chosen[port.variable]) and is_in_use(number)]:
        if time.monotonic() > until:
            raise StackError(ports_in_use({port: chosen[port.variable] for port in taken}))
        time.sleep(0.2)
    with ExitStack() as held:
        for name in (name for name, number in chosen.items() if not number):
            free = held.enter_context(closing(socket.socket()))
            free.bind((LOOPBACK, 0))
            chosen[name] = free.getsockname()[1]
    return chosen


def ports_in_use(taken: Mapping[Port, int]) -> str:
    """Return the message that names every port that is taken, and its owner."""
    owners = port_owners(set(taken.values()))
    ports = "; ".join(
        f"port {number}, for {port.what}, is in use by {owners.get(number, 'another program')}"
        for port, number in taken.items()
    )
    choices = " ".join(f"{port.variable}=0" for port in taken)
    remedy = f"Stop what uses them, or choose other ports: make run {choices} (0: any free one)."
    return f"{ports[0].upper()}{ports[1:]}. {remedy}"


def port_owners(ports: AbstractSet[int]) -> dict[int, str]:
    """Return the program that listens on each port, as far as this user may see it."""
    owners: dict[int, str] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended, or is another user's
            for each in process.net_connections(kind="tcp"):
                if each.status == psutil.CONN_LISTEN and each.laddr.port in ports:
                    owners.setdefault(each.laddr.port, f"{process.name()} (process {process.pid})")
    return owners


def is_in_use(port: int) -> bool:
    """Return whether the port is in use or not allowed."""
    with closing(socket.socket()) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return True
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # sockets that a stack has just closed do not count
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


# --- the stack -------------------------------------------------------------------------------------------------------


class Supervisor:
    """One run of the stack."""

    def __init__(self, options: Options, ports: Mapping[str, int], wanted: database.Wanted) -> None:
        self._options = options
        self._directory = options.directory
        self._wanted = wanted
        self._ports = ports
        self._urls = {name: f"http://{LOOPBACK}:{number}" for name, number in ports.items()}
        self._python, self._version, self._packages = setup.functions_python()
        own = aws_services.keys(options.directory)
        self._terra = terra_account.read(
            self._urls["TERRA_PORT"], dev_id=DEV_ID, api_key=own.terra_api_key, signing_secret=own.signing_secret
        )
        self._keys = replace(own, terra_api_key=self._terra.api_key, signing_secret=self._terra.signing_secret)
        # The simulator must not get another Terra's credentials.
        self._simulator_keys = self._keys if self._terra.is_simulator else own
        self._simulator_dev_id = self._terra.dev_id if self._terra.is_simulator else DEV_ID
        self._template = options.template.read_bytes()
        self._tables = database.declared_tables(options.template)
        self._receivers = notifications.receivers(self._urls["DEMO_PORT"])
        self._message_ids = messages.physical_ids(options.template, self._urls["AWS_PORT"])
        self._data_deliveries = variable("DATA_DELIVERIES", "keep")
        self._data_queue = ""
        self._parameters: Mapping[str, str] = {}
        """The template's parameters, as soon as they are known."""

    async def run(self) -> None:
        """Start everything, run until a signal or an error, then end everything."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        logs = self._directory / "log"
        logs.mkdir(exist_ok=True)
        async with AsyncExitStack() as ends:
            if self._options.sam:
                # Before SAM starts: containers of a killed stack. After it ends: those that it did not remove in time.
                await asyncio.to_thread(sam_local.sweep, logs)
                ends.push_async_callback(asyncio.to_thread, sam_local.sweep, logs)
            # The functions read Terra's key from Secrets Manager, as on AWS; no other part needs it.
            inherited = {name: v for name, v in without_aws().items() if name not in terra_account.VARIABLES}
            processes = ProcessGroup(logs, inherited)
            ends.push_async_callback(processes.end)
            functions_log = ends.enter_context((logs / "functions.log").open("w"))
            own_log = ends.enter_context((self._directory / TERMINAL_LOG).open("w", encoding="utf-8"))
            work = asyncio.create_task(self._work(processes, ends, Terminal(functions_log, own_log)))
            reasons = [work, asyncio.create_task(stop.wait())]
            if self._options.parent is not None:
                reasons.append(asyncio.create_task(orphaned(self._options.parent)))
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
            (self._directory / "stack.json").unlink(missing_ok=True)
            for reason in reasons[1:]:
                reason.cancel()
            if not work.done():
                say("\nStopping ...")
                work.cancel()
            with suppress(asyncio.CancelledError):
                await work

    async def _work(self, processes: ProcessGroup, ends: AsyncExitStack, terminal: Terminal) -> None:
        """Start all parts, then wait until one of them fails."""
        began = time.monotonic()
        say(f"Starting all parts; the functions run under Python {self._version} ...")
        try:
            async with asyncio.TaskGroup() as group:
                engine = group.create_task(self._start_database(processes))
                group.create_task(self._start_simulator(processes))
                group.create_task(self._start_issuer(processes))
                group.create_task(self._start_demo(processes))
                api = group.create_task(self._start_api(processes, ends, terminal))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        aws_url, control_url = self._urls["AWS_PORT"], ""
        match api.result():
            case Gateway() as gateway:
                await gateway.start_sources(dynamodb_url=self._urls["DYNAMODB_PORT"], sqs_url=aws_url)
                control_url = gateway.control_url
            case SamLocal() as sam:
                with step("requesting every route once, which starts its function's container"):
                    await sam.warm_up(self._keys.service_key)
        description = self._description(engine.result(), control_url)
        if description["event_buses"]:
            await self._start_data_consumer(processes)
        aws_services.write_private(self._directory / "stack.json", json.dumps(description, indent=2) + "\n")
        self._print_banner(engine.result(), time.monotonic() - began)
        if engine.result() == database.DYNAMODB_LOCAL:
            say(
                f"DynamoDB Local listens on every network interface (port {self._ports['DYNAMODB_PORT']}), without a "
                "password, and has no setting for it. In an untrusted network, block the port with a firewall, or use "
                "DATABASE=ministack, which only this machine can reach.\n"
            )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(processes.fail_when_one_ends())
                goal = "sam-local" if self._options.sam else "run"
                group.create_task(report_changes(self._options.template, self._template, goal, terminal.say))
                if description["event_buses"]:
                    group.create_task(messages.show(aws_url, terminal.say))
                    for receiver in self._receivers:
                        group.create_task(notifications.deliver(aws_url, receiver, self._keys.notify_key, terminal.say))
                if isinstance(own := api.result(), Gateway) and not self._options.loads_on_demand:
                    group.create_task(self._load(own))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _start_api(self, processes: ProcessGroup, ends: AsyncExitStack, terminal: Terminal) -> Gateway | SamLocal:
        """Start the AWS services, whose secrets, queues and buses the functions need, and then the functions."""
        arns = await aws_services.start(
            processes,
            self._ports["AWS_PORT"],
            self._directory,
            self._keys,
            keeps_objects=not self._options.in_memory,
        )
        copies = [messages.SHOWN, *(receiver.queue for receiver in self._receivers)]
        await asyncio.to_thread(messages.make, self._options.template, self._urls["AWS_PORT"], copies)
        buses = database.declared(self._options.template, EVENT_BUS)
        self._data_queue = await asyncio.to_thread(data_consumer.subscribe, self._urls["AWS_PORT"], buses)
        try:
            gateway = self._gateway(arns, terminal)
            if self._options.sam:
                return await self._start_sam(processes, ends, gateway.stack)
            ends.push_async_callback(gateway.stop)
            await gateway.start()
        except (TemplateError, OSError) as error:
            message = f"The API cannot start: {error}"
            raise StackError(message) from None
        say(f"  the API is ready, with {len(gateway.stack.functions)} functions")
        return gateway

    async def _load(self, gateway: Gateway) -> None:
        """Load the functions that no request has loaded yet, so that a function that cannot be loaded is noticed."""
        try:
            await gateway.load()
        except StartError as error:
            message = f"A function cannot be loaded: {error}"
            raise StackError(message) from None

    async def _start_sam(self, processes: ProcessGroup, ends: AsyncExitStack, stack: Stack) -> SamLocal:
        """Start the API in containers. They must reach what functions call, but not the API and the demo page."""
        called = [url for name, url in self._urls.items() if name not in ("API_PORT", "DEMO_PORT")]
        reached = await sam_local.reachable(sorted({*called, *self._terra.urls_here}), ends)
        environments = {
            name: sam_local.seen_from_container(spec.environment, reached) for name, spec in stack.functions.items()
        }
        sam = SamLocal(
            processes, self._directory, self._ports["API_PORT"], self._terra.dev_id, environments, stack.routes
        )
        await sam.start()
        say("  sam local is listening")
        return sam

    async def _start_database(self, processes: ProcessGroup) -> str:
        kept = None if self._options.in_memory else self._directory
        engine = await database.start(processes, self._wanted, self._ports["DYNAMODB_PORT"], kept)
        await database.make_tables(self._urls["DYNAMODB_PORT"], {**self._tables, **data_consumer.tables()})
        say(f"  the database is ready: {engine}, tables {', '.join(self._tables)}")
        return engine

    async def _start_simulator(self, processes: ProcessGroup) -> None:
        url = self._urls["TERRA_PORT"]
        command = [sys.executable, "-m", "terra_simulator", "serve", "--port", str(self._ports["TERRA_PORT"])]
        command += ["--dev-id", self._simulator_dev_id, "--webhook-url", f"{self._urls['API_PORT']}/webhooks/terra"]
        command += ["--retry-scale", str(self._options.retry_scale), "--app-name", brand.NAME]
        if not self._options.in_memory:
            command += ["--state", str(self._directory / "terra.json")]
        # On the command line every user of the machine could read them.
        secrets = {
            "TERRA_SIMULATOR_API_KEY": self._simulator_keys.terra_api_key,
            "TERRA_SIMULATOR_SIGNING_SECRET": self._simulator_keys.signing_secret,
        }
        child = await processes.start("terra", command, environment=secrets, directory=ROOT)
        await answers(child, f"{url}/_control/health")
        say("  the Terra simulator is ready")

    async def _start_issuer(self, processes: ProcessGroup) -> None:
        command = [sys.executable, "-m", "local.oidc_issuer", "--port", str(self._ports["OIDC_PORT"])]
        command += ["--key-file", str(self._directory / "oidc-keys.json"), "--allow-origin", self._urls["DEMO_PORT"]]
        child = await processes.start("oidc", command, directory=ROOT)
        await answers(child, f"{self._urls['OIDC_PORT']}/jwks")

    async def _start_data_consumer(self, processes: ProcessGroup) -> None:
        """Start the consumer of docs/data.md, once its queue and its table exist."""
        environment = {
            **aws_services.CREDENTIALS,
            "AWS_DEFAULT_REGION": aws_services.REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": self._urls["DYNAMODB_PORT"],
            "AWS_ENDPOINT_URL_S3": self._urls["AWS_PORT"],
            "AWS_ENDPOINT_URL_SQS": self._urls["AWS_PORT"],
            "TABLE": data_consumer.TABLE,
            "PYTHONUNBUFFERED": "1",
            "POWERTOOLS_SERVICE_NAME": "daily-summaries",
            "PYTHONPATH": str(data_consumer.SOURCE),
        }
        command = [sys.executable, "-m", "local.data_consumer", self._data_queue]
        await processes.start("data-consumer", command, environment=environment, directory=ROOT)

    async def _start_demo(self, processes: ProcessGroup) -> None:
        command = [sys.executable, "-m", "local.demo", "--port", str(self._ports["DEMO_PORT"])]
        command += ["--api-url", self._urls["API_PORT"], "--issuer-url", self._urls["OIDC_PORT"]]
        command += ["--terra-url", self._urls["TERRA_PORT"], "--dynamodb-url", self._urls["DYNAMODB_PORT"]]
        command += ["--functions-log", str(self._directory / "log" / "functions.log")]
        # On the command line every user of the machine could read them.
        keys = {
            "PSEUDONYM_KEY": self._keys.pseudonym_key,
            "NOTIFY_KEY": self._keys.notify_key,
            "SERVICE_KEY": self._keys.service_key,
        }
        code = {"PYTHONPATH": str(data_consumer.SOURCE)}
        child = await processes.start("demo", command, environment={**keys, **code}, directory=ROOT)
        await answers(child, f"{self._urls['DEMO_PORT']}/connected")

    def _gateway(self, arns: Mapping[str, str], terminal: Terminal) -> Gateway:
        self._parameters = {
            **{f"{name}Arn": arn for name, arn in arns.items() if name not in (PSEUDONYM_KEY, NOTIFY_KEY)},
            "TerraDevId": self._terra.dev_id,
            "TerraApiUrl": self._terra.api_url,
            "TerraWidgetUrl": self._terra.widget_url,
            "ReturnTargets": json.dumps(
                {
                    "web": f"{self._urls['DEMO_PORT']}/connected",
                    "ios": "terraconnections-demo://connected",
                    "android": {
                        "url": "terraconnections-demo://connected",
                        "android_package": "com.example.terraconnections",
                        "fallback_url": f"{self._urls['DEMO_PORT']}/connected",
                    },
                }
            ),
            **brand.parameters(),
            "PublicBaseUrl": self._urls["API_PORT"],
            "ProblemsUrl": f"{self._urls['DEMO_PORT']}{problems_page.PATH}",
            "AllowedOrigins": self._urls["DEMO_PORT"],
            "OidcIssuer": self._urls["OIDC_PORT"],
            "OidcAudience": oidc_issuer.AUDIENCE,
            # Containers use another address than the issuer's name in tokens, and so cannot discover its keys there.
            "OidcJwksUrl": f"{self._urls['OIDC_PORT']}/jwks" if self._options.sam else "",
            "AwsEndpointUrlDynamodb": self._urls["DYNAMODB_PORT"],
            "AwsEndpointUrlSecretsManager": self._urls["AWS_PORT"],
            "AwsEndpointUrlSqs": self._urls["AWS_PORT"],
            "AwsEndpointUrlEventbridge": self._urls["AWS_PORT"],
            "AwsEndpointUrlS3": self._urls["AWS_PORT"],
            "DataDeliveries": self._data_deliveries,
            # Payloads of another Terra are at the default's URLs.
            **({"PayloadUrls": f"{self._urls['TERRA_PORT']}/payloads/"} if self._terra.is_simulator else {}),
            **self._options.parameters,
        }
        region = {"AWS_REGION": aws_services.REGION, "AWS_DEFAULT_REGION": aws_services.REGION}
        recorded = {"LOCAL_AWS_CALLS": str(self._directory / "log" / "aws-calls.jsonl")}
        return Gateway(
            self._options.template,
            parameters=self._parameters,
            physical_ids={
                **{name: name for name in self._tables},
                **self._message_ids,
                PSEUDONYM_KEY: arns[PSEUDONYM_KEY],
            },
            secrets={arns[name]: json.dumps(held) for name, held in self._keys.as_secrets().items()},
            port=self._ports["API_PORT"],
            python=self._python,
            dependencies=self._packages,
            directory=self._directory / "functions",
            byte_code=setup.BYTE_CODE,
            environment={
                **aws_services.CREDENTIALS,
                **region,
                "AWS_EC2_METADATA_DISABLED": "true",
                **(recorded if self._options.records_aws_calls else {}),
            },
            on_log=terminal.log,
            on_access=terminal.access,
        )

    def _description(self, engine: str, control_url: str) -> dict[str, object]:
        """Return the contents of stack.json."""
        template, ids = self._options.template, self._message_ids
        return {
            "api_url": self._urls["API_PORT"],
            "terra_url": self._urls["TERRA_PORT"],
            "terra_dev_id": self._simulator_dev_id,
            "terra_api_key": self._simulator_keys.terra_api_key,
            "dynamodb_url": self._urls["DYNAMODB_PORT"],
            "aws_url": self._urls["AWS_PORT"],
            "control_url": control_url,
            "queues": {name: ids[name] for name in database.declared(template, QUEUE)},
            "event_buses": {name: ids[name] for name in database.declared(template, EVENT_BUS)},
            "payloads": self._payloads(),
            "parameters": self._parameters,
            "region": aws_services.REGION,
            "service_key": self._keys.service_key,
            "signing_secret": self._simulator_keys.signing_secret,
            "notify_key": self._keys.notify_key,
            "tables": {name.lower(): name for name in self._tables},
            "demo_url": self._urls["DEMO_PORT"],
            "oidc_issuer": self._urls["OIDC_PORT"],
            "engine": engine,
            "python": self._version,
            "pid": os.getpid(),
        }

    def _payloads(self) -> dict[str, str] | None:
        """Return the bucket of payloads and its endpoint; None if data deliveries are discarded."""
        buckets = database.declared(self._options.template, BUCKET)
        if self._parameters.get("DataDeliveries") != "keep" or "Payloads" not in buckets:
            return None
        return {"bucket": bucket_ids("Payloads")["Payloads"], "s3_url": self._urls["AWS_PORT"]}

    def _print_banner(self, engine: str, took: float) -> None:
        """Print the same for the user, with commands to try."""
        api, key = self._urls["API_PORT"], self._keys.service_key
        terra = (
            f"the simulator, {self._urls['TERRA_PORT']}   (dev-id {self._terra.dev_id})"
            if self._terra.is_simulator
            else f"{self._terra.api_url}   (dev-id {self._terra.dev_id}; widget {self._terra.widget_url})"
        )
        kept = "in memory" if self._options.in_memory else f"kept in {shown(self._directory)}"
        say(f"""
Ready in {took:.0f} s. Press Ctrl-C to stop.

  API              {api}
  Terra            {terra}
  demo app         {self._urls["DEMO_PORT"]}
  API reference    {self._urls["DEMO_PORT"]}{api_reference.PATH}
  OIDC issuer      {self._urls["OIDC_PORT"]}   (access tokens of test users: POST /token)
  database         {self._urls["DYNAMODB_PORT"]}   ({engine}, {kept})
  AWS services     {self._urls["AWS_PORT"]}
  data deliveries  {"kept in the bucket payloads" if self._payloads() else "acknowledged, and their content discarded"}
  service key      {key}
  notifications    events go to {" and ".join(receiver.name for receiver in self._receivers)}   (docs/events.md)
  config           {shown(self._directory / "stack.json")}; logs in {shown(self._directory / "log")}

Try it: open {self._urls["DEMO_PORT"]} in a browser. Or as a back end:
  1. Create a session; the response contains an auth_url.
       curl {api}/sessions -H 'Authorization: Bearer {key}' \\
         -H 'Content-Type: application/json' -d '{{"reference_id": "ada", "resource": "FITBIT"}}'
  2. Open that auth_url in a browser and press Allow. The page then shows that the wearable is connected.
  3. List ada's connections.
       curl '{api}/connections?reference_id=ada' -H 'Authorization: Bearer {key}'
""")


async def report_changes(template: Path, content: bytes, goal: str, report: Callable[[str], None]) -> None:
    """Report each change of the template, of which the stack uses the content that it has read at the start."""
    while True:
        await asyncio.sleep(TEMPLATE_INTERVAL)
        with suppress(OSError):  # an editor may replace the file
            before, content = content, await asyncio.to_thread(template.read_bytes)
            if content != before:
                report(f"{template.name} has changed: press Ctrl-C and run make {goal} again to apply it.")


async def orphaned(parent: int) -> None:
    """Wait until the process that started this one has ended."""
    while os.getppid() == parent:  # noqa: ASYNC110  # no event reports it on every system
        await asyncio.sleep(PARENT_INTERVAL)


def shown(path: Path) -> str:
    """Return a path in its shortest form."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    raise SystemExit(main())
