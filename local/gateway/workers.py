"""The processes of one function: started on demand, with one invocation at a time each."""

import asyncio
import codecs
import contextlib
import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from local.gateway.intrinsics import ACCOUNT_ID
from local.gateway.runtime_api import Failure, FunctionError, Invocation, RuntimeApi, deadline_ms
from local.gateway.source import Fingerprint, fingerprint
from local.gateway.template import FunctionSpec
from local.lineage import Lineage

Runtime = Literal["auto", "awslambdaric", "own"]
OnLog = Callable[[str], None]

# AWS gives a function 10 s to load its modules. A laptop that starts a whole stack at once may need longer, and a
# tighter limit here has no benefit.
INIT_LIMIT: Final = timedelta(seconds=60)

_BOOTSTRAP: Final = Path(__file__).resolve().with_name("worker.py")
_NO_BREAK_SPACE: Final = "\u00a0"  # awslambdaric indents tracebacks with it, and ends their lines with \r alone
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Host:
    """The runtime settings of all functions of a stack."""

    python: Path
    runtime: Runtime
    dependencies: Path
    directory: Path
    byte_code: Path
    region: str
    environment: Mapping[str, str]
    parent_pipe: int
    on_log: OnLog


class Workers:
    """Runs one function."""

    def __init__(self, spec: FunctionSpec, host: Host, *, limit: int) -> None:
        self._spec = spec
        self._host = host
        self._slots = asyncio.Semaphore(limit)
        self._loading = asyncio.Lock()
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._runs: set[asyncio.Task[bytes]] = set()
        self._retirements: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def name(self) -> str:
        """The function's logical id."""
        return self._spec.logical_id

    async def load(self) -> None:
        """Start a first process, unless an invocation has started one already.

        Raises:
            FunctionError: The function cannot be loaded; the text contains its traceback.
        """
        async with self._loading:
            if not self._all:
                self._idle.append(await self._start(fingerprint(self._folders)))

    async def invoke(self, payload: bytes, *, caller_timeout: timedelta | None = None, trace: str = "") -> bytes:
        """The function's response to an event, both as JSON.

        Args:
            payload: The event.
            trace: The X-Amzn-Trace-Id of the event's cause; empty starts a new chain.
            caller_timeout: How long the caller waits. The function itself runs on to its own timeout, as on Lambda;
                an event that no process has started on is dropped.

        Raises:
            FunctionError: There is no response.
        """
        if self._is_stopping:
            raise FunctionError(Failure.STOPPED)
        is_begun = asyncio.Event()
        trace_id = Lineage.parse(trace).invoking(self.name).as_header()
        run = asyncio.create_task(self._run(payload, trace_id, is_begun))
        self._runs.add(run)
        run.add_done_callback(self._ended)
        done, _ = await asyncio.wait({run}, timeout=None if caller_timeout is None else caller_timeout.total_seconds())
        if run.cancelled():
            raise FunctionError(Failure.STOPPED)
        if done:
            return run.result()
        if not is_begun.is_set():
            run.cancel()
        raise FunctionError(Failure.CALLER_TIMEOUT)

    async def stop(self) -> None:
        """End every process."""
        self._is_stopping = True
        for run in self._runs:
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await asyncio.gather(*(process.stop() for process in list(self._all)), *self._retirements)

    @property
    def _folders(self) -> list[Path]:
        # Without the dependencies: thousands of files that do not change while the stack runs.
        return [self._spec.folder, *self._spec.layers]

    def _ended(self, run: asyncio.Task[bytes]) -> None:
        self._runs.discard(run)
        error = None if run.cancelled() else run.exception()
        if error is not None and not self._is_stopping:
            self._host.on_log(f"[{self.name}] {error}")

    async def _run(self, payload: bytes, trace_id: str, is_begun: asyncio.Event) -> bytes:
        async with self._slots:
            is_begun.set()
            while True:
                process, is_new = await self._take()
                try:
                    return await process.invoke(payload, trace_id)
                except _NotReceivedError as error:
                    # The process ended while it was idle and has not received the event, so another process gets it.
                    if is_new:
                        raise FunctionError(Failure.CRASH) from error
                finally:
                    await self._put_back(process)

    async def _take(self) -> tuple["_Process", bool]:
        async with self._loading:
            pass  # use the process that load() is starting
        current = fingerprint(self._folders)
        while self._idle:
            process = self._idle.pop()
            if process.is_alive and process.source == current:
                return process, False
            retirement = asyncio.create_task(self._retire(process))
            self._retirements.add(retirement)
            retirement.add_done_callback(self._retirements.discard)
        return await self._start(current), True

    async def _put_back(self, process: "_Process") -> None:
        if process.is_alive and not self._is_stopping:
            self._idle.append(process)
        else:
            await self._retire(process)

    async def _retire(self, process: "_Process") -> None:
        await process.stop()
        self._all.discard(process)

    async def _start(self, source: Fingerprint) -> "_Process":
        process = _Process(self._spec, self._host, source)
        self._all.add(process)
        try:
            await process.start()
        except BaseException:
            await self._retire(process)
            raise
        return process


