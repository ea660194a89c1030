"""deployer.yaml: the permissions to deploy the stack, and who gets them.

The permissions that CloudFormation uses are those of its resource types' handlers, which cfn-lint has a copy of. A new
type of resource in template.yaml therefore makes a test fail, which names the actions to add.
"""

import ast
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.api import lint
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from samtranslator.yaml_helper import yaml_parse

from local.gateway.intrinsics import ACCOUNT_ID, Resolver
from tests.support import cloudformation
from tests.support.iam import grants_of, listed
from tools import setup, stages
from tools.environment import ROOT

Statement = dict[str, Any]
TEXT = (ROOT / "deployer.yaml").read_text()
REGION, STACK = "eu-central-1", "terra-connections-prod"
POLICIES = ("DeployPolicy", "FunctionsPolicy", "StoragePolicy")
OPERATE = "OperatePolicy"
PARAMETERS = {
    "StackName": STACK,
    "GitHubRepository": "acme/terra-connections",
    "GitHubEnvironment": "prod",
    "GitHubOidcProviderArn": "",
}

UNUSED = {
    "dynamodb:*Replica": "no replicas",
    "dynamodb:*Item": "no replicas",
    "dynamodb:Query": "no replicas",
    "dynamodb:Scan": "no replicas",
    "dynamodb:*Import*": "no import from S3",
    "s3:GetObjectMetadata": "no import from S3",
    "s3:[!G]*BucketMetadata*Configuration": "no metadata tables",
    "s3:DeleteBucket[ACELMRW]*": "the bucket's properties are never removed",
    "s3:DeleteObject": "the bucket is kept with its objects",
    "s3:Put[AIMOR]*": "not used: acceleration, analytics, tiering, inventory, metrics, object lock, replication",
    "s3:PutBucket[ACLNRW]*": "not used: ACLs, CORS, access logs, notifications, replication, websites",
    "s3:PutBucketObjectLockConfiguration": "no object lock",
    "s3tables:*": "no metadata tables",
    "logs:CreateLogStream": "no import from S3",
    "logs:DescribeLogStreams": "no import from S3",
    "logs:PutLogEvents": "no import from S3",
    "dynamodb:[!D]*KinesisStreamingDestination": "no stream to Kinesis",
    "dynamodb:DisableKinesisStreamingDestination": "no stream to Kinesis",
    "kinesis:*": "no stream to Kinesis",
    "dynamodb:UpdateContributorInsights": "not used",
    "dynamodb:[!G]*ResourcePolicy": "no resource policies",
    "kms:*": "AWS's own keys, whose policies permit their use through the services",
    "ec2:*": "no VPC",
    "elasticfilesystem:*": "no file systems",
    "s3files:*": "no file systems",
    "lambda:AssociateRuntimeAlias": "no action of IAM",
    "lambda:[!G]*CodeSigningConfig": "no code signing",
    "lambda:GetCodeSigningConfig": "no code signing",
    "lambda:*FunctionConcurrency": "no reserved concurrency",
    "lambda:PassCapacityProvider": "no capacity providers",
    "lambda:PutFunctionScalingConfig": "no capacity providers",
    "lambda:PutRuntimeManagementConfig": "AWS updates the runtime",
    "lambda:[!G]*ProvisionedConcurrencyConfig": "no provisioned concurrency",
    "apigateway:*agResource": "no actions of IAM: tags are POST and DELETE on /tags",
    "iam:*GroupPolicy": "the boundary is attached to no group",
    "iam:*UserPolicy": "the boundary is attached to no user",
    "iam:DeleteRolePermissionsBoundary": "a role keeps its boundary",
    "secretsmanager:*Regions*": "no replicas",
    "events:*Permission": "no policy on the bus",
    "codedeploy:RegisterOnPremisesInstance": "Lambda only",
    "route53:ListHostedZones": "the record names its zone by id",
    "firehose:*": "no delivery to Firehose",
    "logs:*KmsKey": "no customer managed key",
    "logs:[!G]*DataProtectionPolicy": "no data protection policy",
    "logs:[!D]*IndexPolicy": "no index policy",
    "logs:DeleteIndexPolicy": "no index policy",
    "logs:DeleteResourcePolicy": "the account's policy stays",
    "logs:PutBearerTokenAuthentication": "not used",
    "logs:PutLogGroupDeletionProtection": "not used",
    "s3:REST.PUT.OBJECT": "no action of IAM",
}
"""Actions of the handlers for what the stack does not use, as patterns, with the reason."""

