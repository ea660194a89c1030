from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from local import leash
from tests.processes import wait_until_gone
from tests.support import eventually
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
FOLLOWER = "import time; from local import leash; leash.follow(); print('up', flush=True); time.sleep(60)"


@contextmanager
def held(*command: str) -> Iterator[tuple[subprocess.Popen[str], leash.Leash]]:
    ours = leash.Leash()
    process = subprocess.Popen(
        command,
        env={**everything(), **ours.environment(), "PYTHONPATH": str(Path(leash.__file__).parent.parent)},
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
    return (sys.executable, leash.__file__, "--", *command)


def stubborn_child(place: Path) -> psutil.Process:
    return psutil.Process(int(eventually(lambda: place.exists() and place.read_text(), within=60)))


def test_a_wrapped_program_and_what_it_started_end_with_the_leash(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    with held(*wrapped(sys.executable, "-c", STUBBORN, str(place))) as (process, ours):
        grandchild = stubborn_child(place)
        ours.let_go()
        process.wait(60)
        assert wait_until_gone([grandchild]) == []


def test_a_wrapped_program_ends_when_the_wrapper_is_asked_to(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    with held(*wrapped(sys.executable, "-c", STUBBORN, str(place))) as (process, ours):
        grandchild = stubborn_child(place)
        process.terminate()
        process.wait(60)
        assert wait_until_gone([grandchild]) == []
        ours.let_go()


def test_the_wrapper_ends_as_its_program_ended() -> None:
    for script, code in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + signal.SIGKILL)):
        with held(*wrapped(sys.executable, "-c", script)) as (process, ours):
            assert process.wait(60) == code
            ours.let_go()


def test_a_program_of_ours_follows_the_leash() -> None:
    with held(sys.executable, "-c", FOLLOWER) as (process, ours):
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        ours.let_go()
        assert process.wait(60) == -signal.SIGTERM


def test_without_a_leash_nothing_is_followed() -> None:
    environment = {name: value for name, value in everything().items() if name != leash.VARIABLE}
    script = "from local import leash; leash.follow(); print('still here')"
    answer = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "still here\n"


def test_the_write_end_is_nobody_else_s() -> None:
    ours = leash.Leash()
    assert not os.get_inheritable(ours.read_end)  # inherited only if passed explicitly
    ours.let_go()
