"""Filters of an event source: exact texts and prefixes match, and anything else is rejected."""

import json

import pytest

from local.gateway import filters
from local.template_file import TemplateError

PATTERN = {"eventName": ["INSERT"], "dynamodb": {"Keys": {"id": {"S": [{"prefix": "payload:"}, "other"]}}}}


def record(name: str, key: object) -> dict[str, object]:
    return {"eventName": name, "dynamodb": {"Keys": {"id": {"S": key}}}}


@pytest.mark.parametrize(
    ("of", "matches"),
    [
        (record("INSERT", "payload:1"), True),
        (record("INSERT", "other"), True),
        (record("REMOVE", "payload:1"), False),
        (record("INSERT", "trace:payload:1"), False),
        (record("INSERT", "others"), False),
        (record("INSERT", 7), False),
        ({"eventName": "INSERT"}, False),
    ],
)
def test_a_record_matches_if_every_part_does(of: dict[str, object], matches: bool) -> None:  # noqa: FBT001 - a case
    assert filters.matches([filters.parse(json.dumps(PATTERN), "F")], of) is matches


def test_without_patterns_every_record_matches() -> None:
    assert filters.matches([], {})


@pytest.mark.parametrize(
    "text", ["{", "7", '{"a": "b"}', '{"a": [{"suffix": "b"}]}', '{"a": [7]}', '{"a": [{"exists": true}]}']
)
def test_a_rule_that_is_not_implemented_is_rejected(text: str) -> None:
    with pytest.raises(TemplateError, match="F"):
        filters.parse(text, "F")
