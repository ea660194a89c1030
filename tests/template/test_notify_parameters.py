"""NotifyUrl: the rule, the key, the dead-letter queue and its alarm, which exist only with it; the schema of events."""

import json
import re
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

from local import notifications
from local.gateway.intrinsics import Resolver
from terra_connections.change_events.event_bus import SOURCE
from tests.support.documents import event_schema
from tests.support.iam import name_of
from tools.environment import ROOT

Template = dict[str, Any]

EXIST_WITH_A_URL = {
    "NotifyConnection": "AWS::Events::Connection",
    "NotifyDestination": "AWS::Events::ApiDestination",
    "NotifyRule": "AWS::Events::Rule",
    "NotifyRole": "AWS::IAM::Role",
    "UndeliveredEvents": "AWS::SQS::Queue",
    "UndeliveredEventsOfNotifyRule": "AWS::SQS::QueuePolicy",
    "EventsUndelivered": "AWS::CloudWatch::Alarm",
}
SCHEMAS = {"EventSchemas": "AWS::EventSchemas::Registry", "EventSchema": "AWS::EventSchemas::Schema"}
URL = "https://app.example.com/terra-events"


def properties(template: Template, name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def created(template: Template, **parameters: str) -> dict[str, str]:
    """Return the types of the resources that exist with these parameters, by logical id."""
    defaults = {name: str(of.get("Default", "test")) for name, of in template["Parameters"].items()}
    resolver = Resolver(template, defaults | parameters, {}, "us-east-1")
    return {
        name: resource["Type"]
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or resolver.is_met(resource["Condition"], name)
    }


def test_without_a_url_nothing_is_added_and_with_one_everything_is(template: Template) -> None:
    without, with_url = created(template), created(template, NotifyUrl=URL)
    added = {name: type_ for name, type_ in with_url.items() if name not in without}
    assert added == {**EXIST_WITH_A_URL, "NotifyKey": "AWS::SecretsManager::Secret"}
    with_own_key = created(template, NotifyUrl=URL, NotifyKeyArn="arn:aws:secretsmanager:::secret:NotifyKey-own")
    assert with_own_key.items() - without.items() == EXIST_WITH_A_URL.items()


def test_every_reference_to_a_conditional_resource_has_the_same_condition(template: Template) -> None:
    conditional = {*EXIST_WITH_A_URL, "NotifyKey"}

    def referring(value: Any, condition: str | None) -> None:  # noqa: ANN401 - JSON
        match value:
            case {"Fn::If": [of, then, otherwise]}:
                referring(then, "HasNotifyUrl" if of == "MakeNotifyKey" else of)
                referring(otherwise, condition)
            case {"Ref": name} | {"Fn::GetAtt": [name, _]} if name in conditional:
                assert condition == "HasNotifyUrl", name
            case {"Fn::Sub": str(text)}:
                named = {name.partition(".")[0] for name in re.findall(r"\$\{([^}]*)\}", text)}
                assert not named & conditional or condition == "HasNotifyUrl", text
            case dict():
                for each in value.values():
                    referring(each, condition)
            case list():
                for each in value:
                    referring(each, condition)

    for name, part in [*template["Resources"].items(), *template["Outputs"].items()]:
        own = part.get("Condition")
        referring({**part, "Condition": None}, "HasNotifyUrl" if own == "MakeNotifyKey" else own)
        assert name not in EXIST_WITH_A_URL or own == "HasNotifyUrl"


@pytest.mark.parametrize(
    ("url", "is_accepted"),
    [
        ("", True),
        (URL, True),
        ("https://app.example.com", True),
        ("https://app.example.com:8443/a/b-c_d~e.f%20g/", True),
        ("http://app.example.com/terra-events", False),
        ("http://127.0.0.1:8080/", False),
        ("https://user:password@app.example.com/", False),
        ("https://app.example.com/?key=value", False),
        ("https://app.example.com/#part", False),
        ("https://app.example.com/*", False),
        ("https://app.example.com/a b", False),
        ("https://", False),
        ("app.example.com", False),
    ],
)
def test_a_url_is_https_without_a_password(template: Template, url: str, is_accepted: bool) -> None:  # noqa: FBT001 - an expectation
    parameter = template["Parameters"]["NotifyUrl"]
    assert bool(re.fullmatch(parameter["AllowedPattern"], url)) is is_accepted
    assert parameter["Default"] == ""


def test_the_key_is_a_secret_and_no_parameter(template: Template) -> None:
    key = properties(template, "NotifyConnection")["AuthParameters"]["ApiKeyAuthParameters"]
    own_or_existing = {"Fn::If": ["MakeNotifyKey", {"Ref": "NotifyKey"}, {"Ref": "NotifyKeyArn"}]}
    reference = {"Fn::Sub": ["{{resolve:secretsmanager:${Key}:SecretString:key}}", {"Key": own_or_existing}]}
    assert key == {"ApiKeyName": notifications.KEY_HEADER, "ApiKeyValue": reference}
    assert template["Outputs"]["NotifyKeyArn"]["Value"] == own_or_existing
    generated = properties(template, "NotifyKey")["GenerateSecretString"]
    assert (generated["GenerateStringKey"], generated["PasswordLength"]) == ("key", 48)
    [assertion] = template["Rules"]["NotifyKeyBelongsToAUrl"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "NotifyUrl"}, ""]}]}


