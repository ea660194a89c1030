"""The SAM commands in docs/deploying.md: SAM accepts them, and samconfig.toml has the rest of what they need."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import setup, stages
from tools.environment import ROOT

STAGES = ("default", "dev", "staging", "prod")


def parsed(*lines: str) -> list[dict[str, Any]]:
    """Return SAM's interpretation of each command line, with this project's samconfig.toml."""
    words = [shlex.split(line.partition("#")[0])[1:] for line in lines]
    done = subprocess.run(
        [str(setup.sam_program().parent / "python"), str(ROOT / "tests/support/sam_command_line.py")],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **setup.sam_environment()},
        input=json.dumps(words),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def documented() -> list[str]:
    """Return every SAM command of the documents, in blocks and in the text."""
    found: list[str] = []
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = file.read_text()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            found += [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("sam ")]
        found += re.findall(r"`(sam [a-z ]+ -[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return found


def test_sam_accepts_every_documented_command_without_another_option() -> None:
    commands = [line for line in documented() if not line.startswith("sam local")]
    results = parsed(*commands)
    assert [(line, result["error"]) for line, result in zip(commands, results, strict=True) if "error" in result] == []
    shown = {result["command"] for result in results}
    assert shown >= {
        f"sam {name}" for name in ("deploy", "logs", "sync", "list stack-outputs", "remote invoke", "delete")
    }
    for line, result in zip(commands, results, strict=True):
        if "--config-env" in line:
            stage = line.split("--config-env ")[1].split()[0]
            assert (
                result["parameters"].get("stack_name", stages.read(stage).stack_name) == stages.read(stage).stack_name
            ), line


@pytest.mark.parametrize("stage", STAGES)
def test_each_command_knows_the_stack_of_a_stage(stage: str) -> None:
    name = stages.read(stage).stack_name
    commands = ["deploy", "delete", "logs -n CreateSession", "sync --code --resource-id CreateSession"]
    commands += ["list stack-outputs", "list resources", "list endpoints", "remote invoke CreateSession"]
    found = parsed(*(f"sam {command} --config-env {stage}" for command in commands))
    assert {each["parameters"]["stack_name"] for each in found} == {name}
    # What `sam delete` deletes is what `sam deploy` uploaded.
    assert {each["parameters"]["s3_prefix"] for each in found[:2]} == {name}


def test_only_dev_is_deployed_in_express_mode() -> None:
    found = parsed(*(f"sam deploy --config-env {stage}" for stage in STAGES))
    assert [each["parameters"]["express"] for each in found] == [stage == "dev" for stage in STAGES]
    assert {each["parameters"]["on_failure"] for each in found} == {"DELETE"}


def test_sync_creates_no_layer_of_its_own() -> None:
    found = parsed("sam sync --config-env dev", "sam sync --config-env default")
    assert [each["parameters"]["dependency_layer"] for each in found] == [False, False]


def test_only_prod_and_guided_deployments_ask_before_they_change_something() -> None:
    found = parsed(*(f"sam deploy --config-env {stage}" for stage in STAGES))
    assert [each["parameters"]["confirm_changeset"] for each in found] == [True, False, False, True]


def test_an_option_that_sam_does_not_have_is_found() -> None:
    (found,) = parsed("sam logs --config-env dev --resource CreateSession")
    assert "No such option" in found["error"]


def test_what_sam_builds_needs_no_setting_of_this_project(tmp_path: Path) -> None:
    """`sam sync` runs the layers' makefiles without the environment that `make build` sets."""
    for layer in ("terra_connections", "dependencies", "authorizer_dependencies"):
        makefile = (ROOT / "layers" / layer / "Makefile").read_text()
        target = re.findall(r"^(build-\w+):", makefile, re.MULTILINE)[0]
        command = ["make", "-n", "-C", str(ROOT / "layers" / layer), target, f"ARTIFACTS_DIR={tmp_path}"]
        done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
        assert f'PYTHONPATH="{ROOT}/layers/{layer}/../.."' in done.stdout
