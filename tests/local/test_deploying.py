"""Stages, their secrets, and what a changed parameter does to a deployment."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from local import deploy, put_secrets, stages
from local.aws_services import CREDENTIALS
from local.environment import ROOT
from local.testing import Stack
from tests import cloudformation

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRETS = ("TerraSecret", "SigningSecrets", "ServiceKeys")


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_a_stage_is_a_stack_of_its_own_with_parameters_that_exist(name: str) -> None:
    declared = cloudformation.parsed()["Parameters"]
    stage = stages.read(name)
    assert stage.stack_name == f"terra-connections-{name}"
    for parameter, _, value in (text.partition("=") for text in stage.parameters):
        assert value in map(str, declared[parameter].get("AllowedValues", [value]))


def test_prod_shifts_its_traffic_and_nobody_waits_for_that_in_dev() -> None:
    assert "SafeDeployments=true" in stages.read("prod").parameters
    assert "SafeDeployments=true" not in stages.read("dev").parameters


def test_an_unknown_stage_is_told_with_those_that_there_are() -> None:
    with pytest.raises(stages.StageError, match="dev, prod, staging"):
        stages.read("production")


# --- make deploy -----------------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path) -> Path:
    for name in ("Authorize", "TerraWebhook"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "handler.py").touch()
    (tmp_path / "DependenciesLayer").mkdir()
    return tmp_path


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_new_parameters_are_new_code_of_every_function_and_of_no_layer(built: Path) -> None:
    deploy.mark(built, ["TerraDevId=a", "LogRetentionDays=7"])
    before = content(built)
    deploy.mark(built, ["LogRetentionDays=7", "TerraDevId=a"])
    assert content(built) == before
    deploy.mark(built, ["TerraDevId=a", "LogRetentionDays=30"])
    changed = {name for name, text in content(built).items() if before[name] != text}
    assert changed == {f"{name}/{deploy.MARK}" for name in ("Authorize", "TerraWebhook")}


def test_nothing_is_deployed_that_was_not_built(tmp_path: Path) -> None:
    with pytest.raises(stages.StageError, match="make build"):
        deploy.mark(tmp_path, [])


def test_only_a_missing_dev_id_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRA_DEV_ID", "mine")
    stage = stages.Stage("dev", "stack", None, None, ("LogRetentionDays=7",))
    assert deploy.complete(stage) == ["LogRetentionDays=7", "TerraDevId=mine"]
    known = stages.Stage("dev", "stack", None, None, ("LogRetentionDays=7 TerraDevId=theirs",))
    assert deploy.complete(known) == ["LogRetentionDays=7 TerraDevId=theirs"]


# --- make secrets, with the real template's secrets in a stack of the local CloudFormation ----------------------------


class Deployed:
    """A stack that holds what is put, and the command that puts."""

    def __init__(self, stack: Stack, config: Path, outputs: dict[str, str]) -> None:
        self._stack = stack
        self._config = config
        self._outputs = outputs
        self._client: SecretsManagerClient = boto3.client(
            "secretsmanager",
            endpoint_url=stack.aws_url,
            region_name=stack.region,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "local.put_secrets", "test", "--config", str(self._config), *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        aws = {"AWS_ENDPOINT_URL": self._stack.aws_url, "AWS_DEFAULT_REGION": self._stack.region, **CREDENTIALS}
        return {"PATH": "/usr/bin:/bin", "NO_PROXY": "*", **aws, **variables}

    def put(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def holds(self, output: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self._client.get_secret_value(SecretId=self._outputs[output])["SecretString"])


@pytest.fixture
def deployed(account: Stack, tmp_path: Path) -> Iterator[Deployed]:
    template = cloudformation.parsed()
    part = {
        "Parameters": {f"{name}Arn": template["Parameters"][f"{name}Arn"] for name in SECRETS},
        "Conditions": {f"Make{name}": template["Conditions"][f"Make{name}"] for name in SECRETS},
        "Resources": {name: template["Resources"][name] for name in SECRETS},
        "Outputs": {f"{name}Arn": template["Outputs"][f"{name}Arn"] for name in SECRETS},
    }
    name = f"secrets-{uuid4().hex[:8]}"
    client = boto3.client(
        "cloudformation",
        endpoint_url=account.aws_url,
        region_name=account.region,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(read_timeout=600, retries={"total_max_attempts": 1}),  # a second one would find the first's stack
    )
    client.create_stack(StackName=name, TemplateBody=json.dumps(part))
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    (made,) = client.describe_stacks(StackName=name)["Stacks"]
    config = tmp_path / "samconfig.toml"
    config.write_text(f'version = 0.1\n[test.global.parameters]\nstack_name = "{name}"\n')
    yield Deployed(account, config, {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]})
    client.delete_stack(StackName=name)


def test_secrets_go_from_the_environment_into_the_stage_s_stack_and_onto_no_terminal(deployed: Deployed) -> None:
    done = deployed.put(TERRA_API_KEY="key-of-terra", TERRA_SIGNING_SECRET="secret-of-terra")
    assert done.returncode == 0, done.stderr
    assert deployed.holds("TerraSecretArn") == {"api_key": "key-of-terra"}
    assert deployed.holds("SigningSecretsArn") == {"main": "secret-of-terra"}
    assert "of-terra" not in done.stdout + done.stderr


def test_a_signing_secret_is_rotated_without_a_moment_in_which_none_is_valid(deployed: Deployed) -> None:
    deployed.put(TERRA_SIGNING_SECRET="old")
    deployed.put("--name", "new", TERRA_SIGNING_SECRET="newer")
    assert deployed.holds("SigningSecretsArn") == {"main": "old", "new": "newer"}
    assert deployed.put("--forget", "main").returncode == 0
    assert deployed.holds("SigningSecretsArn") == {"new": "newer"}
    assert deployed.holds("TerraSecretArn") == {}


def test_secrets_are_asked_for_on_the_terminal_and_not_shown(deployed: Deployed) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(
            deployed.command(),
            cwd=ROOT,
            env=deployed.environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,  # so that this is its only terminal
        )
        os.close(theirs)
        shown = until(terminal, b"API key")
        terminal.write(b"typed-key\n")
        shown += until(terminal, b"signing secret")
        terminal.write(b"\n")
        shown += until(terminal, b"two minutes")
        assert process.wait(30) == 0
    assert b"typed-key" not in shown
    assert deployed.holds("TerraSecretArn") == {"api_key": "typed-key"}
    assert deployed.holds("SigningSecretsArn") == {}


def test_a_token_of_the_admin_api_is_refused_with_what_to_give_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRA_API_KEY", "terra_at_0123456789")
    with pytest.raises(stages.StageError, match=r"Admin API .* data token \(terra_dt_") as refused:
        put_secrets.given("TERRA_API_KEY", "Terra's API key or data token")
    assert "0123456789" not in str(refused.value)
    monkeypatch.setenv("TERRA_API_KEY", "terra_dt_0123456789")
    assert put_secrets.given("TERRA_API_KEY", "Terra's API key or data token") == "terra_dt_0123456789"


def until(terminal: Any, text: bytes) -> bytes:  # noqa: ANN401 - a raw file
    shown = b""
    while text not in shown:
        shown += terminal.read(1000)
    # The rest of the question, after which echo is off.
    return shown


def test_a_secret_with_a_character_that_no_key_has_is_refused_and_not_shown(deployed: Deployed) -> None:
    for variable in ("TERRA_API_KEY", "TERRA_SIGNING_SECRET"):
        done = deployed.put(**{variable: "\u201ckey-of-terra\u201d"})
        assert done.returncode == 1
        assert "character 1 of 14 is U+201C, LEFT DOUBLE QUOTATION MARK" in done.stderr
        assert "key-of-terra" not in done.stdout + done.stderr
    assert deployed.holds("TerraSecretArn") == {}
    assert deployed.holds("SigningSecretsArn") == {}


@pytest.mark.parametrize(
    ("value", "trouble"),
    [
        ("key of terra", "character 4 of 12 is U+0020, SPACE"),
        ("key\nof", "character 4 of 6 is U+000A, a control character"),
        ("key\u00a0of", "character 4 of 6 is U+00A0, NO-BREAK SPACE"),
        ("\ufeffkey", "character 1 of 4 is U+FEFF, ZERO WIDTH NO-BREAK SPACE"),
        ("key\u2013of", "character 4 of 6 is U+2013, EN DASH"),
        ('"key"', "it is in quotation marks"),
        ("'key'", "it is in quotation marks"),
        ("key-0_9.~/+=", None),
        ('"', None),
    ],
)
def test_what_was_pasted_along_is_named_with_its_place(value: str, trouble: str | None) -> None:
    assert put_secrets.trouble_in(value) == trouble


def test_a_stage_that_is_not_deployed_is_told_in_one_line(deployed: Deployed, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text('version = 0.1\n[test.global.parameters]\nstack_name = "there-is-none"\n')
    done = deployed.put("--config", str(config), TERRA_API_KEY="k")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make deploy STAGE=test" in done.stderr