# What SAM's programs call, besides the handlers (samcli/lib/deploy, lib/bootstrap, lib/package, lib/delete, lib/sync,
# lib/list, lib/remote_invoke and lib/observability of SAM CLI 1.170).
DEPLOY = {
    *("cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet", "cloudformation:ExecuteChangeSet"),
    *("cloudformation:DescribeStacks", "cloudformation:DescribeStackEvents", "cloudformation:GetTemplateSummary"),
    *("cloudformation:RollbackStack", "cloudformation:DeleteStack"),  # on_failure = "DELETE"
    *("s3:GetObject", "s3:PutObject"),
    # API Gateway, for the access log: see the link in deployer.yaml.
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Delete", "Get", "Update")),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies"),
    "iam:CreateServiceLinkedRole",
}
BUCKET = {
    "": {"s3:CreateBucket", "s3:ListBucket"},
    "PublicAccessBlockConfiguration": {"s3:PutBucketPublicAccessBlock"},
    "BucketEncryption": {"s3:PutEncryptionConfiguration"},
    "VersioningConfiguration": {"s3:PutBucketVersioning"},
    "Tags": {"s3:PutBucketTagging"},
}
"""The actions for each property of the bucket that `resolve_s3` creates."""
BUCKET_POLICY = {"s3:GetBucketPolicy", "s3:PutBucketPolicy"}
SAM_COMMANDS = {
    "make logs": {"cloudformation:ListStackResources", "logs:FilterLogEvents"},
    "sam logs": {"cloudformation:ListStackResources", "lambda:GetFunctionConfiguration", "logs:FilterLogEvents"},
    "sam sync": {
        *("cloudformation:CreateStack", "cloudformation:UpdateStack", "cloudformation:DescribeStackResource"),
        *("cloudformation:GetTemplate", "cloudformation:ListStackResources", "s3:GetObject", "s3:PutObject"),
        *("lambda:GetFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"),
        *("lambda:PublishVersion", "lambda:UpdateAlias", "lambda:ListLayerVersions", "lambda:GetLayerVersion"),
        *("lambda:PublishLayerVersion", "lambda:DeleteLayerVersion"),
    },
    "sam list": {"cloudformation:ListStackResources", "apigateway:GET", "iam:ListPolicies"},
    "sam remote invoke": {"cloudformation:ListStackResources", "lambda:InvokeFunction"},
    "sam delete": {
        *("cloudformation:DescribeStacks", "cloudformation:GetTemplate", "cloudformation:DeleteStack"),
        *("cloudformation:ListChangeSets", "s3:ListBucket", "s3:GetObject", "s3:DeleteObject"),
    },
}
COMPANION_STACKS = {"cloudformation:DescribeStacks"}
"""What `sam delete` calls for other stacks, which do not exist here."""
RESTORE_IN_DYNAMODB = {
    "dynamodb:RestoreTableToPointInTime",
    # The actions that the restored table needs
    # (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/backuprestore_IAM.html).
    *(f"dynamodb:{name}" for name in ("BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan")),
    "dynamodb:UpdateItem",
}


TEMPLATE: dict[str, Any] = yaml_parse(TEXT)


def resolved(**parameters: str) -> dict[str, Any]:
    """Return the resources as CloudFormation makes them for a stage."""
    physical_ids = {name: name for name in TEMPLATE["Resources"]}
    resolver = Resolver(TEMPLATE, {**PARAMETERS, **parameters}, physical_ids, REGION)
    resources: Any = resolver.resolve(TEMPLATE["Resources"], "Resources")
    return dict(resources)


@cache
def statements(*policies: str) -> list[Statement]:
    resources = resolved()
    found: list[Statement] = []
    for policy in policies:
        found += resources[policy]["Properties"]["PolicyDocument"]["Statement"]
    return found


def actions(*policies: str) -> set[str]:
    return {action for statement in statements(*policies) for action in listed(statement["Action"])}


# --- which permissions -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def types() -> dict[str, set[str]]:
    """The logical ids of each type of resource, whatever the parameters."""
    parsed = cloudformation.parsed()
    found: dict[str, set[str]] = {}
    for parameters in ({}, {"SafeDeployments": "true"}):
        for name, resource in cloudformation.transformed(parsed, parameters=parameters)["Resources"].items():
            found.setdefault(resource["Type"], set()).add(name)
    return found


