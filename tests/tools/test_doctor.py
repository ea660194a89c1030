"""`make doctor`: each test causes a fault in the running stack and looks for it in the command's output.

CloudFormation, Secrets Manager, SQS, SNS and CloudWatch are MiniStack's. They describe the stack as a deployed one,
with separate secrets and queues. Its API, webhook and Terra are those of the running stack.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from local.testing import Stack
from tests.support.deployed import Deployed
from tests.support.terra import Terra
from tools.doctor import app_links, inside
from tools.doctor.__main__ import examine, main, print_report
from tools.doctor.outside import Doctor
from tools.doctor.stack import SECRETS, running_here
from tools.doctor.stack import Stack as DoctorsStack

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


@pytest.fixture
def deployed(plan: Deployed) -> Deployed:
    return plan.deploy()


def test_a_healthy_stack_passes_all_checks(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "dev", "--samconfig", str(deployed.samconfig)]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"The stack {deployed.name}, {deployed.stack.api_url}:\n✓ ")
    assert output.endswith("\nAll checks passed.\n")
    for what in (
        "Deployment",
        *SECRETS,
        "API",
        "Service key backend",
        "Webhook, signed with main",
        "Terra's credentials",
        "Terra's widget",
        "Terra's destination",
        "Terra's deliveries",
        "Data deliveries",
        "Return target web",
        "Return target android, without the app",
        f"Links into apps of {urlsplit(deployed.stack.demo_url).netloc}",
        "Dead",
        "Alarm topic",
        "Alarms",
    ):
        assert f"\n✓ {what}: " in output
    assert "Work" not in output  # messages waiting to be processed are no problem


@pytest.mark.parametrize(
    ("secret", "text", "expected"),
    [
        ("TerraSecret", "{}", "is empty"),
        ("TerraSecret", '{"api_key": ""}', "is empty"),
        ("TerraSecret", '{"other": "0123456789abcdef"}', "has no api_key"),
        ("TerraSecret", '{"api_key": "<your api key>"}', "contains a placeholder for api_key"),
        ("TerraSecret", '{"api_key": " 0123456789abcdef"}', "has white space around api_key"),
        ("TerraSecret", '{"api_key": "0123456789abcdef\\u00a0"}', "has white space around api_key"),
        (
            "TerraSecret",
            '{"api_key": "\u201c0123456789abcdef\u201d"}',
            "contains api_key with an invalid character: character 1 of 18 is U+201C, LEFT DOUBLE QUOTATION MARK",
        ),
        ("SigningSecrets", "0123456789abcdef", "is not JSON"),
        ("SigningSecrets", '["0123456789abcdef"]', "is not a JSON object of names and texts"),
        ("SigningSecrets", '{"main": "..."}', "contains a placeholder for main"),
        ("ServiceKeys", '{"backend": "changeme"}', "contains a placeholder for backend"),
        ("ServiceKeys", '{"backend": "hunter2"}', "contains only 7 characters for backend"),
    ],
)
def test_an_invalid_secret_is_reported_and_not_quoted(
    deployed: Deployed, secret: str, text: str, expected: str
) -> None:
    deployed.put(secret, text)
    line = deployed.problem()
    assert line.startswith(f"✗ {secret}: {expected} ")
    assert ("make secrets STAGE=dev" if secret != "ServiceKeys" else deployed.outputs["ServiceKeysArn"]) in line
    assert not any(word in line for word in ("0123456789abcdef", "hunter2", "changeme"))


def test_generated_secrets_are_not_placeholders(stack: Stack) -> None:
    for value in (stack.terra_api_key, stack.signing_secret, stack.service_key, "aTodoExampleYourSecretKey0123456789"):
        assert inside.problem_in("ServiceKeys", json.dumps({"backend": value.ljust(40, "x")})) is None


def test_a_deleted_secret_is_reported(deployed: Deployed) -> None:
    arn = deployed.outputs["SigningSecretsArn"]
    deployed.client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    assert deployed.problem().startswith("✗ SigningSecrets: does not exist ")


def test_a_key_that_terra_rejects_is_reported(deployed: Deployed) -> None:
    deployed.put("TerraSecret", '{"api_key": "a-key-of-another-account"}')
    line = deployed.problem()
    assert line.startswith("✗ Terra's credentials: are rejected: ")
    assert "Compare TerraDevId (local-dev)" in line


def test_an_unknown_dev_id_is_reported(plan: Deployed) -> None:
    plan.changed["TerraDevId"] = "another"
    assert plan.deploy().problem().startswith("✗ Terra's credentials: are rejected: ")


def test_a_failing_or_unreachable_terra_is_reported(plan: Deployed, terra: Terra) -> None:
    plan.deploy()
    terra.fault("/api/v2/userInfo", "status", status=503)
    assert plan.problem().startswith(f"✗ Terra's credentials: {plan.stack.terra_url}/api/v2: Terra failed (503).")
    elsewhere = plan.another(TerraApiUrl=NOWHERE).deploy()
    assert elsewhere.problem().startswith(f"✗ Terra's credentials: {NOWHERE}: Terra did not answer in time.")


def test_a_missing_widget_endpoint_is_reported(plan: Deployed, terra: Terra) -> None:
    plan.changed["TerraWidgetUrl"] = f"{plan.stack.terra_url}/api/v2/auth/generateWidgetSession"
    assert "is switched off (410) " in plan.deploy().problem()
    other = plan.another().deploy()
    terra.fault("/api/widget/session", "status", status=404)
    assert "/api/widget/session returns 404 without an address" in other.problem()


def test_an_unknown_signing_secret_is_reported(deployed: Deployed) -> None:
    deployed.put("SigningSecrets", json.dumps({"main": deployed.stack.signing_secret, "new": "0123456789abcdef"}))
    assert deployed.problem().startswith("✗ Webhook, signed with new: gets 401 not_signed from http")


def test_a_destination_of_another_stack_is_reported(plan: Deployed) -> None:
    line = plan.deploy(WebhookUrl=f"{plan.stack.api_url}/webhook").problem()
    assert line.startswith("✗ Webhook, signed with main: gets 404 from ")
    assert "WebhookUrl is not this stack's" in line


def test_missing_deliveries_are_reported_despite_the_doctors_own(plan: Deployed) -> None:
    plan.deploy()
    # Another stack of the account, without deliveries.
    quiet = plan.another().deploy(counts=False)
    quiet.count_delivery("healthcheck")
    status, (line,) = quiet.findings()
    assert status == 2
    assert line.startswith("? Terra's deliveries: none in the last day ")
    assert f"{plan.stack.api_url}/webhooks/terra" in line


def test_discarded_data_are_reported(plan: Deployed) -> None:
    plan.deploy().count_discarded()
    line = plan.problem()
    assert line.startswith("✗ Data deliveries: 1 were discarded in the last day (DataDeliveries=ignore)")
    assert "make terra STAGE=dev" in line


def test_a_stack_that_keeps_data_says_so(plan: Deployed) -> None:
    kept = plan.another(DataDeliveries="keep").deploy()
    kept.count_discarded()
    assert kept.findings() == (0, [])


def test_an_unreachable_destination_is_reported(plan: Deployed) -> None:
    assert "/webhooks/terra cannot be reached" in plan.deploy(WebhookUrl=f"{NOWHERE}/webhooks/terra").problem()


def test_a_service_key_that_the_api_rejects_is_reported(deployed: Deployed) -> None:
    deployed.put("ServiceKeys", json.dumps({"backend": deployed.stack.service_key, "new": "x" * 31 + "y"}))
    assert deployed.problem().startswith("✗ Service key new: is rejected (403) ")


def test_an_unreachable_or_public_api_is_reported(plan: Deployed) -> None:
    assert "✗ API: http://127.0.0.1:9/connections cannot be reached" in plan.deploy(ApiUrl=NOWHERE).problem()
    other = plan.another().deploy(ApiUrl=plan.stack.demo_url)
    assert "for a call without a key" in other.problem()


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("web", "✗ Return targets: RETURN_TARGETS is not JSON"),
        ('{"web": "http://app.example.com/"}', "✗ Return targets: RETURN_TARGETS: 'web' is http"),
        (f'{{"web": "{NOWHERE}/"}}', f"✗ Return target web: {NOWHERE}/ cannot be reached"),
        ('{"web": "DEMO/nothing/here"}', "/nothing/here returns 404"),
    ],
)
def test_unusable_return_targets_are_reported(plan: Deployed, targets: str, expected: str) -> None:
    plan.changed["ReturnTargets"] = targets.replace("DEMO", plan.stack.demo_url)
    assert expected in plan.deploy().problem()


Answer = tuple[int, Mapping[str, str], str]
"""A status, headers and a body; with status 0 the server hangs up."""


@contextmanager
def site(answers: Callable[[str], Answer]) -> Iterator[str]:
    """Serve a website and yield its URL, which replaces `SITE` in bodies.

    Args:
        answers: the response for each path.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, text = answers(self.path.partition("?")[0])
            if not status:
                return
            body = text.replace("SITE", f"http://127.0.0.1:{server.server_port}").encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def identity_provider(discovery: Mapping[str, object], keys: object) -> AbstractContextManager[str]:
    """Serve an OIDC issuer and yield its URL."""
    found = {"/keys": keys, "/.well-known/openid-configuration": discovery}
    return site(lambda path: (200, {}, json.dumps(found.get(path, {}))))


