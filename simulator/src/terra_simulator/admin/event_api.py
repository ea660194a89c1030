"""Events: lists, payloads, statistics, resends and generated events."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

from httpx import codes
from starlette.requests import Request
from starlette.responses import Response

from terra_simulator import answers
from terra_simulator.admin.event_rows import Event, Row, detail, dispatches, events, summary
from terra_simulator.admin.guard import AdminRequest, Call, Change
from terra_simulator.admin.paging import Window, rfc3339, timestamp
from terra_simulator.admin.refusals import Refusal, not_found, reject
from terra_simulator.data_feed import date_of
from terra_simulator.identifiers import new_id
from terra_simulator.providers import PROVIDERS
from terra_simulator.simulator import Simulator
from terra_simulator.users import User, terra_time

DAY_S: Final = 86_400.0
OCTOBER_KEEPS_S: Final = 14 * DAY_S
NOVEMBER_KEEPS_S: Final = 30 * DAY_S
LONGEST_SUCCESS: Final = 299
FILTERS: Final = ("provider", "data_type", "destination_type", "destination_url", "user_id", "reference_id", "event_id")


class ResendRequest(AdminRequest):
    """The body of a resend."""

    user_id: str
    event_id: str
    event_type: str


class GeneratedEvent(AdminRequest):
    """The body of a generated event."""

    type: Literal["activity", "body", "daily", "menstruation", "nutrition", "sleep"]
    provider: str | None = None
    user_id: str | None = None
    reference_id: str | None = None
    destination_id: str | None = None
    start_time: str | None = None
    samples: bool = True
    dispatch: bool = True


class EventApi:
    """The endpoints under `webhook-events` (October) and `events` (November) of an environment."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    async def dispatches(self, call: Call) -> dict[str, object]:
        """Return October's list: a row for each attempt, newest first."""
        query = call.request.query_params
        self._check_subjects(call)
        has_event = "event_id" in query
        window = Window(query, now=self._terra.clock(), default_s=(14 if has_event else 7) * DAY_S)
        found = [
            (at, row)
            for event in events(self._terra)
            for at, row in dispatches(self._terra, event)
            if window.contains(at) and at > self._terra.clock() - OCTOBER_KEEPS_S and _matches(row, query)
        ]
        found.sort(key=lambda each: each[0], reverse=True)
        return window.page([row for _, row in found])

    async def dispatch(self, call: Call) -> dict[str, object]:
        """Return the newest row of an event."""
        rows = list(dispatches(self._terra, self._found(call, keeps_s=OCTOBER_KEEPS_S)))
        if not rows:
            not_found("event")
        return rows[0][1]

    async def all(self, call: Call) -> dict[str, object]:
        """Return November's list: a row for each event, newest first."""
        query = call.request.query_params
        self._check_subjects(call)
        window = Window(query, now=self._terra.clock(), default_s=7 * DAY_S)
        rows = []
        for event in events(self._terra):
            row = summary(self._terra, event)
            filters = {name: query[name] for name in ("user_id", "reference_id", "provider", "type") if name in query}
            if window.contains(event.first.created_at) and all(row.get(k) == v for k, v in filters.items()):
                rows.append(row)
        return window.page(rows)

    async def one(self, call: Call) -> dict[str, object]:
        """Return November's event, with each delivery and its attempts."""
        return detail(self._terra, self._found(call, keeps_s=NOVEMBER_KEEPS_S))

    async def payload(self, call: Call) -> dict[str, object]:
        """Return the body that was delivered."""
        body = self._found(call, keeps_s=self._kept_payloads_s).body
        if not isinstance(body, dict):
            not_found("payload")
        content = _without_samples(body) if call.request.query_params.get("samples") == "false" else body
        return content if isinstance(content, dict) else {}

    async def resend(self, call: Call) -> Change:
        """Send an event once more, to every destination that admits it."""
        fields = call.fields(ResendRequest)
        event = next((each for each in events(self._terra) if each.event_id == fields.event_id), None)
        users = self._terra.users
        is_known = fields.user_id in users.by_id or fields.user_id in users.deauthenticated
        if event is None or not is_known or event.user.get("user_id") != fields.user_id:
            not_found("event of this user")
        oldest = self._terra.clock() - self._kept_payloads_s
        if event.type != fields.event_type or event.first.created_at <= oldest:
            not_found("stored payload")
        admitting = self._terra.destinations.admitting(fields.event_type, self._terra.settings.destination_vocabulary)

        def commit() -> dict[str, object]:
            self._terra.resend(event.first)
            return {"event_id": event.event_id, "event_type": fields.event_type, "dispatched": True}

        preview = {"event_id": event.event_id, "destination_count": len(list(admitting))}
        return Change("resend", preview, commit, HTTPStatus.ACCEPTED)

    async def generate(self, call: Call) -> Change:
        """Deliver a generated data event, with a made-up user unless one is named."""
        fields = call.fields(GeneratedEvent)
        destinations = self._terra.destinations
        only = destinations.by_id.get(fields.destination_id or "")
        if fields.destination_id and only is None:
            not_found("destination")
        admitting = destinations.admitting(fields.type, self._terra.settings.destination_vocabulary)
        eligible = [only] if only and only.active else [] if only else list(admitting)
        if not eligible:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unsupported_operation", "no eligible destination")
        provider = (fields.provider or "fitbit").upper()
        if provider not in PROVIDERS:
            reject(f"provider: {fields.provider} is not known")
        now = self._terra.clock()
        at = timestamp("start_time", fields.start_time) if fields.start_time else now
        user = User(
            user_id=fields.user_id or new_id(),
            provider=provider,
            reference_id=fields.reference_id,
            created_at=terra_time(now),
        )
        body = self._terra.feed.body(user, fields.type, date_of(at), samples=fields.samples)

        def commit() -> dict[str, object]:
            event_id = new_id()
            if fields.dispatch:
                event_id = self._terra.feed.send(user, [body], only=only).deliveries[0].event_id
            return {
                "event_id": event_id,
                "user_id": user.user_id,
                "reference_id": user.reference_id,
                "type": fields.type,
                "provider": fields.provider,
                "destination_id": fields.destination_id,
                "dispatched": fields.dispatch,
                "payload": body,
            }

        return Change("dispatch", {"destination_count": len(eligible)}, commit, HTTPStatus.ACCEPTED)

    async def stats(self, call: Call) -> dict[str, object]:
        """Return the basic counts of attempts."""
        query = call.request.query_params
        if query.get("view", "basic") != "basic":
            reject("view: the simulator has basic only")
        window = Window(query, now=self._terra.clock(), default_s=DAY_S)
        attempts = [
            (number, attempt, len(delivery.body))
            for delivery in self._terra.outbox.deliveries()
            if query.get("destination") in {None, delivery.destination_id}
            for number, attempt in enumerate(delivery.attempts)
            if window.since <= attempt.at < window.until
        ]
        good = sum(attempt.status is not None and codes.is_success(attempt.status) for _, attempt, _ in attempts)
        times = sorted(attempt.took_ms for _, attempt, _ in attempts)
        percentiles = {
            f"p{part}_response_time_ms": times[min(len(times) - 1, len(times) * part // 100)] if times else None
            for part in (50, 95, 99)
        }
        return {
            "since": rfc3339(window.since),
            "until": rfc3339(window.until),
            "view": "basic",
            "delivery_attempts": len(attempts),
            "successful_attempts": good,
            "failed_attempts": len(attempts) - good,
            "retry_attempts": sum(number > 0 for number, _, _ in attempts),
            "bytes": sum(size for _, _, size in attempts),
            "success_rate": good / len(attempts) if attempts else None,
            "response_time_samples": len(times),
            **percentiles,
        }

    @property
    def _kept_payloads_s(self) -> float:
        return self._terra.settings.payloads_kept_days * DAY_S

    def _found(self, call: Call, *, keeps_s: float) -> Event:
        event_id = call.parameter("event_id")
        oldest = self._terra.clock() - keeps_s
        found = [each for each in events(self._terra) if each.event_id == event_id and each.first.created_at > oldest]
        return found[0] if found else not_found("event")

    def _check_subjects(self, call: Call) -> None:
        """Reject a filter by a user or a reference_id that does not exist."""
        query, users = call.request.query_params, self._terra.users
        everyone = {**users.deauthenticated, **users.by_id}
        if "user_id" in query and query["user_id"] not in everyone:
            not_found("user")
        if "reference_id" in query and query["reference_id"] not in {each.reference_id for each in everyone.values()}:
            not_found("reference_id")


def _matches(row: Row, query: Mapping[str, str]) -> bool:
    """Return whether a dispatch matches the filters, read as Terra's text has them: 0 counts as delivered."""
    for name in FILTERS:
        if name in query and str(row.get(name)) not in query[name].split(","):
            return False
    if "destination" in query and row.get("destination_id") != query["destination"]:
        return False
    status: Any = row.get("http_status", LONGEST_SUCCESS + 1)
    outcome = "delivered" if status <= LONGEST_SUCCESS else "failed"
    return query.get("outcome", outcome) == outcome


def _without_samples(value: object) -> object:
    if isinstance(value, dict):
        kept = {
            k: v for k, v in value.items() if not (isinstance(v, list) and (k == "samples" or k.endswith("_samples")))
        }
        return {k: _without_samples(v) for k, v in kept.items()}
    return [_without_samples(each) for each in value] if isinstance(value, list) else value


async def nothing_here(_request: Request) -> Response:
    """Respond to a path of another version, as Terra's web server does."""
    return answers.page(HTTPStatus.NOT_FOUND)
