"""Aliases, gradual deployments and a custom domain: the effect of the parameters on the transformed template."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from cfnlint.api import lint_all

from tests.support import cloudformation
from tests.support.iam import function_of, name_of

Template = dict[str, Any]
SAFE = {"SafeDeployments": "true"}


@pytest.fixture(scope="module")
def safe(template: Template) -> Template:
    """The template as the stage prod deploys it."""
    return cloudformation.transformed(template, parameters=SAFE)


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == type_}


def versions(template: Template, *, packaged: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the logical id of each function's version. A new id makes CloudFormation publish a new version."""
    plain = cloudformation.transformed(template, packaged=packaged)
    return {name_of(of["FunctionName"]): name for name, of in of_type(plain, "AWS::Lambda::Version").items()}


def test_every_function_is_published_under_the_alias(transformed: Template, safe: Template) -> None:
    for plain in (transformed, safe):
        aliases = of_type(plain, "AWS::Lambda::Alias")
        assert {alias["Name"] for alias in aliases.values()} == {"live"}
        assert {name_of(alias["FunctionName"]) for alias in aliases.values()} == set(
            of_type(plain, "AWS::Lambda::Function")
        )


def test_new_code_of_a_function_publishes_that_function_only(template: Template) -> None:
    before, after = versions(template), versions(template, packaged={"TerraWebhook": "s3://bucket/new"})
    assert {name for name in before if before[name] != after[name]} == {"TerraWebhook"}


def test_a_new_layer_publishes_every_function_that_has_it(template: Template) -> None:
    before, after = versions(template), versions(template, packaged={"TerraConnectionsLayer": "s3://bucket/new"})
    assert not set(before.values()) & set(after.values())


def test_a_rolled_back_version_is_deleted_so_that_its_release_can_be_deployed_again(transformed: Template) -> None:
    for name, resource in transformed["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Version":
            assert resource["DeletionPolicy"] == "Delete", name


def if_met(value: dict[str, Any]) -> dict[str, Any]:
    """Return a value, or what it is if its condition is met."""
    met: dict[str, Any] = value["Fn::If"][1] if "Fn::If" in value else value
    return met


def test_every_route_calls_the_alias(transformed: Template) -> None:
    (api,) = of_type(transformed, "AWS::ApiGatewayV2::Api").values()
    paths = [if_met(path) for path in api["Body"]["paths"].values()]
    calls = [
        json.dumps(if_met(operation)["x-amazon-apigateway-integration"]["uri"])
        for path in paths
        for operation in path.values()
    ]
    assert calls
    assert all("Aliaslive}" in uri for uri in calls)


def test_with_safe_deployments_event_sources_schedules_and_the_authorizer_use_the_alias(safe: Template) -> None:
    resources, aliases = safe["Resources"], set(of_type(safe, "AWS::Lambda::Alias"))
    for name, mapping in of_type(safe, "AWS::Lambda::EventSourceMapping").items():
        condition, alias, latest = mapping["FunctionName"]["Fn::If"]
        assert condition == "IsDeployedSafely", name
        assert name_of(alias) in aliases, name
        assert function_of(alias, resources) == function_of(latest, resources), name
    for name, rule in of_type(safe, "AWS::Events::Rule").items():
        targets = {name_of(target["Arn"]) for target in rule["Targets"]}
        assert targets <= aliases or name == "NotifyRule", name
    (api,) = of_type(safe, "AWS::ApiGatewayV2::Api").values()
    for scheme in api["Body"]["components"]["securitySchemes"].values():
        assert "AuthorizeAliaslive" in json.dumps(scheme["x-amazon-apigateway-authorizer"]["authorizerUri"])
    # The alias may be called.
    (permission,) = (p for name, p in of_type(safe, "AWS::Lambda::Permission").items() if "Authorizer" in name)
    assert permission["FunctionName"]["Fn::If"][1] == {"Ref": "AuthorizeAliaslive"}


def test_traffic_is_shifted_in_steps_and_rolled_back_on_the_alarm(safe: Template) -> None:
    groups = of_type(safe, "AWS::CodeDeploy::DeploymentGroup")
    assert set(groups) == {f"{name}DeploymentGroup" for name in of_type(safe, "AWS::Lambda::Function")}
    alarm = safe["Resources"]["DeploymentFailing"]["Properties"]
    for name, group in groups.items():
        assert "Linear10PercentEvery1Minute" in json.dumps(group["DeploymentConfigName"]), name
        assert group["AlarmConfiguration"] == {"Enabled": True, "Alarms": [{"Name": alarm["AlarmName"]}]}, name
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"], name
    for name, resource in safe["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Alias":
            assert "CodeDeployLambdaAliasUpdate" in resource["UpdatePolicy"], name


def test_without_the_parameter_traffic_is_shifted_at_once(transformed: Template) -> None:
    assert not [name for name, r in transformed["Resources"].items() if r["Type"].startswith("AWS::CodeDeploy::")]


def test_sam_transforms_it_and_cloudformation_accepts_it(safe: Template) -> None:
    # Lints the plain form, too, with all options on: only there do circular references show (the alarm watches the API,
    # the API calls the aliases, and the alarm guards the aliases).
    found = [each for each in lint_all(json.dumps(safe)) if each.rule.severity != "informational"]
    # A setting has the same value in all functions, also in those with a condition, and SAM repeats the condition of a
    # function in its route: a branch there is unreachable.
    found = [each for each in found if each.rule.id != "W1028"]
    # Some regions lack the types of resources that a parameter switches off.
    optional = {
        name
        for name, resource in safe["Resources"].items()
        if resource.get("Condition") in ("HasNotifyUrl", "RegistersEventSchema", "RegistersDataEventSchema")
    }
    assert [each for each in found if each.rule.id != "E3006" or each.path[1] not in optional] == []


def test_a_domain_is_created_only_if_it_is_named(template: Template) -> None:
    conditions = {
        name: resource.get("Condition")
        for name, resource in template["Resources"].items()
        if resource["Type"].startswith(("AWS::ApiGatewayV2::", "AWS::Route53::"))
    }
    assert conditions == {"Domain": "HasDomain", "DomainToHttpApi": "HasDomain", "DomainRecord": "HasHostedZone"}


def test_only_terra_s_dev_id_is_a_required_parameter(template: Template) -> None:
    assert [name for name, of in template["Parameters"].items() if "Default" not in of] == ["TerraDevId"]


def test_no_secret_is_a_parameter(template: Template) -> None:
    assert not [name for name, of in template["Parameters"].items() if of.get("NoEcho")]
    for name, secret in of_type(template, "AWS::SecretsManager::Secret").items():
        assert secret.get("SecretString", "{}") == "{}", name


def test_the_arn_of_every_secret_is_an_output(template: Template) -> None:
    for name in of_type(template, "AWS::SecretsManager::Secret"):
        output = f"{name}Arn"
        assert name_of(template["Outputs"][output]["Value"]) == name
