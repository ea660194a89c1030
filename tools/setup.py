"""Create the two virtual environments: `.venv` for the project's programs, `.venv-functions` for the functions.

Runs under the Python of the machine before anything is installed, with the standard library only. It is idempotent,
and instant while nothing has changed: a stamp in each environment names the lock that was installed. Every package is
checked against the hashes of its lock. The user's own pip or uv configuration decides where packages come from.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools import pip_settings, pythons
from tools.environment import ROOT, cache, everything, home, variable
from tools.progress import say, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VENV: Final = ROOT / ".venv"
SIMULATOR: Final = ROOT / "simulator" / "src"
FUNCTIONS_VENV: Final = ROOT / ".venv-functions"
BYTE_CODE: Final = FUNCTIONS_VENV / "byte-code"
"""Compiled modules of functions and layers: a folder for all stacks, because compiling boto3 takes seconds."""
REQUIREMENTS: Final = ROOT / "requirements"
DEPENDENCIES: Final = [ROOT / "layers" / name for name in ("dependencies", "authorizer_dependencies")]
BENCHMARKS: Final = [ROOT / "benchmarks" / name for name in ("peer",)]
EXAMPLES: Final = [*(ROOT / "examples" / name for name in ("data_consumer/src",)), ROOT / "simulator"]
STAMP: Final = "terra-connections.json"
LOCKS: Final = (
    "uv",
    "local",
    "tests",
    "docs",
    "functions",
    "ministack",
    "sam",
    "checkov",
    "lambda_image",
    "java",
    "node",
    "clients",
    "audit",
)
LAST_LINES: Final = 12
# The variables of uv that name package sources and how to reach them.
_OF_UV: Final = re.compile("INDEX|FIND_LINKS|INSECURE|TLS|CERT|CACHE|LINK_MODE|OFFLINE|HTTP|CONCURRENT|KEYRING|CONFIG")


class SetupError(Exception):
    """Something could not be set up; the text states what to do."""


def main(arguments: list[str]) -> int:
    """Run `local`, `tests`, `lock`, `clean`, `checkov`, `sam ...`, `audit ...` or `docs ...`."""
    work: dict[str, Callable[[], None]] = {
        "local": lambda: prepare("local"),
        "tests": lambda: prepare("tests"),
        "lock": lock,
        "clean": clean,
        "checkov": checkov,
    }
    if arguments[:1] == ["sam"]:
        work["sam"] = lambda: sam(arguments[1:])
    elif arguments[:1] == ["audit"]:
        work["audit"] = lambda: audit(arguments[1:])
    elif arguments[:1] == ["docs"]:
        work["docs"] = lambda: docs(arguments[1:])
    elif len(arguments) != 1 or arguments[0] not in work:
        sys.stderr.write(
            f"usage: python3 -m tools.setup {'|'.join(work)}|sam ARGUMENTS|audit ARGUMENTS|docs ARGUMENTS\n"
        )
        return 2
    try:
        work[arguments[0]]()
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{os_error_message(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def os_error_message(error: OSError) -> str:
    """Return one line for an error of the operating system: a folder that is not writable, a full disk."""
    where = f"{error.filename}: " if error.filename else ""
    return (
        f"{where}{error.strerror or error}. This folder ({ROOT}), the cache ({cache()}; XDG_CACHE_HOME names another) "
        "and the temporary folder (TMPDIR) must be writable, with space left."
    )


def prepare(kind: str) -> None:
    """Set up what `make run` (local) or `make test` (tests) needs; existing parts stay."""
    with exclusive(f"setup-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:16]}"):
        prepare_own(kind)
        prepare_functions()


# --- .venv -----------------------------------------------------------------------------------------------------------


def prepare_own(kind: str) -> None:
    """Create `.venv`. The tests' packages include the local stack's, and are never removed again."""
    stamp = read_stamp(VENV)
    if stamp.get("kind") == "tests":
        kind = "tests"
    lock_file = REQUIREMENTS / f"{kind}.txt"
    # Without the patch version: two shells whose Pythons differ in it must not recreate the environment in turns.
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    lock = digest(lock_file, REQUIREMENTS / "uv.txt")
    expected = {"kind": kind, "lock": lock, "python": version, "at": str(VENV), "linked": str(SIMULATOR)}
    python = VENV / "bin" / "python"
    if stamp == expected and python.exists():
        return
    probed = pythons.probe(python) if python.exists() else None
    if probed is None or probed[1] != sys.version_info[:2] or stamp.get("at", str(VENV)) != str(VENV):
        require_venv()
        with step(f"creating .venv with Python {platform.python_version()}"):
            shutil.rmtree(VENV, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(VENV)], "the virtual environment .venv could not be created")
    remove_stamp(VENV)
    with step(f"installing {count(lock_file)} packages into .venv (requirements/{kind}.txt)"):
        install_uv()
        # With byte-code: if PYTHONDONTWRITEBYTECODE is set, every process would compile every module again.
        options = ("--python", str(python), "--require-hashes", "--compile-bytecode")
        uv("pip", "sync", *options, str(lock_file), str(REQUIREMENTS / "uv.txt"))
    link_simulator(version)
    write_stamp(VENV, expected)


def link_simulator(version: str) -> None:
    """Make the simulator's package importable from its folder, as an editable install does, but without its build."""
    (VENV / "lib" / f"python{version}" / "site-packages" / "terra_simulator.pth").write_text(f"{SIMULATOR}\n")


