"""The origins that may call the API, as CloudFormation and the local gateway read them from the template."""

import re
from typing import Any

import pytest

from local.gateway.template import CorsSpec, read_stack
from tools.environment import ROOT

Template = dict[str, Any]


def test_the_api_has_the_cors_configuration_only_with_allowed_origins(transformed: Template) -> None:
    (api,) = (found for found in transformed["Resources"].values() if found["Type"] == "AWS::ApiGatewayV2::Api")
    condition, configuration, otherwise = api["Properties"]["Body"]["x-amazon-apigateway-cors"]["Fn::If"]
    assert condition in transformed["Conditions"]
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert configuration == {
        # SAM has replaced the reference by the parameter's value, here the default.
        "allowOrigins": {"Fn::Split": [",", ""]},
        "allowMethods": ["GET", "POST", "DELETE"],
        "allowHeaders": ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match"],
        "exposeHeaders": ["Location", "Retry-After", "ETag", "Idempotent-Replayed"],
        "maxAge": 7200,
    }


def test_every_method_of_the_application_s_routes_is_allowed(transformed: Template, openapi: Template) -> None:
    (api,) = (found for found in transformed["Resources"].values() if found["Type"] == "AWS::ApiGatewayV2::Api")
    configuration = api["Properties"]["Body"]["x-amazon-apigateway-cors"]["Fn::If"][1]
    secured = {
        method.upper()
        for path in openapi["paths"].values()
        for method, operation in path.items()
        if operation.get("security") != []
    }
    assert set(configuration["allowMethods"]) == secured


KEY = "arn:aws:secretsmanager:us-east-1:000000000000:secret:PseudonymKey-AbCdEf"
SECRETS = {KEY: '{"key": "k"}'}


def local(origins: str) -> CorsSpec | None:
    parameters = {"TerraDevId": "test", "AllowedOrigins": origins}
    arns = {f"{name}.Arn": name for name in ("Connections", "Sessions", "Deliveries")}
    names = ("Connections", "Sessions", "Deliveries", "TerraSecret", "SigningSecrets", "ServiceKeys")
    ids = {"PseudonymKey": KEY, **arns, "Connections.StreamArn": "stream", **{name: name for name in names}}
    return read_stack(
        ROOT / "template.yaml", parameters=parameters, physical_ids=ids, region="us-east-1", secrets=SECRETS
    ).cors


def test_the_local_gateway_reads_the_same_cors_configuration() -> None:
    assert local("") is None
    cors = local("https://app.example.com,http://localhost:5173")
    assert cors is not None
    assert cors.origins == ("https://app.example.com", "http://localhost:5173")
    assert cors.exposed == ("Location", "Retry-After", "ETag", "Idempotent-Replayed")
    assert not cors.credentials


@pytest.mark.parametrize(
    ("origins", "is_accepted"),
    [
        ("", True),
        ("https://app.example.com", True),
        ("https://app.example.com:8443,https://www.example.com,http://localhost:5173,http://127.0.0.1:5000", True),
        ("*", False),
        ("https://*.example.com", False),
        ("https://app.example.com/", False),
        ("https://app.example.com, https://www.example.com", False),
        ("https://app.example.com,", False),
        ("http://app.example.com", False),
        ("http://localhost.example.com", False),
        ("HTTPS://APP.EXAMPLE.COM", False),
        ("null", False),
    ],
)
def test_only_exact_origins_are_accepted(template: Template, origins: str, is_accepted: bool) -> None:  # noqa: FBT001
    pattern = template["Parameters"]["AllowedOrigins"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, origins)) is is_accepted
