"""The first lines of a measured process: take one processor, lay the module path as Lambda does, hand over.

Run by path under Lambda's Python with `-I -S`. Arguments: the processor, the folder that stands for Lambda's own
/var/runtime, and the folders that come first on the module path: the function and its layers.
"""

import importlib
import os
import sys

_ENVIRON = os.environ  # noqa: TID251 - this program is what AWS starts a function with: the environment is its input


def main() -> None:
    """Start the function."""
    processor, runtime, *folders = sys.argv[1:]
    os.sched_setaffinity(0, {int(processor)})
    # Artefacts are read-only in Lambda: what carries no byte-code is compiled in every start.
    sys.dont_write_bytecode = True
    sys.path[:0] = folders
    sys.path.append(runtime)
    importlib.import_module("awslambdaric.__main__").main([sys.argv[0], _ENVIRON["_HANDLER"]])


if __name__ == "__main__":
    main()
