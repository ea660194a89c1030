"""Every command works on any developer's machine, or reports in one line what prevents it.

Each test runs a real process in that environment. Completed setup steps are not repeated, so the tests are fast.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.odd_shells import LOCAL_ONLY, ODD_PIP, odd_shell
from tests.support.processes import kill_with_descendants
from tests.support.waiting import eventually
from tools import pip_settings, setup
from tools.environment import ROOT, everything

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.testing import Stack

AWS = {
    "a missing profile": ({"AWS_PROFILE": "missing"}, "missing"),
    "a missing credential_process": ({"AWS_PROFILE": "process"}, "no-such-program"),
    "an incomplete profile": ({"AWS_PROFILE": "half"}, "redential"),
    "an expired login": ({"AWS_PROFILE": "sso"}, "SSO"),
    "an invalid endpoint": ({"AWS_ENDPOINT_URL": "nonsense"}, "nonsense"),
    "an invalid region": ({"AWS_DEFAULT_REGION": "eu west 1"}, "eu west 1"),
    "an invalid file of settings": ({"AWS_CONFIG_FILE": "{here}/broken"}, "broken"),
    "a SOCKS proxy": ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "PROXY"),
}
OF_A_STAGE = {"doctor": ("doctor", "--stage", "dev"), "deploy": ("deploy", "dev"), "secrets": ("put_secrets", "dev")}
PROFILES = """
[profile process]
credential_process = /nonexistent/no-such-program
[profile half]
aws_access_key_id = only-one-half
[profile sso]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 000000000000
sso_role_name = role
"""


def make(*arguments: str, variables: Mapping[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**everything(), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the doctor as `make doctor` does: make does not pass on PYTHON* variables."""
    odd = {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-m", "tools.doctor", *arguments],
        cwd=ROOT,
        env={**everything(), **odd, "PYTHONPATH": "layers/terra_connections", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def output_of(done: subprocess.CompletedProcess[str]) -> str:
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("variables", LOCAL_ONLY.values(), ids=LOCAL_ONLY)
def test_completed_setup_steps_are_not_repeated(variables: dict[str, str]) -> None:
    done = make("setup-tests", variables=variables)
    assert (done.returncode, output_of(done)) == (0, "")


@pytest.mark.parametrize("variables", LOCAL_ONLY.values(), ids=LOCAL_ONLY)
def test_the_doctor_of_the_local_stack_ignores_the_shell(stack: Stack, variables: dict[str, str]) -> None:
    done = doctor("--directory", str(stack.directory), **variables)
    assert done.returncode == 0, output_of(done)
    assert output_of(done).rstrip().endswith("All checks passed.")


@pytest.mark.parametrize("command", OF_A_STAGE.values(), ids=OF_A_STAGE)
@pytest.mark.parametrize(("variables", "cause"), AWS.values(), ids=AWS)
def test_an_invalid_aws_configuration_is_reported_in_one_line(
    tmp_path: Path, variables: dict[str, str], cause: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "config").write_text(PROFILES)
    (tmp_path / "broken").write_text("no section\n")
    ours = {name: value for name, value in everything().items() if not name.startswith("AWS_")}
    aws = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    aws |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_DEFAULT_REGION": "us-east-1"}
    keys = {} if "AWS_PROFILE" in variables else {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    given = {name: value.format(here=tmp_path) for name, value in variables.items()}
    program, *arguments = command
    done = subprocess.run(
        [sys.executable, "-m", f"tools.{program}", *arguments],
        cwd=ROOT,
        env={**ours, "PYTHONPATH": "layers/terra_connections", **aws, **keys, **given},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    text = output_of(done)
    assert (done.returncode, len(text.splitlines())) == (2 if program == "doctor" else 1, 1), text
    assert cause in text


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A path for a folder that cannot be created, not even by root, because a file has its name."""
    (tmp_path / "home").write_text("a file")
    return tmp_path / "home"


def test_an_unwritable_home_is_reported_in_one_line_with_the_remedy(unwritable: Path) -> None:
    done = make("setup-local", variables={"HOME": str(unwritable), "XDG_CACHE_HOME": ""})
    assert done.returncode == 2
    first, *rest = output_of(done).splitlines()
    assert str(unwritable) in first
    assert "XDG_CACHE_HOME" in first
    assert all(line.startswith("make") for line in rest)


def test_uv_and_pip_use_the_package_sources_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ODD_PIP, "PIP_INDEX_URL": "https://index.example/simple", "UV_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    pip = {name: value for name, value in pip_settings.environment(sys.executable).items() if name.startswith("PIP_")}
    assert pip.keys().isdisjoint(ODD_PIP)
    assert pip["PIP_INDEX_URL"] == "https://index.example/simple"
    assert pip["PIP_CONFIG_FILE"] == os.devnull
    uv = setup.uv_environment()
    assert uv.keys().isdisjoint({name for name in ODD_PIP if name.startswith("UV_")})
    assert uv["UV_OFFLINE"] == "1"
    assert "https://index.example/simple" in {uv.get("UV_DEFAULT_INDEX"), uv.get("UV_INDEX_URL")}


ODD_PLACES = ["with a space", "it's", "ünï-çødé", "x" * 150]


@pytest.mark.parametrize("name", ODD_PLACES, ids=["space", "quote", "unicode", "long"])
def test_the_layers_find_the_project_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    for folder in ("layers", "tools"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "artifacts dir").mkdir()
    done = make(
        *("--makefile", str(place / "layers/terra_connections/Makefile"), "build-TerraConnectionsLayer"),
        cwd=place / "layers/terra_connections",
        variables={
            "TERRA_CONNECTIONS_ROOT": str(place),
            "ARTIFACTS_DIR": str(tmp_path / "artifacts dir"),
            "LC_ALL": "C",
        },
    )
    assert done.returncode == 0, output_of(done)
    assert (tmp_path / "artifacts dir" / "python" / "terra_connections" / "handler.py").is_file()


def test_the_stack_starts_with_unusual_settings_and_an_unusual_path(tmp_path: Path) -> None:
    """All at once: odd settings for AWS, proxies and Python, and a space and non-ASCII characters in the path."""
    place = tmp_path / "Ada's ünï place"
    ports = dict.fromkeys(("API_PORT", "TERRA_PORT", "DYNAMODB_PORT", "AWS_PORT", "DEMO_PORT", "OIDC_PORT"), "0")
    odd = odd_shell(proxies=True)
    output = tmp_path / "output.txt"
    old = os.umask(0o077)
    try:
        with output.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "local.stack", "--directory", str(place), "--parent", str(os.getpid())],
                cwd=ROOT,
                env={**everything(), **odd, **ports},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
    finally:
        os.umask(old)
    try:
        eventually(lambda: (place / "stack.json").exists() or process.poll() is not None, within=600)
        assert process.poll() is None, output.read_text()
        found = doctor("--directory", str(place), **odd)
        assert found.returncode == 0, output_of(found)
    finally:
        kill_with_descendants(process)


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "local.stack", "--directory", str(tmp_path)]
        environment = {**everything(), "DEMO_PORT": str(port)}
        ports = dict.fromkeys(("API_PORT", "TERRA_PORT", "DYNAMODB_PORT", "AWS_PORT", "OIDC_PORT"), "0")
        done = subprocess.run(
            command, cwd=ROOT, env={**environment, **ports}, capture_output=True, text=True, check=False
        )
    text = output_of(done)
    assert (done.returncode, len(text.splitlines())) == (1, 1)
    assert f"Port {port}" in text
    assert "DEMO_PORT=0" in text