DISCOVERY = {"issuer": "SITE", "jwks_uri": "SITE/keys"}
P256 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
KEYS = {"keys": [{**P256, "kid": "1", "use": "sig"}, {**P256, "kid": "2", "use": "enc"}]}


@pytest.mark.parametrize(
    ("discovery", "keys", "expected"),
    [
        ({**DISCOVERY, "issuer": "https://other.example.com"}, KEYS, "is not the configuration of"),
        (DISCOVERY, {"keys": []}, "has no key that verifies signatures"),
        (DISCOVERY, ["nonsense"], "is not a JWK Set"),
    ],
)
def test_an_identity_provider_without_keys_is_reported(
    plan: Deployed, discovery: Mapping[str, object], keys: object, expected: str
) -> None:
    with identity_provider(discovery, keys) as issuer:
        plan.changed["OidcIssuer"] = issuer
        line = plan.deploy().problem()
    assert line.startswith("✗ User tokens: ")
    assert expected in line


def test_an_identity_provider_with_keys_passes_and_an_unreachable_one_is_reported(plan: Deployed) -> None:
    with identity_provider(DISCOVERY, KEYS) as issuer:
        plan.changed["OidcIssuer"] = issuer
        assert plan.deploy().findings() == (0, [])
    assert "✗ User tokens: " in plan.problem()


