"""The emulated account refuses what AWS refuses: each with a small stack of its own."""

import io
import json
import time
import zipfile
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.support.account import Account
from tests.support.waiting import eventually

Resources = dict[str, Any]
CAPABILITIES = ["CAPABILITY_IAM"]
INTEGRATION = {
    "type": "aws_proxy",
    "httpMethod": "POST",
    "payloadFormatVersion": "2.0",
    "uri": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/none/invocations",
}


class Stack:
    """A stack of an account."""

    def __init__(self, account: Account) -> None:
        self.name = f"small-{uuid4().hex[:8]}"
        self.account = account
        self._client = account.client("cloudformation")

    def create(self, resources: Resources) -> str:
        """Create the stack, and return its final status."""
        self._client.create_stack(
            StackName=self.name, TemplateBody=template(resources), Capabilities=["CAPABILITY_IAM"]
        )
        return self._status()

    def update(self, resources: Resources) -> str:
        self._client.update_stack(
            StackName=self.name, TemplateBody=template(resources), Capabilities=["CAPABILITY_IAM"]
        )
        return self._status()

    def delete(self) -> str:
        self._client.delete_stack(StackName=self.name)
        time.sleep(0.2)
        return self._status()

    def reasons(self) -> str:
        events = self._client.describe_stack_events(StackName=self.name)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)

    def resource(self, logical_id: str) -> str:
        found = self._client.describe_stack_resource(StackName=self.name, LogicalResourceId=logical_id)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def _status(self) -> str:
        def status() -> str:
            try:
                (stack,) = self._client.describe_stacks(StackName=self.name)["Stacks"]
            except ClientError:
                return "DELETE_COMPLETE"
            return "" if stack["StackStatus"].endswith("_IN_PROGRESS") else str(stack["StackStatus"])

        return eventually(status)


def template(resources: Resources) -> str:
    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})


@pytest.fixture
def stack(account: Account) -> Stack:
    return Stack(account)


# --- HTTP APIs ------------------------------------------------------------------------------------------------------


def api(*paths: str, scheme: str = "") -> Resources:
    """Return an HTTP API with a route GET for each path."""
    operation = {"x-amazon-apigateway-integration": INTEGRATION, **({"security": [{scheme: []}]} if scheme else {})}
    body = {
        "openapi": "3.0.1",
        "info": {"title": "small", "version": "1"},
        "paths": {path: {"get": operation} for path in paths},
    }
    return {"Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Body": body}}}


def stage(*route_keys: str) -> Resources:
    settings = {route_key: {"ThrottlingRateLimit": 1} for route_key in route_keys}
    properties = {"ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True, "RouteSettings": settings}
    return {"Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": properties}}


def test_settings_of_a_missing_route_are_refused(stack: Stack) -> None:
    assert stack.create(api("/items") | stage("GET /items", "POST /items")) == "ROLLBACK_COMPLETE"
    assert "Unable to find Route by key POST /items within the provided RouteSettings" in stack.reasons()


def test_the_removal_of_a_route_that_has_settings_is_refused_and_works_in_two_deployments(stack: Stack) -> None:
    assert stack.create(api("/items", "/old") | stage("GET /old")) == "CREATE_COMPLETE"
    assert stack.update(api("/items") | stage()) == "UPDATE_ROLLBACK_COMPLETE"
    assert "Unable to find Route by key GET /old within the provided RouteSettings" in stack.reasons()
    assert stack.update(api("/items", "/old") | stage()) == "UPDATE_COMPLETE"
    assert stack.update(api("/items") | stage()) == "UPDATE_COMPLETE"


def test_an_undefined_security_scheme_is_refused_and_sams_marker_is_not(stack: Stack, account: Account) -> None:
    assert stack.create(api("/items", scheme="Callers")) == "ROLLBACK_COMPLETE"
    assert "GET /items uses the undefined security scheme Callers" in stack.reasons()
    assert Stack(account).create(api("/items", scheme="NONE")) == "CREATE_COMPLETE"


# --- stacks ---------------------------------------------------------------------------------------------------------


def test_a_stack_whose_creation_was_rolled_back_is_not_updated(stack: Stack, account: Account) -> None:
    assert stack.create(api("/items") | stage("POST /items")) == "ROLLBACK_COMPLETE"
    client = account.client("cloudformation")
    good = template(api("/items"))
    for kind in ("CREATE", "UPDATE"):
        with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
            client.create_change_set(StackName=stack.name, ChangeSetName=kind, ChangeSetType=kind, TemplateBody=good)
    with pytest.raises(ClientError, match="ROLLBACK_COMPLETE"):
        client.update_stack(StackName=stack.name, TemplateBody=good)
    assert stack.delete() == "DELETE_COMPLETE"


