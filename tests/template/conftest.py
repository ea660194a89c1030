"""The template, parsed and transformed as CloudFormation would get it."""

from typing import Any

import pytest
import yaml

from tests.support import cloudformation
from tools.environment import ROOT


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """template.yaml, with intrinsic functions in their long form."""
    return cloudformation.parsed()


@pytest.fixture(scope="session")
def transformed(template: dict[str, Any]) -> dict[str, Any]:
    """SAM's output: plain CloudFormation."""
    return cloudformation.transformed(template)


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    return document


@pytest.fixture(scope="session")
def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Properties of every function, by its logical id."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
