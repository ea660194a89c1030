"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sign(StrEnum):
    """The severity; the value is the start of the line."""

    FINE = "✓"
    WRONG = "✗"
    UNSEEN = "?"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: the subject of the check.
        told: the result.
        remedy: the action to take, if any.
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
    """Return a finding that needs no action."""
    return Finding(Sign.FINE, what, told)


def wrong(what: str, told: str, remedy: str) -> Finding:
    """Return a finding that needs action."""
    return Finding(Sign.WRONG, what, told, remedy)


def unseen(what: str, told: str, remedy: str = "") -> Finding:
    """Return a finding for a check that could not run or was inconclusive."""
    return Finding(Sign.UNSEEN, what, told, remedy)
