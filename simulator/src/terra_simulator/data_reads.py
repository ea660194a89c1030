"""Terra's endpoints that return a user's data, or send them to the destinations (`to_webhook`, the default)."""

import asyncio
from collections.abc import Mapping
from datetime import date
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from terra_simulator import answers
from terra_simulator.calls import HttpEndpoint
from terra_simulator.data_feed import DataFeed, date_of
from terra_simulator.simulator import Simulator
from terra_simulator.users import User

TYPES: Final = ("activity", "body", "daily", "menstruation", "nutrition", "sleep")
REQUESTED_TYPES: Final = (*TYPES, "athlete")
"""The types that a request can send to the destinations."""
_BOOLEANS: Final = {"true": True, "false": False}
_UNIX_DIGITS: Final = 10


class InvalidParameterError(Exception):
    """A parameter of the query that Terra does not accept."""


class DataReads:
    """The endpoints, which `rest` puts behind the credentials."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    @property
    def _feed(self) -> DataFeed:
        return self._terra.feed

    def endpoints(self) -> Mapping[str, HttpEndpoint]:
        """Return the endpoints by their paths under /api/v2."""
        types = {name: self._read(name) for name in TYPES}
        return {**types, "athlete": self._read("athlete"), "plannedWorkouts": self._checked(self._planned_workouts)}

    def _checked(self, endpoint: HttpEndpoint) -> HttpEndpoint:
        async def read(request: Request) -> Response:
            try:
                return await endpoint(request)
            except InvalidParameterError as error:
                return answers.problem(request, HTTPStatus.BAD_REQUEST, str(error))

        return read

    def _read(self, event_type: str) -> HttpEndpoint:
        async def read(request: Request) -> Response:
            user = self._user(request)
            if user is None:
                return unknown_user(request)
            today = date_of(self._terra.clock())
            first, last = (today, today) if event_type == "athlete" else _period(request)
            to_webhook = _boolean(request, "to_webhook", default=True)
            samples = _boolean(request, "with_samples", default=False)
            rule, headers = self._feed.spend(user.user_id, max(1, (last - first).days))
            if rule is not None:
                return _too_many(request, rule, headers)
            if to_webhook:
                answer, _ = await self._feed.request(user, event_type, first, last, samples=samples)
                return JSONResponse(answer, headers=headers)
            answer = await asyncio.to_thread(self._direct, user, event_type, first, last, samples=samples)
            return JSONResponse(answer, headers=headers)

        return self._checked(read)

    def _direct(self, user: User, event_type: str, first: date, last: date, *, samples: bool) -> dict[str, object]:
        if event_type == "athlete":
            body = self._feed.body(user, event_type, last)
            return {name: body[name] for name in ("athlete", "type", "user")}
        records = self._feed.records(user, event_type, first, last, samples=samples)
        return {"user": user.as_terra(), "data": records, "type": event_type}

    async def _planned_workouts(self, request: Request) -> Response:
        """Return planned workouts as a list. Terra's document gives this endpoint no `to_webhook`."""
        user = self._user(request)
        if user is None:
            return unknown_user(request)
        today = date_of(self._terra.clock())
        first, last = _period(request) if "start_date" in request.query_params else (today, today)
        rule, headers = self._feed.spend(user.user_id, max(1, (last - first).days))
        if rule is not None:
            return _too_many(request, rule, headers)
        return JSONResponse(self._feed.records(user, "planned_workout", first, last, samples=False), headers=headers)

    def _user(self, request: Request) -> User | None:
        user_id = request.query_params.get("user_id")
        if not user_id:
            message = "user_id is missing"
            raise InvalidParameterError(message)
        user = self._terra.users.by_id.get(user_id)
        return None if user is None or user.created_at is None else user


def unknown_user(request: Request) -> Response:
    """Return Terra's 404."""
    return answers.problem(request, HTTPStatus.NOT_FOUND, "user not found")


def _too_many(request: Request, rule: str, headers: Mapping[str, str]) -> Response:
    response = answers.problem(request, HTTPStatus.TOO_MANY_REQUESTS, f"too many days were requested ({rule})")
    response.headers.update(headers)
    return response


def _period(request: Request) -> tuple[date, date]:
    """Return the first and the last day. What a missing end_date means is not documented; here: one day."""
    first = _date(request, "start_date")
    last = _date(request, "end_date") if "end_date" in request.query_params else first
    if last < first:
        message = "end_date is before start_date"
        raise InvalidParameterError(message)
    return first, last


def _date(request: Request, name: str) -> date:
    text = request.query_params.get(name, "")
    if not text:
        message = f"{name} is missing"
        raise InvalidParameterError(message)
    try:
        if text.isdecimal() and len(text) == _UNIX_DIGITS:
            return date_of(int(text))
        return date.fromisoformat(text)
    except ValueError:
        message = f"invalid {name}"
        raise InvalidParameterError(message) from None


def _boolean(request: Request, name: str, *, default: bool) -> bool:
    text = request.query_params.get(name, str(default)).lower()
    if text not in _BOOLEANS:
        message = f"invalid {name}"
        raise InvalidParameterError(message)
    return _BOOLEANS[text]
