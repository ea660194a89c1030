"""The API of template.yaml on this machine, with routes, authorizer, events and processes as on AWS.

Streams, queues and schedules invoke functions, too (`Gateway.start_sources`).

Handlers run unchanged, each function in processes of its own under AWS's runtime client.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from local.gateway.access import Access, OnAccess
from local.gateway.authorizer import Authorizer
from local.gateway.control import Control
from local.gateway.http_server import HttpServer, listen
from local.gateway.runtime_api import FunctionError
from local.gateway.server import Front
from local.gateway.services import Services
from local.gateway.sources import Sources
from local.gateway.template import Stack, read_stack
from local.gateway.workers import Host, OnLog, Runtime, Workers
from local.template_file import TemplateError

__all__ = ["Access", "FunctionError", "Gateway", "StartError", "TemplateError"]

_HOST: Final = "127.0.0.1"
_INTEGRATION_TIMEOUT: Final = timedelta(seconds=30)  # API Gateway's own limit for an integration
_REGION: Final = "us-east-1"


class StartError(Exception):
    """A function cannot be loaded; the text names it and contains its traceback."""


class Gateway:
    """The local API gateway. It runs inside the caller's event loop."""

    def __init__(  # noqa: PLR0913 - one place to configure one stack
        self,
        template: Path,
        *,
        parameters: Mapping[str, str],
        physical_ids: Mapping[str, str],
        secrets: Mapping[str, str] | None = None,
        port: int,
        python: Path,
        dependencies: Path,
        directory: Path,
        environment: Mapping[str, str],
        on_log: OnLog,
        on_access: OnAccess = lambda _access: None,
        byte_code: Path | None = None,
        workers_per_function: int = 4,
        reauthorize_every: timedelta | None = None,
        integration_timeout: timedelta = _INTEGRATION_TIMEOUT,
        runtime: Runtime = "auto",
    ) -> None:
        """Read the template.

        Args:
            template: Path of template.yaml.
            parameters: Values of its parameters; the others keep their defaults.
            physical_ids: The values of `Ref` for its resources (`{"Connections": ...}`), and of `GetAtt` for their
                attributes (`{"Connections.Arn": ...}`). Functions and the API name themselves.
            secrets: The values of the secrets that dynamic references name, by their ARNs.
            port: Port on 127.0.0.1; 0 selects a free one.
            python: The interpreter that functions run under.
            dependencies: Folder of installed packages that functions import from if `python` itself lacks them.
            directory: Folder for what processes write (home, checkpoints); created if missing.
            environment: Variables for functions in addition to the template's and Lambda's. It overrides both.
            byte_code: Folder for the functions' compiled modules, shared by several stacks; in `directory` by default.
            on_log: Receives every line that a function prints and every error of the gateway.
            on_access: Receives every request once its response is known.
            workers_per_function: How many invocations of one function run at once; more wait.
            reauthorize_every: How long authorizers' responses are cached; overrides the template.
            integration_timeout: How long a client waits for a function before it gets 503.
            runtime: `awslambdaric`, our `own` loop, or `auto`: the first if it is installed.

        Raises:
            TemplateError: The template uses something unsupported.
        """
        region = environment.get("AWS_REGION", _REGION)
        self.stack: Stack = read_stack(
            template,
            parameters=parameters,
            physical_ids=physical_ids,
            secrets=secrets,
            region=region,
        )
        self._port = port
        # Not resolved: a virtual environment's interpreter is a link, and finds its packages by the link's location.
        self._python = python.absolute()
        self._dependencies = dependencies.absolute()
        self._directory = directory.absolute()
        self._byte_code = byte_code or self._directory / "pycache"
        self._environment = dict(environment)
        self._on_log = on_log
        self._on_access = on_access
        self._workers_per_function = workers_per_function
        self._reauthorize_every = reauthorize_every
        self._integration_timeout = integration_timeout
        self._runtime = runtime
        self._region = region
        self._functions: dict[str, Workers] = {}
        self._server: HttpServer | None = None
        self._sources: Sources | None = None
        self._control: Control | None = None
        self._parent_pipe: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        """The API's address, known once started."""
        return f"http://{_HOST}:{self._port}"

    @property
    def control_url(self) -> str:
        """The address for `local.invoke`, known once the sources are started."""
        return "" if self._control is None else self._control.url

    async def start(self) -> None:
        """Bind the port and serve. Each function starts a process when it is first invoked, or by `load`.

        Raises:
            OSError: The port is in use.
        """
        listener = listen(_HOST, self._port)
        self._port = listener.getsockname()[1]
        self._functions = self._workers()
        front = Front(
            self.stack,
            port=self._port,
            functions=self._functions,
            authorizers={
                name: Authorizer(spec, self._functions[spec.function], reauthorize_every=self._reauthorize_every)
                for name, spec in self.stack.authorizers.items()
            },
            integration_timeout=self._integration_timeout,
            on_log=self._on_log,
            on_access=self._on_access,
        )
        self._server = HttpServer(front, listener)

    async def start_sources(self, *, dynamodb_url: str, sqs_url: str) -> None:
        """Let the template's streams, queues and schedules invoke functions; tables and queues must exist."""
        key, secret = (self._environment.get(name, "local") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        self._sources = Sources(self.stack.triggers, self._functions, self._on_log)
        self._sources.start(Services(dynamodb_url, sqs_url, self._region, key, secret), self._directory)
        self._control = Control(self.run_schedule)

    async def run_schedule(self, function: str) -> object:
        """Run a function as its schedule does, now.

        Raises:
            KeyError: No such function, or it has no schedule.
            FunctionError: It returned no response.
        """
        if self._sources is None:
            raise KeyError(function)
        return await self._sources.run_schedule(function, self._region)

    async def stop(self) -> None:
        """Stop serving and end every process. Safe to call when not started, or twice."""
        if self._sources is not None:
            await self._sources.stop()
            self._sources = None
        # All at once: the servers wait for requests in flight, which end with their functions.
        running = [part for part in (self._server, self._control, *self._functions.values()) if part is not None]
        await asyncio.gather(*(part.stop() for part in running))
        self._functions, self._server, self._control = {}, None, None
        if self._parent_pipe is not None:
            for end in self._parent_pipe:
                os.close(end)
            self._parent_pipe = None

    async def invoke(self, function: str, event: object) -> object:
        """Invoke a function by its logical id, as a schedule or a stream does.

        Raises:
            FunctionError: It returned no response.
        """
        return json.loads(await self._functions[function].invoke(json.dumps(event).encode()))

    async def load(self) -> None:
        """Start a process of each function that has none, one after the other, beside the serving of requests.

        Raises:
            StartError: A function cannot be loaded.
        """
        for function in self._functions.values():
            try:
                await function.load()
            except FunctionError as error:
                message = f"{function.name} {error}"
                raise StartError(message) from error

    def _workers(self) -> dict[str, Workers]:
        (self._directory / "home").mkdir(parents=True, exist_ok=True)
        # Nothing is written to the pipe: processes end when its writing end closes, that is, when this process ends.
        self._parent_pipe = os.pipe()
        host = Host(
            python=self._python,
            runtime=self._runtime,
            dependencies=self._dependencies,
            directory=self._directory,
            byte_code=self._byte_code,
            region=self._region,
            environment=self._environment,
            parent_pipe=self._parent_pipe[0],
            on_log=self._on_log,
        )
        return {
            name: Workers(spec, host, limit=self._workers_per_function) for name, spec in self.stack.functions.items()
        }
