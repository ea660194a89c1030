"""The bootstrap of a measured process: pins it to a processor, sets the module path as Lambda does, runs the runtime.

Run by path under Lambda's Python with `-I -S`. Arguments: the processor, the folder that stands for Lambda's own
/var/runtime, and the folders that come first on the module path: the function and its layers.
"""

import importlib
import os
import sys

_ENVIRON = os.environ  # noqa: TID251 - AWS starts a function with this program: the environment is its input


def main() -> None:
    """Run the function."""
    processor, runtime, *folders = sys.argv[1:]
    os.sched_setaffinity(0, {int(processor)})
    # Artefacts are read-only in Lambda: a module without byte-code is compiled at every start.
    sys.dont_write_bytecode = True
    sys.path[:0] = folders
    sys.path.append(runtime)
    importlib.import_module("awslambdaric.__main__").main([sys.argv[0], _ENVIRON["_HANDLER"]])


if __name__ == "__main__":
    main()
