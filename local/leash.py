"""Nothing outlives the stack, not even when the stack is killed and can tell nobody.

The supervisor holds the write end of a pipe and every child the read end. When the supervisor ends, however it ends,
the system closes the write end and every reader sees the end of the file. A Python program of ours calls `follow()`;
every other program runs under this file as a wrapper (by path: `leash.py -- command argument`), which ends it.
Only the standard library: the wrapper runs by path, under whatever Python there is.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

VARIABLE = "LOCAL_LEASH_FD"
PATIENCE = 3.0
_USAGE = 2


class Leash:
    """The supervisor's end of the pipe."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def environment(self) -> dict[str, str]:
        """Return the variable that tells a child which descriptor to read; it must also be passed on to it."""
        return {VARIABLE: str(self.read_end)}

    def let_go(self) -> None:
        """Close both ends: whatever still follows ends now."""
        os.close(self._write_end)
        os.close(self.read_end)


def _held() -> int | None:
    number = os.environ.get(VARIABLE, "")  # noqa: TID251  # runs by path, without the rest of the package
    return int(number) if number.isdecimal() else None


def follow() -> None:
    """End this process when its supervisor has ended: gently first, then surely. Without a leash do nothing."""
    descriptor = _held()
    if descriptor is None:
        return

    def wait_for_the_end() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_the_end, name="leash", daemon=True).start()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child, and at last the whole process group: what the child started, and this wrapper, its leader."""
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE)
    child.kill()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)


def run(command: list[str]) -> int:
    """Run a command until it ends, or the supervisor does, or somebody asks this process to end."""
    descriptor = _held()
    # A signal and the child's own end wake the same select as the leash: their arrival writes to this pipe.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda which, _frame: asked.append(which))
    signal.signal(signal.SIGCHLD, lambda _which, _frame: None)
    child = subprocess.Popen(command)  # noqa: S603  # what the supervisor asks for
    watched = [woken] if descriptor is None else [woken, descriptor]
    while child.poll() is None:
        ready, _, _ = select.select(watched, [], [])
        if asked or (descriptor is not None and descriptor in ready and not os.read(descriptor, 1)):
            _end(child)
        elif woken in ready:
            os.read(woken, 512)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    if sys.argv[1:2] != ["--"] or len(sys.argv) == _USAGE:
        sys.stderr.write("usage: leash.py -- command [argument ...]\n")
        raise SystemExit(_USAGE)
    raise SystemExit(run(sys.argv[2:]))
