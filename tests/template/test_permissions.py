"""The functions' permissions.

tests/least_privilege/test_least_privilege.py checks that every permission is used and every call is allowed.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.iam import (
    Grant,
    Permission,
    function_of,
    grants_of,
    listed,
    missing_permissions,
    name_of,
    needed_by_call,
    needed_by_lambda,
    too_broad_grants,
    unneeded_grants,
    with_every_condition,
)

Resources = dict[str, dict[str, Any]]

BASIC = "service-role/AWSLambdaBasicExecutionRole"
MAY_SCAN = {"ListConnections", "SweepPage"}
"""ListConnections scans with a service key only: tests/integration/connections/test_resync.py."""
# Only in the boundary, which grants nothing: Lambda's own key, by its alias, for environment variables.
ENVIRONMENT_KEY_SID = "OwnEnvironment"


@pytest.fixture(scope="module")
def resources(transformed: dict[str, Any]) -> Resources:
    found: Resources = transformed["Resources"]
    return found


def statements(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the statements of every policy in the template."""
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        for policy in properties.get("Policies", []) if resource["Type"] == "AWS::IAM::Role" else []:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, dict(with_every_condition(statement))
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            for statement in properties["PolicyDocument"]["Statement"]:
                yield name, dict(with_every_condition(statement))


def roles_of_functions(resources: Resources) -> dict[str, dict[str, Any]]:
    return {
        name: resources[name_of(resource["Properties"]["Role"])]["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function"
    }


def test_no_statement_contains_a_wildcard(resources: Resources) -> None:
    for name, statement in statements(resources):
        assert statement["Effect"] == "Allow", name
        if name == "FunctionsBoundary" and statement["Sid"] == ENVIRONMENT_KEY_SID:
            assert statement["Action"] == "kms:Decrypt"
            assert statement["Condition"] == {"ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/aws/lambda"]}}
            continue
        resources_text = json.dumps(statement["Resource"]).replace("${Payloads.Arn}/*", "every object of the bucket")
        assert "*" not in json.dumps(statement["Action"]) + resources_text, name
        assert not {"NotAction", "NotResource"} & statement.keys(), name


def test_every_statement_in_the_template_has_a_sid(template: dict[str, Any]) -> None:
    for name, resource in template["Resources"].items():
        for policy in resource.get("Properties", {}).get("Policies", []):
            document = policy.get("PolicyDocument", policy)
            assert all(with_every_condition(statement)["Sid"] for statement in document["Statement"]), name


def test_only_functions_that_send_to_their_own_queue_may_invoke_themselves(resources: Resources) -> None:
    """Lambda stops a chain after 16 invocations of one function, unless the function has RecursiveLoop: Allow."""
    sends = {(grant.function, grant.resource) for grant in grants_of(resources) if grant.action == "sqs:SendMessage"}
    loops = {function for function, queue in sends if reads(resources, function, queue)}
    allowed = {
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function" and resource["Properties"].get("RecursiveLoop") == "Allow"
    }
    assert loops == allowed == {"AnnounceData", "RunBackfill", "SweepPage"}


def reads(resources: Resources, function: str, queue: str) -> bool:
    """Return whether a queue is an event source of a function; a dead-letter queue is not one."""
    return any(
        resource["Type"] == "AWS::Lambda::EventSourceMapping"
        and name_of(resource["Properties"]["EventSourceArn"]) == queue
        and function_of(resource["Properties"]["FunctionName"], resources) == function
        for resource in resources.values()
    )


