"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sign(StrEnum):
    """The severity; the value is the start of the line."""

    FINE = "✓"
    WRONG = "✗"
    INCONCLUSIVE = "?"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: the subject of the check.
        message: the result.
        remedy: the action to take, if any.
    """

    sign: Sign
    subject: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the line, and the remedy below it."""
        line = f"{self.sign} {self.subject}: {self.message}"
        return f"{line}\n    {self.remedy}" if self.remedy else line


def fine(subject: str, message: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(Sign.FINE, subject, message)


def wrong(subject: str, message: str, remedy: str) -> Finding:
    """Return a finding that needs action."""
    return Finding(Sign.WRONG, subject, message, remedy)


def inconclusive(subject: str, message: str, remedy: str = "") -> Finding:
    """Return a finding for a check that could not run or was inconclusive."""
    return Finding(Sign.INCONCLUSIVE, subject, message, remedy)
