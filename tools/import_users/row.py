"""A user to import, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

NONE_AT_TERRA = "null"
"""As `terra_reference_id`: the connection has no `reference_id` at Terra."""


class Result(StrEnum):
    """What happened to a row, or what would happen; the value is in the report."""

    TO_ADOPT = "to_adopt"
    ADOPTED = "adopted"
    KNOWN = "already_known"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown_at_terra"
    NOT_AUTHENTICATED = "not_authenticated"
    NO_REFERENCE_ID = "no_reference_id"
    OTHER_OWNER = "other_owner"
    ERASED = "erased"
    UNVERIFIED = "unverified"
    MALFORMED = "malformed"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one row.

    Attributes:
        result: the result.
        detail: its reason, or empty.
        at_terra: the `reference_id` that Terra has returned, or empty.
    """

    result: Result
    detail: str = ""
    at_terra: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file, or one user of Terra's list.

    Attributes:
        line: its first line in the file; its position in Terra's list.
        user_id: Terra's id.
        reference_id: the app's id of the user; empty in Terra's list.
        terra_reference_id: the `reference_id` at Terra; empty in Terra's list.
        outcome: the outcome, if the file alone decides it. Then the ids may be invalid.
    """

    line: int
    user_id: str
    reference_id: str = ""
    terra_reference_id: str = ""
    outcome: Outcome | None = None