def test_every_function_has_a_role_of_its_own(resources: Resources) -> None:
    roles = [
        name_of(resource["Properties"]["Role"])
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert len(set(roles)) == len(roles)


def test_the_permissions_boundary_limits_the_only_managed_policy(resources: Resources) -> None:
    for name, role in roles_of_functions(resources).items():
        assert [arn.partition("policy/")[2] for arn in role["ManagedPolicyArns"]] == [BASIC], name
        assert role["PermissionsBoundary"] == {"Ref": "FunctionsBoundary"}, name


def boundary(resources: Resources) -> set[tuple[str, str]]:
    policy = resources["FunctionsBoundary"]["Properties"]["PolicyDocument"]
    return {
        (action, name_of(resource))
        for statement in map(with_every_condition, policy["Statement"])
        # That of NotifyRole belongs to no function (test_notify_parameters.py); keys are not resources of the template.
        if statement["Sid"] not in ("OwnDestination", "OwnPayloadKey", ENVIRONMENT_KEY_SID)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def test_the_boundary_allows_exactly_the_grants_of_functions_and_their_log(resources: Resources) -> None:
    allowed = boundary(resources)
    grants = {(grant.action, grant.resource) for grant in grants_of(resources)}
    assert grants <= allowed
    log = {("logs:CreateLogStream", "FunctionsLog"), ("logs:PutLogEvents", "FunctionsLog")}
    assert {(action, name) for action, name in allowed if action.startswith("logs:")} == log
    # Every resource and every action is needed by some function.
    assert {name for _, name in allowed - log} == {name for _, name in grants}
    assert {action for action, _ in allowed - log} == {action for action, _ in grants}


def test_every_function_writes_to_the_log_with_a_retention(resources: Resources) -> None:
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Lambda::Function":
            assert resource["Properties"]["LoggingConfig"] == {"LogGroup": {"Ref": "FunctionsLog"}}, name


def test_only_a_sweep_and_the_list_of_all_users_may_scan_a_table(resources: Resources) -> None:
    assert {grant.function for grant in grants_of(resources) if grant.action == "dynamodb:Scan"} == MAY_SCAN


def test_only_functions_that_call_terra_may_read_its_api_key(template: dict[str, Any], resources: Resources) -> None:
    # Another test checks that a function has exactly the variables that its code reads.
    calling = {
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
        and "TERRA_SECRET_ARN" in resource["Properties"].get("Environment", {}).get("Variables", {})
    }
    assert calling
    assert {grant.function for grant in grants_of(resources) if grant.resource == "TerraSecret"} == calling


def test_each_function_reads_at_most_one_secret(resources: Resources) -> None:
    readers = [grant.function for grant in grants_of(resources) if grant.action == "secretsmanager:GetSecretValue"]
    assert len(set(readers)) == len(readers)


def test_lambda_may_read_every_event_source_and_report_failures(resources: Resources) -> None:
    assert missing_permissions(needed_by_lambda(resources), grants_of(resources)) == []


# --- the comparison itself -------------------------------------------------------------------------------------------


def call(operation: str, service: str = "dynamodb", **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"function": "F", "service": service, "operation": operation, "params": params}


def test_a_transaction_needs_the_permissions_of_its_parts(resources: Resources) -> None:
    writes = [
        {"Put": {"TableName": "Sessions", "Item": {"session_id": {"S": "sweep:current"}, "ttl": {"N": "1"}}}},
        {"ConditionCheck": {"TableName": "Connections", "Key": {"user_id": {"S": "u"}}}},
        {"Delete": {"TableName": "Connections", "Key": {"user_id": {"S": "u"}}}},
    ]
    assert set(needed_by_call(call("TransactWriteItems", TransactItems=writes), resources)) == {
        Permission("F", "dynamodb:PutItem", "Sessions", "sweep:"),
        Permission("F", "dynamodb:ConditionCheckItem", "Connections", ""),
        Permission("F", "dynamodb:DeleteItem", "Connections", ""),
    }


def test_a_query_of_an_index_needs_no_permission_for_the_table(resources: Resources) -> None:
    query = call("Query", TableName="Connections", IndexName="by-reference-id")
    assert set(needed_by_call(query, resources)) == {
        Permission("F", "dynamodb:Query", "Connections/index/by-reference-id")
    }


def test_secrets_queues_and_buses_are_identified_by_arn_url_and_name(resources: Resources) -> None:
    secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:terra-connections/TerraSecret-AbCdEf"
    calls = [
        call("GetSecretValue", "secretsmanager", SecretId=secret),
        call("SendMessage", "sqs", QueueUrl="http://127.0.0.1:4566/000000000000/SweepQueue"),
        call("PutEvents", "events", Entries=[{"EventBusName": "EventBus"}]),
    ]
    assert [permission.resource for each in calls for permission in needed_by_call(each, resources)] == [
        "TerraSecret",
        "SweepQueue",
        "EventBus",
    ]


def test_a_condition_on_keys_allows_only_those_keys() -> None:
    grant = Grant("F", "dynamodb:PutItem", "Sessions", ("sweep:*",))
    allowed, other = (Permission("F", "dynamodb:PutItem", "Sessions", namespace) for namespace in ("sweep:", ""))
    assert missing_permissions([allowed, other], [grant]) == [other]


def test_a_grant_for_all_kinds_of_items_is_reported_if_one_kind_is_needed() -> None:
    grant = Grant("F", "dynamodb:UpdateItem", "Sessions")
    needed = [
        Permission("F", "dynamodb:UpdateItem", "Sessions", "widget:"),
        Permission("G", "dynamodb:GetItem", "Sessions", ""),
    ]
    assert too_broad_grants([grant], needed) == [grant]
    assert too_broad_grants([grant], needed[:1]) == []  # no other kind is known
    assert too_broad_grants([grant], [*needed, Permission("F", "dynamodb:UpdateItem", "Sessions", "")]) == []
    assert too_broad_grants([Grant("F", "dynamodb:UpdateItem", "Sessions", ("widget:*",))], needed) == []


def test_each_kind_of_a_condition_is_a_grant_of_its_own(resources: Resources) -> None:
    grants = {grant for grant in grants_of(resources) if grant.namespaces is not None}
    assert all(len(grant.namespaces or ()) == 1 for grant in grants)
    writes = {(grant.function, grant.action, grant.namespaces) for grant in grants if grant.function != "SweepPage"}
    assert writes >= {
        ("TerraWebhook", "dynamodb:UpdateItem", ("widget:*",)),
        ("CreateSession", "dynamodb:DeleteItem", ("idempotency:*",)),
        ("AuthRetry", "dynamodb:DeleteItem", ("retry:*",)),
    }


def test_missing_permissions_and_unneeded_grants_are_reported() -> None:
    grant = Grant("F", "dynamodb:GetItem", "Sessions")
    needed = Permission("F", "dynamodb:GetItem", "Connections", "")
    assert missing_permissions([needed], [grant]) == [needed]
    assert unneeded_grants([grant], [needed]) == [grant]
