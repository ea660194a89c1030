"""The simulator is a package of its own: a wheel built from its folder runs without the rest of the project."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tools.environment import ROOT
from tools.setup import VENV


def test_the_wheel_of_the_simulator_runs_on_its_own(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    # uv contains the build backend that the package names: nothing is downloaded.
    build = [str(VENV / "bin/uv"), "build", "--offline", "--quiet", "--wheel", "--out-dir", str(wheels)]
    subprocess.run([*build, str(ROOT / "simulator")], check=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = {"PYTHONPATH": str(tmp_path / "installed")}

    where = [sys.executable, "-c", "import terra_simulator; print(terra_simulator.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(tmp_path)

    command = [sys.executable, "-m", "terra_simulator", "--help"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("usage: terra-simulator")
