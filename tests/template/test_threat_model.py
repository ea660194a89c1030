"""docs/threat-model.md names existing tests for every threat."""

import re

from tools.environment import ROOT

TEXT = (ROOT / "docs/threat-model.md").read_text()
NAMED = re.compile(r"^- `((?:simulator/)?tests/\S+\.py)::(\w+)`$", re.MULTILINE)


def test_every_named_test_exists() -> None:
    named = NAMED.findall(TEXT)
    assert named
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_threat_names_a_test() -> None:
    threats = TEXT.split("\n## ")[1:]
    assert [threat.partition("\n")[0] for threat in threats if not NAMED.search(threat)] == []
    # A line that only resembles a test name would not be checked.
    assert len(re.findall(r"\.py::", TEXT)) == len(NAMED.findall(TEXT))
