"""SAM's transform of a template: the plain CloudFormation that AWS deploys, by AWS's own translator."""

import logging
from collections.abc import Mapping
from typing import Final

import boto3
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local.gateway.intrinsics import as_mapping
from local.template_file import Document, TemplateError

# The translator expects code that `sam package` has uploaded; here the bucket stands for the template's folder.
_BUCKET: Final = "local"
_CODE: Final = ("CodeUri", "ContentUri")

# It warns of internal feature flags that only AWS sets.
logging.getLogger("samtranslator").setLevel(logging.ERROR)


def transform(document: Document, *, parameters: Mapping[str, str], region: str) -> Document:
    """Return the template with plain CloudFormation resources, whose code's `S3Key` is the path of its folder.

    Args:
        document: The template; it is modified.
        parameters: Values of its parameters; the others keep their defaults.
        region: The region to deploy to.

    Raises:
        TemplateError: The translator rejects the template.
    """
    resources = as_mapping(document.get("Resources", {}), "Resources")
    sections = [as_mapping(resource, name).get("Properties") for name, resource in resources.items()]
    for properties in [*sections, *as_mapping(document.get("Globals", {}), "Globals").values()]:
        for uri in _CODE:
            if isinstance(properties, dict) and uri in properties:
                properties[uri] = {"Bucket": _BUCKET, "Key": properties[uri]}
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=region))
    try:
        plain: Document = translator.translate(document, dict(parameters))
    except InvalidDocumentException as error:
        message = " ".join(cause.message for cause in error.causes)
        raise TemplateError(message) from error
    return plain