def test_a_stack_that_is_created_again_has_new_names_and_leaves_a_retained_resource_alone(
    stack: Stack, account: Account
) -> None:
    queue = {"Queue": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain"}}
    assert stack.create(queue) == "CREATE_COMPLETE"
    first = stack.resource("Queue")
    assert stack.update(queue | {"Other": {"Type": "AWS::SQS::Queue"}}) == "UPDATE_COMPLETE"
    assert stack.resource("Queue") == first
    assert stack.delete() == "DELETE_COMPLETE"
    assert stack.create(queue) == "CREATE_COMPLETE"
    assert stack.resource("Queue") != first
    queues = account.client("sqs").list_queues(QueueNamePrefix=stack.name)["QueueUrls"]
    assert len(queues) == 2


def test_an_event_bus_with_a_rule_is_not_deleted(stack: Stack, account: Account) -> None:
    bus = {"Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": stack.name}}}
    assert stack.create(bus) == "CREATE_COMPLETE"
    events = account.client("events")
    events.put_rule(Name="foreign", EventBusName=stack.name, EventPattern='{"source": ["any"]}')
    assert stack.delete() == "DELETE_FAILED"
    assert "EventBus can't be deleted since it has rules." in stack.reasons()
    events.delete_rule(Name="foreign", EventBusName=stack.name)
    assert stack.delete() == "DELETE_COMPLETE"


# --- functions ------------------------------------------------------------------------------------------------------

ASSUME = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def role(*actions: str) -> Resources:
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    policies = [{"PolicyName": "own", "PolicyDocument": allowed}] if actions else []
    return {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": ASSUME, "Policies": policies}}
    }


def function(code: Resources, **properties: object) -> Resources:
    own = {"Runtime": "python3.13", "Handler": "index.handler", "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Timeout": 60}
    return {"Function": {"Type": "AWS::Lambda::Function", "Properties": own | {"Code": code} | properties}}


def version(name: str) -> Resources:
    return {name: {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "Function"}}}}


def zipped(source: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(zipfile.ZipInfo("index.py"), source)
    return archive.getvalue()


def test_a_version_of_equal_code_and_configuration_is_not_published(stack: Stack, account: Account) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket=stack.name)
    for key, source in {"first": "handler = print", "same": "handler = print", "other": "handler = len"}.items():
        s3.put_object(Bucket=stack.name, Key=key, Body=zipped(source))

    def resources(key: str, version_name: str) -> Resources:
        return role() | function({"S3Bucket": stack.name, "S3Key": key}) | version(version_name)

    assert stack.create(resources("first", "VersionA")) == "CREATE_COMPLETE"
    assert stack.update(resources("same", "VersionB")) == "UPDATE_ROLLBACK_COMPLETE"
    assert "A version for this Lambda function exists ( 1 )" in stack.reasons()
    assert stack.update(resources("other", "VersionB")) == "UPDATE_COMPLETE"


HOPS = """
import os
import botocore.session

client = botocore.session.get_session().create_client("sqs", region_name="us-east-1")

def handler(event, context):
    for record in event["Records"]:
        hop = int(record["body"]) + 1
        url = os.environ["QUEUE_URL" if hop < 20 else "FINISHED_URL"]
        client.send_message(QueueUrl=url, MessageBody=str(hop))
"""


def loop(**properties: str) -> Resources:
    """Return a function that sends each message on to its own queue, for twenty hops."""
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 5}
    urls = {"QUEUE_URL": {"Ref": "Queue"}, "FINISHED_URL": {"Ref": "Finished"}}
    return (
        role("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
        | function({"ZipFile": HOPS}, Environment={"Variables": urls}, **properties)
        | {
            "Dead": {"Type": "AWS::SQS::Queue"},
            "Finished": {"Type": "AWS::SQS::Queue"},
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": redrive, "VisibilityTimeout": 360}},
            "Mapping": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                    "FunctionName": {"Ref": "Function"},
                    "BatchSize": 1,
                },
            },
        }
    )


@pytest.mark.parametrize(
    ("properties", "ends_in", "after"), [({}, "Dead", "16"), ({"RecursiveLoop": "Allow"}, "Finished", "20")]
)
def test_the_17th_invocation_of_a_chain_is_stopped_unless_the_function_allows_loops(
    stack: Stack, account: Account, properties: dict[str, str], ends_in: str, after: str
) -> None:
    assert stack.create(loop(**properties)) == "CREATE_COMPLETE"
    sqs = account.client("sqs")
    sqs.send_message(QueueUrl=stack.resource("Queue"), MessageBody="0")
    [message] = eventually(lambda: sqs.receive_message(QueueUrl=stack.resource(ends_in)).get("Messages"), within=120)
    assert message["Body"] == after
    assert stack.delete() == "DELETE_COMPLETE"
