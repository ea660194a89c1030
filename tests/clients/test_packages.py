"""The clients' generated files are up to date, their packages install on their own, and their types reject mistakes."""

import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from terra_connections.redirects.language import LANGUAGES
from tests.support.documents import blocks
from tools import clients, package, setup
from tools.environment import everything

NAMES = "TerraConnections, TerraConnectionsError, "


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=everything(), capture_output=True, text=True, check=False)


def test_the_generated_files_are_up_to_date() -> None:
    stale = [path.name for path, text in clients.generated().items() if path.read_text() != text]
    assert stale == [], "run make clients"


def test_a_stale_file_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "models.py"
    stale.write_text("old")
    monkeypatch.setattr(clients, "ROOT", tmp_path)
    monkeypatch.setattr(clients, "generated", lambda: {stale: "new"})
    assert clients.main(["check"]) == 1
    assert capsys.readouterr().err == "not up to date, run make clients: models.py\n"


def test_the_clients_have_the_version_of_the_project() -> None:
    python = tomllib.loads((clients.PYTHON / "pyproject.toml").read_text())["project"]["version"]
    typescript = json.loads((clients.TYPESCRIPT / "package.json").read_text())["version"]
    component = json.loads((clients.COMPONENT / "package.json").read_text())["version"]
    assert python == typescript == component == package.version()