def require_venv() -> None:
    """Raise an error with the packages to install if the machine's Python comes without venv or ensurepip."""
    if all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    message = (
        f"Python {version} lacks its module venv (or ensurepip). "
        f"Debian and Ubuntu: apt install python{version}-venv (or python3-venv); macOS: brew install python@{version}. "
        "Then try again."
    )
    raise SetupError(message)


def install_uv() -> None:
    """Install uv with pip; uv installs everything else about ten times faster."""
    expected = digest(REQUIREMENTS / "uv.txt")
    marker = VENV / "uv-lock"
    if marker.exists() and marker.read_text() == expected and (VENV / "bin" / "uv").exists():
        return
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(
        [*command, "--require-hashes", "-r", str(REQUIREMENTS / "uv.txt")],
        "pip could not install uv",
        pip_settings.environment(VENV / "bin" / "python"),
    )
    marker.write_text(expected)


# --- .venv-functions -------------------------------------------------------------------------------------------------


def prepare_functions() -> None:
    """Create `.venv-functions` with Lambda's Python if one is found, otherwise with this one."""
    lock_file = REQUIREMENTS / "functions.txt"
    stamp = read_stamp(FUNCTIONS_VENV)
    python = FUNCTIONS_VENV / "bin" / "python"
    same = stamp.get("lock") == digest(lock_file) and stamp.get("at") == str(FUNCTIONS_VENV) and python.exists()
    if same and stamp.get("is_lambda"):
        return
    found = pythons.find()
    interpreter = found or pythons.Interpreter(Path(sys.executable), platform.python_version())
    if same and not found:
        return
    where = "" if found else " (no Python 3.13, Lambda's own, was found)"
    with step(f"creating .venv-functions with Python {interpreter.version}{where}"):
        shutil.rmtree(FUNCTIONS_VENV, ignore_errors=True)
        uv("venv", "--quiet", "--no-project", "--python", str(interpreter.path), str(FUNCTIONS_VENV))
        # With byte-code: a worker's start is a cold start, and most of it is importing boto3.
        options = ("--python", str(python), "--require-hashes", "--compile-bytecode")
        uv("pip", "install", *options, "-r", str(lock_file))
    expected = {"lock": digest(lock_file), "at": str(FUNCTIONS_VENV), "version": interpreter.version}
    write_stamp(FUNCTIONS_VENV, {**expected, "is_lambda": "yes" if found else ""})


def functions_python() -> tuple[Path, str, Path]:
    """Return the functions' interpreter, its version and its folder of packages."""
    version = read_stamp(FUNCTIONS_VENV).get("version", "")
    packages = list((FUNCTIONS_VENV / "lib").glob("python3.*/site-packages"))
    if not version or not packages:
        message = "The functions' Python is missing: run `make run` or `make test`, which install it."
        raise SetupError(message)
    return FUNCTIONS_VENV / "bin" / "python", version, packages[0]


# --- further environments, in the cache ------------------------------------------------------------------------------


