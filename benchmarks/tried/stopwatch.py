"""A measured process: take one processor, lay the module path, load, call; then print what each of it took.

Run by path under Lambda's Python with `-I -S`. Arguments: the processor, how often each call is made, what is loaded in
two steps (Python, which may leave functions without arguments in `calls`), and the folders that come first on the
module path. Times are of the processor, in milliseconds.
"""

from __future__ import annotations

import gc
import os
import sys
import time

# typing is among what is measured.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def main() -> None:
    """Measure."""
    processor, times, upon, load, *folders = sys.argv[1:]
    os.sched_setaffinity(0, {int(processor)})
    # Artefacts are read-only in Lambda: what carries no byte-code is compiled in every start.
    sys.dont_write_bytecode = True
    sys.path[:0] = folders
    collector = Collector()
    gc.callbacks.append(collector)
    loaded: dict[str, dict[str, Callable[[], object]]] = {}
    exec(upon, loaded)  # noqa: S102 - a row of our own
    before = now()
    exec(load, loaded)  # noqa: S102 - as above
    after = now()
    gc.callbacks.remove(collector)
    measured = {
        "load": after,  # since the process began
        "step": after - before,
        "cycles": collector.took,
        "modules": len(sys.modules),
        "memory": peak_memory(),
    }
    for name, call in loaded.get("calls", {}).items():
        measured[f"{name}: first"] = took(call, 1)
        took(call, int(times) // 10)
        measured[f"{name}: each"] = took(call, int(times)) / int(times)
    # Not before: it is among what is measured.
    import json  # noqa: PLC0415

    print(json.dumps(measured))


def now() -> float:
    """What this process has had of the processor so far."""
    return time.process_time() * 1000


def took(call: Callable[[], object], times: int) -> float:
    """What so many calls take together."""
    began = now()
    for _ in range(times):
        call()
    return now() - began


class Collector:
    """Hears of every look for cycles; how long they took together."""

    def __init__(self) -> None:
        self.took = 0.0

    def __call__(self, phase: str, _told: Mapping[str, int]) -> None:
        """Begin or end one."""
        self.took += now() if phase == "stop" else -now()


def peak_memory() -> float:
    """The most that was resident so far, in MB. The usual counter (getrusage) begins with that of the parent."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is among what is measured
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