def test_every_change_event_of_the_bus_is_sent_for_24_hours_and_then_kept(template: Template) -> None:
    rule = properties(template, "NotifyRule")
    assert rule["EventBusName"] == {"Ref": "EventBus"}
    # Events of health data are for a queue or a function in the account: they say where a payload is.
    assert rule["EventPattern"] == {
        "source": [SOURCE],
        "detail-type": [{"anything-but": ["data_received", "data_claimed"]}],
    }
    [target] = rule["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 24 * 3600, "MaximumRetryAttempts": 185}
    # The whole event, as other targets of the bus get it.
    assert not target.keys() & {"Input", "InputPath", "InputTransformer"}
    names = [name_of(target["Arn"]), name_of(target["RoleArn"]), name_of(target["DeadLetterConfig"]["Arn"])]
    assert names == ["NotifyDestination", "NotifyRole", "UndeliveredEvents"]
    destination = properties(template, "NotifyDestination")
    assert (destination["HttpMethod"], destination["InvocationEndpoint"]) == ("POST", {"Ref": "NotifyUrl"})
    assert destination["InvocationRateLimitPerSecond"] > 0


def test_only_the_rule_may_send_to_the_dead_letter_queue(template: Template) -> None:
    policy = properties(template, "UndeliveredEventsOfNotifyRule")
    assert policy["Queues"] == [{"Ref": "UndeliveredEvents"}]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement == {
        "Sid": "NotifyRule",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": {"Fn::GetAtt": ["UndeliveredEvents", "Arn"]},
        "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["NotifyRule", "Arn"]}}},
    }


def test_the_role_can_only_send_to_the_url_and_has_the_boundary(template: Template) -> None:
    role = properties(template, "NotifyRole")
    assert role["PermissionsBoundary"] == {"Ref": "FunctionsBoundary"}
    assert "ManagedPolicyArns" not in role
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "events.amazonaws.com"}, "sts:AssumeRole")
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    needed = ("events:InvokeApiDestination", {"Fn::GetAtt": ["NotifyDestination", "Arn"]})
    assert (statement["Action"], statement["Resource"]) == needed
    boundary = properties(template, "FunctionsBoundary")["PolicyDocument"]["Statement"]
    [limit] = [each["Fn::If"] for each in boundary if "HasNotifyUrl" in each.get("Fn::If", [])]
    assert (limit[1]["Action"], limit[1]["Resource"]) == needed
    assert limit[2] == {"Ref": "AWS::NoValue"}


# --- the schema -------------------------------------------------------------------------------------------------------


def as_openapi(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON schema of docs/events.md as one of OpenAPI 3.0, in which nothing may stand beside a reference."""
    if isinstance(schema, list):
        return [as_openapi(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/$defs/", "#/components/schemas/")}
    # Conditions do not exist in it.
    whole = {name: as_openapi(each) for name, each in schema.items() if name not in ("$schema", "$defs", "if", "then")}
    if isinstance(types := schema.get("type"), list):
        [type_] = [each for each in types if each != "null"]
        return {**whole, "type": type_, "nullable": True}
    return whole


def data_received() -> dict[str, Any]:
    schema: dict[str, Any] = yaml.safe_load((ROOT / "clients/events.yaml").read_text())["DataReceived"]
    return schema


@pytest.mark.parametrize(
    ("logical_id", "name", "documented"),
    [("EventSchema", "ConnectionChanged", event_schema()), ("DataEventSchema", "DataReceived", data_received())],
)
def test_a_registered_schema_is_the_documented_one(
    template: Template, logical_id: str, name: str, documented: dict[str, Any]
) -> None:
    document = json.loads(properties(template, logical_id)["Content"])
    OpenAPIV30SpecValidator(document).validate()
    schemas = document["components"]["schemas"]
    event = schemas.pop("AWSEvent")
    assert schemas == {
        name: as_openapi(documented),
        **{each: as_openapi(schema) for each, schema in documented.get("$defs", {}).items()},
    }
    assert event["properties"]["detail"] == {"$ref": f"#/components/schemas/{name}"}
    assert set(event["required"]) == set(event["properties"])
    assert event["x-amazon-events-source"] == SOURCE
    assert properties(template, logical_id)["SchemaName"] == f"{SOURCE}@{name}"


def test_the_schemas_are_in_a_registry_of_the_stack_unless_the_region_has_none(template: Template) -> None:
    assert properties(template, "EventSchemas")["RegistryName"] == {"Ref": "AWS::StackName"}
    for schema in ("EventSchema", "DataEventSchema"):
        assert properties(template, schema)["RegistryName"] == {"Fn::GetAtt": ["EventSchemas", "RegistryName"]}
    without = created(template, RegisterEventSchema="false")
    assert created(template).items() - without.items() == SCHEMAS.items()
    without = created(template, RegisterEventSchema="false", DataDeliveries="keep")
    with_data = created(template, DataDeliveries="keep")
    assert with_data.items() - without.items() == {**SCHEMAS, "DataEventSchema": "AWS::EventSchemas::Schema"}.items()
