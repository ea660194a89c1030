"""One stack from its first deployment to its restored connections, by the product's own commands.

The tests are steps of one deployment: they run in this order, each on the stack that the ones before it left.
"""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
import trustme

from local.notifications import KEY_HEADER
from local.testing import read
from tests.conftest import private_lines
from tests.support import aws_cli
from tests.support.api import connections_of, erase
from tests.support.deployment import Deployment
from tests.support.https_endpoint import https_endpoint
from tests.support.terra_events import auth_event
from tests.support.waiting import eventually
from tools.environment import ROOT, everything

END_TO_END = (
    "tests/e2e",
    # As in make test-sam: the contract is tested against the handlers by make test.
    "--ignore=tests/e2e/test_running_api.py",
    # About the output of make run.
    "--deselect=tests/e2e/test_readme.py::test_the_commands_printed_by_make_run_connect_a_wearable",
    "--deselect=tests/e2e/test_readme.py::test_the_output_of_make_run_is_like_that_shown",
)


def test_the_first_deployment_creates_the_stack(one: Deployment) -> None:
    topic = one.account.client("sns").create_topic(Name="alarms")["TopicArn"]
    queue = one.account.client("sqs").create_queue(QueueName="alarms")["QueueUrl"]
    arn = one.account.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    one.account.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
    one.configure(AlarmTopicArn=topic)
    output = one.deploy()
    assert f"Successfully created/updated stack - {one.stack_name}" in output
    assert one.status() == "CREATE_COMPLETE"
    assert one.outputs()["WebhookUrl"] == f"{one.api_url}/webhooks/terra"


def test_make_secrets_stores_terras_credentials(one: Deployment) -> None:
    assert "Stored Terra's API key.\nValid signing secrets: main.\n" in one.put_secrets()
    assert one.secret("TerraSecretArn") == {"api_key": one.terra.api_key}


# MiniStack does not turn log lines into metrics, so the doctor sees no deliveries of Terra.
NOT_PASSED = [("?", "Terra's deliveries")]
ATTEMPTS = 5
"""On a busy machine a response may take longer than the doctor waits."""


def test_the_doctor_passes_every_check_that_an_emulator_can_pass(one: Deployment) -> None:
    one.warm_up()
    for _ in range(ATTEMPTS):
        report = one.make("doctor").stdout
        findings = re.findall(r"^([✓✗?]) ([^:]+):", report, re.MULTILINE)
        if [finding for finding in findings if finding[0] != "✓"] == NOT_PASSED:
            break
    else:
        pytest.fail(report)
    assert len(findings) > 15


def test_the_end_to_end_tests_pass_against_the_deployed_api(one: Deployment, tmp_path: Path) -> None:
    run_end_to_end_tests(one, tmp_path / "stack", *END_TO_END)


def test_a_sweep_goes_through_the_queue_the_table_and_the_stream_to_a_rule_of_the_event_bus(one: Deployment) -> None:
    assert recursion_of(one, "SweepPage") == "Allow"
    received = subscribe(one)
    reference_id = f"reference-{uuid4()}"
    with one.control() as terra, one.api() as api:
        user_id = terra.connect(reference_id, silent=True)["user_id"]
        assert connections_of(api, reference_id) == []
        start = one.account.client("lambda").invoke(FunctionName=one.resource("Reconcile"), Payload=b"{}")
        assert (start["StatusCode"], start.get("FunctionError")) == (200, None)
        [connection] = eventually(lambda: connections_of(api, reference_id), within=120)
    assert connection["user_id"] == user_id
    [event] = eventually(lambda: [each for each in received() if each["reference_id"] == reference_id])
    assert (event["type"], event["connection"]["user_id"]) == ("connected", user_id)
    unsubscribe(one)


def unsubscribe(one: Deployment) -> None:
    """Remove the rule: the event bus of a deleted stack must have none."""
    events, bus = one.account.client("events"), one.outputs()["EventBusName"]
    events.remove_targets(Rule="all", EventBusName=bus, Ids=["queue"])
    events.delete_rule(Name="all", EventBusName=bus)


