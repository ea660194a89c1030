"""Parameters for user tokens: a wrong value is rejected at deployment, not at a user's first request."""

import re
from typing import Any

import pytest

from terra_connections.auth.user_token import NO_IDENTITY, Policy
from terra_connections.errors import Misconfigured

Template = dict[str, Any]


def is_accepted_by_the_code(algorithms: str) -> bool:
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
def test_the_template_and_the_code_accept_the_same_algorithms(template: Template, algorithms: str) -> None:
    pattern = template["Parameters"]["OidcAlgorithms"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, algorithms)) is is_accepted_by_the_code(algorithms)


def test_the_default_algorithms_are_those_of_common_issuers(template: Template) -> None:
    assert template["Parameters"]["OidcAlgorithms"]["Default"] == "RS256,ES256"
    assert template["Parameters"]["OidcReferenceIdClaim"]["Default"] == "sub"


def test_an_audience_is_required_only_with_an_issuer(transformed: Template) -> None:
    parameters = transformed["Parameters"]
    assert parameters["OidcIssuer"]["Default"] == parameters["OidcAudience"]["Default"] == ""
    rule = transformed["Rules"]["UserTokensNameTheirAudience"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "OidcIssuer"}, ""]}]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "OidcAudience"}, ""]}]}


def test_a_claim_that_users_can_share_is_rejected_at_deployment(transformed: Template) -> None:
    [assertion] = transformed["Rules"]["UserTokensNameOneUser"]["Assertions"]
    assert assertion["Assert"] == {
        "Fn::Not": [{"Fn::Contains": [sorted(NO_IDENTITY), {"Ref": "OidcReferenceIdClaim"}]}]
    }


def test_only_the_authorizer_has_the_layer_for_user_tokens(transformed: Template) -> None:
    layers = {
        name: [layer["Ref"] for layer in resource["Properties"]["Layers"]]
        for name, resource in transformed["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    functions_with_layer = {
        name for name, refs in layers.items() if any(ref.startswith("AuthorizerDep") for ref in refs)
    }
    assert functions_with_layer == {"Authorize"}
    assert len(layers["Authorize"]) == 3
