"""IAM permissions: those that a recorded AWS call needs, and those that the template grants."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

Template = Mapping[str, Any]
Resources = Mapping[str, Any]

QUEUE_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
STREAM_ACTIONS = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams")
"""The actions that Lambda uses, with the function's own role, to read an event source
(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, with-ddb-create-package.html)."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One action on one resource, named as in the template: `Sessions`, `Connections/index/by-reference-id`.

    Attributes:
        namespace: the beginning of the item's key up to its first colon, empty if the key has none; None if the
            action does not apply to single items.
    """

    function: str
    action: str
    resource: str
    namespace: str | None = None


# --- needed permissions ----------------------------------------------------------------------------------------------


def needed_by_calls(calls: Path, resources: Resources) -> set[Permission]:
    """Return the permissions that the recorded calls needed."""
    with calls.open() as lines:
        return {permission for line in lines for permission in needed_by_call(json.loads(line), resources)}


def needed_by_call(call: Mapping[str, Any], resources: Resources) -> Iterator[Permission]:
    """Return the permissions that one call needs."""
    function, params = call["function"], call["params"]
    action = f"{call['service']}:{call['operation']}"
    match call["service"]:
        case "dynamodb":
            for operation, table, index, item in _on_tables(call["operation"], params):
                name = _without_suffix(table)
                namespace = None if item is None else _namespace(item, name, resources)
                yield Permission(function, f"dynamodb:{operation}", name + index, namespace)
        case "secretsmanager":
            # Secrets Manager also ends an ARN with a dash and six characters.
            yield Permission(function, action, _without_suffix(params["SecretId"].rpartition("/")[2]))
        case "sqs":
            # A batch needs the permission of its parts.
            action = action.removesuffix("Batch")
            yield Permission(function, action, _without_suffix(params["QueueUrl"].rpartition("/")[2]))
        case "s3":
            operation, name = _S3_ACTIONS[call["operation"]], params["Bucket"].capitalize()
            yield Permission(function, f"s3:{operation}", name if operation == "ListBucket" else f"{name}/*")
        case "events":
            for entry in params["Entries"]:
                yield Permission(function, action, entry["EventBusName"])
        case service:
            message = f"{function} calls {service}: add the permissions that this needs here."
            raise NotImplementedError(message)


_S3_ACTIONS = {
    "PutObject": "PutObject",
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
    "DeleteObjects": "DeleteObject",
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html, "Multipart upload API and permissions"
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
}


def _without_suffix(name: str) -> str:
    """Remove the suffix that tests add, after a dash, to the name of their own table, queue or secret."""
    return name.partition("-")[0]


_TRANSACTION_ACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def _on_tables(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any] | None]]:
    """Yield the actions that a DynamoDB operation consists of, each with table, index, and the item or its key.

    A transaction needs only the permissions of its parts
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html).
    """
    if operation in ("TransactWriteItems", "TransactGetItems"):
        for part in params["TransactItems"]:
            ((kind, details),) = part.items()
            yield _TRANSACTION_ACTIONS[kind], details["TableName"], "", details.get("Item") or details.get("Key")
    elif operation == "BatchGetItem":
        for table, request in params["RequestItems"].items():
            for key in request["Keys"]:
                yield operation, table, "", key
    else:
        index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
        yield operation, params["TableName"], index, params.get("Item") or params.get("Key")


def _namespace(item: Mapping[str, Any], table: str, resources: Resources) -> str:
    (hash_key,) = (
        key["AttributeName"] for key in resources[table]["Properties"]["KeySchema"] if key["KeyType"] == "HASH"
    )
    name, colon, _ = item[hash_key]["S"].partition(":")
    return name + colon if colon else ""


def needed_by_lambda(resources: Resources) -> set[Permission]:
    """Return the permissions that Lambda needs of a function's role, to read event sources and report failures."""
    permissions: set[Permission] = set()
    for resource in resources.values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::EventSourceMapping":
            source = name_of(properties["EventSourceArn"])
            actions = STREAM_ACTIONS if source.endswith("/stream") else QUEUE_ACTIONS
            function = function_of(properties["FunctionName"], resources)
            permissions |= {Permission(function, action, source) for action in actions}
        elif resource["Type"] == "AWS::Lambda::EventInvokeConfig":
            function = function_of(properties["FunctionName"], resources)
        else:
            continue
        if failed := properties.get("DestinationConfig", {}).get("OnFailure"):
            permissions.add(Permission(function, "sqs:SendMessage", name_of(failed["Destination"])))
    return permissions


