"""Parameters for user tokens: a wrong value is rejected at deployment, not at a user's first request."""

import re
from typing import Any

import pytest

from terra_connections.auth.user_token import NO_IDENTITY, Policy
from terra_connections.errors import Misconfigured

Template = dict[str, Any]


def is_read(algorithms: str) -> bool:
    try:
        Policy.parse(issuer="https://login.example.com", audience="app", algorithms=algorithms, claim="sub")
    except Misconfigured:
        return False
    return True


@pytest.mark.parametrize(
    "algorithms",
    [
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
        *("RS256,ES256", "RS256,PS512,EdDSA"),
        *("HS256", "HS512", "none", "RS256,HS256", "RS256,none", "ES256K", "RS128", "rs256", "", ",", "RS256;ES256"),
    ],
)
def test_the_algorithms_that_can_be_deployed_are_those_that_are_read(template: Template, algorithms: str) -> None:
    pattern = template["Parameters"]["OidcAlgorithms"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, algorithms)) is is_read(algorithms)


def test_the_default_is_what_issuers_sign_with(template: Template) -> None:
    assert template["Parameters"]["OidcAlgorithms"]["Default"] == "RS256,ES256"
    assert template["Parameters"]["OidcReferenceIdClaim"]["Default"] == "sub"


def test_without_an_issuer_nothing_else_is_needed_and_with_one_an_audience(transformed: Template) -> None:
    parameters = transformed["Parameters"]
    assert parameters["OidcIssuer"]["Default"] == parameters["OidcAudience"]["Default"] == ""
    rule = transformed["Rules"]["UserTokensNameTheirAudience"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "OidcIssuer"}, ""]}]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "OidcAudience"}, ""]}]}


def test_a_claim_that_several_users_can_have_is_refused_when_the_stack_is_deployed(transformed: Template) -> None:
    [assertion] = transformed["Rules"]["UserTokensNameOneUser"]["Assertions"]
    assert assertion["Assert"] == {
        "Fn::Not": [{"Fn::Contains": [sorted(NO_IDENTITY), {"Ref": "OidcReferenceIdClaim"}]}]
    }


def test_only_the_authorizer_carries_what_reads_tokens(transformed: Template) -> None:
    layers = {
        name: [layer["Ref"] for layer in resource["Properties"]["Layers"]]
        for name, resource in transformed["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    carriers = {name for name, refs in layers.items() if any(ref.startswith("AuthorizerDep") for ref in refs)}
    assert carriers == {"Authorize"}
    assert len(layers["Authorize"]) == 3
