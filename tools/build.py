"""Build the layers that SAM deploys, and report the contents of all artefacts. The layers' makefiles call this.

Runs under the Python of the machine, with the standard library and pip only. Layers contain byte-code if a Python
of Lambda's version is found. Without it, every cold start compiles what it imports, because layers are read-only. The
byte-code is never compared with its source (unchecked-hash), whatever times the files have.

The same locks and sources give byte-identical artefacts on every machine with the same Python 3.13.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tools import pip_settings, pythons
from tools.environment import ROOT, everything, variable
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUILT: Final = ROOT / ".aws-sam" / "build"
LAYER: Final = "/opt/python"
"""The folder of a layer's packages in Lambda. A layer's artefact has them in `python/`."""
RUNTIME: Final = ".".join(map(str, pythons.LAMBDA))

# Lambda runs Amazon Linux 2023, with glibc 2.34.
_PLATFORMS: Final = ("manylinux_2_28", "manylinux2014")
_SOURCE_ONLY: Final = re.compile(r"\.pyi$|/py\.typed$|(^|/)tests?/|^bin/|/zip-safe$")
_METADATA: Final = re.compile(
    r"\.dist-info/(METADATA|entry_points\.txt|licenses/.*|(LICEN[CS]E|NOTICE|COPYING|AUTHORS)[^/]*)$", re.IGNORECASE
)
"""The metadata files to keep: name, entry points, licence. RECORD and WHEEL would no longer be correct."""
_EVERY_SERVICE: Final = {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}
_MODEL: Final = re.compile(r"/(service-2(\.sdk-extras)?|endpoint-rule-set-1|paginators-1(\.sdk-extras)?)\.json(\.gz)?$")
_NOTICE: Final = """These files are botocore's, reduced by Terra Connections' build: services that it does not use,
documentation in the models, waiters and examples are left out, and nothing is compressed twice.
"""
_LONG_AGO: Final = 315_619_200  # 2 January 1980: ZIP's first day is the 1st, so this is valid in any time zone


class BuildError(Exception):
    """An artefact could not be built; the text states the reason."""


class Content(NamedTuple):
    """The contents of an artefact; sizes are in bytes."""

    files: int
    size: int
    zipped: int
    digest: str
    byte_code: int


def main(arguments: Sequence[str]) -> int:
    """Run `packages`, `own` or `report`."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.build")
    work = parser.add_subparsers(dest="work", required=True)
    packages = work.add_parser("packages", help="build a layer of third-party packages")
    packages.add_argument("--requirements", type=Path, required=True, help="a lock with hashes")
    packages.add_argument("--architectures", nargs="+", required=True, choices=["aarch64", "x86_64"])
    packages.add_argument("--aws-services", nargs="+", help="the AWS services that botocore supports; all by default")
    packages.add_argument("--to", type=Path, required=True)
    packages.add_argument(
        "--beside", type=Path, nargs="+", default=[], help="files of this project to put beside the packages"
    )
    own = work.add_parser("own", help="build a layer or a function from this project's code")
    own.add_argument("--source", type=Path, required=True)
    own.add_argument("--installed-at", required=True, help="its path in Lambda")
    own.add_argument("--to", type=Path, required=True)
    work.add_parser("report", help="list the contents of the artefacts")
    options = parser.parse_args(arguments)
    try:
        match options.work:
            case "packages":
                make_packages(options.requirements, options.to, options.architectures, options.aws_services)
                copy_beside(options.to, options.beside)
            case "own":
                make_own(options.source, options.to, options.installed_at)
            case _:
                report()
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


# --- building --------------------------------------------------------------------------------------------------------