# --- granted permissions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """One action on one resource that a policy allows, for keys of these namespaces (None: for all)."""

    function: str
    action: str
    resource: str
    namespaces: tuple[str, ...] | None = None

    def allows(self, permission: Permission) -> bool:
        """Return whether the grant covers the permission."""
        needed = (permission.function, permission.action, permission.resource)
        return (self.function, self.action, self.resource) == needed and (
            self.namespaces is None
            or permission.namespace is None
            or any(fnmatchcase(permission.namespace, pattern) for pattern in self.namespaces)
        )


def grants_of(resources: Resources) -> set[Grant]:
    """Return the grants of the functions' roles in the transformed template."""
    grants: set[Grant] = set()
    for name, function in resources.items():
        if function["Type"] == "AWS::Lambda::Function":
            role = resources[name_of(function["Properties"]["Role"])]["Properties"]
            for policy in role.get("Policies", []):
                for each in policy["PolicyDocument"]["Statement"]:
                    # The key is the operator's own, and no resource of the template.
                    if (statement := with_every_condition(each))["Resource"] != OPERATORS_KEY:
                        grants |= set(_grants_of_statement(name, statement))
    return grants


OPERATORS_KEY = {"Ref": "PayloadKmsKeyArn"}


def with_every_condition(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a statement as it is if its condition is met."""
    found: Mapping[str, Any] = statement["Fn::If"][1] if "Fn::If" in statement else statement
    return found


def _grants_of_statement(function: str, statement: Mapping[str, Any]) -> Iterator[Grant]:
    assert statement["Effect"] == "Allow", statement
    condition = dict(statement.get("Condition", {}))
    keys = condition.pop("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
    assert not condition, f"add the meaning of this condition here: {condition}"
    for action in listed(statement["Action"]):
        for resource in listed(statement["Resource"]):
            # One grant per kind of item, so that an unused kind is found.
            for kinds in [None] if keys is None else [(key,) for key in keys]:
                yield Grant(function, action, name_of(resource), kinds)


# --- names -----------------------------------------------------------------------------------------------------------


def listed(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    """Return IAM's value as a list: a list of one may be written without brackets."""
    return value if isinstance(value, list) else [value]


def name_of(value: Any) -> str:  # noqa: ANN401 - JSON
    """Return the resource of a reference, for any attribute of it: `Sessions`, `Connections/stream`."""
    match value:
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [str(name), "StreamArn"]}:
            return f"{name}/stream"
        case {"Fn::GetAtt": [str(name), _]}:
            return name
        case {"Fn::Sub": str(text)}:
            return text.replace("${", "").replace(".Arn}", "")
        # The stack's own secret, or the operator's in its place.
        case {"Fn::If": [_, own, _]}:
            return name_of(own)
    message = f"This names no resource of the template: {value}"
    raise AssertionError(message)


def function_of(reference: Any, resources: Resources) -> str:  # noqa: ANN401 - JSON
    """Return the function of a reference to it or to its alias."""
    resource = resources[name_of(reference)]
    if resource["Type"] == "AWS::Lambda::Alias":
        return name_of(resource["Properties"]["FunctionName"])
    return name_of(reference)


def missing_permissions(permissions: Iterable[Permission], grants: Iterable[Grant]) -> list[Permission]:
    """Return the permissions that are needed and not granted."""
    every_grant = list(grants)
    return [each for each in permissions if not any(grant.allows(each) for grant in every_grant)]


def unneeded_grants(grants: Iterable[Grant], permissions: Iterable[Permission]) -> list[Grant]:
    """Return the grants that are not needed."""
    needed = list(permissions)
    return [grant for grant in grants if not any(grant.allows(each) for each in needed)]


def too_broad_grants(grants: Iterable[Grant], permissions: Iterable[Permission]) -> list[Grant]:
    """Return grants for all items of a table where only some kinds are needed, which a condition can name."""
    needed = list(permissions)
    found: list[Grant] = []
    for grant in grants:
        kinds = {each.namespace for each in needed if grant.allows(each)}
        kinds_in_table = {each.namespace for each in needed if each.resource == grant.resource}
        if grant.namespaces is None and kinds and not kinds & {None, ""} and kinds < kinds_in_table:
            found.append(grant)
    return found
