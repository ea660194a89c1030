"""Stages, their secrets, and the effect of a changed parameter on a deployment."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from local.aws_services import CREDENTIALS
from local.testing import Stack
from tests.support import cloudformation
from tools import deploy, put_secrets, setup, stages
from tools.doctor.__main__ import main as doctor
from tools.doctor.stack import deployed as diagnosed
from tools.environment import ROOT

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRETS = ("TerraSecret", "SigningSecrets", "ServiceKeys")


@pytest.fixture(scope="module")
def sam_python() -> Path:
    """The Python that the SAM CLI is installed in."""
    return setup.sam_program().parent / "python"


def in_stage(parameters: object) -> stages.Stage:
    return stages.Stage("dev", "stack", None, None, parameters)


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_a_stage_has_its_own_stack_and_valid_parameters(name: str, sam_python: Path) -> None:
    declared = cloudformation.parsed()["Parameters"]
    stage = stages.read(name)
    assert stage.stack_name == f"terra-connections-{name}"
    parameters, _ = deploy.read(stage, sam_python)
    for parameter, value in parameters.items():
        assert value in map(str, declared[parameter].get("AllowedValues", [value]))


def test_only_prod_deploys_gradually(sam_python: Path) -> None:
    assert deploy.read(stages.read("prod"), sam_python)[0]["SafeDeployments"] == "true"
    assert "SafeDeployments" not in deploy.read(stages.read("dev"), sam_python)[0]


def test_stages_have_separate_uploads_and_delete_a_failed_first_deployment() -> None:
    names = ("default", "dev", "staging", "prod")
    assert len({stages.read(name).settings["s3_prefix"] for name in names}) == len(names)
    assert {stages.read(name).settings["on_failure"] for name in names} == {"DELETE"}


def test_an_unknown_stage_is_rejected_with_the_existing_ones() -> None:
    with pytest.raises(stages.StageError, match="dev, prod, staging"):
        stages.read("production")


@pytest.mark.parametrize("content", [b"[dev\n", b"\xff\xfe", None], ids=["not TOML", "not UTF-8", "missing"])
def test_an_unreadable_samconfig_is_named(tmp_path: Path, content: bytes | None) -> None:
    config = tmp_path / "samconfig.toml"
    if content is not None:
        config.write_bytes(content)
    with pytest.raises(stages.StageError, match=r"^samconfig\.toml cannot be read: .+\.$"):
        stages.read("dev", config)


# --- make deploy -----------------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path) -> Path:
    for name in ("Authorize", "TerraWebhook"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "handler.py").touch()
    (tmp_path / "DependenciesLayer").mkdir()
    (tmp_path / "template.yaml").write_text("Resources: {}")
    return tmp_path


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


PARAMETERS = {"TerraDevId": "a", "LogRetentionDays": "7"}
PLACE = {"s3_bucket": None, "s3_prefix": "dev"}


def marked(built: Path, parameters: dict[str, str], place: dict[str, str | None]) -> dict[str, str]:
    deploy.mark(built, parameters, place)
    return content(built)


def test_a_changed_deployment_changes_the_code_of_every_function_but_no_layer(built: Path) -> None:
    before = marked(built, PARAMETERS, PLACE)
    assert marked(built, dict(reversed(PARAMETERS.items())), PLACE) == before
    marks = {f"{name}/{deploy.MARK}" for name in ("Authorize", "TerraWebhook")}

    def changed(now: dict[str, str]) -> set[str]:
        return {name for name, text in now.items() if before[name] != text}

    assert changed(marked(built, PARAMETERS | {"LogRetentionDays": "30"}, PLACE)) == marks
    assert changed(marked(built, PARAMETERS, PLACE | {"s3_prefix": "other"})) == marks
    assert changed(marked(built, PARAMETERS, PLACE | {"s3_bucket": "other"})) == marks
    (built / "template.yaml").write_text("Resources: {Other: {}}")
    assert changed(marked(built, PARAMETERS, PLACE)) == marks | {"template.yaml"}


def test_a_deployment_without_a_build_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(stages.StageError, match="make build"):
        deploy.mark(tmp_path, {}, {})


def test_a_missing_dev_id_is_prompted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRA_DEV_ID", "mine")
    assert deploy.dev_id(in_stage([])) == "mine"
    monkeypatch.delenv("TERRA_DEV_ID")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(stages.StageError, match=r"TerraDevId is missing.*\[dev\.deploy\.parameters\]"):
        deploy.dev_id(in_stage([]))


def test_a_missing_dev_id_is_reported_by_the_check_before_the_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stages, "sign_in", lambda _stage: None)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.delenv("TERRA_DEV_ID", raising=False)
    assert deploy.main(["--check", "dev"]) == 1
    assert capsys.readouterr().err.startswith("TerraDevId is missing: add it to parameter_overrides of [dev.deploy.")
    monkeypatch.setenv("TERRA_DEV_ID", "mine")
    assert deploy.main(["--check", "dev"]) == 0
    assert deploy.main(["--check", "dev", "--guided"]) == 1


@pytest.mark.parametrize("command", [deploy.main, put_secrets.main, lambda words: doctor(["--stage", *words])])
def test_a_missing_region_is_reported_with_the_setting(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert command(["dev"]) != 0
    error = capsys.readouterr().err
    assert error.startswith("No AWS region is set: add it to [dev.global.parameters] in samconfig.toml")
    assert "AWS_DEFAULT_REGION" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            "--parameter-overrides",
            "set parameter_overrides of [dev.deploy.parameters] in samconfig.toml",
        ),
        (
            "--parameter-overrides=BrandName=Acme",
            "set parameter_overrides of [dev.deploy.parameters] in samconfig.toml",
        ),
        ("--config-env", "STAGE"),
        ("--config-file=other.toml", "STAGE"),
        ("--guided", "sam deploy --guided"),
        ("-g", "sam deploy --guided"),
        ("--template-file", "make build"),
    ],
)
def test_an_option_that_would_deploy_something_else_is_rejected(
    option: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(["dev", option, "BrandName=Acme"]) == 1
    output = capsys.readouterr().err
    assert output.startswith(f"OPTIONS cannot contain {option.partition('=')[0]}: ")
    assert expected in output
    assert output.count("\n") == 1


# --- how SAM reads samconfig.toml -------------------------------------------------------------------------------------

TARGETS = '{"web": "https://app.example.com/connected?a=b&c=d", "ios": "exampleapp://connected"}'
HARD = [
    "Acme Health",
    "  two  spaces ",
    TARGETS,
    "cron(0 */6 * * ? *)",
    "rate(1 hour)",
    "https://app.example.com,http://localhost:5173",
    "O'Brien & Sons",
    'the "best" one',
    "a=b c=d",
    "Other=1 Another=2",
    "file://none",
    "Gesundheit für Ärzte ✓",
    "",
]


def test_string_parameters_of_a_table_are_deployed_unchanged(sam_python: Path) -> None:
    strings = [name for name, of in cloudformation.parsed()["Parameters"].items() if of["Type"] == "String"]
    tables = [dict.fromkeys(strings, value) | {"ReturnTargets": TARGETS} for value in HARD]
    results = deploy.parse_with_sam(tables, sam_python)
    assert [result["parameters"] for result in results] == tables
    # The same on SAM's command line, as `make deploy` passes them.
    again = deploy.parse_with_sam([result["arguments"] for result in results], sam_python)
    assert [result["parameters"] for result in again] == tables


def test_the_examples_of_the_documents_are_deployed_unchanged(sam_python: Path) -> None:
    shown = [commented((ROOT / "samconfig.toml").read_text())]
    for file in ("deploying.md", "return-targets.md"):
        found = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / file).read_text(), re.DOTALL)
        assert found, file
        shown += found
    documents = [stage for each in shown for stage in tomllib.loads(each).values()]
    tables = [stage["deploy"]["parameters"]["parameter_overrides"] for stage in documents]
    expected = [{name: str(value) for name, value in table.items()} for table in tables]
    assert [result["parameters"] for result in deploy.parse_with_sam(tables, sam_python)] == expected


def commented(text: str) -> str:
    """Return the example from the comment at the top."""
    return "\n".join(line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   "))


def test_every_form_that_sam_accepts_is_deployed_unchanged(sam_python: Path, tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text("BrandName: Acme Health\nLogRetentionDays: 7\n")
    forms: list[object] = [
        {"BrandName": "Acme Health", "LogRetentionDays": 7},
        ["BrandName='Acme Health'", "LogRetentionDays=7"],
        ['BrandName="Acme Health"', ["LogRetentionDays=7"]],
        ["LogRetentionDays=7 BrandName='Acme Health'"],
        "BrandName='Acme Health' LogRetentionDays=7",
        "ParameterKey=BrandName,ParameterValue='Acme Health' ParameterKey=LogRetentionDays,ParameterValue=7",
        [{"BrandName": "Acme Health"}, "LogRetentionDays=7"],
        [f"file://{tmp_path}/some.yaml"],
        {"$include": f"file://{tmp_path}/some.yaml"},
    ]
    for form, result in zip(forms, deploy.parse_with_sam(forms, sam_python), strict=True):
        assert result["parameters"] == {"BrandName": "Acme Health", "LogRetentionDays": "7"}, form
        assert sorted(result["arguments"]) == ["BrandName='Acme Health'", "LogRetentionDays='7'"], form
    # Values in a file count like values in samconfig.toml.
    (tmp_path / "some.yaml").write_text("BrandName: Other\n")
    assert deploy.read(in_stage([f"file://{tmp_path}/some.yaml"]), sam_python)[0] == {"BrandName": "Other"}


CUT = {
    f"ReturnTargets={TARGETS}": TARGETS,
    'ReturnTargets={"web":"https://app.example.com/connected"}': '{"web":"https://app.example.com/connected"}',
    'ParameterKey=ReturnTargets,ParameterValue={"web":"https://a.example"}': '{"web":"https://a.example"}',
    "BrandName=Acme Health": "Acme Health",
    "SweepSchedule=rate(12 hours)": "rate(12 hours)",
    "SweepSchedule=cron(0 */6 * * ? *)": "cron(0 */6 * * ? *)",
    "BrandName=": "",
}


def test_an_entry_that_sam_would_truncate_is_rejected_with_the_correct_line(sam_python: Path) -> None:
    forms = [form for entry in CUT for form in ([entry], entry, ["LogRetentionDays=7", entry])]
    errors = [result["error"] for result in deploy.parse_with_sam(forms, sam_python)]
    corrected: list[object] = []
    for error in errors:
        assert error.startswith("SAM would leave ")
        in_list, _, in_table = error.partition("Write it as ")[2].partition(", or in a table as ")
        corrected += [tomllib.loads(f"list = [{in_list}]")["list"], tomllib.loads(in_table)]
    accepted = [result["parameters"] for result in deploy.parse_with_sam(corrected, sam_python)]
    assert [value for each in accepted for value in each.values()] == [
        value for value in CUT.values() for _ in range(6)
    ]


def test_a_value_that_sam_would_change_is_rejected_in_one_line(sam_python: Path) -> None:
    table: list[tuple[object, str]] = [
        ({"SafeDeployments": True}, 'SafeDeployments = "true"'),
        ({"ReturnTargets": {"web": "https://a.example"}}, """ReturnTargets = '{"web": "https://a.example"}'"""),
        ({"BrandName": '"Acme"'}, "without these quotes"),
        (["ReturnTargets={"], "not a JSON object"),
        ({"ReturnTargets": "web"}, "not a JSON object"),
        (["BrandNam=Acme"], "Did you mean BrandName"),
        (["file://nowhere.yaml"], "file://nowhere.yaml was not found"),
        ("nonsense", "'nonsense'"),
        (["LogRetentionDays=7 BrandName=Acme Health"], "an entry of its own"),
        ({"BrandName": "O'Brien \\"}, "BrandName"),
    ]
    results = deploy.parse_with_sam([written for written, _ in table], sam_python)
    for (written, expected), result in zip(table, results, strict=True):
        assert expected in result["error"], written
        assert "\n" not in result["error"], written
    with pytest.raises(stages.StageError) as error:
        deploy.read(in_stage(table[0][0]), sam_python)
    assert str(error.value).startswith("samconfig.toml, parameter_overrides of [dev.deploy.parameters]: SAM would ")


# --- make secrets, with the real template's secrets in a stack of the local CloudFormation ----------------------------


class Deployed:
    """A stack with secrets, and the command that writes them."""

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
        return [sys.executable, "-m", "tools.put_secrets", "test", "--config", str(self._config), *arguments]

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

    def stored(self, output: str) -> Any:  # noqa: ANN401 - JSON
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
        config=Config(read_timeout=600, retries={"total_max_attempts": 1}),  # a retry would find the first stack
    )
    client.create_stack(StackName=name, TemplateBody=json.dumps(part))
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    (made,) = client.describe_stacks(StackName=name)["Stacks"]
    config = tmp_path / "samconfig.toml"
    config.write_text(f'version = 0.1\n[test.global.parameters]\nstack_name = "{name}"\n')
    yield Deployed(account, config, {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]})
    client.delete_stack(StackName=name)


def test_secrets_are_stored_from_the_environment_and_not_printed(deployed: Deployed) -> None:
    done = deployed.put(TERRA_API_KEY="key-of-terra", TERRA_SIGNING_SECRET="secret-of-terra")
    assert done.returncode == 0, done.stderr
    assert deployed.stored("TerraSecretArn") == {"api_key": "key-of-terra"}
    assert deployed.stored("SigningSecretsArn") == {"main": "secret-of-terra"}
    assert "of-terra" not in done.stdout + done.stderr


def test_a_signing_secret_is_rotated_without_interruption(deployed: Deployed) -> None:
    deployed.put(TERRA_SIGNING_SECRET="old")
    deployed.put("--name", "new", TERRA_SIGNING_SECRET="newer")
    assert deployed.stored("SigningSecretsArn") == {"main": "old", "new": "newer"}
    assert deployed.put("--forget", "main").returncode == 0
    assert deployed.stored("SigningSecretsArn") == {"new": "newer"}
    assert deployed.stored("TerraSecretArn") == {}


def test_secrets_are_prompted_for_without_echo(deployed: Deployed) -> None:
    controller, terminal_end = pty.openpty()
    with os.fdopen(controller, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(
            deployed.command(),
            cwd=ROOT,
            env=deployed.environment(),
            stdin=terminal_end,
            stdout=terminal_end,
            stderr=terminal_end,
            start_new_session=True,  # makes this its only terminal
        )
        os.close(terminal_end)
        shown = until(terminal, b"API key")
        terminal.write(b"typed-key\n")
        shown += until(terminal, b"signing secret")
        terminal.write(b"\n")
        shown += until(terminal, b"two minutes")
        assert process.wait(30) == 0
    assert b"typed-key" not in shown
    assert deployed.stored("TerraSecretArn") == {"api_key": "typed-key"}
    assert deployed.stored("SigningSecretsArn") == {}


def test_a_token_of_the_admin_api_is_rejected_with_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRA_API_KEY", "terra_at_0123456789")
    with pytest.raises(stages.StageError, match=r"Admin API .* data token \(terra_dt_") as error:
        put_secrets.given("TERRA_API_KEY", "Terra's API key or data token")
    assert "0123456789" not in str(error.value)
    monkeypatch.setenv("TERRA_API_KEY", "terra_dt_0123456789")
    assert put_secrets.given("TERRA_API_KEY", "Terra's API key or data token") == "terra_dt_0123456789"


def until(terminal: Any, text: bytes) -> bytes:  # noqa: ANN401 - a raw file
    shown = b""
    while text not in shown:
        shown += terminal.read(1000)
    # Returns after the prompt, when the terminal no longer echoes.
    return shown


def test_a_secret_with_an_invalid_character_is_rejected_and_not_printed(deployed: Deployed) -> None:
    for variable in ("TERRA_API_KEY", "TERRA_SIGNING_SECRET"):
        done = deployed.put(**{variable: "\u201ckey-of-terra\u201d"})
        assert done.returncode == 1
        assert "character 1 of 14 is U+201C, LEFT DOUBLE QUOTATION MARK" in done.stderr
        assert "key-of-terra" not in done.stdout + done.stderr
    assert deployed.stored("TerraSecretArn") == {}
    assert deployed.stored("SigningSecretsArn") == {}


@pytest.mark.parametrize(
    ("value", "problem"),
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
def test_an_invalid_character_is_reported_with_its_position(value: str, problem: str | None) -> None:
    assert put_secrets.problem_in(value) == problem


def test_a_stage_that_is_not_deployed_is_reported_in_one_line(deployed: Deployed, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text('version = 0.1\n[test.global.parameters]\nstack_name = "there-is-none"\n')
    done = deployed.put("--config", str(config), TERRA_API_KEY="k")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make deploy STAGE=test" in done.stderr


@pytest.mark.usefixtures("deployed")
def test_the_doctor_uses_the_profile_of_the_stage(
    account: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, credentials = tmp_path / "samconfig.toml", tmp_path / "credentials"
    config.write_text(config.read_text() + f'profile = "work"\nregion = "{account.region}"\n')
    keys = "\n".join(f"{name.lower()} = {value}" for name, value in CREDENTIALS.items())
    credentials.write_text(f"[work]\n{keys}\n")
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.aws_url)
    # The stack was found: this part of the template has no ApiUrl.
    with pytest.raises(stages.StageError, match="CREATE_COMPLETE and has no outputs"):
        diagnosed("test", config)
    config.write_text(config.read_text().replace("work", "missing"))
    with pytest.raises(stages.StageError, match="missing"):
        diagnosed("test", config)
