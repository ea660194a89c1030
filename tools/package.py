"""`make package`: make what is released from what `make build` built.

build/package/ then has the archive of the artefacts, which `sam deploy` and `make deploy-package` deploy, and
SHA256SUMS. The same build gives the same bytes. With BUCKET the code is uploaded by `sam package`, too, and
packaged.yaml refers to it: for `sam publish` (AWS Serverless Application Repository).
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from tools import build, setup
from tools.deploy import MARK
from tools.environment import ROOT, everything
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUILT: Final = build.BUILT
PLACE: Final = ROOT / "build" / "package"
BESIDE: Final = ("LICENSE", "README.md", "samconfig.toml", "deployer.yaml")
"""Files of the project in the archive. The template names the first two, by their paths from .aws-sam/build."""
SUMS: Final = "SHA256SUMS"
TEMPLATE: Final = "template.yaml"
_FROM_BUILT: Final = "../../"
_LONG_AGO: Final = (1980, 1, 2, 0, 0, 0)
_FILE: Final = 0o100644


class PackageError(Exception):
    """Nothing could be packaged; the text states what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `archive` or `unpack`."""
    parser = argparse.ArgumentParser(prog="make package", description=__doc__)
    work = parser.add_subparsers(dest="work", required=True)
    archive = work.add_parser("archive", help="make the archive and, with a bucket, the packaged template")
    archive.add_argument("--bucket", help="an S3 bucket for the code")
    archive.add_argument("--region", help="its region; by default that of your AWS configuration")
    work.add_parser("unpack", help="verify the archive and replace .aws-sam/build by its contents")
    options = parser.parse_args(arguments)
    try:
        if options.work == "unpack":
            unpack(PLACE, BUILT)
            return 0
        path = make_archive(BUILT, PLACE)
        say(f"{path.relative_to(ROOT)}  sha256:{digest(path)}")
        if options.bucket:
            return upload(options.bucket, options.region)
    except (PackageError, setup.SetupError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    say("The code was not uploaded: for sam publish, run make package BUCKET=<a bucket> (REGION=<its region>).")
    return 0


def version() -> str:
    """Return the project's version."""
    project: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return project


def make_archive(built: Path, place: Path) -> Path:
    """Write the archive and its checksum into an empty folder.

    Raises:
        PackageError: nothing is built.
    """
    if not (built / TEMPLATE).is_file():
        message = "Nothing is built: run make build first."
        raise PackageError(message)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    path = place / f"terra-connections-{version()}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents(built):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = _FILE << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    (place / SUMS).write_text(f"{digest(path)}  {path.name}\n")
    return path


def contents(built: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the archive's files: the artefacts, the template, and what it names."""
    for name in BESIDE:
        yield name, (ROOT / name).read_bytes()
    for path in build.files(built):
        if path.name == MARK:  # a stage's, written by make deploy
            continue
        content = path.read_bytes()
        if path == built / TEMPLATE:
            content = content.replace(_FROM_BUILT.encode(), b"")
        yield path.relative_to(built).as_posix(), content


def unpack(place: Path, built: Path) -> None:
    """Replace the build by the archive's, after a check of its checksum.

    Raises:
        PackageError: there is no archive, or it is not the one that the checksum was made of.
    """
    try:
        expected, name = (place / SUMS).read_text().split()
        path = place / PurePosixPath(name).name
        actual = digest(path)
    except (OSError, ValueError):
        message = f"{place} has no archive with {SUMS}: run make package first, or put both there."
        raise PackageError(message) from None
    if actual != expected:
        message = f"{path} is not the archive of {SUMS}: its sha256 is {actual}, and {expected} was expected."
        raise PackageError(message)
    shutil.rmtree(built, ignore_errors=True)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(built)
    for name in BESIDE:
        (built / name).unlink()
    template = built / TEMPLATE
    text = template.read_bytes()
    for name in ("LICENSE", "README.md"):
        text = text.replace(f"Url: {name}\n".encode(), f"Url: {_FROM_BUILT}{name}\n".encode())
    template.write_bytes(text)
    say(f"{built.relative_to(ROOT)} is the build of {path.name}, sha256:{actual}")


def upload(bucket: str, region: str | None) -> int:
    """Upload the code with `sam package`, and return its exit status."""
    target = PLACE / "packaged.yaml"
    # With the user's own AWS configuration, as make deploy.
    ours = {name: value for name, value in setup.sam_environment().items() if not name.startswith("AWS_")}
    command = [str(setup.sam_program()), "package", "--template-file", str(BUILT / TEMPLATE), "--s3-bucket", bucket]
    command += ["--s3-prefix", f"terra-connections-{version()}", "--output-template-file", str(target)]
    command += ["--region", region] if region else []
    return subprocess.run(command, cwd=ROOT, env=everything() | ours, check=False).returncode  # noqa: S603 - SAM


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