def recursion_of(one: Deployment, function: str) -> str:
    client = one.account.client("lambda")
    return str(client.get_function_recursion_config(FunctionName=one.resource(function))["RecursiveLoop"])


def subscribe(one: Deployment, queue: str = "subscriber") -> Callable[[], list[dict[str, Any]]]:
    """Add a rule to the event bus, as docs/events.md does, and return a function that reads its queue."""
    sqs, events, bus = one.account.client("sqs"), one.account.client("events"), one.outputs()["EventBusName"]
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": ["terra-connections"]}))
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    received: list[dict[str, Any]] = []

    def read_queue() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        received.extend(json.loads(message["Body"])["detail"] for message in messages)
        return received

    return read_queue


def test_a_deployment_without_changes_changes_nothing(one: Deployment) -> None:
    before = one.aliases()
    assert f"No changes to deploy. Stack {one.stack_name} is up to date" in one.deploy()
    assert one.aliases() == before


ADDED_TARGETS = {"intranet": "https://app.example.com/connected?from=it's&at=a%20time"}


def test_changed_parameters_arrive_unchanged_and_aliases_move(one: Deployment) -> None:
    before = one.aliases()
    one.configure(BrandName="Acme Health", ReturnTargets=json.dumps(one.return_targets() | ADDED_TARGETS))
    one.deploy()
    after = one.aliases()
    assert {
        name: int(found["Version"]) > int(before[name]["Version"]) for name, found in after.items()
    } == dict.fromkeys(before, True)
    variables = after["AuthFailure"]["Environment"]["Variables"]
    assert variables["BRAND_NAME"] == "Acme Health"
    assert json.loads(variables["RETURN_TARGETS"]) == one.return_targets()
    page = httpx.get(f"{one.api_url}/auth/failure", timeout=300)
    assert "Acme Health" in page.text


def test_with_notify_url_a_login_is_sent_to_the_endpoint(one: Deployment, authority: trustme.CA) -> None:
    reference_id = f"reference-{uuid4()}"
    with https_endpoint(authority) as (url, received):
        one.configure(NotifyUrl=url)
        one.deploy()
        one.warm_up()
        one.connect(reference_id)
        [request] = eventually(
            lambda: [each for each in received if each["body"]["detail"]["reference_id"] == reference_id], within=120
        )
        assert request["body"]["detail-type"] == "connected"
        assert request["headers"][KEY_HEADER.lower()] == one.secret("NotifyKeyArn")["key"]
        one.configure(NotifyUrl="")
        one.deploy()
    assert "NotifyKeyArn" not in one.outputs()


DESTINATIONS = "/api/v3/admin/environments/{}/unified-api/destinations"
SCOPES = ["destinations:read", "destinations:write", "events:read", "events:write", "keys:read"]


def test_make_terra_mends_the_destination_and_make_recover_gets_what_it_missed(one: Deployment) -> None:
    reference_id, path = f"reference-{uuid4()}", DESTINATIONS.format(one.terra.dev_id)
    with one.control() as terra, one.api() as api:
        terra.settings(retry_scale=1000)
        token = terra.admin_token(scopes=SCOPES)
        headers = {"authorization": f"Bearer {token}"}
        [destination] = terra.client.get(path, headers=headers).json()["data"]
        gone = {"config": {"url": "http://127.0.0.1:9/webhooks/terra"}}
        terra.client.patch(f"{path}/{destination['id']}", json=gone, headers=headers).raise_for_status()
        user_id = terra.connect(reference_id)["user_id"]
        with_token = {"TERRA_ADMIN_TOKEN": token, "SINCE": "1h", "YES": "1"}

        mended = one.make("terra", f"DESTINATION={destination['id']}", **with_token)
        assert mended.returncode == 0, mended.stdout + mended.stderr
        assert one.make("terra", **with_token).stdout.endswith("as it should: nothing to change.\n")
        assert connections_of(api, reference_id) == []
        recovered = one.make("recover", **with_token)
        assert "Delivered 1 of 1 events." in recovered.stdout, recovered.stdout + recovered.stderr
        [connection] = connections_of(api, reference_id)
        assert (connection["user_id"], connection["status"]) == (user_id, "connected")
        assert "; 0 were not delivered." in one.make("recover", **with_token).stdout
        assert token not in str((mended, recovered))
        terra.settings(retry_scale=0.01)