@pytest.mark.parametrize(
    ("keys", "counted"),
    [
        ([{**P256, "kid": "1"}], "1 key"),
        ([{**P256, "kid": "1"}, {**P256, "kid": "2"}], "2 keys"),
        ([{**P256, "kid": "1"}] * 2, "2 keys, 2 of them under the key id '1'"),
        ([{**P256, "kid": "1"}, {**P256, "use": "enc"}], "1 key, and 1 entry unusable"),
        ([{**P256, "kid": "1"}, 7, {"kty": "oct"}], "1 key, and 2 entries unusable"),
    ],
)
def test_keys_are_counted_as_by_the_authorizer(keys: list[object], counted: str) -> None:
    with identity_provider(DISCOVERY, {"keys": keys}) as issuer, httpx.Client(trust_env=False) as http:
        parameters = {"OidcIssuer": issuer, "PublicBaseUrl": issuer}
        checked = DoctorsStack("dev", "dev", "", parameters, {}, {}, {}, boto3.Session())
        [finding] = Doctor(checked, {}, http, time.time).user_tokens()
    assert str(finding) == f"✓ User tokens: {issuer} has {counted}"


APP = "ABCDE12345.com.example.app"
FINGERPRINT = ":".join(["AB"] * 32)
JSON = {"content-type": "application/json"}
APPLE, ANDROID = app_links.APPLE, app_links.ANDROID


def universal(*components: Mapping[str, object], **changed: object) -> str:
    return json.dumps({"applinks": {"details": [{"appIDs": [APP], "components": components, **changed}]}})


def statement(package: str = "com.example.app", **changed: object) -> dict[str, object]:
    target = {"namespace": "android_app", "package_name": package, "sha256_cert_fingerprints": [FINGERPRINT], **changed}
    return {"relation": [app_links.OPENS_LINKS], "target": target}


OPENS = universal({"/": "/connected"})
NAMES = json.dumps([statement()])


def app_site(files: Mapping[str, Answer]) -> AbstractContextManager[str]:
    """Serve an app's domain: a page, and the files."""
    return site(lambda path: files.get(path, (200 if path == "/connected" else 404, {}, "<html>")))


def returning_to(app: str) -> str:
    android = {"url": "exampleapp://connected", "android_package": "com.example.app"}
    return json.dumps({"web": f"{app}/connected", "android": android})