def make_packages(lock: Path, target: Path, architectures: Sequence[str], services: Sequence[str] | None) -> None:
    """Install a lock's packages for one or more architectures, checked against its hashes, without unused files.

    Args:
        lock: Names packages and their hashes.
        target: The folder to put the modules in.
        architectures: `aarch64` or `x86_64`, or both for a layer that runs on both.
        services: The AWS services whose models botocore needs; None keeps all.
    """
    if not pythons.find():
        say(f"No Python {RUNTIME} was found: the artefacts contain no byte-code, and cold starts will be slower.")
    target.mkdir(parents=True, exist_ok=True)
    for architecture in architectures:
        with tempfile.TemporaryDirectory() as scratch:
            installed = Path(scratch)
            install(lock, installed, architecture)
            prune(installed, services)
            merge(installed, target)
    if services is not None:
        reduce_botocore(target, services)
    finish(target, LAYER)


def copy_beside(target: Path, own: Sequence[Path]) -> None:
    """Copy project files into the layer, beside its packages folder: Lambda has them in /opt."""
    for path in own:
        set_metadata(Path(shutil.copyfile(path, target.parent / path.name)))


def make_own(source: Path, target: Path, installed_at: str) -> None:
    """Copy the project's own modules, and the text files that they read."""
    for path in sorted(source.rglob("*")):
        if path.suffix in {".json", ".py"} or path.name == "py.typed":
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    finish(target, installed_at)


def install(lock: Path, target: Path, architecture: str) -> None:
    """Install wheels for Lambda with pip. SAM's own builder does not check hashes for another architecture."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    command += ["--no-compile", "--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={RUNTIME}", *(f"--platform={name}_{architecture}" for name in _PLATFORMS)]
    command += ["--requirement", str(lock), "--target", str(target)]
    environment = pip_settings.environment(sys.executable)
    if subprocess.run(command, check=False, env=environment).returncode:  # noqa: S603  # our own command line
        message = f"pip could not install {lock} for {architecture}."
        raise BuildError(message)
    # The file name of a stable-ABI module lacks the architecture; Python prefers a name that has it.
    for module in target.rglob("*.abi3.so"):
        name = module.name.removesuffix(".abi3.so")
        module.rename(module.with_name(f"{name}.cpython-{RUNTIME.replace('.', '')}-{architecture}-linux-gnu.so"))


def prune(folder: Path, services: Sequence[str] | None) -> None:
    """Remove files that Lambda does not need, and the models of other AWS services."""
    for path in files(folder):
        name = path.relative_to(folder).as_posix()
        if not is_needed(name, services):
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for service in services or ():
        versions = sorted((folder / "botocore" / "data" / service).glob("*"))
        if not versions:
            message = f"botocore has no service {service!r}."
            raise BuildError(message)
        # botocore uses the newest version unless the caller names another.
        for old in versions[:-1]:
            shutil.rmtree(old)


def is_needed(name: str, services: Sequence[str] | None) -> bool:
    """Return whether Lambda needs a file, by its path within the layer."""
    if _SOURCE_ONLY.search(name):
        return False
    package, _, rest = name.partition("/")
    if package.endswith(".dist-info"):
        return bool(_METADATA.search(name))
    if services is not None and package in {"boto3", "botocore"} and rest.startswith("data/"):
        service = rest.split("/")[1]
        return service in _EVERY_SERVICE or (service in services and (package == "boto3" or bool(_MODEL.search(name))))
    return True


def merge(installed: Path, target: Path) -> None:
    """Add the packages installed for another architecture to the target folder.

    Raises:
        BuildError: A file is not the same for both. The names of most extension modules carry the architecture.
    """
    for path in files(installed):
        copy = target / path.relative_to(installed)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, copy)
        elif copy.read_bytes() != path.read_bytes():
            message = f"{path.relative_to(installed)} differs between the architectures: build one layer for each."
            raise BuildError(message)


def reduce_botocore(folder: Path, services: Sequence[str]) -> None:
    """Write botocore's models uncompressed and without their documentation, and drop entries of other services.

    Reading these files is a third of the time that creating a client takes. The removed parts do not affect requests
    or responses: tests/artifacts compares the requests with those of the unmodified botocore.
    """
    place = folder / "botocore" / "data"
    for path in [*place.rglob("*.json"), *place.rglob("*.json.gz")]:
        content = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        if path.name == "endpoints.json":
            for partition in content["partitions"]:
                known = partition["services"]
                partition["services"] = {name: known[name] for name in services if name in known}
        path.unlink()
        plain = path.with_suffix("") if path.suffix == ".gz" else path
        plain.write_text(json.dumps(undocumented(content), separators=(",", ":"), ensure_ascii=False))
    (place / "REDUCED.txt").write_text(_NOTICE)


def undocumented(content: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without texts named documentation; a member with that name that is not a text stays.

    botocore requires the texts of `clientContextParams`, which the model of S3 has.
    """
    if isinstance(content, list):
        return [undocumented(value) for value in content]
    if isinstance(content, dict):
        return {
            name: value if name == "clientContextParams" else undocumented(value)
            for name, value in content.items()
            if not (name == "documentation" and isinstance(value, str))
        }
    return content


