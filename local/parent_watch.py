"""Ends a program, and everything that it started, when its parent ends in any way, even by SIGKILL.

The parent holds the write end of a pipe and every child the read end. When the parent ends, the system closes the
write end and every reader sees the end of the file. Every program of the stack runs under this file as a wrapper (by
path: `parent_watch.py -- command argument`), which watches the pipe and ends the program.
Only the standard library: the wrapper runs by path, under any Python.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

VARIABLE = "LOCAL_PARENT_FD"
SECONDS_TO_END = 3.0
_USAGE = 2


class ParentPipe:
    """The parent's end of the pipe."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def environment(self) -> dict[str, str]:
        """Return the variable that names the descriptor for a child to read; the descriptor must also be inherited."""
        return {VARIABLE: str(self.read_end)}

    def close(self) -> None:
        """Close both ends: every program that still runs ends now."""
        os.close(self._write_end)
        os.close(self.read_end)


def _read_end() -> int | None:
    number = os.environ.get(VARIABLE, "")  # noqa: TID251  # runs by path, without the rest of the package
    return int(number) if number.isdecimal() else None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child, then the whole process group: what the child started, and this wrapper, its leader."""
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(SECONDS_TO_END)
    child.kill()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)


def run(command: list[str]) -> int:
    """Run a command until it ends, the parent ends, or this process receives a signal to end."""
    descriptor = _read_end()
    # A signal and the child's own end wake the same select as the parent's end: they write to this pipe.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda which, _frame: signals.append(which))
    signal.signal(signal.SIGCHLD, lambda _which, _frame: None)
    child = subprocess.Popen(command)  # noqa: S603  # the parent's command
    watched = [woken] if descriptor is None else [woken, descriptor]
    while child.poll() is None:
        ready, _, _ = select.select(watched, [], [])
        if signals or (descriptor is not None and descriptor in ready and not os.read(descriptor, 1)):
            _end(child)
        elif woken in ready:
            os.read(woken, 512)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    if sys.argv[1:2] != ["--"] or len(sys.argv) == _USAGE:
        sys.stderr.write("usage: parent_watch.py -- command [argument ...]\n")
        raise SystemExit(_USAGE)
    raise SystemExit(run(sys.argv[2:]))