class _NotReceivedError(Exception):
    """The process ended before it requested the event."""


class _Process:
    """One process and its Runtime API."""

    def __init__(self, spec: FunctionSpec, host: Host, source: Fingerprint) -> None:
        self.source = source
        self._spec = spec
        self._host = host
        self._api = RuntimeApi()
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False

    @property
    def is_alive(self) -> bool:
        """Whether it can handle another event."""
        return self._process is not None and self._process.returncode is None and not self._is_ending

    async def start(self) -> None:
        """Start the process, and wait until the function is loaded."""
        self._process = await asyncio.create_subprocess_exec(
            self._host.python,
            "-P",  # this project's folders stay off the module path ...
            "-s",  # ... and so do the user's own packages: Lambda has neither
            "-X",
            f"pycache_prefix={self._host.byte_code}",
            _BOOTSTRAP,
            self._host.runtime,
            self._host.dependencies,
            self._spec.folder,
            *self._spec.layers,
            cwd=self._spec.folder,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(self._host.parent_pipe,),
            # A group of its own: only the stack handles Ctrl-C in the terminal, and a kill reaches the children.
            start_new_session=True,
        )
        if self._process.stdout is not None:
            self._tasks.append(asyncio.create_task(self._forward(self._process.stdout)))
        self._tasks.append(asyncio.create_task(self._watch(self._process)))
        try:
            async with asyncio.timeout(INIT_LIMIT.total_seconds()):
                await self._api.is_ready
        except TimeoutError as error:
            message = f"not loaded after {INIT_LIMIT.total_seconds():g} s"
            raise FunctionError(Failure.INIT, message) from error

    async def invoke(self, payload: bytes, trace_id: str) -> bytes:
        """The response to one event.

        Raises:
            FunctionError: There is no response.
            _NotReceivedError: The process had ended before; it has not received the event.
        """
        arn = f"arn:aws:lambda:{self._host.region}:{ACCOUNT_ID}:function:{self._spec.name}"
        invocation = Invocation(payload, arn, deadline_ms(self._spec.timeout), trace_id=trace_id)
        self._api.submit(invocation)
        if not self.is_alive:
            self._api.fail(FunctionError(Failure.CRASH))
        try:
            async with asyncio.timeout(self._spec.timeout.total_seconds()):
                return await invocation.answer
        except TimeoutError as error:
            self._is_ending = True
            message = f"after {self._spec.timeout.total_seconds():g} s (request {invocation.request_id})"
            raise FunctionError(Failure.TIMEOUT, message) from error
        except FunctionError as error:
            if error.failure is Failure.CRASH and not invocation.is_received:
                raise _NotReceivedError from error
            self._is_ending |= error.failure is not Failure.UNHANDLED
            detail = f"{error.detail}{' ' if error.detail else ''}(request {invocation.request_id})"
            raise FunctionError(error.failure, detail) from error
        except asyncio.CancelledError:
            self._is_ending = True
            raise

    async def stop(self) -> None:
        """End the process and its children."""
        self._is_ending = True
        if self._process is not None:
            # It may have ended by itself, and its group with it; macOS reports that as a lack of permission.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for task in self._tasks:
            # Its last output may still be in the pipe; children that keep the pipe open are not waited for.
            _, late = await asyncio.wait({task}, timeout=1)
            for pending in late:
                pending.cancel()
        await self._api.stop()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        failure = Failure.CRASH if self._api.is_ready.done() else Failure.INIT
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._api.fail(FunctionError(failure, how))

    async def _forward(self, output: asyncio.StreamReader) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while chunk := await output.read(64 * 1024):
            *lines, rest = _LINE_END.split(rest + decoder.decode(chunk))
            for line in lines:
                self._log(line)
        if rest:
            self._log(rest)

    def _log(self, line: str) -> None:
        if line.strip():
            self._host.on_log(f"[{self._spec.logical_id}] {line.replace(_NO_BREAK_SPACE, ' ')}")

    def _environment(self) -> dict[str, str]:
        spec, region = self._spec, self._host.region
        return {
            # The minimum that a program needs to run, with nothing of the user who started the stack.
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._host.directory / "home"),
            # Lambda's own variables.
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_REGION": region,
            "LAMBDA_TASK_ROOT": str(spec.folder),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "_HANDLER": spec.handler,
            **spec.environment,
            **self._host.environment,
            "LOCAL_PARENT_FD": str(self._host.parent_pipe),  # removed before the handler is loaded
        }
