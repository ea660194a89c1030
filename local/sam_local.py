"""The API by `sam local start-api`: the built functions, in containers of Lambda's own image.

Everything else is the stack of `make run`: the database, the other AWS services and the Terra simulator run on this
machine and listen on its loopback address. Containers reach them through relays on this machine's address on the
container engine's bridge. Docker Desktop has no such address; its containers reach the loopback address by the name
host.docker.internal.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import platform
import re
import shutil
import subprocess
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from local.processes import ProcessGroup, StackError, answers
from local.relay import LOOPBACK, relay
from tools.environment import ROOT, variable, without_aws
from tools.setup import sam_environment, sam_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.gateway.template import RouteSpec
    from local.testing import Stack

ENVIRONMENTS: Final = "environments.json"
"""The file with every function's variables, in SAM's format, in the stack's folder."""
FIRST_RESPONSE_TIMEOUT: Final = 300.0
"""Seconds; the first start on a machine may pull Lambda's image."""
DOCKER_TIMEOUT: Final = 20.0
ARCHITECTURES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}


class SamLocal:
    """`sam local start-api` for one stack."""

    def __init__(
        self,
        processes: ProcessGroup,
        directory: Path,
        port: int,
        dev_id: str,
        environments: Mapping[str, Mapping[str, str]],
        routes: Sequence[RouteSpec],
    ) -> None:
        """Prepare.

        Args:
            processes: Starts SAM, and knows the folder of the logs.
            directory: The folder for the file of the functions' environments.
            port: The API's port on the loopback address.
            dev_id: The one parameter of the template that has no default.
            environments: Every function's variables, by its logical id.
            routes: The API's routes.

        Raises:
            StackError: Nothing was built.
        """
        self._processes = processes
        self._directory = directory
        self._port = port
        self._url = f"http://{LOOPBACK}:{port}"
        self._dev_id = dev_id
        self._environments = environments
        self._routes = routes
        if not built().is_file():
            message = "Nothing is built: run make build first."
            raise StackError(message)

    async def start(self) -> None:
        """Start SAM and wait until it listens; no function is loaded yet.

        Raises:
            StackError: SAM ended unexpectedly.
        """
        (self._directory / ENVIRONMENTS).write_text(json.dumps(self._environments, indent=2) + "\n")
        command = [
            *(str(sam_program()), "local", "start-api", *options(self._directory, self._dev_id)),
            *("--host", LOOPBACK, "--port", str(self._port)),
            *("--log-file", str(self._processes.logs / "functions.log")),
            # A function's container starts with its first request and stays.
            *("--warm-containers", "LAZY"),
        ]
        # A folder of its own: a killed SAM leaves locks behind, and the next one waits minutes for each.
        scratch = tempfile.mkdtemp(dir=self._directory, prefix="sam-")
        environment = {**sam_environment(), "TMPDIR": scratch}
        child = await self._processes.start("sam", command, environment=environment, directory=ROOT)
        await answers(child, self._url)

    async def warm_up(self, service_key: str) -> None:
        """Request a missing resource on every route, all at once: SAM builds a function's image on its first request.

        Raises:
            StackError: A function does not work in its container.
        """
        headers = {"authorization": f"Bearer {service_key}"}
        limits = httpx.Timeout(FIRST_RESPONSE_TIMEOUT)
        async with httpx.AsyncClient(trust_env=False, timeout=limits, headers=headers, base_url=self._url) as client:
            paths = [re.sub(r"{.*?}", "unknown", route.path) for route in self._routes]
            requests = [client.request(route.method, path) for route, path in zip(self._routes, paths, strict=True)]
            responses = await asyncio.gather(*requests)
        broken = [
            route.key for route, response in zip(self._routes, responses, strict=True) if response.is_server_error
        ]
        if broken:
            logs = " and ".join(str(self._processes.logs / name) for name in ("functions.log", "sam.log"))
            message = f"These functions fail in their containers: {', '.join(broken)}. The logs: {logs}"
            raise StackError(message)