def tool_venv(name: str, what: str, *, interpreter: pythons.Interpreter | None = None) -> Path:
    """Return the bin folder of a tool's own environment in the cache, made on first use from its lock.

    Args:
        name: the lock's name.
        what: the tool, for the message about its installation.
        interpreter: the Python to make it with; by default this process's own.
    """
    lock_file = REQUIREMENTS / f"{name}.txt"
    python = interpreter or pythons.Interpreter(Path(sys.executable), platform.python_version())
    version = ".".join(python.version.split(".")[:2])
    place = cache() / "tools" / f"{name}-{version}-{digest(lock_file)[:16]}"
    if read_stamp(place):
        return place / "bin"
    with exclusive(f"tool-{name}"):
        if not read_stamp(place):
            with step(f"installing {what} ({count(lock_file)} packages, once, into {place})"):
                # Scripts contain the full path of their interpreter: create in place. The stamp marks it as complete.
                shutil.rmtree(place, ignore_errors=True)
                uv("venv", "--quiet", "--no-project", "--python", str(python.path), str(place))
                uv("pip", "install", "--python", str(place / "bin/python"), "--require-hashes", "-r", str(lock_file))
            write_stamp(place, {"lock": digest(lock_file)})
    return place / "bin"


def sam(arguments: list[str]) -> None:
    """Replace this process by the SAM CLI, installed on first use."""
    program = sam_program()
    # With any AWS key, even an invented one, SAM asks AWS for its owner; a missing profile makes it fail.
    environment = {name: value for name, value in everything().items() if not name.startswith("AWS_")}
    os.chdir(ROOT)
    os.execve(program, [str(program), *arguments], environment | sam_environment())  # noqa: S606  # SAM's own arguments


def checkov() -> None:
    """Replace this process by checkov on the templates; .checkov.yaml configures it. Installed on first use."""
    program = tool_venv("checkov", "checkov") / "checkov"
    os.chdir(ROOT)
    os.execve(program, [str(program), "--file", "template.yaml", "deployer.yaml"], everything())  # noqa: S606  # our own command line


def audit(arguments: list[str]) -> None:
    """Replace this process by `tools.audit` in an environment of its own, created on first use."""
    program = tool_venv("audit", "pip-audit") / "python"
    os.chdir(ROOT)
    os.execve(program, [str(program), "-m", "tools.audit", *arguments], everything())  # noqa: S606  # our own program


def docs(arguments: list[str]) -> None:
    """Replace this process by MkDocs, which builds the documentation site; a broken link is an error."""
    program = tool_venv("docs", "MkDocs") / "mkdocs"
    os.chdir(ROOT)
    # The variable disables a notice about a future version of MkDocs.
    environment = everything() | {"NO_MKDOCS_2_WARNING": "1"}
    os.execve(program, [str(program), "build", "--strict", "--quiet", *arguments], environment)  # noqa: S606  # our own command line


def sam_program() -> Path:
    """Return the SAM CLI, installed on first use."""
    return tool_venv("sam", "AWS SAM CLI") / "sam"


def sam_environment() -> dict[str, str]:
    """Return the variables that the SAM CLI gets in addition to the user's environment."""
    home = cache() / "sam"
    home.mkdir(parents=True, exist_ok=True)
    # SAM checks for a newer version once a week; this file makes the check look recent.
    (home / "metadata.json").write_text(json.dumps({"lastVersionCheck": time.time(), "telemetryEnabled": False}))
    # The layers' makefiles install with the pip of .venv. If there is a Python 3.13, SAM should find it.
    found = pythons.find()
    path = [str(VENV / "bin"), variable("PATH", os.defpath), *([str(found.path.parent)] if found else [])]
    return {
        "__SAM_CLI_APP_DIR": str(home),
        "SAM_CLI_TELEMETRY": "0",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PATH": os.pathsep.join(path),
        # The layers' makefiles find the project by this variable; make cannot name a folder with a space in it.
        "TERRA_CONNECTIONS_ROOT": str(ROOT),
    }


# --- other commands --------------------------------------------------------------------------------------------------


def lock() -> None:
    """Write every lock anew; --universal makes them valid for every supported Python and system."""
    prepare_own("local")
    os.chdir(ROOT)
    # Lambda's packages come first: the other locks use their versions.
    names = [
        *(folder / "requirements" for folder in [*DEPENDENCIES, *BENCHMARKS, *EXAMPLES]),
        *(REQUIREMENTS / name for name in LOCKS),
    ]
    for name in names:
        source, target = (f"{name.relative_to(ROOT)}.{suffix}" for suffix in ("in", "txt"))
        with step(f"locking {target}"):
            options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
            options += ["--no-annotate", "--quiet", "--custom-compile-command", "make lock"]
            uv("pip", "compile", *options, *shlex.split(variable("LOCK_OPTIONS")), source, "--output-file", target)


