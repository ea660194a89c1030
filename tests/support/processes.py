"""Finds, names and kills processes."""

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import subprocess

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


def kill_with_descendants(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """Kill a test's program and its descendants. Does nothing if the program has ended."""
    kill(descendants(process.pid) if process.poll() is None else [])
    process.wait(TIMEOUT)
