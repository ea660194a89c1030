"""Least privilege, in both directions: the AWS calls of a whole run of the tests, compared with the template.

A permission that only a failure needs counts as needed if a test causes that failure. `make test` runs this after all
other tests; they leave the functions' AWS calls in build/aws-calls.
"""

import pytest

from tests.conftest import AWS_CALLS
from tests.support import cloudformation, iam


@pytest.fixture(scope="module")
def resources() -> iam.Resources:
    found: iam.Resources = cloudformation.transformed(cloudformation.parsed())["Resources"]
    return found


@pytest.fixture(scope="module")
def needed(resources: iam.Resources) -> set[iam.Permission]:
    recorded = sorted(AWS_CALLS.glob("*.jsonl"))
    assert recorded, f"{AWS_CALLS} is empty: only a whole run of the tests writes it (make test)"
    by_functions = (iam.needed_by_calls(file, resources) for file in recorded)
    return iam.needed_by_lambda(resources).union(*by_functions)


def test_every_aws_call_of_a_function_is_allowed(needed: set[iam.Permission], resources: iam.Resources) -> None:
    missing = iam.missing_permissions(needed, iam.grants_of(resources))
    assert missing == [], "add these to the Policies of the function in template.yaml, or remove the call"


def test_a_permission_for_one_kind_of_item_has_a_leading_keys_condition(
    needed: set[iam.Permission], resources: iam.Resources
) -> None:
    broad = iam.too_broad_grants(iam.grants_of(resources), needed)
    assert broad == [], "add a dynamodb:LeadingKeys condition to these statements in template.yaml"


def test_every_permission_of_a_function_is_used(needed: set[iam.Permission], resources: iam.Resources) -> None:
    unused = iam.unneeded_grants(iam.grants_of(resources), needed)
    assert unused == [], "remove these from the Policies of the function in template.yaml, or test what needs them"
