"""The simulator is a package of its own: a wheel built from its folder runs without the rest of the project."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.environment import ROOT, everything
from tools.setup import VENV


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, as pip installs it."""
    folder = tmp_path_factory.mktemp("simulator")
    # uv contains the build backend that the package names: nothing is downloaded.
    build = [str(VENV / "bin/uv"), "build", "--offline", "--quiet", "--wheel", "--out-dir", str(folder)]
    subprocess.run([*build, str(ROOT / "simulator")], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, *arguments: str) -> str:
    """Run Python with the installed package, in a folder of its own."""
    environment = {"PYTHONPATH": str(installed), "PATH": everything()["PATH"]}
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, cwd=installed.parent, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_wheel_of_the_simulator_runs_on_its_own(installed: Path) -> None:
    where = run(installed, "-c", "import terra_simulator; print(terra_simulator.__file__)").strip()
    assert Path(where).is_relative_to(installed)
    assert (Path(where).parent / "py.typed").exists()

    command = "from importlib.metadata import entry_points as e; e(group='console_scripts')['terra-simulator'].load()()"
    for arguments, start in (
        (["--help"], "usage: terra-simulator"),
        (["serve", "--help"], "usage: terra-simulator serve"),
    ):
        assert run(installed, "-c", f"import sys; sys.argv[1:] = {arguments}; {command}").startswith(start)


def test_the_wheel_contains_what_its_pages_are_made_of(installed: Path) -> None:
    page = run(installed, "-c", "from terra_simulator import pages; print(pages.message('Hello', '<b>').body.decode())")
    assert "<h1>Hello</h1>" in page
    assert "&lt;b&gt;" in page
    source = ROOT / "simulator/src/terra_simulator"
    for folder in ("static", "templates"):
        files = {path.name for path in (installed / "terra_simulator" / folder).iterdir()}
        assert files == {path.name for path in (source / folder).iterdir()}


def test_pytest_finds_the_plugin_of_the_wheel(installed: Path) -> None:
    (installed.parent / "test_it.py").write_text(
        "def test_it(terra):\n    assert terra.connect('alice', 'GARMIN').provider == 'GARMIN'\n"
    )
    assert "1 passed" in run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
