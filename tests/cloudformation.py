"""template.yaml, parsed, and transformed as CloudFormation would get it."""

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
    """The template as it is written, with intrinsic functions in their long form."""
    template: Template = yaml_parse((ROOT / "template.yaml").read_text())
    return template


def transformed(
    template: Template, *, parameters: Mapping[str, str] | None = None, packaged: Mapping[str, str] | None = None
) -> Template:
    """What SAM makes of it: plain CloudFormation.

    Args:
        template: as `parsed` returns it; it stays as it is.
        parameters: values of its parameters, besides TerraDevId.
        packaged: where the code of a function or a layer was uploaded to, by its logical id.
    """
    uploaded = copy.deepcopy(template)
    for name, resource in uploaded["Resources"].items():
        for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][uri] = (packaged or {}).get(name, PACKAGED)
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    plain: Template = translator.translate(uploaded, {"TerraDevId": "test", **(parameters or {})})
    return plain