@cache
def handler_actions(type_: str) -> set[str]:
    """Return the actions that CloudFormation's handlers of a type of resource call."""
    handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", type_).schema["handlers"]
    # CloudFormation lists resources only for its own generator of templates.
    return {action for name, of in handlers.items() if name != "list" for action in of["permissions"]}


def is_unused(action: str) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in UNUSED)


def test_the_deployer_may_do_what_the_handlers_of_every_resource_type_do(types: dict[str, set[str]]) -> None:
    granted = {action.casefold() for action in actions(*POLICIES)}
    needed = {type_: {each for each in handler_actions(type_) if not is_unused(each)} for type_ in types}
    missing = {type_: {each for each in of if each.casefold() not in granted} for type_, of in needed.items()}
    missing = {type_: absent for type_, absent in missing.items() if absent}
    assert missing == {}, "add these to a policy of deployer.yaml, or to UNUSED with the reason"


def test_nothing_is_granted_that_neither_a_handler_nor_a_command_uses(types: dict[str, set[str]]) -> None:
    handled = {action.casefold() for type_ in types for action in handler_actions(type_) if not is_unused(action)}
    commands = DEPLOY | BUCKET_POLICY | {action for each in BUCKET.values() for action in each}
    commands |= used_by("deploy.py", "stages.py", "doctor/stack.py", "doctor/inside.py")
    unused = {action for action in actions(*POLICIES) if action.casefold() not in handled and action not in commands}
    assert unused == set()
    assert commands - actions(*POLICIES) == {"sts:GetCallerIdentity"}  # which needs no permission


def test_every_exception_still_applies_to_an_action_of_a_handler(types: dict[str, set[str]]) -> None:
    handled = {action for type_ in types for action in handler_actions(type_)}
    assert [pattern for pattern in UNUSED if not any(fnmatchcase(action, pattern) for action in handled)] == []


def test_operators_have_exactly_what_their_commands_need_in_addition() -> None:
    needed = used_by("put_secrets.py", "restore.py", "terra/refetch.py") | RESTORE_IN_DYNAMODB
    # make restore records connections as a sweep does.
    parsed = cloudformation.transformed(cloudformation.parsed())["Resources"]
    sweep = {grant.action for grant in grants_of(parsed) if grant.function == "SweepPage"}
    needed |= {action for action in sweep if action.startswith("dynamodb:")}
    for command in SAM_COMMANDS.values():
        needed |= command
    # The deployer stores the key of NotifyUrl only, in EventBridge's own secret.
    assert actions(OPERATE) - COMPANION_STACKS == needed - actions(*POLICIES) | {"secretsmanager:PutSecretValue"}
    for name in ("CompanionStack", "WebFunctionCode"):
        for action in COMPANION_STACKS:
            assert may(action, arn("cloudformation", f"stack/{STACK}-1a2b3c4d-{name}/*"), (OPERATE,))


def used_by(*programs: str) -> set[str]:
    """Return the actions of the AWS calls that programs of tools/ make with boto3."""
    return {action for program in programs for action in calls_of(ROOT / "tools" / program)}


def calls_of(program: Path) -> Iterator[str]:
    nodes = list(ast.walk(ast.parse(program.read_text())))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    constants = [
        (call.func.attr, call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None)
        for call in calls
        if isinstance(call.func, ast.Attribute)
    ]
    services = {str(argument) for name, argument in constants if name == "client" and argument}
    names = {str(argument) if name in ("get_paginator", "get_waiter") else name for name, argument in constants}
    for service in services:
        operations: dict[str, str] = boto3.client(service, region_name=REGION).meta.method_to_api_mapping  # type: ignore[call-overload]
        yield from (f"{service}:{operations[name]}" for name in names if name in operations)


def test_the_page_and_the_output_name_the_same_commands_of_operators() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith(f"| `{OPERATE}`")]
    output = yaml_parse(TEXT)["Outputs"]["OperatePolicyArn"]["Description"]
    commands = re.findall(r"make [a-z]+", row)
    assert len(commands) > 1
    assert re.findall(r"make [a-z]+", output) == commands


