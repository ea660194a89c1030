"""Filters of an event source: the exact values and prefixes of Lambda's event patterns.

Source: AWS, "Filter rule syntax" of Lambda's event filtering.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from local.template_file import TemplateError

Pattern = Mapping[str, Any]


def parse(text: str, where: str) -> Pattern:
    """Parse a pattern.

    Raises:
        TemplateError: It is not JSON, or has a rule that is not implemented here.
    """
    try:
        pattern = json.loads(text)
    except ValueError:
        message = f"{where}: the pattern is not JSON"
        raise TemplateError(message) from None
    _check(pattern, where)
    return dict(pattern)


def _check(pattern: object, where: str) -> None:
    if isinstance(pattern, dict):
        for name, part in pattern.items():
            _check(part, f"{where}.{name}")
    elif not (
        isinstance(pattern, list) and all(isinstance(rule, str) or _prefix(rule) is not None for rule in pattern)
    ):
        message = f"{where}: only exact texts and prefixes are supported by the local gateway"
        raise TemplateError(message)


def matches(patterns: Sequence[Pattern], record: object) -> bool:
    """Whether a record matches one of the patterns; without patterns every record does."""
    return not patterns or any(_matches(pattern, record) for pattern in patterns)


def _matches(pattern: object, value: object) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(_matches(part, value.get(name)) for name, part in pattern.items())
    rules = pattern if isinstance(pattern, list) else []
    return isinstance(value, str) and any(
        value == rule or ((prefix := _prefix(rule)) is not None and value.startswith(prefix)) for rule in rules
    )


def _prefix(rule: object) -> str | None:
    prefix = rule.get("prefix") if isinstance(rule, dict) and len(rule) == 1 else None
    return prefix if isinstance(prefix, str) else None
