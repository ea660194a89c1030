"""Finds, names, starts and kills processes."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from local import parent_watch

TIMEOUT = 60.0  # seconds


def descendants(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants that still run."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def wait_until_gone(processes: list[psutil.Process]) -> list[str]:
    """Wait, and return the command lines of the processes that still run."""
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT)
    return [command_line(process) for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def kill(processes: list[psutil.Process]) -> None:
    """Kill all of them."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=TIMEOUT)


def kill_with_descendants(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill a test's program and its descendants. Does nothing if the program has ended."""
    kill(descendants(process.pid) if process.poll() is None else [])
    process.wait(TIMEOUT)


@contextmanager
def running(
    command: Sequence[str], *, environment: Mapping[str, str], directory: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, and kill it afterwards. It also ends when this process ends in any other way."""
    pipe = parent_watch.ParentPipe()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, parent_watch.__file__, "--", *command],
            cwd=directory,
            env={**environment, **pipe.environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(pipe.read_end,),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_with_descendants(process)
        pipe.close()