def test_make_import_adopts_the_connections_that_users_made_before(one: Deployment, tmp_path: Path) -> None:
    reference_id, users = f"reference-{uuid4()}", tmp_path / "users.csv"
    with one.control() as terra, one.api() as api:
        user_id = terra.connect(reference_id, silent=True)["user_id"]
        users.write_text(f"user_id,reference_id\n{user_id},{reference_id}\n{uuid4()},{reference_id}\n")
        options = (f"FILE={users}", f"REPORTS={tmp_path}")
        planned = one.make("import", *options)
        assert planned.returncode == 0, planned.stdout + planned.stderr
        assert connections_of(api, reference_id) == []
        imported = one.make("import", *options, APPLY="1")
        assert imported.returncode == 0, imported.stdout + imported.stderr
        [connection] = connections_of(api, reference_id)
        assert (connection["user_id"], connection["status"]) == (user_id, "connected")
    assert one.make("import", *options, APPLY="1").returncode == 0


PROTECTED = {
    "BlockPublicAcls": True,
    "BlockPublicPolicy": True,
    "IgnorePublicAcls": True,
    "RestrictPublicBuckets": True,
}


@pytest.fixture(scope="module")
def bucket(one: Deployment) -> str:
    """Switch DataDeliveries to keep, let Terra send every event type, and return the name of the bucket."""
    one.configure(
        DataDeliveries="keep",
        PayloadRetentionDays="10",
        QuietAfterDays="7",
        PayloadUrls=f"{one.terra.url}/payloads/",
    )
    one.deploy()
    one.warm_up()
    with one.control() as terra:
        widened = one.make("terra", TERRA_ADMIN_TOKEN=terra.admin_token(scopes=SCOPES), YES="1")
    assert widened.returncode == 0, widened.stdout + widened.stderr
    return one.outputs()["PayloadsBucket"]


def test_the_bucket_of_data_is_private_encrypted_and_emptied_after_the_retention(one: Deployment, bucket: str) -> None:
    s3 = one.account.client("s3")
    assert bucket.startswith(f"{one.stack_name}-payloads-")
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == PROTECTED
    [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    [encryption] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (rule["Status"], rule["Expiration"]) == ("Enabled", {"Days": 10})
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    [ownership] = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    archive = one.account.client("events").describe_archive(ArchiveName=one.stack_name)
    assert archive["RetentionDays"] == 2


def test_data_is_in_the_bucket_and_on_a_rule_until_the_user_is_erased(one: Deployment, bucket: str) -> None:
    received, s3 = subscribe(one, "data"), one.account.client("s3")
    reference_id = f"reference-{uuid4()}"
    user_id = one.connect(reference_id)
    with one.control() as terra, one.api() as api:
        # Terra pushes the first, and sends a URL of the second.
        for webhook_delivery, type_ in (("push", "daily"), ("ping", "sleep")):
            terra.settings(webhook_delivery=webhook_delivery)
            sent = terra.client.post(f"/_control/users/{user_id}/data", json={"type": type_}).raise_for_status()
            [delivery] = sent.json()["deliveries"]
            assert delivery["state"] == "delivered"
            [event] = eventually(lambda: of_type(received(), user_id, type_), within=240)  # noqa: B023 - called at once
            assert (event["reference_id"], event["bucket"]) == (reference_id, bucket)
            body = gzip.decompress(s3.get_object(Bucket=bucket, Key=event["key"])["Body"].read())
            assert (len(body), json.loads(body)["user"]["user_id"]) == (event["bytes"], user_id)
        terra.settings(webhook_delivery="push")
        assert len(keys_of(one, bucket, user_id)) == 2
        assert sorted(item for item in one.days_of_data()) == [f"data:{sha256(user_id.encode()).hexdigest()}"]
        assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert keys_of(one, bucket, user_id) == []
    unsubscribe(one)


def of_type(received: list[dict[str, Any]], user_id: str, type_: str) -> list[dict[str, Any]]:
    """Return the events about a user's data of one type, without repetitions."""
    found = [each for each in received if (each.get("user_id"), each["type"]) == (user_id, type_)]
    return list({each["event_id"]: each for each in found}.values())


def keys_of(one: Deployment, bucket: str, user_id: str) -> list[str]:
    listed = one.account.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"p/{user_id}/")
    return [each["Key"] for each in listed.get("Contents", [])]