def clean() -> None:
    """Delete the local stack's data and the build output; the environments and the cache stay."""
    directory = ROOT / ".local"
    if directory.exists():
        with (directory / "lock").open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = "make run is still running in this folder: stop it first (Ctrl-C), then run make clean."
                raise SetupError(message) from None
            shutil.rmtree(directory)
    for name in (".aws-sam", "build", "test-artifacts", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    say("Deleted local data, keys and build output. (.venv, .venv-functions and the cache were kept.)")


# --- helpers ---------------------------------------------------------------------------------------------------------


def uv(*arguments: str) -> None:
    """Run uv with the user's configuration; if it fails, print one line after uv's own last lines."""
    command = [str(VENV / "bin" / "uv"), *arguments]
    run(command, "uv could not install the packages: check the network connection", uv_environment())


def uv_environment() -> dict[str, str]:
    """Return uv's environment. uv does not read pip's configuration, so pip's settings apply if uv has none.

    Of uv's own variables, only those that name package sources and how to reach them are kept. This program decides
    which packages are installed, and into which environment.
    """
    environment = {
        name: value for name, value in everything().items() if not name.startswith("UV_") or _OF_UV.search(name)
    }
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        environment.pop(name, None)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    config_home = Path(variable("XDG_CONFIG_HOME", str(home() / ".config")))
    configured = any(name.startswith("UV_") and "INDEX" in name for name in environment) or any(
        file.exists() for file in (config_home / "uv" / "uv.toml", Path("/etc/uv/uv.toml"), ROOT / "uv.toml")
    )
    return environment if configured else {**pip_configuration(), **environment}


def pip_configuration() -> dict[str, str]:
    """Return pip's configured package sources as uv's variables."""
    values = pip_settings.read(VENV / "bin" / "python")
    variables = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "trusted-host": "UV_INSECURE_HOST",
        "cert": "SSL_CERT_FILE",
    }
    translated = {variables[name]: value for name, value in values.items() if name in variables and value}
    # pip treats all indexes alike; the locks' hashes decide which files are accepted.
    return {**translated, "UV_INDEX_STRATEGY": "unsafe-best-match"} if "UV_INDEX" in translated else translated


def run(command: list[str], trouble: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a command quietly; if it fails, report it in one line after its own last lines."""
    done = subprocess.run(  # noqa: S603  # our own command lines
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        last = "\n".join(f"    {line}" for line in done.stdout.strip().splitlines()[-LAST_LINES:])
        message = f"{last}\n{trouble} ({shlex.join(command[:4])} ... ended with {done.returncode})"
        raise SetupError(message)


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold a lock, so that only one process on this machine runs the block at a time."""
    place = cache() / "locks"
    try:
        place.mkdir(parents=True, exist_ok=True)
        file = (place / name).open("w")
    except OSError as error:
        message = (
            f"The cache {cache()} cannot be written ({error.strerror}): change its owner, or set another folder with "
            "XDG_CACHE_HOME."
        )
        raise SetupError(message) from None
    with file as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("  waiting for another make with the same setup ...")
            began = time.monotonic()
            fcntl.flock(held, fcntl.LOCK_EX)
            say(f"    waited {time.monotonic() - began:.0f} s")
        yield


def digest(*files: Path) -> str:
    """Return a hash over the files' content."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def count(lock_file: Path) -> int:
    """Return how many packages a lock names."""
    return sum("==" in line and not line.startswith((" ", "#")) for line in lock_file.read_text().splitlines())


def read_stamp(place: Path) -> dict[str, str]:
    """Return the stamp of a finished environment; empty if there is none."""
    try:
        stamp: dict[str, str] = json.loads((place / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def write_stamp(place: Path, stamp: Mapping[str, str]) -> None:
    """Mark an environment as finished, in one step."""
    new = place / f"{STAMP}.new"
    new.write_text(json.dumps(stamp))
    new.replace(place / STAMP)


def remove_stamp(place: Path) -> None:
    """Mark an environment as being changed."""
    (place / STAMP).unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
