"""template.yaml, parsed and transformed as CloudFormation receives it."""

import copy
from collections.abc import Mapping
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from tools.environment import ROOT

Template = dict[str, Any]

PACKAGED = "s3://bucket/key"


def parsed() -> Template:
    """Return the template as written, with intrinsic functions in their long form."""
    template: Template = yaml_parse((ROOT / "template.yaml").read_text())
    return template


def transformed(
    template: Template, *, parameters: Mapping[str, str] | None = None, packaged: Mapping[str, str] | None = None
) -> Template:
    """Return SAM's output: plain CloudFormation.

    Args:
        template: as `parsed` returns it; it is not modified.
        parameters: values of its parameters, besides TerraDevId.
        packaged: the S3 URI of each function's or layer's code, by logical id.
    """
    uploaded = copy.deepcopy(template)
    for name, resource in uploaded["Resources"].items():
        for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][uri] = (packaged or {}).get(name, PACKAGED)
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    plain: Template = translator.translate(uploaded, {"TerraDevId": "test", **(parameters or {})})
    return plain
