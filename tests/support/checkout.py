"""A copy of this checkout with its build, in which the product's commands run as a user types them."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import setup
from tools.environment import ROOT, everything

BUILT = Path(".aws-sam") / "build"
GIT_LS_FILES = ("git", "ls-files", "-z")


@dataclass(frozen=True)
class Checkout:
    """A copy in a folder of its own; `variables` is the environment of its commands, besides the user's."""

    directory: Path
    variables: Mapping[str, str]

    @classmethod
    def copy(cls, directory: Path, variables: Mapping[str, str]) -> "Checkout":
        """Copy the files that git knows, and the output of make build."""
        assert (ROOT / BUILT / "template.yaml").is_file(), "nothing is built: run make build, or make test-deploy"
        listed = subprocess.run(GIT_LS_FILES, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).exists():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, directory / name)
        shutil.copytree(ROOT / BUILT, directory / BUILT)
        (directory / ".venv").symlink_to(setup.VENV)
        return cls(directory, variables)

    def write_stage(self, name: str, parameters: Mapping[str, str]) -> None:
        """Write the tables of a stage of its own into samconfig.toml, like those of dev."""
        file = self.directory / "samconfig.toml"
        before, _, _ = file.read_text().partition(f"\n# The stage {name}\n")
        _, _, after = file.read_text().partition(f"\n# The end of {name}\n")
        settings = {"stack_name": stack_name(name)}
        deployment = {"capabilities": "CAPABILITY_IAM", "s3_prefix": stack_name(name), "on_failure": "DELETE"}
        tables = {
            f"{name}.global.parameters": settings,
            f"{name}.deploy.parameters": deployment,
            f"{name}.deploy.parameters.parameter_overrides": parameters,
        }
        lines = [f"\n# The stage {name}"]
        for table, values in tables.items():
            # A JSON string is a TOML string.
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
            lines += ["resolve_s3 = true"] if values is deployment else []
        file.write_text("\n".join([before, *lines, f"\n# The end of {name}\n{after}"]))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command, without the user's AWS settings and the settings of make test."""
        kept = {
            name: value
            for name, value in everything().items()
            if not name.startswith(("AWS_", "MAKE", "MFLAGS", "TERRA_", "PYTEST_"))
        }
        return {**kept, "NO_PROXY": "127.0.0.1,localhost", **self.variables, **more}

    def command(self, goal: str, *arguments: str) -> list[str]:
        """Return the command line of a goal. What the copy has already, its environments and the build, is not made."""
        ready = [option for done in ("python", "setup-local", "check-stage", "build") for option in ("-o", done)]
        return ["make", "--no-print-directory", *ready, goal, *arguments]

    def make(self, goal: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `make GOAL NAME=value ...` there, without a terminal."""
        return self.run(self.command(goal, *arguments), **variables)

    def sam(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the SAM CLI there."""
        ours = {name: value for name, value in setup.sam_environment().items() if not name.startswith("AWS_")}
        return self.run([str(setup.sam_program()), *arguments], **ours, **variables)

    def run(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, without a terminal."""
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


def stack_name(stage: str) -> str:
    return f"terra-connections-{stage}"