def test_data_that_is_no_longer_kept_leaves_the_bucket(one: Deployment, bucket: str) -> None:
    user_id = one.connect(f"reference-{uuid4()}")
    with one.control() as terra:
        terra.client.post(f"/_control/users/{user_id}/data", json={"type": "daily"}).raise_for_status()
        kept = eventually(lambda: keys_of(one, bucket, user_id))
        one.configure(DataDeliveries="ignore", QuietAfterDays="0")
        one.deploy()
        one.warm_up()
        assert "PayloadsBucket" not in one.outputs()
        assert not {"PublishData", "FetchPayload", "AnnounceData", "CreateReplay"} & one.aliases().keys()
        sent = terra.client.post(f"/_control/users/{user_id}/data", json={"type": "sleep"}).raise_for_status()
        assert [each["state"] for each in sent.json()["deliveries"]] == ["delivered"]
    assert keys_of(one, bucket, user_id) == kept


def test_safe_deployments_switched_on_use_the_aliases_everywhere(one: Deployment, tmp_path: Path) -> None:
    before = one.aliases()
    one.configure(SafeDeployments="true")
    one.deploy()
    assert all(int(found["Version"]) > int(before[name]["Version"]) for name, found in one.aliases().items())
    lambda_ = one.account.client("lambda")
    for mapping in ("SweepQueueToSweepPage", "ConnectionsToPublishEvents"):
        assert lambda_.get_event_source_mapping(UUID=one.resource(mapping))["FunctionArn"].endswith(":live")
    [authorizer] = one.account.client("apigatewayv2").get_authorizers(ApiId=one.resource("HttpApi"))["Items"]
    assert ":live/invocations" in authorizer["AuthorizerUri"]
    one.warm_up()
    run_end_to_end_tests(one, tmp_path / "stack", "tests/e2e/test_connect.py")


def test_the_restore_drill_of_the_runbook_changes_nothing(one: Deployment, tmp_path: Path) -> None:
    one.connect(f"reference-{uuid4()}")
    before = one.items()
    output = run_of_runbook(one, "Restore drill", tmp_path / "bin")
    assert re.search(r"^Merged [1-9]\d* connections and \d+ tombstones\.", output, re.MULTILINE), output
    assert one.items() == before
    assert "restore-drill" not in one.account.client("dynamodb").list_tables()["TableNames"]


def run_of_runbook(one: Deployment, heading: str, programs: Path, **variables: str) -> str:
    """Run the commands below a heading of the runbook on this stage."""
    [commands] = aws_cli.blocks("runbook.md", heading)
    commands = commands.replace("STAGE=dev", f"STAGE={one.stage}").replace("terra-connections-dev", one.stack_name)
    secrets = {"TERRA_API_KEY": one.terra.api_key, "TERRA_SIGNING_SECRET": one.terra.signing_secret}
    return aws_cli.run(commands, one.checkout, programs, {**secrets, **variables})


class Kept(NamedTuple):
    """What the first stack of a stage leaves, and its users as (reference_id, user_id)."""

    table: str
    backup: str
    pseudonym_key_arn: str
    connected: tuple[str, str]
    disconnected: tuple[str, str]
    erased: tuple[str, str]


