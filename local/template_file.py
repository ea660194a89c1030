"""A CloudFormation template as written: parsed, with intrinsic functions in their long form."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml
from samtranslator.yaml_helper import yaml_parse

if TYPE_CHECKING:
    from pathlib import Path

Document = dict[str, Any]


class TemplateError(Exception):
    """The template cannot be read, or uses something that is unsupported here."""


def parse(template: Path) -> Document:
    """Return the contents of a template.

    Raises:
        TemplateError: It cannot be read, or is not YAML, or not a mapping.
    """
    try:
        # The supervisor needs the template several times, and parsing it takes 0.2 s.
        document = _parsed(template.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{template}: {error.strerror}"
        raise TemplateError(message) from error
    except yaml.YAMLError as error:
        message = f"{template}: {' '.join(str(error).split())}"
        raise TemplateError(message) from error
    if not isinstance(document, dict):
        message = f"{template}: a mapping was expected"
        raise TemplateError(message)
    return copy.deepcopy(document)


@lru_cache(maxsize=1)
def _parsed(text: str) -> object:
    parsed: object = yaml_parse(text)
    return parsed
