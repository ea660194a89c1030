"""Deployments and commands that fail: one clear line, nothing half done, and the documented next step works.

The tests are steps on the stages `two` and `three`: they run in this order.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.support.account import Account
from tests.support.api import connections_of
from tests.support.cutting_proxy import Failure, failing_network
from tests.support.deployment import Deployment
from tests.support.processes import kill_with_descendants
from tests.support.waiting import eventually
from tools import deploy

NO_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
COMMANDS = ("deploy", "secrets", "doctor", "restore", "terra", "recover", "import")
TERRAS = {"TERRA_API_KEY": "k" * 20, "TERRA_SIGNING_SECRET": "s" * 20}


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line that a failed command wrote to stderr, besides make's own."""
    assert done.returncode != 0, done.stdout
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    return line


# --- before anything is deployed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_stage_is_reported_with_the_existing_ones(two: Deployment, command: str) -> None:
    line = the_line(two.checkout.make(command, "STAGE=nowhere", "FROM=any", "SINCE=1h"))
    assert line.startswith("There is no stage 'nowhere': set STAGE to one of dev, ")


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_credentials_are_reported_with_what_to_check(two: Deployment, command: str) -> None:
    line = the_line(two.make(command, "FROM=any", "SINCE=1h", **NO_CREDENTIALS))
    assert "Unable to locate credentials." in line
    assert "aws sts get-caller-identity" in line


@pytest.mark.parametrize("command", ["secrets", "doctor", "restore", "terra", "recover", "import"])
def test_a_stage_that_is_not_deployed_is_reported(two: Deployment, command: str) -> None:
    assert "Deployed yet? (make deploy STAGE=two)" in the_line(two.make(command, "FROM=any", "SINCE=1h"))


# --- the first deployment fails -----------------------------------------------------------------------------------


def test_an_upload_that_is_cut_deploys_nothing(two: Deployment) -> None:
    with failing_network(two.account.url, "PUT /", occurrence=3) as network:
        done = two.make("deploy", AWS_ENDPOINT_URL=network.url)
        assert network.has_failed.is_set()
    assert_not_deployed(done)
    assert two.status() == ""


def test_an_interrupted_deployment_deploys_nothing(two: Deployment) -> None:
    with failing_network(two.account.url, "CreateChangeSet", failure="stopped") as network:
        command = two.checkout.command("deploy", "STAGE=two")
        environment = two.checkout.environment(AWS_ENDPOINT_URL=network.url)
        done = interrupted(command, two, environment, network.has_failed.wait)
    assert_not_deployed(done)
    assert "Traceback" not in done.stdout + done.stderr
    assert two.status() == ""


def test_a_creation_that_fails_is_removed(two: Deployment) -> None:
    certificate = two.account.client("acm").request_certificate(DomainName="api.example.com")["CertificateArn"]
    two.configure(DomainName="api.example.com", CertificateArn=certificate, HostedZoneId="Z0000000000000")
    done = two.make("deploy")
    assert_not_deployed(done)
    assert "Z0000000000000" in done.stdout + done.stderr
    assert two.status() in ("", "DELETE_COMPLETE")
    tables = two.account.client("dynamodb").list_tables()["TableNames"]
    assert [name for name in tables if name.startswith(two.stack_name)] == []
    two.configure(DomainName="", CertificateArn="", HostedZoneId="")


def test_a_stack_whose_creation_was_rolled_back_is_refused_until_it_is_deleted(two: Deployment) -> None:
    record = {"HostedZoneId": "Z0000000000000", "Name": "a.example.com", "Type": "A", "ResourceRecords": ["192.0.2.1"]}
    resources = {"Record": {"Type": "AWS::Route53::RecordSet", "Properties": record}}
    template = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
    two.account.client("cloudformation").create_stack(StackName=two.stack_name, TemplateBody=template)
    eventually(lambda: two.status() == "ROLLBACK_COMPLETE")
    done = two.make("deploy")
    assert_not_deployed(done)
    assert "ROLLBACK_COMPLETE" in done.stdout + done.stderr
    for command in ("secrets", "doctor", "restore"):
        line = the_line(two.make(command, "FROM=any", "SINCE=1h"))
        assert line == f"The stack {two.stack_name} is ROLLBACK_COMPLETE and has no outputs: make deploy STAGE=two"
    two.delete()
    two.deploy()
    assert two.status() == "CREATE_COMPLETE"