@pytest.fixture(scope="module")
def kept(one: Deployment) -> Kept:
    """Delete the stack. It has a connected, a disconnected and an erased user, and a backup from before the erasure."""
    users = [(name, one.connect(name)) for name in (f"reference-{uuid4()}" for _ in range(3))]
    connected, disconnected, erased = users
    outputs = one.outputs()
    with one.api() as api:
        assert api.delete(f"/connections/{disconnected[1]}").is_success
        one.account.client("dynamodb").restore_table_to_point_in_time(
            SourceTableName=outputs["ConnectionsTable"], TargetTableName="backup", UseLatestRestorableTime=True
        )
        assert erase(api, erased[0]).status_code == httpx.codes.NO_CONTENT
    one.delete()
    return Kept(outputs["ConnectionsTable"], "backup", outputs["PseudonymKeyArn"], connected, disconnected, erased)


def test_a_deleted_stack_leaves_its_connections_and_the_key_of_its_pseudonyms(one: Deployment, kept: Kept) -> None:
    assert one.status() in ("", "DELETE_COMPLETE")
    tables = one.account.client("dynamodb").list_tables()["TableNames"]
    assert [name for name in tables if name.startswith(one.stack_name)] == [kept.table]
    secrets = one.account.client("secretsmanager").list_secrets()["SecretList"]
    retained = [secret["ARN"] for secret in secrets if secret["Name"].startswith(one.stack_name)]
    assert retained == [kept.pseudonym_key_arn]
    assert {user_id for _, user_id in (kept.connected, kept.disconnected)} <= one.items(kept.table).keys()
    assert kept.erased[1] not in one.items(kept.table)
    assert kept.erased[1] in one.items(kept.backup)


def test_a_stack_that_is_created_again_as_in_the_runbook_has_the_connections_of_the_first(
    one: Deployment, kept: Kept, tmp_path: Path
) -> None:
    one.configure(PseudonymKeyArn=kept.pseudonym_key_arn)
    output = run_of_runbook(one, "Create a deleted stack again", tmp_path / "bin", old_table=kept.table)
    assert re.search(r"^Merged [1-9]\d* connections and [1-9]\d* tombstones\.", output, re.MULTILINE), output
    assert one.outputs()["ConnectionsTable"] != kept.table
    assert one.outputs()["PseudonymKeyArn"] == kept.pseudonym_key_arn
    key = one.secret("PseudonymKeyArn")["key"]
    assert {found["Environment"]["Variables"].get("PSEUDONYM_KEY") for found in one.aliases().values()} == {None, key}
    one.warm_up()
    with one.api() as api:
        [connection] = connections_of(api, kept.connected[0])
        assert (connection["user_id"], connection["status"]) == (kept.connected[1], "connected")
        assert connections_of(api, kept.disconnected[0]) == []


def test_an_older_backup_and_a_late_webhook_do_not_bring_an_erased_user_back(one: Deployment, kept: Kept) -> None:
    assert one.make("restore", f"FROM={kept.backup}").returncode == 0
    with one.api() as api, one.control() as terra:
        assert connections_of(api, kept.erased[0]) == []
        [late] = terra.deliver(auth_event(kept.erased[1], kept.erased[0]))
        assert late["status"] == httpx.codes.OK
        assert connections_of(api, kept.erased[0]) == []
    assert kept.erased[1] not in one.items()


def test_a_repeated_restore_changes_nothing(one: Deployment, kept: Kept) -> None:
    before = one.items()
    for table in (kept.backup, kept.table):
        assert one.make("restore", f"FROM={table}").returncode == 0
    assert one.items() == before


def run_end_to_end_tests(one: Deployment, directory: Path, *arguments: str) -> None:
    one.describe(directory)
    command = [sys.executable, "-m", "pytest", "--numprocesses", "0", "-p", "no:cacheprovider", *arguments]
    environment = {**everything(), "STACK": str(directory), "REQUIRE_ALL": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    one.write_log(directory)
    assert private_lines(read(directory)) == []
