"""The file of users: CSV, read and checked as a whole before anything is stored.

A temporary SQLite database holds the rows, so that memory does not grow with their number. SQLite creates its file
readable by its owner only, and deletes it: https://www.sqlite.org/inmemorydb.html#temp_db
"""

from __future__ import annotations

import codecs
import csv
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from terra_connections.ids import reference_id_error, user_id_from
from tools.import_users.row import NONE_AT_TERRA, Outcome, Result, Row
from tools.stages import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

REQUIRED: Final = ("user_id", "reference_id")
OPTIONAL: Final = "terra_reference_id"
_DELIMITERS: Final = ",;\t|"
_LONGEST_LINE: Final = 65_536  # bytes
_LONGEST_SHOWN: Final = 300  # characters of a value in the report
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_TABLE: Final = """
CREATE TABLE rows (
    line INTEGER PRIMARY KEY, user_id TEXT, reference_id TEXT, terra_reference_id TEXT, result TEXT, detail TEXT
)
"""
_REPEATED: Final = """
CREATE TABLE repeated AS
SELECT user_id, min(line) AS line, substr(group_concat(line, ', '), 1, 200) AS lines,
    count(DISTINCT reference_id || char(0) || terra_reference_id) > 1 AS differs
FROM rows WHERE result IS NULL GROUP BY user_id HAVING count(*) > 1
"""
_CONFLICTS: Final = """
UPDATE rows SET result = ?, detail = (
    SELECT 'the lines ' || lines || ' have different values for this user_id'
    FROM repeated WHERE repeated.user_id = rows.user_id
)
WHERE result IS NULL AND user_id IN (SELECT user_id FROM repeated WHERE differs)
"""
_DUPLICATES: Final = """
UPDATE rows SET result = ?, detail = (
    SELECT 'the same as line ' || repeated.line FROM repeated WHERE repeated.user_id = rows.user_id
)
WHERE result IS NULL AND user_id IN (SELECT user_id FROM repeated) AND line NOT IN (SELECT line FROM repeated)
"""


class UsersFile:
    """The rows of a file."""

    def __init__(self, path: Path) -> None:
        """Read and check a file.

        Raises:
            StageError: the file cannot be read as CSV with the required columns. A faulty row is no error.
        """
        self._database = sqlite3.connect("")
        self._database.execute(_TABLE)
        try:
            with path.open("rb") as file:
                rows = ((*_values(row), *_decided(row)) for row in _rows(_Lines(file, path.name)))
                self._database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", rows)
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}. Set FILE to a CSV file."
            raise StageError(message) from None
        self._database.execute("CREATE INDEX by_user_id ON rows (user_id)")
        self._database.execute(_REPEATED)
        self._database.execute("CREATE INDEX by_repeated_user_id ON repeated (user_id)")
        self._database.execute(_CONFLICTS, (Result.CONFLICT,))
        self._database.execute(_DUPLICATES, (Result.DUPLICATE,))

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM rows").fetchone()[0])

    def __iter__(self) -> Iterator[Row]:
        return map(_row, self._database.execute("SELECT * FROM rows ORDER BY line"))

    def faulty(self) -> Iterator[Row]:
        """Yield the rows that cannot be imported because of the file."""
        faults = (Result.MALFORMED, Result.CONFLICT)
        return map(_row, self._database.execute("SELECT * FROM rows WHERE result IN (?, ?) ORDER BY line", faults))


def _row(stored: tuple[int, str, str, str, str | None, str]) -> Row:
    line, user_id, reference_id, at_terra, result, detail = stored
    outcome = None if result is None else Outcome(Result(result), detail)
    return Row(line, user_id, reference_id, at_terra, outcome)


def _values(row: Row) -> tuple[int, str, str, str]:
    return row.line, row.user_id, row.reference_id, row.terra_reference_id


def _decided(row: Row) -> tuple[Result | None, str]:
    return (None, "") if row.outcome is None else (row.outcome.result, row.outcome.detail)


@dataclass
class _Lines:
    """The lines of a file as text.

    Attributes:
        file: the file.
        name: its name, for messages.
        number: the number of the last line.
    """

    file: BinaryIO
    name: str
    number: int = field(default=0, init=False)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline(_LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            if line.startswith(_UTF_16):
                raise self.error(self.number, 'is UTF-16: save the file as UTF-8 (in Excel: "CSV UTF-8")')
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > _LONGEST_LINE:
            raise self.error(self.number, f"is longer than {_LONGEST_LINE} bytes: separate the rows by line breaks")
        try:
            return line.decode()
        except UnicodeDecodeError:
            message = 'is not UTF-8: save the file as UTF-8 (in Excel: "CSV UTF-8")'
            raise self.error(self.number, message) from None

    def error(self, number: int, problem: str) -> StageError:
        """Return an error about a line."""
        return StageError(f"{self.name}: line {number} {problem}. Nothing was imported.")


def _rows(lines: _Lines) -> Iterator[Row]:
    header, delimiter = _header(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        began = lines.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"is not CSV ({error}): look for a quotation mark without its counterpart from there on"
            raise lines.error(began, problem) from None
        if any(fields):
            yield _checked(began, header, fields)


def _header(lines: _Lines) -> tuple[list[str], str]:
    """Return the names of the columns, and the delimiter with which the first line has the required ones."""
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        message = f"{lines.name} is empty: its first line must name the columns {' and '.join(REQUIRED)}."
        raise StageError(message)
    for delimiter in _DELIMITERS:
        try:
            names = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter, strict=True))]
        except csv.Error:
            continue
        wanted = [name for name in names if name in {*REQUIRED, OPTIONAL}]
        if set(REQUIRED) <= set(wanted) and len(wanted) == len(set(wanted)):
            return names, delimiter
    problem = (
        f"must name the columns {' and '.join(REQUIRED)} ({OPTIONAL} is optional), once each, separated by a comma, "
        "semicolon, tab or |"
    )
    raise lines.error(lines.number, problem)


def _checked(line: int, header: Sequence[str], fields: Sequence[str]) -> Row:
    """Return a row, with its outcome if it is malformed."""
    values = dict(zip(header, fields, strict=False))
    user_id, reference_id = (values.get(name, "") for name in REQUIRED)
    at_terra = values.get(OPTIONAL, "") or reference_id
    problem = None
    if len(fields) != len(header):
        problem = f"has {len(fields)} fields, and the first line {len(header)}"
    elif user_id_from(user_id) is None:
        problem = "user_id must have 1 to 128 letters, digits, _ and -"
    elif error := reference_id_error(reference_id):
        problem = f"reference_id {error}"
    elif at_terra != NONE_AT_TERRA and (error := reference_id_error(at_terra)):
        problem = f"{OPTIONAL} {error}"
    if problem is None:
        return Row(line, user_id, reference_id, at_terra)
    user_id, reference_id, at_terra = (value[:_LONGEST_SHOWN] for value in (user_id, reference_id, at_terra))
    return Row(line, user_id, reference_id, at_terra, Outcome(Result.MALFORMED, problem))