def test_links_that_open_the_app_pass(plan: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    with app_site({APPLE: (200, {}, OPENS), ANDROID: (200, JSON, NAMES)}) as app:
        plan.changed["ReturnTargets"] = returning_to(app)
        plan.deploy()
        capsys.readouterr()
        assert main(["--stage", "dev", "--samconfig", str(plan.samconfig)]) == 0
    host, output = urlsplit(app).netloc, capsys.readouterr().out
    assert f"\n✓ Universal links of {host}: {app}{APPLE} lets {APP} open /connected\n" in output
    assert f"\n✓ App Links of {host}: {app}{ANDROID} names com.example.app\n" in output


def test_an_app_for_one_platform_passes_and_included_lists_are_not_checked(
    plan: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = json.dumps([{"include": "https://example.com/statements.json"}])
    with app_site({ANDROID: (200, JSON, elsewhere)}) as app:
        plan.changed["ReturnTargets"] = returning_to(app)
        plan.deploy()
        capsys.readouterr()
        assert main(["--stage", "dev", "--samconfig", str(plan.samconfig)]) == 0
    host, output = urlsplit(app).netloc, capsys.readouterr().out
    assert f"\n✓ Universal links of {host}: none: " in output
    assert f"\n✓ App Links of {host}: {app}{ANDROID} names no app, and includes further lists, " in output


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, ""),
        (200, {"content-type": "text/html"}, "<!doctype html>"),
        (302, {"location": "/login"}, ""),
        (200, JSON, "{}"),
    ],
    ids=["not found", "start page", "login", "without an app"],
)
def test_a_page_without_an_app_passes_with_one_line(
    plan: Deployed, capsys: pytest.CaptureFixture[str], answer: Answer
) -> None:
    without_app = (*answer[:2], "[]") if answer[2] == "{}" else answer
    with app_site({APPLE: answer, ANDROID: without_app}) as app:
        plan.changed["ReturnTargets"] = json.dumps({"web": f"{app}/connected", "again": f"{app}/connected?again"})
        plan.deploy()
        capsys.readouterr()
        assert main(["--stage", "dev", "--samconfig", str(plan.samconfig)]) == 0
    output = capsys.readouterr().out
    assert output.count(f"\n✓ Links into apps of {urlsplit(app).netloc}: none: ") == 1
    assert "Universal" not in output
    assert "App Links" not in output


@pytest.mark.parametrize(
    ("file", "answer", "expected"),
    [
        (APPLE, (200, JSON, "applinks"), "Invalid JSON"),
        (APPLE, (200, JSON, "[]"), "should be an object"),
        (
            APPLE,
            (301, {"location": f"https://www.example.com{APPLE}"}, ""),
            f"redirects to https://www.example.com{APPLE} ",
        ),
        (APPLE, (200, JSON, universal(appIDs=["com.example.app"])), "applinks.details.0.appIDs.0: "),
        (APPLE, (200, JSON, universal({"/": ["/connected"]})), "applinks.details.0.components.0./: "),
        (ANDROID, (200, JSON, "{}"), "should be a valid array"),
        (ANDROID, (302, {"location": f"{ANDROID}/"}, ""), f"{ANDROID}/ "),
        (ANDROID, (200, {"content-type": "text/plain"}, NAMES), "has the content type 'text/plain' "),
        (ANDROID, (200, JSON, json.dumps([statement(sha256_cert_fingerprints=["AB:CD"])])), "fingerprints.0: "),
        (ANDROID, (200, JSON, json.dumps([statement(sha256_cert_fingerprints=[])])), "has a package_name and sha256"),
    ],
)
def test_an_invalid_app_link_file_is_reported(plan: Deployed, file: str, answer: Answer, expected: str) -> None:
    with app_site({APPLE: (200, {}, OPENS), ANDROID: (200, JSON, NAMES), file: answer}) as app:
        plan.changed["ReturnTargets"] = returning_to(app)
        line = plan.deploy().problem()
    kind = "Universal links" if file == APPLE else "App Links"
    assert line.startswith(f"✗ {kind} of {urlsplit(app).netloc}: {app}{file}")
    assert expected in line


@pytest.mark.parametrize(
    ("file", "answer", "expected"),
    [
        (APPLE, (200, {}, universal({"/": "/else/*"})), f"lets {APP} open other paths, not /connected "),
        (
            ANDROID,
            (200, JSON, json.dumps([statement("com.example.other")])),
            "names com.example.other, not the android_package com.example.app ",
        ),
        (APPLE, (503, {}, ""), "returns 503"),
        (ANDROID, (0, {}, ""), "cannot be reached: "),
    ],
)
def test_a_possibly_incomplete_app_link_file_is_inconclusive(
    plan: Deployed, file: str, answer: Answer, expected: str
) -> None:
    with app_site({APPLE: (200, {}, OPENS), ANDROID: (200, JSON, NAMES), file: answer}) as app:
        plan.changed["ReturnTargets"] = returning_to(app)
        status, (line,) = plan.deploy().findings()
    assert status == 2
    assert line.startswith("? ")
    assert expected in line


