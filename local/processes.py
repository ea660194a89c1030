"""The supervisor's child programs: each in a process group of its own, watched by parent_watch, with a log."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from local import parent_watch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STOP_TIMEOUT: Final = 5.0
LAST_LINES: Final = 15


class StackError(Exception):
    """The stack cannot run; the text is one clear line, possibly with a program's last output."""


@dataclass(frozen=True)
class Child:
    """A running program."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> None:
        """Terminate it, then kill it; its whole group either way."""
        for number, timeout in ((signal.SIGTERM, STOP_TIMEOUT), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError, PermissionError):  # macOS raises this if every member is a zombie
                os.killpg(self.process.pid, number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), timeout)

    def unexpected_end(self) -> StackError:
        """Return the error for a program that ended unexpectedly."""
        code = self.process.returncode
        return StackError(f"{self.name} ended by itself (exit code {code}). Its log: {self.log}\n{self.last_lines()}")

    def last_lines(self) -> str:
        """Return the end of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
        return "\n".join(f"    {line}" for line in lines)


class ProcessGroup:
    """Starts programs and ends all of them."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self.logs = logs
        self._environment = environment
        self._parent_pipe = parent_watch.ParentPipe()
        self.children: list[Child] = []

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Child:
        """Start a program under the wrapper that ends it when this process has ended."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                parent_watch.__file__,
                "--",
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env={**self._environment, **self._parent_pipe.environment(), **(environment or {})},
                pass_fds=(self._parent_pipe.read_end,),
                start_new_session=True,
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    async def fail_when_one_ends(self) -> None:
        """Wait until one of them ends.

        Raises:
            StackError: one has ended; the text contains its last output.
        """
        waits = {asyncio.create_task(child.process.wait()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        raise waits[done.pop()].unexpected_end()

    async def end(self) -> None:
        """Stop all of them at once."""
        await asyncio.gather(*(child.stop() for child in self.children))
        self._parent_pipe.close()


async def answers(child: Child, url: str, *, within: float = 180.0) -> httpx.Response:
    """Wait until a program responds over HTTP, with any status."""
    until = time.monotonic() + within
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < until:
            if child.process.returncode is not None:
                raise child.unexpected_end()
            with suppress(httpx.TransportError):
                return await client.get(url)
            await asyncio.sleep(0.1)
    message = f"{child.name} did not respond at {url} within {within:.0f} s. Its log: {child.log}\n{child.last_lines()}"
    raise StackError(message)
