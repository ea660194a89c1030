"""The bootstrap of every Lambda process: ends it with the stack, sets the module path as Lambda does, runs the runtime.

Run by path under the functions' interpreter, which lacks this project's packages: standard library only.
Arguments: the runtime (`auto`, `awslambdaric` or `own`), the folder of installed packages, and the folders that come
first on the module path.
"""

import importlib
import importlib.util
import os
import runpy
import signal
import sys
import threading
from pathlib import Path

_ENVIRON = os.environ  # noqa: TID251 - AWS starts a function with this program: the environment is its input
_PARENT_PIPE_LAG = 0.5  # seconds


def _watch_parent(parent_pipe: int) -> None:
    """End this process and its children when the stack has ended in any way: the pipe's other end closes."""
    while os.read(parent_pipe, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _run_awslambdaric(handler: str) -> None:
    importlib.import_module("awslambdaric.__main__").main([sys.argv[0], handler])


def _run_own_loop(handler: str, source: Path) -> None:
    specification = importlib.util.spec_from_file_location("_lambda_runtime_loop", source)
    if specification is None or specification.loader is None:
        raise ImportError(str(source))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.run(handler, _ENVIRON["AWS_LAMBDA_RUNTIME_API"])


def _record_aws_calls(file: str) -> None:
    recorder = runpy.run_path(str(Path(__file__).resolve().parents[1] / "aws_calls.py"))
    recorder["record"](_ENVIRON["AWS_LAMBDA_FUNCTION_NAME"], file)


def _keep_trace_headers() -> None:
    runpy.run_path(str(Path(__file__).resolve().with_name("trace_headers.py")))["keep"]()


def main() -> None:
    """Run the function."""
    # Neither the handler nor the programs that it starts may inherit the parent pipe.
    parent_pipe = int(_ENVIRON.pop("LOCAL_PARENT_FD"))
    os.set_inheritable(parent_pipe, False)  # noqa: FBT003 - the standard library's signature
    # Python adds it if the machine lacks the locale that Lambda names in LANG; Lambda does not have it.
    _ENVIRON.pop("LC_CTYPE", None)
    watcher = threading.Thread(target=_watch_parent, args=(parent_pipe,), name="parent-pipe", daemon=True)
    watcher.start()

    runtime, dependencies, *folders = sys.argv[1:]
    source = Path(__file__).resolve().with_name("runtime_loop.py")
    sys.path[:0] = folders
    if dependencies not in sys.path:
        sys.path.append(dependencies)
    sys.argv = [sys.argv[0], _ENVIRON["_HANDLER"]]
    if _ENVIRON.get("AWS_ENDPOINT_URL_SQS") and importlib.util.find_spec("botocore"):
        _keep_trace_headers()
    if calls := _ENVIRON.pop("LOCAL_AWS_CALLS", ""):
        _record_aws_calls(calls)
    if runtime == "auto":
        runtime = "awslambdaric" if importlib.util.find_spec("awslambdaric") else "own"
    try:
        if runtime == "awslambdaric":
            _run_awslambdaric(_ENVIRON["_HANDLER"])
        else:
            _run_own_loop(_ENVIRON["_HANDLER"], source)
    finally:
        # A runtime may see its API's connection break a moment before the parent pipe closes. Wait for the watcher,
        # because only it ends the children.
        watcher.join(_PARENT_PIPE_LAG)


if __name__ == "__main__":
    main()