def test_the_programs_calls_are_found() -> None:
    assert used_by("put_secrets.py") == {"secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"}
    assert used_by("doctor/inside.py") >= {"cloudwatch:ListMetrics", "sqs:GetQueueAttributes", "sns:GetTopicAttributes"}


def test_sam_creates_its_bucket_with_the_known_properties() -> None:
    program = "import json; from samcli.lib.bootstrap.bootstrap import _get_stack_template as t; print(t())"
    python = setup.sam_program().parent / "python"
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    bucket = json.loads(done.stdout)["Resources"]
    assert {name: of["Type"] for name, of in bucket.items()} == {
        "SamCliSourceBucket": "AWS::S3::Bucket",
        "SamCliSourceBucketBucketPolicy": "AWS::S3::BucketPolicy",
    }
    assert set(bucket["SamCliSourceBucket"]["Properties"]) == BUCKET.keys() - {""}


# --- on which resources ----------------------------------------------------------------------------------------------


def matches(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    for operator, keys in condition.items():
        assert operator in ("StringEquals", "ArnEquals", "ArnLike"), operator
        for key, expected in keys.items():
            value = context.get(key, "")
            if not any(
                value == each if operator == "StringEquals" else fnmatchcase(value, each) for each in listed(expected)
            ):
                return False
    return True


def may(action: str, resource: str, policies: tuple[str, ...] = POLICIES, **context: str) -> bool:
    """Evaluate the policies as IAM does; a context's key `iam_PermissionsBoundary` is `iam:PermissionsBoundary`."""
    keys = {key.replace("_", ":", 1): value for key, value in context.items()}
    return any(
        action in listed(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
        and matches(statement.get("Condition", {}), keys)
        for statement in statements(*policies)
    )


def arn(service: str, rest: str, *, region: str = REGION) -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT_ID}:{rest}"


def iam_arn(rest: str) -> str:
    return arn("iam", rest, region="")


# By type: an action, and the ARN of a resource whose name CloudFormation generates.
NAMED = {
    "AWS::Lambda::Function": ("lambda:CreateFunction", "lambda", "function:{stack}-{id}-AbCdEfGhIjKl"),
    "AWS::DynamoDB::Table": ("dynamodb:CreateTable", "dynamodb", "table/{stack}-{id}-1A2B3C4D5E6F7"),
    "AWS::SQS::Queue": ("sqs:CreateQueue", "sqs", "{stack}-{id}-AbCdEfGhIjKl"),
    "AWS::SecretsManager::Secret": ("secretsmanager:CreateSecret", "secretsmanager", "secret:{id}-AbCdEfGhIjKl-Ab12Cd"),
    "AWS::CloudWatch::Alarm": ("cloudwatch:PutMetricAlarm", "cloudwatch", "alarm:{stack}-{id}-AbCdEfGhIjKl"),
    "AWS::Events::ApiDestination": ("events:CreateApiDestination", "events", "api-destination/{stack}-{id}-AbCdEf"),
    "AWS::Events::Connection": ("events:CreateConnection", "events", "connection/{stack}-{id}-AbCdEfGhIjKl"),
    "AWS::EventSchemas::Registry": ("schemas:CreateRegistry", "schemas", "registry/{stack}"),
    "AWS::EventSchemas::Schema": ("schemas:CreateSchema", "schemas", "schema/{stack}/terra-connections@{id}"),
    "AWS::CodeDeploy::Application": ("codedeploy:CreateApplication", "codedeploy", "application:{stack}-{id}-AbCdEfG"),
    "AWS::CodeDeploy::DeploymentGroup": (
        *("codedeploy:CreateDeploymentGroup", "codedeploy"),
        "deploymentgroup:{stack}-ServerlessDeploymentApplication-AbCdEfG/{stack}-{id}-AbCdEfG",
    ),
}
EXPLICIT = (
    ("events:PutRule", arn("events", f"rule/{STACK}-ReconcileSchedule-AbCdEfGhIjKl")),
    ("events:PutRule", arn("events", f"rule/{STACK}/{STACK}-NotifyRule-AbCdEfGhIjKl")),
    (
        "secretsmanager:CreateSecret",
        arn("secretsmanager", f"secret:events!connection/{STACK}-NotifyConnection-AbC/1b-Ab12Cd"),
    ),
    (
        "iam:CreateServiceLinkedRole",
        "arn:aws:iam::000000000000:role/aws-service-role/apidestinations.events.amazonaws.com/AWSServiceRoleForAmazonEventBridgeApiDestinations",
    ),
    ("events:CreateEventBus", arn("events", f"event-bus/{STACK}")),
    ("logs:CreateLogGroup", arn("logs", f"log-group:{STACK}-FunctionsLog-AbCdEfGhIjKl")),
    ("logs:CreateLogGroup", arn("logs", f"log-group:/aws/vendedlogs/apis/{STACK}")),
    ("logs:PutRetentionPolicy", arn("logs", f"log-group:/aws/vendedlogs/apis/{STACK}:log-stream:")),
    ("cloudwatch:PutMetricAlarm", arn("cloudwatch", f"alarm:{STACK}-deployment-failing")),
    ("lambda:PublishLayerVersion", arn("lambda", f"layer:{STACK}-code")),
    ("lambda:GetLayerVersion", arn("lambda", f"layer:{STACK}-packages:7")),
    ("lambda:PublishVersion", arn("lambda", f"function:{STACK}-CreateSession-AbCdEfGhIjKl")),
    ("lambda:UpdateAlias", arn("lambda", f"function:{STACK}-CreateSession-AbCdEfGhIjKl:live")),
    ("apigateway:POST", f"arn:aws:apigateway:{REGION}::/apis"),
    ("apigateway:PATCH", f"arn:aws:apigateway:{REGION}::/apis/abc123/stages/$default"),
    ("cloudformation:CreateChangeSet", arn("cloudformation", f"stack/{STACK}/1b2c")),
    ("cloudformation:CreateChangeSet", f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31"),
    ("s3:PutObject", f"arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-abc/{STACK}/0123abcd.template"),
)


def test_every_resource_of_the_stack_has_a_name_that_may_be_created(types: dict[str, set[str]]) -> None:
    for type_, (action, service, name) in NAMED.items():
        for logical_id in types[type_]:
            for stack, is_own in ((STACK, True), ("other-stack", "{stack}" not in name)):
                resource = arn(service, name.format(stack=stack, id=logical_id))
                assert may(action, resource) is is_own, resource
    for action, resource in EXPLICIT:
        assert may(action, resource), resource
        if STACK in resource:
            assert not may(action, resource.replace(STACK, "other-stack")), resource


def test_event_sources_may_be_created_for_functions_of_the_stack_only() -> None:
    mapping = arn("lambda", "event-source-mapping:1b2c")
    own, other = (arn("lambda", f"function:{stack}-SweepPage-AbC") for stack in (STACK, "other-stack"))
    assert may("lambda:CreateEventSourceMapping", mapping, lambda_FunctionArn=own)
    assert not may("lambda:CreateEventSourceMapping", mapping, lambda_FunctionArn=other)


def test_a_name_that_cloudformation_generates_always_begins_with_the_whole_name_of_the_stack(
    types: dict[str, set[str]],
) -> None:
    longest = max(len(name) for type_ in ("AWS::IAM::Role", "AWS::Lambda::Function") for name in types[type_])
    # IAM and Lambda limit names to 64 characters; CloudFormation appends at most 13 random ones.
    assert TEMPLATE["Parameters"]["StackName"]["MaxLength"] + len("-") + longest + len("-") + 13 <= 64


def test_the_name_of_every_stage_is_accepted_and_is_also_the_prefix_of_its_uploads() -> None:
    parameter = TEMPLATE["Parameters"]["StackName"]
    for name in ("default", "dev", "staging", "prod"):
        stage = stages.read(name)
        assert re.fullmatch(parameter["AllowedPattern"], stage.stack_name)
        assert len(stage.stack_name) <= parameter["MaxLength"]
        assert stage.settings["s3_prefix"] == stage.stack_name


BOUNDARY = iam_arn(f"policy/{STACK}-FunctionsBoundary-AbCdEf")
ROLE = iam_arn(f"role/{STACK}-CreateSessionRole-AbCdEf")
CODEDEPLOY_ROLE = iam_arn(f"role/{STACK}-CodeDeployServiceRole-AbCdEf")
BASIC, CODEDEPLOY = (
    f"arn:aws:iam::aws:policy/service-role/{name}"
    for name in ("AWSLambdaBasicExecutionRole", "AWSCodeDeployRoleForLambda")
)
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


def test_roles_of_functions_are_created_with_the_boundary_only() -> None:
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"):
        assert may(action, ROLE, iam_PermissionsBoundary=BOUNDARY)
        assert not may(action, ROLE)
        assert not may(action, ROLE, iam_PermissionsBoundary=ADMINISTRATOR)
    assert may("iam:AttachRolePolicy", ROLE, iam_PermissionsBoundary=BOUNDARY, iam_PolicyARN=BASIC)
    assert not may("iam:AttachRolePolicy", ROLE, iam_PermissionsBoundary=BOUNDARY, iam_PolicyARN=ADMINISTRATOR)
    assert not may("iam:AttachRolePolicy", ROLE, iam_PolicyARN=BASIC)
    assert not may("iam:DeleteRolePermissionsBoundary", ROLE, iam_PermissionsBoundary=BOUNDARY)


def test_the_role_without_a_boundary_gets_codedeploy_s_policy_only() -> None:
    assert may("iam:CreateRole", CODEDEPLOY_ROLE)
    assert may("iam:AttachRolePolicy", CODEDEPLOY_ROLE, iam_PolicyARN=CODEDEPLOY)
    for policy in (ADMINISTRATOR, BASIC):
        assert not may("iam:AttachRolePolicy", CODEDEPLOY_ROLE, iam_PolicyARN=policy)
    assert not may("iam:PutRolePolicy", CODEDEPLOY_ROLE)


def test_sam_s_roles_are_those_that_the_policies_permit() -> None:
    safe = cloudformation.transformed(cloudformation.parsed(), parameters={"SafeDeployments": "true"})["Resources"]
    for name, role in safe.items():
        if role["Type"] == "AWS::IAM::Role" and name != "NotifyRole":  # tested in test_notify_parameters.py
            policies = {arn.partition(":aws:policy/")[2] for arn in role["Properties"]["ManagedPolicyArns"]}
            expected = CODEDEPLOY if name == "CodeDeployServiceRole" else BASIC
            assert policies == {expected.partition(":aws:policy/")[2]}, name
            assert ("PermissionsBoundary" in role["Properties"]) is (name != "CodeDeployServiceRole"), name


def test_a_role_is_passed_to_the_service_that_uses_it_only() -> None:
    assert may("iam:PassRole", ROLE, iam_PassedToService="lambda.amazonaws.com")
    notify_role = iam_arn(f"role/{STACK}-NotifyRole-AbCdEf")
    assert may("iam:PassRole", notify_role, iam_PassedToService="events.amazonaws.com")
    assert not may("iam:PassRole", ROLE, iam_PassedToService="events.amazonaws.com")
    assert may("iam:PassRole", CODEDEPLOY_ROLE, iam_PassedToService="codedeploy.amazonaws.com")
    for service in ("ec2.amazonaws.com", "cloudformation.amazonaws.com", "codedeploy.amazonaws.com"):
        assert not may("iam:PassRole", ROLE, iam_PassedToService=service)
    assert not may("iam:PassRole", iam_arn("role/Administrator"), iam_PassedToService="lambda.amazonaws.com")


def test_the_deployer_cannot_change_its_own_permissions() -> None:
    resources = resolved()
    own = [of for of in resources.values() if of["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")]
    assert {of["Properties"]["Path"] for of in own} == {"/deployers/"}
    every = (*POLICIES, OPERATE)
    for action in actions(*every):
        if action.startswith("iam:") and action != "iam:ListPolicies":
            for kind in ("role", "policy"):
                # CloudFormation names them after the stack that they are in, which can be any.
                resource = iam_arn(f"{kind}/deployers/{STACK}-deployer-GitHubRole-AbC")
                assert not may(action, resource, every, iam_PermissionsBoundary=BOUNDARY, iam_PolicyARN=BASIC), action


def test_the_role_of_github_has_no_permissions_of_operators() -> None:
    assert resolved()["GitHubRole"]["Properties"]["ManagedPolicyArns"] == list(POLICIES)
    assert not {"dynamodb:Scan", "lambda:InvokeFunction"} & actions(*POLICIES)
    for name in ("TerraSecret", "SigningSecrets", "ServiceKeys", "NotifyKey"):
        assert not may("secretsmanager:PutSecretValue", arn("secretsmanager", f"secret:{name}-AbCdEf-Ab12Cd"))


def test_each_policy_is_within_iam_s_limit() -> None:
    longest = {**PARAMETERS, "StackName": "s" * TEMPLATE["Parameters"]["StackName"]["MaxLength"]}
    resolver = Resolver(TEMPLATE, longest, {name: name for name in TEMPLATE["Resources"]}, "ap-northeast-1")
    for policy in (*POLICIES, OPERATE):
        text = json.dumps(resolver.resolve(TEMPLATE["Resources"][policy]["Properties"]["PolicyDocument"], policy))
        # IAM counts without white space; the longest name of a partition is that of GovCloud.
        size = len("".join(text.split())) + text.count("arn:aws:") * len("-us-gov")
        assert size <= 6144, policy


# --- who gets them ---------------------------------------------------------------------------------------------------

AUDIENCE, SUBJECT = (f"token.actions.githubusercontent.com:{claim}" for claim in ("aud", "sub"))


def may_assume(subject: str, audience: str = "sts.amazonaws.com", **parameters: str) -> bool:
    role = resolved(**parameters)["GitHubRole"]["Properties"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"].keys() == {"Federated"}
    assert statement["Condition"]["StringEquals"].keys() == {AUDIENCE, SUBJECT}
    return matches(statement["Condition"], {AUDIENCE: audience, SUBJECT: subject})


def test_only_this_environment_of_this_repository_may_assume_the_role() -> None:
    assert may_assume("repo:acme/terra-connections:environment:prod")
    for foreign in (
        "repo:acme/terra-connections:environment:staging",
        "repo:acme/terra-connections:ref:refs/heads/main",
        "repo:acme/terra-connections:pull_request",
        "repo:acme/other:environment:prod",
        "repo:mallory/terra-connections:environment:prod",
        "repo:acme/terra-connections@2:environment:prod",
        "repo:acme/terra-connections:environment:prod2",
        "",
    ):
        assert not may_assume(foreign), foreign
    assert not may_assume("repo:acme/terra-connections:environment:prod", audience="https://github.com/acme")


def test_the_immutable_ids_of_a_repository_are_part_of_its_subject() -> None:
    repository = "acme@1234/terra-connections@5678"
    assert may_assume(f"repo:{repository}:environment:prod", GitHubRepository=repository)
    recreated = "repo:acme@9999/terra-connections@8888:environment:prod"
    assert not may_assume(recreated, GitHubRepository=repository)


@pytest.mark.parametrize(
    ("parameter", "value", "is_accepted"),
    [
        ("GitHubRepository", "acme/terra-connections", True),
        ("GitHubRepository", "acme@1/terra.connections_2@3", True),
        ("GitHubRepository", "", True),
        ("GitHubRepository", "acme/*", False),
        ("GitHubRepository", "acme", False),
        ("GitHubRepository", "repo:acme/terra-connections", False),
        ("GitHubEnvironment", "prod", True),
        ("GitHubEnvironment", "*", False),
        ("GitHubEnvironment", "prod:ref", False),
        ("StackName", "terra-*", False),
    ],
)
def test_no_parameter_accepts_a_wildcard(parameter: str, value: str, is_accepted: bool) -> None:  # noqa: FBT001 - an expectation
    assert bool(re.fullmatch(TEMPLATE["Parameters"][parameter]["AllowedPattern"], value)) is is_accepted


def test_an_account_has_one_provider_and_the_role_uses_it() -> None:
    created = resolved()
    federated = created["GitHubRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert federated == {"Federated": "GitHubOidcProvider"}
    existing = iam_arn("oidc-provider/token.actions.githubusercontent.com")
    role = resolved(GitHubOidcProviderArn=existing)["GitHubRole"]["Properties"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Federated": existing}
    conditions = {name: of.get("Condition") for name, of in TEMPLATE["Resources"].items()}
    assert conditions["GitHubOidcProvider"] == "MakesProvider"
    assert conditions["GitHubRole"] == "HasGitHub"


def test_a_misspelt_action_is_found_by_make_check() -> None:
    assert "deployer.yaml" in next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if "cfn-lint -a" in line
    )
    misspelt = TEXT.replace("lambda:CreateFunction\n", "lambda:CreateFunktion\n")
    assert [found.rule.id for found in lint(misspelt, regions=["us-east-1"])] == ["W3037"]
