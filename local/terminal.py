"""The terminal of `make run`: a line for each request, event and output of a function, with its time.

The same lines are in log/terminal.log, for `make logs`. They name users by their reference_id, which the logs of the
functions never do: those are in log/functions.log, as they would be on AWS.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TextIO

from tools import log_lines
from tools.progress import say

if TYPE_CHECKING:
    from local.gateway import Access

UNMATCHED: Final = 100
"""The number of log lines that are kept for a request whose response is not sent yet."""


class Terminal:
    """Prints lines, and writes them to files."""

    def __init__(self, functions_log: TextIO, own_log: TextIO) -> None:
        self._functions_log = functions_log
        self._own_log = own_log
        self._details: OrderedDict[str, str] = OrderedDict()
        """The fields of requests' log lines by request id, until the response is sent."""

    def say(self, line: str) -> None:
        """Print a line with its time."""
        timed = f"{datetime.now(UTC).astimezone():%H:%M:%S} {line}"
        self._own_log.write(f"{timed}\n")
        self._own_log.flush()
        say(timed)

    def log(self, line: str) -> None:
        """Write a line of a function to its log, and print it in short, unless it is part of a request's line."""
        self._functions_log.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {line}\n")
        self._functions_log.flush()
        record = log_lines.record_of(line)
        if record is not None and log_lines.is_request(record):
            self._details[record["request_id"]] = log_lines.details(record, log_lines.IN_PLACE)
            if len(self._details) > UNMATCHED:
                self._details.popitem(last=False)
        elif short := log_lines.shorten(line):
            self.say(short)

    def access(self, access: Access) -> None:
        """Print a request that was answered. A function writes its log line before it responds."""
        more = self._details.pop(access.request_id, "")
        route = f"{access.method} {access.path}"
        self.say(log_lines.request_line(route, access.status, access.milliseconds, access.reference_id, more))
