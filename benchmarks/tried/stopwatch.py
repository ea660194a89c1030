"""A measured process: take one processor, lay the module path, load, call; then print what each of it took.

Run by path under Lambda's Python with `-I -S`. Arguments: the processor, how often each call is made, what is loaded
(Python, which may leave functions without arguments in `calls`), and the folders that come first on the module path.
Times are of the processor, in milliseconds, and what is loaded counts from the start of the process.
"""

from __future__ import annotations

import os
import sys
import time

# typing is among what is measured.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure."""
    processor, times, load, *folders = sys.argv[1:]
    os.sched_setaffinity(0, {int(processor)})
    # Artefacts are read-only in Lambda: what carries no byte-code is compiled in every start.
    sys.dont_write_bytecode = True
    sys.path[:0] = folders
    loaded: dict[str, dict[str, Callable[[], object]]] = {}
    exec(load, loaded)  # noqa: S102 - a row of our own
    measured = {"load": time.process_time() * 1000, "modules": len(sys.modules), "memory": peak_memory()}
    for name, call in loaded.get("calls", {}).items():
        measured[f"{name}: first"] = took(call, 1)
        took(call, int(times) // 10)
        measured[f"{name}: each"] = took(call, int(times)) / int(times)
    # Not before: it is among what is measured.
    import json  # noqa: PLC0415

    print(json.dumps(measured))


def took(call: Callable[[], object], times: int) -> float:
    """What so many calls take together."""
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) * 1000


def peak_memory() -> float:
    """The most that was resident so far, in MB. The usual counter (getrusage) begins with that of the parent."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is among what is measured
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