def assert_not_deployed(done: subprocess.CompletedProcess[str]) -> None:
    """SAM's own messages may have several lines; the last line of all is that of make deploy."""
    assert done.returncode != 0, done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert lines[-1] == deploy.NOT_DEPLOYED


def interrupted(
    command: list[str], deployment: Deployment, environment: dict[str, str], wait: Callable[[float], bool]
) -> subprocess.CompletedProcess[str]:
    """Run a command, and press Ctrl-C when `wait` returns."""
    process = subprocess.Popen(
        command,
        cwd=deployment.checkout.directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert wait(300)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        kill_with_descendants(process)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


# --- secrets and restore ------------------------------------------------------------------------------------------


def test_make_secrets_on_a_cut_network_reports_one_line_and_is_repeated(two: Deployment) -> None:
    with failing_network(two.account.url, "secretsmanager.PutSecretValue") as network:
        done = two.make("secrets", AWS_ENDPOINT_URL=network.url, **TERRAS)
        assert network.has_failed.is_set()
    assert "Could not connect to the endpoint URL" in the_line(done)
    assert two.secret("SigningSecretsArn") == {}
    two.put_secrets()
    assert two.secret("SigningSecretsArn") == {"main": two.terra.signing_secret}
    assert two.secret("TerraSecretArn") == {"api_key": two.terra.api_key}


@pytest.mark.parametrize("command", ["terra", "recover"])
def test_an_admin_token_that_terra_rejects_is_reported(two: Deployment, command: str) -> None:
    line = the_line(two.make(command, SINCE="1h", YES="1", TERRA_ADMIN_TOKEN="terra_at_unknown"))
    assert "Admin token" in line
    assert "terra_at_unknown" not in line


def test_make_import_reports_a_file_that_it_cannot_read(two: Deployment, tmp_path: Path) -> None:
    line = the_line(two.make("import", f"FILE={tmp_path / 'missing.csv'}", APPLY="1"))
    assert "missing.csv" in line


def test_make_restore_rejects_a_table_that_it_cannot_merge(two: Deployment) -> None:
    outputs = two.outputs()
    line = the_line(two.make("restore"))
    assert line == "Name the table to merge: make restore STAGE=... FROM=<table> (docs/runbook.md)."
    line = the_line(two.make("restore", "FROM=missing"))
    assert line == "There is no table missing in us-east-1: aws dynamodb list-tables lists its tables."
    line = the_line(two.make("restore", f"FROM={outputs['ConnectionsTable']}"))
    assert "is the stage's own table" in line
    line = the_line(two.make("restore", f"FROM={outputs['SessionsTable']}"))
    assert line.endswith("is not one of connections: its key is not user_id.")


CONNECTIONS = 45


@pytest.fixture(scope="module")
def other_table(two: Deployment) -> str:
    """A table with more connections than a batch has, of as many users."""
    user_id = two.connect(f"reference-{uuid4()}")
    item = two.items()[user_id]
    client = two.account.client("dynamodb")
    client.restore_table_to_point_in_time(
        SourceTableName=two.outputs()["ConnectionsTable"], TargetTableName="other", UseLatestRestorableTime=True
    )
    for _ in range(CONNECTIONS - 1):
        copied = json.loads(json.dumps(item))
        owner = f"reference-{uuid4()}"
        copied["user_id"]["S"] = str(uuid4())
        copied["reference_id"]["S"] = copied["facts"]["M"]["owner"]["M"]["value"]["S"] = owner
        client.put_item(TableName="other", Item=copied)
    return "other"


def test_an_interrupted_restore_keeps_what_it_merged_and_is_repeated(two: Deployment, other_table: str) -> None:
    def restore_until(failure: Failure) -> subprocess.CompletedProcess[str]:
        batch = "DynamoDB_20120810.TransactWriteItems"
        with failing_network(two.account.url, batch, occurrence=2, failure=failure) as network:
            environment = two.checkout.environment(AWS_ENDPOINT_URL=network.url)
            command = two.checkout.command("restore", "STAGE=two", f"FROM={other_table}")
            if failure == "stopped":
                return interrupted(command, two, environment, network.has_failed.wait)
            return two.make("restore", f"FROM={other_table}", AWS_ENDPOINT_URL=network.url)

    assert the_line(restore_until("stopped")).startswith("Interrupted after 20 connections and 0 tombstones. What was")
    assert set(two.items(other_table)) > set(two.items()) != set()
    line = the_line(restore_until("cut"))
    assert line.startswith("The merge ended after 40 connections and 0 tombstones: Could not connect to the endpoint")
    assert line.endswith("What was merged stays: run the same command again.")
    done = two.make("restore", f"FROM={other_table}")
    assert "Merged 45 connections and 0 tombstones." in done.stdout
    assert two.items().keys() == two.items(other_table).keys()


# --- two Terra accounts -------------------------------------------------------------------------------------------


def test_a_network_that_is_cut_during_the_creation_leaves_a_stack_that_a_repeated_deployment_finds(
    three: Deployment,
) -> None:
    with failing_network(three.account.url, "ExecuteChangeSet") as network:
        done = three.make("deploy", AWS_ENDPOINT_URL=network.url)
        assert network.has_failed.is_set()
    assert_not_deployed(done)
    eventually(lambda: three.status() == "CREATE_COMPLETE")
    assert "No changes to deploy" in three.deploy()


def test_two_stacks_with_two_terra_accounts_are_independent(two: Deployment, three: Deployment) -> None:
    three.put_secrets()
    reference_id = f"reference-{uuid4()}"
    assert two.connect(reference_id) != three.connect(reference_id)
    for own, other in ((two, three), (three, two)):
        key = other.secret("ServiceKeysArn")["backend"]
        response = httpx.get(f"{own.api_url}/providers", headers={"authorization": f"Bearer {key}"}, timeout=300)
        assert response.status_code == httpx.codes.FORBIDDEN
        with own.control() as terra:
            [delivered] = terra.deliver({"type": "healthcheck"}, secret=other.terra.signing_secret)
            assert delivered["status"] == httpx.codes.UNAUTHORIZED
    three.delete()
    with two.api() as api:
        assert len(connections_of(api, reference_id)) == 1


# --- permissions --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_permissions(two: Deployment, account: Account) -> Deployment:
    """The stack `two` once more, without a permission of the boundary and without the policies of one function."""
    client = account.client("cloudformation")
    template = yaml_parse(client.get_template(StackName=two.stack_name, TemplateStage="Original")["TemplateBody"])
    statements = template["Resources"]["FunctionsBoundary"]["Properties"]["PolicyDocument"]["Statement"]
    [tables] = [statement for statement in statements if statement.get("Sid") == "OwnTables"]
    tables["Action"].remove("dynamodb:Query")
    template["Resources"]["GetConnection"]["Properties"]["Policies"] = []
    mutated = Deployment(two.checkout, account, two.terra, "mutated", account.api_urls[3])
    s3 = account.client("s3")
    s3.create_bucket(Bucket="templates")
    s3.put_object(Bucket="templates", Key="mutated.json", Body=json.dumps(template))
    client.create_stack(
        StackName=mutated.stack_name,
        TemplateURL=f"{account.url}/templates/mutated.json",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in mutated.parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    eventually(lambda: mutated.status() == "CREATE_COMPLETE", within=120)
    return mutated


def test_a_boundary_without_a_permission_makes_the_functions_that_need_it_fail(without_permissions: Deployment) -> None:
    with without_permissions.api() as api:
        response = eventually_answered(api, "/connections?reference_id=someone")
    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")


def test_a_role_without_its_policies_makes_its_function_fail_and_no_other(without_permissions: Deployment) -> None:
    with without_permissions.api() as api:
        response = eventually_answered(api, f"/connections/{uuid4()}")
        assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
        assert eventually_answered(api, "/sessions/none").status_code == 404


def eventually_answered(api: httpx.Client, path: str) -> httpx.Response:
    """Return the function's own response; a cold start on a busy machine may exceed its timeout."""

    def answered() -> httpx.Response | None:
        response = api.get(path)
        return response if "code" in response.json() else None

    response = eventually(answered)
    assert response is not None
    return response
