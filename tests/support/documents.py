"""Sections, code blocks and schemas of the documentation."""

import json
import re
from typing import Any

from tools.environment import ROOT


def section(path: str, heading: str) -> str:
    """Return the text under a heading, up to the next one of the same or a higher level."""
    text = (ROOT / path).read_text()
    found = re.search(rf"^(#+) {re.escape(heading)}\n", text, re.MULTILINE)
    assert found, f"{path} has no heading {heading}"
    following = text[found.end() :]
    # A comment in a code block begins with one #, too.
    ends = re.search(rf"^#{{2,{max(2, len(found[1]))}}} ", following, re.MULTILINE)
    return following[: ends.start()] if ends else following


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def event_schema() -> dict[str, Any]:
    """Return the schema of a change event's detail in docs/events.md."""
    [text] = blocks(section("docs/events.md", "Schema of the detail"), "json")
    schema: dict[str, Any] = json.loads(text)
    return schema


def closed(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a schema that rejects properties it does not describe: consumers ignore them, the code adds none."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    return {**inner, "additionalProperties": False} if schema.get("type") == "object" else inner
