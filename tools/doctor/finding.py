"""What came out of one look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sign(StrEnum):
    """How it is; the value is what a line begins with."""

    FINE = "✓"
    WRONG = "✗"
    UNSEEN = "?"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: what was looked at.
        told: how it is.
        remedy: what to do, if anything.
    """

    sign: Sign
    what: str
    told: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the line, and the remedy below it."""
        line = f"{self.sign} {self.what}: {self.told}"
        return f"{line}\n    {self.remedy}" if self.remedy else line


def fine(what: str, told: str) -> Finding:
    """Nothing to do."""
    return Finding(Sign.FINE, what, told)


def wrong(what: str, told: str, remedy: str) -> Finding:
    """Something to do."""
    return Finding(Sign.WRONG, what, told, remedy)


def unseen(what: str, told: str, remedy: str = "") -> Finding:
    """It could not be looked at, or tells nothing for sure."""
    return Finding(Sign.UNSEEN, what, told, remedy)
