"""The report of an import: a CSV file with a line for each row, readable by its owner only."""

from __future__ import annotations

import csv
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.import_users.row import Outcome, Result, Row
from tools.progress import PROGRESS_INTERVAL, say
from tools.stages import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

COLUMNS: Final = ("line", "user_id", "reference_id", "terra_reference_id", "result", "detail")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Report:
    """Writes the report, counts the results, and prints the progress."""

    def __init__(self, folder: Path, name: str, *, rows: int | None) -> None:
        """Create the file.

        Args:
            folder: its folder.
            name: the start of its name.
            rows: the number of rows, if known.

        Raises:
            StageError: the file cannot be created.
        """
        self.counts: Counter[Result] = Counter()
        self._rows = rows
        self._said_at = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".csv", dir=folder)  # mode 0600
        except OSError as error:
            message = f"The report cannot be written to {folder}: {error.strerror}. Set REPORTS to another folder."
            raise StageError(message) from None
        self.path = Path(path)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="", buffering=1)
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, row: Row, outcome: Outcome) -> None:
        """Write a row's result."""
        at_terra = outcome.at_terra or row.terra_reference_id
        values = (row.user_id, row.reference_id, at_terra, outcome.result, outcome.detail)
        try:
            self._writer.writerow([row.line, *map(_as_text, values)])
        except OSError as error:
            message = f"The report {self.path} cannot be written: {error.strerror}. Repeat the command: it continues."
            raise StageError(message) from None
        self.counts[outcome.result] += 1
        if time.monotonic() - self._said_at >= PROGRESS_INTERVAL:
            self._said_at = time.monotonic()
            of = "" if self._rows is None else f" of {self._rows:,}"
            say(f"  {self.counts.total():,}{of} rows: {self._summary()}")

    def _summary(self) -> str:
        return ", ".join(f"{self.counts[result]:,} {result}" for result in Result if self.counts[result])

    def lines(self) -> Iterator[str]:
        """Yield a line for each result that occurred, with its count."""
        yield from (f"  {result:<18}{self.counts[result]:>10,}" for result in Result if self.counts[result])


def _as_text(value: str) -> str:
    """Return a cell that a spreadsheet does not evaluate: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{value}" if value.startswith(_FORMULA) else value