def test_a_dead_message_is_reported(deployed: Deployed) -> None:
    for queue in ("Dead", "Work"):
        deployed.client("sqs").send_message(QueueUrl=deployed.resources[queue], MessageBody="{}")
    assert deployed.problem().startswith("✗ Dead: contains 1 dead messages ")


@pytest.mark.parametrize("how", ["none", "gone", "silent"])
def test_alarms_without_subscribers_are_reported(plan: Deployed, how: str) -> None:
    silent = plan.topic(is_subscribed=False)
    topics = {"none": "", "gone": f"{silent}x", "silent": silent}
    expectations = {"none": "is not set", "gone": "does not exist", "silent": "has no subscribers"}
    plan.changed["AlarmTopicArn"] = topics[how]
    line = plan.deploy().problem()
    assert line.startswith("✗ Alarm topic: ")
    assert expectations[how] in line


def test_a_firing_alarm_is_reported_with_its_runbook_entry(deployed: Deployed) -> None:
    cloudwatch = deployed.client("cloudwatch")
    for name in (deployed.resources["TerraFailing"], "another stack's"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="x",
            MetricName="y",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    line = deployed.problem()
    assert line.startswith("✗ Alarms: TerraFailing is firing ")
    assert "docs/runbook.md#terrafailing" in line


@pytest.mark.parametrize(("seconds", "how"), [(600, "ahead of"), (-600, "behind")])
def test_a_wrong_clock_is_reported(stack: Stack, capsys: pytest.CaptureFixture[str], seconds: int, how: str) -> None:
    checked = replace(running_here(stack.directory), queues={})
    assert print_report(examine(checked, lambda: time.time() + seconds)) == 1
    output = capsys.readouterr().out
    for clock_of in ("the API's", "Terra's"):
        found = re.search(rf"✗ Clock: this computer's is (\d+) s {how} {clock_of}", output)
        # Responses take time, and their date has a resolution of one second.
        assert found, output
        assert abs(int(found[1]) - abs(seconds)) < 60


def test_a_failed_deployment_is_reported(stack: Stack) -> None:
    checked = replace(running_here(stack.directory), endpoint=None)
    for status, sign in (("UPDATE_COMPLETE", "✓"), ("UPDATE_ROLLBACK_COMPLETE", "✗"), ("UPDATE_IN_PROGRESS", "?")):
        (finding,) = inside.deployment(replace(checked, status=status))
        assert str(finding).startswith(f"{sign} Deployment: ")


def test_a_local_stack_is_checked_in_its_folder(
    stack: Stack, plan: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    queue, sqs = stack.queues["UnpublishedEvents"], replace(plan, stack=stack).client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    try:
        assert main(["--directory", str(stack.directory)]) == 1
    finally:
        sqs.purge_queue(QueueUrl=queue)
    output = capsys.readouterr().out
    assert output.startswith(f"The stack here, {stack.api_url}:\n")
    assert "✗ UnpublishedEvents: contains " in output
    assert "✓ Webhook, signed with local: " in output
    assert "Alarm" not in output  # a local stack has no alarms


def test_a_missing_stack_is_reported_as_inconclusive(plan: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    plan.samconfig.write_text('[dev.deploy.parameters]\nstack_name = "missing"\nregion = "us-east-1"\n[prod.deploy]\n')
    command = ["--samconfig", str(plan.samconfig), "--stage"]
    assert main([*command, "dev"]) == 2
    assert "Deployed yet? (make deploy STAGE=dev)" in capsys.readouterr().err
    stack = {"Resources": {"Dead": {"Type": "AWS::SQS::Queue"}}}
    plan.client("cloudformation").create_stack(StackName=plan.name, TemplateBody=json.dumps(stack))
    plan.samconfig.write_text(plan.samconfig.read_text().replace("missing", plan.name))
    assert main([*command, "dev"]) == 2
    assert "has no outputs" in capsys.readouterr().err
    assert main([*command, "prod"]) == 2
    assert "does not name the stack of prod" in capsys.readouterr().err
    assert main([*command, "staging"]) == 2
    assert "There is no stage 'staging'" in capsys.readouterr().err
    # Last, because checking the local stack removes the AWS settings of the process.
    assert main(["--directory", str(plan.samconfig.parent)]) == 2
    assert capsys.readouterr().err.startswith("No stack is running here: start one with make run")