def finish(folder: Path, installed_at: str) -> None:
    """Compile every module, and give every file the same permissions and timestamp.

    Raises:
        BuildError: REQUIRE_ALL=1 requires byte-code, and no matching Python was found to compile it.
    """
    python = pythons.find()
    if python:
        # Tracebacks contain Lambda's paths, and the byte-code does not depend on the build folder.
        command = [str(python.path), "-I", "-m", "compileall", "-q", "-f", "--invalidation-mode=unchecked-hash"]
        command += ["-s", str(folder), "-p", installed_at, str(folder)]
        if subprocess.run(command, check=False, env={**everything(), "PYTHONHASHSEED": "0"}).returncode:  # noqa: S603
            message = f"{folder} could not be compiled."
            raise BuildError(message)
    elif variable("REQUIRE_ALL") == "1":
        message = f"No Python {RUNTIME} was found, and REQUIRE_ALL=1 requires byte-code in the artefacts."
        raise BuildError(message)
    for path in [*folder.rglob("*"), folder]:
        set_metadata(path)


def set_metadata(path: Path) -> None:
    """Set the permissions and timestamp of a file or folder in an artefact."""
    path.chmod(0o755 if path.is_dir() else 0o644)
    os.utime(path, (_LONG_AGO, _LONG_AGO))


# --- reporting -------------------------------------------------------------------------------------------------------


def files(folder: Path) -> Iterator[Path]:
    """Yield every file of a folder, always in the same order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def content(folder: Path) -> Content:
    """Return the contents of an artefact. The digest covers names and bytes."""
    digest, archive = hashlib.sha256(), io.BytesIO()
    count = size = byte_code = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files(folder):
            name, text = path.relative_to(folder).as_posix(), path.read_bytes()
            zipped.writestr(name, text)
            digest.update(f"{name}\0{len(text)}\0".encode() + text)
            count, size, byte_code = count + 1, size + len(text), byte_code + (path.suffix == ".pyc")
    return Content(count, size, len(archive.getvalue()), digest.hexdigest(), byte_code)


def contents(built: Path = BUILT) -> dict[str, Content]:
    """Return the contents of every artefact of a build, by logical id.

    Raises:
        BuildError: Nothing has been built.
    """
    found = {folder.name: content(folder) for folder in sorted(built.glob("*")) if folder.is_dir()}
    if not found:
        message = "Nothing is built: run make build first."
        raise BuildError(message)
    return found


def digest_of(found: dict[str, Content]) -> str:
    """Return one hash for everything that would be deployed."""
    return hashlib.sha256("".join(f"{name} {found[name].digest}\n" for name in sorted(found)).encode()).hexdigest()


def report() -> None:
    """Print the contents of every artefact, and the hash of all of them."""
    found = contents()
    for name, artefact in found.items():
        code = f"{artefact.byte_code} modules compiled" if artefact.byte_code else "no byte-code"
        sizes = f"{artefact.size / 1e6:8.3f} MB {artefact.zipped / 1e6:7.3f} zipped"
        say(f"{name:24} {sizes}  {code:20} sha256:{artefact.digest[:16]}")
    say(f"total: sha256:{digest_of(found)}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
