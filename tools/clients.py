"""The typed clients in clients/: generate their types, check that these are up to date, and build the packages.

The types come from one document: the schemas of openapi.yaml, of clients/events.yaml and of docs/events.md.
datamodel-code-generator makes the Python ones, openapi-typescript those of TypeScript. Both are installed into the
cache on first use, from locks with hashes. The synchronous Python client is made from the asynchronous one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tools import setup
from tools.environment import ROOT, cache, everything
from tools.progress import say, step

if TYPE_CHECKING:
    from collections.abc import Sequence

PYTHON: Final = ROOT / "clients" / "python"
TYPESCRIPT: Final = ROOT / "clients" / "typescript"
COMPONENT: Final = ROOT / "clients" / "component"
PLACE: Final = ROOT / "build" / "clients"
SOURCE: Final = PYTHON / "src" / "terra_connections_client"
ASYNC_CLIENT: Final = SOURCE / "async_client.py"
SYNC: Final = (
    (r"\basync (def|for|with) ", r"\1 "),
    (r"\bawait ", ""),
    (r"\bAsync(Terra|Client|Iterator|\w+Transport)", r"\1"),
    (r"\baclose\b", "close"),
    (r"\b__a(enter|exit|iter)__", r"__\1__"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bimport asyncio\b", "import time"),
    (r"\basynchronous\b", "synchronous"),
)
"""What differs between the asynchronous client and the synchronous one."""
_SCHEMA_PREFIX: Final = "#/components/schemas/"


class ClientsError(Exception):
    """The clients could not be generated, checked or built; the text states what to do."""


@dataclass(frozen=True)
class Node:
    """Node.js, and a folder with the packages of clients/typescript/package-lock.json."""

    program: Path
    modules: Path

    def command(self, package: str, path: str, *arguments: str) -> list[str]:
        """Return the command line of a package's program."""
        return [str(self.program), str(self.modules / package / path), *arguments]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `generate`, `check` or `package`."""
    parser = argparse.ArgumentParser(prog="python -m tools.clients", description=__doc__)
    parser.add_argument("work", choices=("generate", "check", "package"))
    work = {"generate": generate, "check": check, "package": package}
    try:
        work[parser.parse_args(arguments).work]()
    except (ClientsError, setup.SetupError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


# --- types -----------------------------------------------------------------------------------------------------------


def generate() -> None:
    """Write the generated files of both clients."""
    for path, text in generated().items():
        path.write_text(text)
        say(str(path.relative_to(ROOT)))


def check() -> None:
    """Check the generated files, and the types of the TypeScript client.

    Raises:
        ClientsError: a file is not up to date, or a type is wrong.
    """
    stale = [str(path.relative_to(ROOT)) for path, text in generated().items() if path.read_text() != text]
    if stale:
        message = f"not up to date, run make clients: {', '.join(stale)}"
        raise ClientsError(message)
    compiler = node().command("typescript", "bin/tsc", "--project", str(TYPESCRIPT), "--noEmit")
    run(compiler, "clients/typescript does not compile")


def generated() -> dict[Path, str]:
    """Return the text of each generated file."""
    with tempfile.TemporaryDirectory() as scratch:
        document = Path(scratch) / "types.json"
        document.write_text(json.dumps(types_document()))
        return {
            SOURCE / "models.py": python_models(document),
            SOURCE / "client.py": synchronous(ASYNC_CLIENT.read_text()),
            TYPESCRIPT / "src" / "schema.ts": typescript_types(document),
        }


def types_document() -> dict[str, Any]:
    """Return an OpenAPI document with the schemas of the API and of the events, and nothing else."""
    api = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    events = yaml.safe_load((ROOT / "clients" / "events.yaml").read_text())
    text = (ROOT / "docs" / "events.md").read_text()
    found = re.search(r"^## Schema of the detail\n+```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if not found:
        message = "docs/events.md has no schema under the heading Schema of the detail"
        raise ClientsError(message)
    # The connection of an event has an owner always, so it is another type than that of the API.
    names = {"Connection": "EventConnection", "Ids": "ConnectionIds", "Repair": "Repair", "RepairBody": "RepairBody"}
    changed = json.loads(re.sub(r"#/\$defs/(\w+)", lambda reference: _SCHEMA_PREFIX + names[reference[1]], found[1]))
    inner = changed.pop("$defs")
    changed = {name: value for name, value in changed.items() if name not in {"$schema", "title", "if", "then"}}
    event_type = changed["properties"]["type"]
    changed["properties"]["type"] = {"$ref": f"{_SCHEMA_PREFIX}ConnectionEventType"}
    schemas = {
        **api["components"]["schemas"],
        "ConnectionEventType": event_type,
        **{names[name]: schema for name, schema in inner.items()},
        "ConnectionChanged": changed,
        **events,
    }
    return {"openapi": "3.1.0", "info": api["info"], "paths": {}, "components": {"schemas": schemas}}


def python_models(document: Path) -> str:
    """Return the Python types: TypedDicts, which accept what a newer API adds."""
    program = setup.tool_venv("clients", "datamodel-code-generator") / "datamodel-codegen"
    target = document.with_suffix(".py")
    options = ["--input-file-type", "openapi", "--output-model-type", "typing.TypedDict"]
    options += ["--target-python-version", "3.11", "--use-standard-collections", "--use-union-operator"]
    options += ["--enum-field-as-literal", "all", "--use-schema-description", "--use-field-description"]
    options += ["--no-use-closed-typed-dict", "--disable-timestamp", "--formatters", "builtin"]
    options += ["--custom-file-header", '"""The types of the API and of its events. Generated: run make clients."""']
    run([str(program), "--input", str(document), "--output", str(target), *options], "the models were not generated")
    return target.read_text()


def typescript_types(document: Path) -> str:
    """Return the TypeScript types."""
    target = document.with_suffix(".ts")
    options = ["--output", str(target), "--root-types", "--root-types-no-schema-prefix", "--enum-values"]
    run(node().command("openapi-typescript", "bin/cli.js", str(document), *options), "the types were not generated")
    return target.read_text()


def synchronous(text: str) -> str:
    """Return the synchronous client, made from the asynchronous one."""
    for pattern, replacement in SYNC:
        text = re.sub(pattern, replacement, text)
    return text


# --- packages --------------------------------------------------------------------------------------------------------


def package() -> None:
    """Build the wheel and the npm packages into build/clients/, and list them."""
    shutil.rmtree(PLACE, ignore_errors=True)
    for path in (build_wheel(PLACE), build_npm_package(PLACE), build_component_package(PLACE)):
        say(f"{path.relative_to(ROOT)}  sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


def build_wheel(place: Path) -> Path:
    """Build the wheel of the Python client. uv contains the build backend: nothing is downloaded."""
    command = [str(setup.VENV / "bin" / "uv"), "build", "--offline", "--quiet", "--wheel", "--out-dir", str(place)]
    run([*command, str(PYTHON)], "the wheel was not built")
    [wheel] = place.glob("*.whl")
    return wheel


def build_npm_package(place: Path) -> Path:
    """Build the npm package of the TypeScript client."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "client"
        shutil.copytree(TYPESCRIPT, folder)
        compile_typescript(folder)
        return pack(folder, place)


