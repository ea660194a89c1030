from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from local import parent_watch
from tests.support.processes import wait_until_gone
from tests.support.waiting import eventually
from tools.environment import everything

if TYPE_CHECKING:
    from collections.abc import Iterator

STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(other.pid))
time.sleep(60)
"""


@contextmanager
def started(*command: str) -> Iterator[tuple[subprocess.Popen[str], parent_watch.ParentPipe]]:
    pipe = parent_watch.ParentPipe()
    process = subprocess.Popen(
        command,
        env={**everything(), **pipe.environment(), "PYTHONPATH": str(Path(parent_watch.__file__).parent.parent)},
        pass_fds=(pipe.read_end,),
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, pipe
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its child processes are in its group
        process.communicate()


def wrapped(*command: str) -> tuple[str, ...]:
    return (sys.executable, parent_watch.__file__, "--", *command)


def stubborn_child(place: Path) -> psutil.Process:
    return psutil.Process(int(eventually(lambda: place.exists() and place.read_text(), within=60)))


def test_a_wrapped_program_and_its_children_end_with_the_parent(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    with started(*wrapped(sys.executable, "-c", STUBBORN, str(place))) as (process, pipe):
        grandchild = stubborn_child(place)
        pipe.close()
        process.wait(60)
        assert wait_until_gone([grandchild]) == []


def test_a_wrapped_program_ends_on_sigterm_to_the_wrapper(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    with started(*wrapped(sys.executable, "-c", STUBBORN, str(place))) as (process, pipe):
        grandchild = stubborn_child(place)
        process.terminate()
        process.wait(60)
        assert wait_until_gone([grandchild]) == []
        pipe.close()


def test_the_wrapper_returns_the_exit_status_of_its_program() -> None:
    for script, code in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + signal.SIGKILL)):
        with started(*wrapped(sys.executable, "-c", script)) as (process, pipe):
            assert process.wait(60) == code
            pipe.close()


def test_the_write_end_is_not_inherited() -> None:
    pipe = parent_watch.ParentPipe()
    assert not os.get_inheritable(pipe.read_end)  # inherited only if passed explicitly
    pipe.close()
