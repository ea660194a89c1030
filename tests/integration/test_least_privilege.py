"""Least privilege, in both directions: the AWS calls of this whole run, compared with the template's permissions.

A permission that only a failure needs counts as needed if a test causes that failure.
"""

import pytest

from local.testing import Stack
from tests import cloudformation, rights

pytestmark = pytest.mark.looks_back


@pytest.fixture(scope="module")
def resources() -> rights.Resources:
    found: rights.Resources = cloudformation.transformed(cloudformation.parsed())["Resources"]
    return found


@pytest.fixture(scope="module")
def needed(stack: Stack, resources: rights.Resources) -> set[rights.Right]:
    return rights.needed(stack.aws_calls, resources) | rights.needed_by_lambda(resources)


@pytest.mark.usefixtures("all_suites")
def test_every_call_that_a_function_made_is_allowed_to_it(
    needed: set[rights.Right], resources: rights.Resources
) -> None:
    assert rights.not_allowed(needed, rights.granted(resources)) == []


@pytest.mark.usefixtures("all_suites")
def test_a_right_to_one_kind_of_item_says_which(needed: set[rights.Right], resources: rights.Resources) -> None:
    assert rights.too_wide(rights.granted(resources), needed) == []


@pytest.mark.usefixtures("all_suites")
def test_every_right_that_a_function_has_was_used(needed: set[rights.Right], resources: rights.Resources) -> None:
    assert rights.not_needed(rights.granted(resources), needed) == []
