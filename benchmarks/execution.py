"""One execution environment: a process that is started, invoked, and measured from outside, as Lambda would see it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.gateway.runtime_api import FunctionError, Invocation, RuntimeApi, deadline_ms
from tools import build, pythons

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

TIME_LIMIT: Final = timedelta(seconds=30)
_BOOTSTRAP: Final = Path(__file__).resolve().with_name("runtime.py")
_ARN: Final = "arn:aws:lambda:us-east-1:000000000000:function:measured"


class WrongAnswerError(Exception):
    """A function did not respond as the measurement expects."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The execution environment of functions: Lambda's Python, AWS's runtime client, and a processor of their own."""

    python: Path
    runtime: Path
    processor: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A function to measure.

    Attributes:
        name: the name in the report.
        folders: the function and its layers.
        environment: its environment variables.
        event: creates an event; each call gets a new one.
        status: the status of a correct response.
        peer: the name of the subject to compare it with, if there is one.
    """

    name: str
    folders: Sequence[Path]
    environment: Mapping[str, str]
    event: Callable[[], Mapping[str, Any]]
    status: int
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One cold start, and the calls after it. Times are in milliseconds, memory is in MB.

    Attributes:
        init: from the start of the process until it requests its first event.
        first: the time of the first response after that.
        init_cpu: the CPU time of the start.
        first_cpu: the CPU time of the first response.
        warm: the time of each later response.
        warm_cpu: the CPU time of a later response, on average.
        memory: the peak resident memory.
    """

    init: float
    first: float
    init_cpu: float
    first_cpu: float
    warm: tuple[float, ...]
    warm_cpu: float
    memory: float

    @property
    def cold(self) -> float:
        """The latency of a cold start, first response included."""
        return self.init + self.first

    @property
    def cold_cpu(self) -> float:
        """The CPU time of a cold start, first response included."""
        return self.init_cpu + self.first_cpu


async def run(subject: Subject, machine: Machine, *, warm: int) -> Run:
    """Start a process, invoke it once, and then repeatedly."""
    events = [json.dumps(subject.event()).encode() for _ in range(warm + 1)]
    api = RuntimeApi()
    try:
        began = time.perf_counter()
        async with process(subject, machine, api) as pid:
            async with asyncio.timeout(TIME_LIMIT.total_seconds()):
                await api.is_ready
            init, init_cpu = (time.perf_counter() - began) * 1000, cpu(pid)
            first = await ask(api, subject, events[0])
            first_cpu = cpu(pid) - init_cpu
            before = cpu(pid)
            later = [await ask(api, subject, event) for event in events[1:]]
            warm_cpu = (cpu(pid) - before) / warm
            return Run(init, first, init_cpu, first_cpu, tuple(later), warm_cpu, peak_memory(pid))
    finally:
        await api.stop()


@asynccontextmanager
async def process(subject: Subject, machine: Machine, api: RuntimeApi) -> AsyncIterator[int]:
    """Run a process of a function; yield its id."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_HANDLER": "handler.lambda_handler",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/measured",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_FUNCTION_NAME": "measured",
        "LAMBDA_TASK_ROOT": str(subject.folders[0]),
        **subject.environment,
        "AWS_LAMBDA_RUNTIME_API": api.address,
    }
    started = await asyncio.create_subprocess_exec(
        machine.python,
        "-I",
        "-S",
        _BOOTSTRAP,
        str(machine.processor),
        machine.runtime,
        *subject.folders,
        cwd=subject.folders[0],
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    watch = asyncio.create_task(watch_over(started, api))
    try:
        yield started.pid
    finally:
        if started.returncode is None:
            started.kill()
        await watch


async def watch_over(started: asyncio.subprocess.Process, api: RuntimeApi) -> None:
    """Report the end of a process to the tasks that wait for it."""
    code = await started.wait()
    if not api.is_ready.done():
        api.is_ready.set_exception(WrongAnswerError(f"A function ended with {code} before it was loaded."))


async def ask(api: RuntimeApi, subject: Subject, event: bytes) -> float:
    """Have an event handled; return how long that took.

    Raises:
        WrongAnswerError: The function failed, or returned an unexpected response.
    """
    invocation = Invocation(event, _ARN, deadline_ms(TIME_LIMIT))
    began = time.perf_counter()
    api.submit(invocation)
    try:
        async with asyncio.timeout(TIME_LIMIT.total_seconds()):
            answer = await invocation.answer
    except (FunctionError, TimeoutError) as error:
        message = f"{subject.name} did not answer: {error}"
        raise WrongAnswerError(message) from error
    took = (time.perf_counter() - began) * 1000
    if json.loads(answer).get("statusCode") != subject.status:
        message = f"{subject.name} answered {answer.decode()[:300]}"
        raise WrongAnswerError(message)
    return took


def cpu(pid: int) -> float:
    """Return the CPU time of a process with all its threads so far, in milliseconds.

    Linux counts it in nanoseconds, by a clock for each process (clock_getcpuclockid); the usual counters are in
    hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | 2) * 1000


def peak_memory(pid: int) -> float:
    """Return the peak resident memory, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def prepare() -> tuple[pythons.Interpreter, int]:
    """Return Lambda's Python, and a processor that this process and its future children leave free.

    Raises:
        WrongAnswerError: there is no such Python.
    """
    python = pythons.find()
    if python is None:
        message = f"There is no Python {build.RUNTIME} here, Lambda's own: nothing can be measured."
        raise WrongAnswerError(message)
    processor = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {processor})
    return python, processor
