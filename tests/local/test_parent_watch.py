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
def held(*command: str) -> Iterator[tuple[subprocess.Popen[str], parent_watch.ParentPipe]]:
    ours = parent_watch.ParentPipe()
    process = subprocess.Popen(
        command,
        env={**everything(), **ours.environment(), "PYTHONPATH": str(Path(parent_watch.__file__).parent.parent)},
        pass_fds=(ours.read_end,),
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, ours
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its child processes are in its group
        process.communicate()


def wrapped(*command: str) -> tuple[str, ...]:
    return (sys.executable, parent_watch.__file__, "--", *command)


def stubborn_child(place: Path) -> psutil.Process:
    return psutil.Process(int(eventually(lambda: place.exists() and place.read_text(), within=60)))


def test_a_wrapped_program_and_what_it_started_end_with_the_parent(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    with held(*wrapped(sys.executable, "-c", STUBBORN, str(place))) as (process, ours):
        grandchild = stubborn_child(place)
        ours.close()
        process.wait(60)
        assert wait_until_gone([grandchild]) == []


def test_a_wrapped_program_ends_when_the_wrapper_is_asked_to(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    with held(*wrapped(sys.executable, "-c", STUBBORN, str(place))) as (process, ours):
        grandchild = stubborn_child(place)
        process.terminate()
        process.wait(60)
        assert wait_until_gone([grandchild]) == []
        ours.close()


def test_the_wrapper_ends_as_its_program_ended() -> None:
    for script, code in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + signal.SIGKILL)):
        with held(*wrapped(sys.executable, "-c", script)) as (process, ours):
            assert process.wait(60) == code
            ours.close()


def test_the_write_end_is_not_inherited() -> None:
    ours = parent_watch.ParentPipe()
    assert not os.get_inheritable(ours.read_end)  # inherited only if passed explicitly
    ours.close()