def build_component_package(place: Path) -> Path:
    """Build the npm package of the component, which is shipped as it is."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "component"
        shutil.copytree(COMPONENT, folder)
        return pack(folder, place)


def pack(folder: Path, place: Path) -> Path:
    """Pack a folder with the licence as an npm package, and return its path."""
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "LICENSE", folder)
    command = [str(npm()), "pack", str(folder), "--pack-destination", str(place), "--ignore-scripts", "--offline"]
    run(command, "the npm package was not built")
    manifest = json.loads((folder / "package.json").read_text())
    name = manifest["name"].removeprefix("@").replace("/", "-")
    return place / f"{name}-{manifest['version']}.tgz"


def compile_typescript(folder: Path) -> None:
    """Compile a copy of the TypeScript client into its folder dist."""
    run(node().command("typescript", "bin/tsc", "--project", str(folder)), "clients/typescript does not compile")


# --- Node.js ---------------------------------------------------------------------------------------------------------


def npm() -> Path:
    """Return npm, installed on first use."""
    return setup.tool_venv("node", "Node.js") / "npm"


def node() -> Node:
    """Return Node.js with the locked packages, installed into the cache on first use."""
    program = setup.tool_venv("node", "Node.js") / "node"
    lock = TYPESCRIPT / "package-lock.json"
    place = cache() / "tools" / f"npm-{setup.digest(lock)[:16]}"
    if not setup.read_stamp(place):
        with setup.exclusive("npm"):
            if not setup.read_stamp(place):
                install_packages(place)
                setup.write_stamp(place, {"lock": setup.digest(lock)})
    return Node(program, place / "node_modules")


def install_packages(place: Path) -> None:
    """Install what package-lock.json names, with a check of each package's integrity and without their scripts."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(TYPESCRIPT / name, place)
    command = [str(npm()), "ci", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund"]
    with step(f"installing the packages of clients/typescript (once, into {place})"):
        run(command, "npm could not install the packages: check the network connection")


def run(command: Sequence[str], trouble: str) -> None:
    """Run a command; if it fails, report it after its own last lines."""
    done = subprocess.run(  # noqa: S603  # our own command lines
        command, env=everything(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        last = "\n".join(f"    {line}" for line in done.stdout.strip().splitlines()[-setup.LAST_LINES :])
        message = f"{last}\n{trouble} ({Path(command[0]).name} ended with {done.returncode})"
        raise ClientsError(message)


if __name__ == "__main__":
    raise SystemExit(main())