def test_the_lock_of_npm_names_no_registry() -> None:
    lock = json.loads((clients.TYPESCRIPT / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert "integrity" in entry, name
        assert "resolved" not in entry, name


def test_the_wheel_is_imported_in_an_environment_of_its_own(tmp_path: Path) -> None:
    wheel = clients.build_wheel(tmp_path / "wheels")
    python = tmp_path / "venv" / "bin" / "python"
    setup.uv("venv", "--quiet", "--no-project", "--python", sys.executable, str(tmp_path / "venv"))
    # httpx in the version of the lock.
    setup.uv(
        "pip", "install", "--python", str(python), "--constraint", str(setup.REQUIREMENTS / "tests.txt"), str(wheel)
    )
    program = f"from terra_connections_client import {NAMES} AsyncTerraConnections, models; print(models.__file__)"
    done = run(python, "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    place = Path(done.stdout.strip()).parent
    assert place.is_relative_to(tmp_path / "venv")
    assert (place / "py.typed").exists()


def test_the_npm_package_is_imported_on_its_own(tmp_path: Path) -> None:
    tarball = clients.build_npm_package(tmp_path / "packages")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    options = ("--offline", "--ignore-scripts", "--no-audit", "--no-fund")
    installed = run(clients.npm(), "install", *options, tarball, cwd=tmp_path)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    (tmp_path / "main.js").write_text(
        f"import {{ {NAMES} readEvent }} from '@terra-connections/client'; console.log(TerraConnections.name);"
    )
    done = run(clients.node().program, "main.js", cwd=tmp_path)
    assert done.stdout == "TerraConnections\n", done.stderr
    files = {path.name for path in (tmp_path / "node_modules/@terra-connections/client").iterdir()}
    assert files == {"LICENSE", "README.md", "dist", "package.json"}


def test_the_package_of_the_component_has_its_files_only(tmp_path: Path) -> None:
    tarball = clients.build_component_package(tmp_path)
    with tarfile.open(tarball) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
        main = archive.extractfile("package/terra-connect.js")
        assert main
        assert main.read() == (clients.COMPONENT / "terra-connect.js").read_bytes()
    languages = {f"languages/{language}.js" for language in LANGUAGES if language != "en"}
    assert names == {"LICENSE", "README.md", "package.json", "terra-connect.d.ts", "terra-connect.js"} | languages


PYTHON_TYPES = """
from terra_connections_client import Event, TerraConnectionsError

def handle(error: TerraConnectionsError, event: Event) -> int:
    if error.code == "sdk_only_provider":
        return 1
    if event["detail-type"] == "data_received":
        return event["detail"]["bytes"]
    return 0
"""
TYPESCRIPT_TYPES = """
import { type Event, TerraConnectionsError } from "./index.js";

export function handle(error: TerraConnectionsError, event: Event): number {
  if (error.code === "sdk_only_provider") {
    return 1;
  }
  return event["detail-type"] === "data_received" ? event.detail.bytes : 0;
}
"""


@pytest.mark.parametrize(
    ("right", "wrong"), [("sdk_only_provider", "sdk_only_providers"), ("bytes", "position_"), ("", "")]
)
def test_a_type_checker_rejects_a_code_or_a_field_that_does_not_exist(tmp_path: Path, right: str, wrong: str) -> None:
    is_right = not right
    python = python_checked(tmp_path, PYTHON_TYPES.replace(right, wrong) if right else PYTHON_TYPES)
    assert (python.returncode == 0) is is_right, python.stdout + python.stderr
    typescript = typescript_checked(tmp_path, TYPESCRIPT_TYPES.replace(right, wrong) if right else TYPESCRIPT_TYPES)
    assert (typescript.returncode == 0) is is_right, typescript.stdout


def python_checked(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Check the types of a program that uses the Python client."""
    program = tmp_path / "program.py"
    program.write_text(text)
    return run(sys.executable, "-m", "mypy", "--strict", "--config-file", "", program, cwd=clients.SOURCE.parent)


def typescript_checked(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Check the types of a program in the source folder of the TypeScript client."""
    source = tmp_path / "src"
    shutil.copytree(clients.TYPESCRIPT / "src", source)
    (source / "program.ts").write_text(text)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(clients.TYPESCRIPT / name, tmp_path)
    compiler = clients.node().command("typescript", "bin/tsc", "--project", str(tmp_path), "--noEmit")
    return run(*compiler, cwd=tmp_path)


COMPONENT_TYPES = """
import type { TerraConnectElement } from "./terra-connect.js";

const element: TerraConnectElement = document.createElement("terra-connect");
element.getToken = async () => "token";
element.connected = ["FITBIT"];
element.addEventListener("terra-session", ({ detail }) => sessionStorage.setItem("login", detail.sessionId));
element.addEventListener("terra-error", ({ detail }) => console.log(detail.problem.code));
element.repair("7f1c2f3e-52c1-4f0e-9d0c-0d6f8f4c2b1a", "Fitbit");
"""


@pytest.mark.parametrize(("right", "wrong"), [("", ""), ("sessionId", "session_id"), ('["FITBIT"]', '"FITBIT"')])
def test_the_component_has_types(tmp_path: Path, right: str, wrong: str) -> None:
    shutil.copy(clients.COMPONENT / "terra-connect.d.ts", tmp_path)
    program = tmp_path / "program.ts"
    program.write_text(COMPONENT_TYPES.replace(right, wrong) if right else COMPONENT_TYPES)
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "dom,es2022")
    done = run(*clients.node().command("typescript", "bin/tsc", *options, str(program)), cwd=tmp_path)
    assert (done.returncode == 0) is (not right), done.stdout


def test_the_examples_of_the_readmes_have_the_right_types(tmp_path: Path) -> None:
    connect, receive = blocks((clients.PYTHON / "README.md").read_text(), "python")
    request = """
class request:
    headers: dict[str, str] = {}
    body = b""

service_key = notify_key = ""
"""
    python = python_checked(tmp_path, request + connect + receive)
    assert python.returncode == 0, python.stdout

    connect, receive = blocks((clients.TYPESCRIPT / "README.md").read_text(), "ts")
    variables = "declare const serviceKey: string, notifyKey: string, request: Request, body: string;\n"
    text = (connect + receive).replace("@terra-connections/client", "./index.js")
    typescript = typescript_checked(tmp_path, variables + text)
    assert typescript.returncode == 0, typescript.stdout
