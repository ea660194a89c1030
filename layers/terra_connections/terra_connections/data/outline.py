"""The outline of a large JSON document: what the facts about a payload are read from.

A payload of 100 MB consists of samples, deep inside its records. As Python objects it would take a gigabyte of memory.
The outline has the document's own members, its user, and of each record the members that are texts and numbers, and its
metadata. Everything deeper is skipped while the document is read.
"""

from typing import Any

import ijson

from terra_connections.data.fetch_errors import Refusal, Refused

MOST_VALUES = 1_000_000
"""Of an outline: about 100 MB of memory. A payload of Terra has some twenty for each record."""
_RECORDS_DEPTH = 3
"""The document, the list of records, a record."""
_KEPT_IN_A_RECORD = "metadata"
_NOT_JSON = (ijson.JSONError, SystemError, ValueError)
"""ijson's parser in C raises SystemError for a number with more digits than Python converts."""


class Outline:
    """Reads a document in parts."""

    def __init__(self) -> None:
        self._events: Any = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events)
        self._is_json = True
        self._root: list[Any] = []
        self._open: list[Any] = [self._root]
        self._names: list[str] = []
        self._skipped = 0
        self._values = 0

    def feed(self, part: bytes) -> None:
        """Read the next part of the document.

        Raises:
            Refused: the outline itself is too large.
        """
        if self._is_json:
            try:
                self._parser.send(part)
            except StopIteration:
                pass
            except _NOT_JSON:
                self._is_json = False
                return
            for event, value in self._events:
                self._add(event, value)
            self._events.clear()
            if self._values > MOST_VALUES:
                raise Refused(Refusal.SIZE)

    def content(self) -> Any:  # noqa: ANN401 - JSON
        """Return the outline of the whole document; None if it is not JSON."""
        self.feed(b"")  # the end
        return self._root[0] if self._is_json and self._root else None

    def _add(self, event: str, value: object) -> None:
        if self._skipped:
            if event in {"start_map", "start_array"}:
                self._skipped += 1
            elif event in {"end_map", "end_array"}:
                self._skipped -= 1
            return
        match event:
            case "map_key":
                self._names[-1] = str(value)
            case "start_map" | "start_array":
                self._begin({} if event == "start_map" else [])
            case "end_map" | "end_array":
                self._open.pop()
                self._names.pop()
            case _:
                self._put(value)

    def _begin(self, container: Any) -> None:  # noqa: ANN401 - a list or a dictionary
        depth = len(self._names)
        if depth < _RECORDS_DEPTH or (depth == _RECORDS_DEPTH and self._names[-1] == _KEPT_IN_A_RECORD):
            self._put(container)
            self._open.append(container)
            self._names.append("")
        else:
            self._put(None)
            self._skipped = 1

    def _put(self, value: object) -> None:
        self._values += 1
        parent = self._open[-1]
        if isinstance(parent, dict):
            parent[self._names[-1]] = value
        else:
            parent.append(value)