def invoke(function: str, event: Mapping[str, object], stack: Stack) -> object:
    """Return a function's response from `sam local invoke`, beside a running `--sam` stack; `function` is its folder.

    Raises:
        StackError: The output is not JSON; the text is SAM's output.
    """
    logical_id = function.title().replace("_", "")
    arguments = [logical_id, "--event", "-", *options(stack.directory, stack.terra_dev_id)]
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(  # noqa: S603  # our own arguments
            [str(sam_program()), "local", "invoke", *arguments],
            input=json.dumps(event),
            env={**without_aws(), **sam_environment(), "TMPDIR": scratch},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise StackError(done.stderr) from None


def options(directory: Path, dev_id: str) -> list[str]:
    """Return the options of every `sam local` command: what to run, in which image, in which environment."""
    image = variable("SAM_IMAGE")
    return [
        *("--template", str(built()), "--env-vars", str(directory / ENVIRONMENTS)),
        *(("--invoke-image", image, "--skip-pull-image") if image else ()),
        *("--parameter-overrides", f"TerraDevId={dev_id}", f"Architecture={architecture()}"),
    ]


def built() -> Path:
    """Return the path of the template that `sam build` has written."""
    return Path(variable("SAM_BUILT", str(ROOT / ".aws-sam" / "build" / "template.yaml")))


def architecture() -> str:
    """Return this machine's architecture in Lambda's terms: under emulation, functions are slow and time out."""
    machine = platform.machine().lower()
    if machine not in ARCHITECTURES:
        message = f"Lambda has no {machine}: sam local cannot run here. make run can."
        raise StackError(message)
    return ARCHITECTURES[machine]


# --- the container engine --------------------------------------------------------------------------------------------


def require_docker() -> None:
    """Raise an error with one line about what is missing, if no container engine responds.

    Raises:
        StackError: With that line.
    """
    if shutil.which("docker", path=variable("PATH")) is None:
        trouble = "docker is not installed"
    else:
        done = docker("info", "--format", "{{.ServerVersion}}")
        if done is not None and done.returncode == 0:
            return
        output = "it does not respond" if done is None else (done.stderr.strip().splitlines() or ["no output"])[-1]
        trouble = f"docker info: {output}"
    message = f"sam local needs a container engine, and none is available ({trouble}). make run needs none."
    raise StackError(message)


def docker(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run the docker client; None if it is missing or does not end."""
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603  # our own arguments
            ["docker", *arguments],  # noqa: S607  # the user's own, by PATH
            capture_output=True,
            text=True,
            check=False,
            timeout=DOCKER_TIMEOUT,
        )
    return None


def sweep(logs: Path) -> None:
    """Remove every container that a SAM with this log folder started; it logs their ids."""
    with suppress(FileNotFoundError):
        text = (logs / "sam.log").read_text(errors="replace")
        if ids := re.findall(r"\bSAM_CONTAINER_ID: ([0-9a-f]{64})\b", text):
            docker("rm", "--force", *ids)


# --- access from containers to this machine --------------------------------------------------------------------------


async def reachable(urls: Sequence[str], ends: AsyncExitStack) -> dict[str, str]:
    """Return the address by which containers reach each of these URLs, all on the loopback address."""
    address = await asyncio.to_thread(bridge)
    reached: dict[str, str] = {}
    for url in urls:
        port = int(url.rpartition(":")[2])
        try:
            server = await relay(address, port)
        except OSError:
            # The engine and its bridge run in a virtual machine.
            reached[url] = f"http://host.docker.internal:{port}"
        else:
            ends.callback(server.close)
            reached[url] = f"http://{address}:{server.sockets[0].getsockname()[1]}"
    return reached


def bridge() -> str:
    """Return the engine's own address on its bridge, which belongs to this machine if the engine runs on it.

    Raises:
        StackError: The engine reports none.
    """
    done = docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}")
    with suppress(ValueError, LookupError):
        network = json.loads(done.stdout if done is not None else "")[0]
        # Docker 20 and older do not report the default, which is the first address.
        return network.get("Gateway") or str(ipaddress.ip_network(network["Subnet"])[1])
    message = "The container engine has no bridge network: docker network inspect bridge reports no subnet."
    raise StackError(message)


def seen_from_container(environment: Mapping[str, str], reached: Mapping[str, str]) -> dict[str, str]:
    """Return the same variables with addresses that a container can reach.

    The issuer's stays: it is only a name in tokens, and the functions send no request to it.
    """
    seen = dict(environment)
    for url, address in reached.items():
        seen = {name: re.sub(rf"{re.escape(url)}(?!\d)", address, value) for name, value in seen.items()}
    return {**seen, **{name: environment[name] for name in ("OIDC_ISSUER",) if name in environment}}
