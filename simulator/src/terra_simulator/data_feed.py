"""Sends generated data of users: days, corrections, and the answers to requests for a period.

Terra's documentation (https://docs.tryterra.co): a request for more than a calendar month is answered in chunks of at
most 10 MB under one reference, announced by `large_request_processing` and `large_request_sending`. No order of these
is promised.
"""

import asyncio
import calendar
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final

from terra_simulator.clock import Clock, milliseconds
from terra_simulator.data import bodies
from terra_simulator.data.day import Day, Record
from terra_simulator.data.fhir import as_fhir
from terra_simulator.data.fit import as_fit
from terra_simulator.destinations import Destination
from terra_simulator.events import Body
from terra_simulator.identifiers import new_id
from terra_simulator.outbox import Emission, Outbox, Webhook, as_bytes
from terra_simulator.settings import Settings
from terra_simulator.users import User, terra_time

HOUR_S: Final = 3600.0
_DECEMBER: Final = 12
LARGE_MESSAGE: Final = "Large request submitted. The data is sent in chunks."


class DataFeed:
    """The data that the simulated Terra has, and their deliveries."""

    def __init__(self, settings: Callable[[], Settings], outbox: Outbox, *, clock: Clock) -> None:
        self._settings = settings
        self._outbox = outbox
        self._clock = clock
        self._revisions: dict[tuple[str, str, date], int] = {}
        self._requested: dict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._stamp = 0

    def clear(self) -> None:
        """Forget corrections and requests."""
        self._revisions.clear()
        self._requested.clear()
        self._stamp = 0

    # -- days ------------------------------------------------------------------------------------------------------

    def day(self, user: User, event_type: str, on: date, *, revision: int | None = None) -> Day:
        """Return a day of a user, in the given revision or the latest one that was sent."""
        if revision is None:
            is_over = on < date_of(self._clock())
            revision = self._revisions.get((user.user_id, event_type, on), 1 if is_over else 0)
        return Day(user.user_id, on, seed=self._settings().data_seed, revision=revision)

    def body(
        self,
        user: User,
        event_type: str,
        last: date,
        *,
        days: int = 1,
        samples: bool = False,
        status: int | None = None,
        revision: int | None = None,
    ) -> Body:
        """Return the body of an event about the days that end with this one."""
        dates = [last - timedelta(days=back) for back in reversed(range(days))]
        found = [self.day(user, event_type, on, revision=revision) for on in dates]
        return bodies.of_days(event_type, user.as_terra(), found, samples=samples, status=status)

    def next_revision(self, user: User, event_type: str, on: date, *, samples: bool = False) -> Body:
        """Return the body of a correction: the same day with new values."""
        revision = self.day(user, event_type, on).revision + 1
        self._revisions[user.user_id, event_type, on] = revision
        return self.body(user, event_type, on, samples=samples, status=2)

    def of_size(self, user: User, event_type: str, last: date, size: int) -> bytes:
        """Return the body of an event of exactly so many bytes; raises ValueError if that is too small."""
        return bodies.of_size(
            event_type, user.as_terra(), lambda back: self.day(user, event_type, last - timedelta(days=back)), size
        )

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, user: User, contents: Sequence[Body | bytes], *, only: Destination | None = None) -> Emission:
        """Send data events, one after another; each has a later ordering timestamp than the one before."""
        webhooks = [
            self._webhook(user, content, stamp)
            for content, stamp in zip(contents, self._stamps(len(contents)), strict=True)
        ]
        return self._outbox.emit(webhooks, only=only)

    def _webhook(
        self,
        user: User,
        content: Body | bytes,
        stamp: int,
        *,
        trace_id: str | None = None,
        reference: str | None = None,
    ) -> Webhook:
        body, event_type = (content, _type_of(content)) if isinstance(content, bytes) else self._formatted(content)
        # A laboratory report is about no connection.
        is_connected = event_type not in bodies.LAB_REPORTS
        if is_connected:
            user.most_recent_data_at = terra_time(self._clock())
        return Webhook(
            type=event_type,
            body=body,
            user=user.as_terra() if is_connected else {},
            trace_id=trace_id,
            reference=reference,
            ordering_timestamp=stamp,
        )

    def _formatted(self, body: Body) -> tuple[bytes, str]:
        """Return a body in the environment's format, and its type."""
        event_type = str(body["type"])
        records: Any = body.get("data")
        match self._settings().output_format:
            case "fhir":
                return as_bytes(as_fhir(body)), event_type
            case "fit" if event_type == "activity" and records:
                return b"".join(as_fit(each) for each in records), event_type
        return as_bytes(body), event_type

    def _stamps(self, count: int) -> range:
        """Return ordering timestamps: different ones, up to the current millisecond, and after all earlier ones."""
        first = max(self._stamp + 1, milliseconds(self._clock()) - count + 1)
        self._stamp = first + count - 1
        return range(first, first + count)

    # -- requests --------------------------------------------------------------------------------------------------

    async def request(
        self, user: User, event_type: str, first: date, last: date, *, samples: bool
    ) -> tuple[dict[str, object], Emission]:
        """Answer a request for a period by webhooks.

        Returns:
            Terra's schema `DataSentToWebhook`, and the webhooks.
        """
        reference = new_id()
        answer: dict[str, object] = {
            "status": "success",
            "type": event_type,
            "reference": reference,
            "trace_id": reference,
            "user": user.as_terra(),
        }
        if event_type == "athlete":
            body = self.body(user, event_type, last)
        else:
            records = await asyncio.to_thread(self.records, user, event_type, first, last, samples=samples)
            if last > _month_later(first):
                emission = self._outbox.emit(self._large(user, event_type, records, reference))
                return answer | {"message": LARGE_MESSAGE}, emission
            body = bodies.of_records(event_type, user.as_terra(), records)
        (stamp,) = self._stamps(1)
        webhook = self._webhook(user, body, stamp, trace_id=reference, reference=reference)
        return answer, self._outbox.emit([webhook])

    def records(self, user: User, event_type: str, first: date, last: date, *, samples: bool) -> list[Record]:
        """Return the records of a period; there are none of the future."""
        last = min(last, date_of(self._clock()))
        dates = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return [bodies.record(event_type, self.day(user, event_type, on), samples=samples) for on in dates]

    def _large(self, user: User, event_type: str, records: Sequence[Record], reference: str) -> list[Webhook]:
        """Return the announcements and the chunks, in the order that the settings say."""
        settings, terra_user = self._settings(), user.as_terra()
        most = settings.chunk_bytes - len(as_bytes(bodies.of_records(event_type, terra_user, [])))
        parts = _parts(records, most_bytes=most, most_days=settings.chunk_days)
        chunks = []
        for (number, part), stamp in zip(enumerate(parts), self._stamps(len(parts)), strict=True):
            trace_id = f"{reference}:chunk:{number}"
            body = bodies.of_records(event_type, terra_user, part)
            named = trace_id if settings.chunk_reference == "numbered" else reference
            chunks.append(self._webhook(user, body, stamp, trace_id=trace_id, reference=named))
        about: Body = {"user": terra_user, "reference": reference}
        processing: Body = {
            "type": "large_request_processing",
            "status": "processing",
            "message": "The large request is being processed.",
        }
        sending: Body = {
            "type": "large_request_sending",
            "message": "The payloads of the large request are being sent.",
            "expected_payloads": len(chunks),
        }
        steps: dict[str, list[Webhook]] = {
            "processing": [_announcement(processing | about, reference)],
            "sending": [_announcement(sending | about, reference)],
            "chunks": chunks,
            "reversed": chunks[::-1],
            "shuffled": Random(reference).sample(chunks, len(chunks)),  # noqa: S311 - an order, not a secret
            **{f"chunk:{number}": [chunk] for number, chunk in enumerate(chunks)},
        }
        return [webhook for step in settings.large_request_order for webhook in steps.get(step, [])]

    def spend(self, user_id: str, days: int) -> tuple[str | None, Mapping[str, str]]:
        """Count requested days.

        Returns:
            The rule that rejects the request, if one does, and the headers of the response: Terra's documentation names
            Limit, Remaining and Reset-After, and mentions one for the rule, whose name is assumed.
        """
        settings, now = self._settings(), self._clock()
        requested = self._requested[user_id]
        while requested and requested[0][0] <= now - HOUR_S:
            requested.popleft()
        spent = sum(each for _, each in requested)
        reset = str(max(1, round(requested[0][0] + HOUR_S - now)) if requested else 0)
        headers = {"X-Terra-RateLimit-Limit": str(settings.days_per_hour), "X-Terra-RateLimit-Reset-After": reset}
        rule = "r1" if days > settings.days_per_request else "r2" if spent + days > settings.days_per_hour else None
        if rule is None:
            requested.append((now, days))
            spent += days
        else:
            headers["X-Terra-RateLimit-Rule"] = rule
        if rule == "r2":
            headers["Retry-After"] = reset
        return rule, headers | {"X-Terra-RateLimit-Remaining": str(settings.days_per_hour - spent)}


def date_of(seconds: float) -> date:
    """Return the date of a time, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).date()


def _month_later(day: date) -> date:
    year, month = (day.year, day.month + 1) if day.month < _DECEMBER else (day.year + 1, 1)
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _parts(records: Sequence[Record], *, most_bytes: int, most_days: int) -> list[list[Record]]:
    """Divide records into chunks: a number of days, and a number of bytes, but at least one record."""
    parts: list[list[Record]] = [[]]
    size = 0
    for record in records:
        length = len(as_bytes(record)) + 1
        if parts[-1] and (len(parts[-1]) >= most_days or size + length > most_bytes):
            parts.append([])
            size = 0
        parts[-1].append(record)
        size += length
    return parts


def _announcement(body: Body, reference: str) -> Webhook:
    return Webhook(type=str(body["type"]), body=as_bytes(body), reference=reference)


def _type_of(content: bytes) -> str:
    """Return the type at the beginning of a body that `bodies` wrote."""
    return content[:64].split(b'"')[3].decode()
