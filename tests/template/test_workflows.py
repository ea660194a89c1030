"""The GitHub workflows: their syntax and security, and what .github/workflows/deploy.yml does in which order."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import stages
from tools.environment import ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
STAGES = ("staging", "prod")


def workflow(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    parsed: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text())
    return {"on": parsed.pop(True), **parsed}


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", [])]


def commands(name: str) -> list[str]:
    return [step["run"] for step in steps(name) if "run" in step]


def run(program: str, *arguments: str) -> None:
    command = [str(Path(sys.executable).parent / program), *arguments, *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflows_have_github_s_syntax() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.github-workflows")


def test_the_workflows_have_no_security_finding() -> None:
    # Unpinned actions, injected expressions, persisted credentials, too many permissions.
    run("zizmor", "--offline", "--min-severity", "medium", "--persona", "auditor")


def test_every_make_target_and_variable_of_a_workflow_exists() -> None:
    lines = [line for file in FILES for line in commands(file.name)]
    assert lines
    for line in lines:
        make, *words = line.split()
        assert make == "make", line
        for word in words:
            name, equals, _ = word.partition("=")
            if equals:
                assert f"$({name})" in MAKEFILE or f"$(if $({name})" in MAKEFILE, line
            else:
                assert re.search(rf"^{name}:.*## ", MAKEFILE, re.MULTILINE), line


def test_without_the_variable_deploy_nothing_runs() -> None:
    jobs = workflow("deploy.yml")["jobs"]
    for name in jobs:
        first = name
        while needed := jobs[first].get("needs"):
            assert "if" not in jobs[first], f"{first} would run although {needed} was skipped"
            first = needed
        assert jobs[first]["if"].startswith("vars.DEPLOY == 'true' && "), name
    # It starts by being called only.
    assert workflow("deploy-stage.yml")["on"].keys() == {"workflow_call"}


def test_only_main_is_deployed() -> None:
    triggers = workflow("deploy.yml")["on"]
    assert triggers == {"push": {"branches": ["main"]}, "workflow_dispatch": None}
    assert workflow("deploy.yml")["jobs"]["ci"]["if"].endswith("github.ref == 'refs/heads/main'")


def test_staging_comes_after_checks_tests_and_the_build_and_prod_after_staging() -> None:
    jobs = workflow("deploy.yml")["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "ci": None,
        "build": "ci",
        "staging": "build",
        "prod": "staging",
    }
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert commands("ci.yml") == ["make check", "make docs", "make test"]
    for stage in STAGES:
        assert jobs[stage]["uses"] == "./.github/workflows/deploy-stage.yml"
        assert jobs[stage]["with"] == {"stage": stage}
        assert stages.read(stage).stack_name


def test_what_was_tested_is_what_is_deployed() -> None:
    built, tested = commands("deploy.yml")
    assert (built, tested) == ("make package", "make test T=tests/artifacts")
    names = [step["env"] for step in steps("deploy.yml") if step.get("run") == tested]
    assert names == [{"BUILT": ".aws-sam/build"}]
    # Nothing is built for a stage: its archive is that of the run, and `make deploy-package` verifies the checksum.
    assert [line.split()[1] for line in commands("deploy-stage.yml")] == ["deploy-package", "doctor"]
    transfers = [
        step["with"]
        for name in ("deploy.yml", "deploy-stage.yml")
        for step in steps(name)
        if "path" in step.get("with", {})
    ]
    assert {(each["name"], each["path"]) for each in transfers} == {("package", "build/package/")}
    assert re.search(r"^deploy-package: check-stage ", MAKEFILE, re.MULTILINE)
    assert re.search(r"^check-stage: setup-local$", MAKEFILE, re.MULTILINE)


def test_two_deployments_of_a_stage_never_overlap() -> None:
    (job,) = workflow("deploy-stage.yml")["jobs"].values()
    assert job["concurrency"] == {"group": "deploy-${{ inputs.stage }}", "cancel-in-progress": False}


def test_a_stage_is_a_github_environment_and_only_its_job_gets_a_token_for_aws() -> None:
    (job,) = workflow("deploy-stage.yml")["jobs"].values()
    assert job["environment"] == "${{ inputs.stage }}"
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    for file in FILES:
        document = workflow(file.name)
        assert document["permissions"] == {"contents": "read"}, file.name
        for name, each in document["jobs"].items():
            calls_it = each.get("uses", "").endswith("deploy-stage.yml") or file.name == "deploy-stage.yml"
            assert ("id-token" in each.get("permissions", {})) is calls_it, name


def test_the_workflows_use_no_secrets() -> None:
    for file in FILES:
        assert "secrets." not in file.read_text(), file.name
        assert "inherit" not in file.read_text(), file.name


@pytest.mark.parametrize("name", ["AWS_ROLE_ARN", "AWS_REGION", "TERRA_DEV_ID", "DEPLOY"])
def test_every_variable_is_documented(name: str) -> None:
    used = set(re.findall(r"vars\.(\w+)", "".join(file.read_text() for file in FILES)))
    assert used == {"AWS_ROLE_ARN", "AWS_REGION", "TERRA_DEV_ID", "DEPLOY"}
    assert f"`{name}`" in (ROOT / "docs/deploying.md").read_text()
