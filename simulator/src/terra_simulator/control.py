"""The control API under /_control; the package's docstring lists it."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date as Date  # noqa: N812 - `date` is the name of the field
from http import HTTPStatus
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from terra_simulator.admin.tokens import DEFAULT_SCOPES, AdminToken
from terra_simulator.clock import milliseconds
from terra_simulator.data.bodies import DATA_TYPES, FIELDS, RECORD_TYPES, set_value
from terra_simulator.data.diary import AMENDED
from terra_simulator.data_feed import date_of
from terra_simulator.events import Body
from terra_simulator.faults import DeliveryFault, Fault
from terra_simulator.identifiers import new_id, shuffled
from terra_simulator.origin_guard import is_foreign
from terra_simulator.outbox import Delivery, Emission, as_bytes, copies, readable
from terra_simulator.providers import PROVIDERS
from terra_simulator.simulator import LoginRequest, Simulator
from terra_simulator.users import User, terra_time

Endpoint = Callable[[Request], Awaitable[object]]
MOST_ADVANCED_S: Final = 400 * 86_400.0


class RefusedError(Exception):
    """A control call that cannot be carried out."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


class ControlRequest(BaseModel):
    """A body of a control call; unknown fields are rejected as typing mistakes."""

    model_config = ConfigDict(extra="forbid")


Fields = TypeVar("Fields", bound=BaseModel)


class DeliveryRequest(ControlRequest):
    """Any webhook, exactly as a test needs it."""

    body: Any = None
    text: str | None = None
    base64: str | None = None
    url: str | None = None
    trace_id: str | None = None
    ordering_timestamp: int | str | None = None
    reference: str | None = None
    t: int | None = None
    secret: str | None = None
    secrets: list[str] | None = None
    headers: dict[str, str | None] = Field(default_factory=dict)
    copies: int = Field(default=1, ge=1, le=1000)
    concurrent: bool = False
    retry: bool = False

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if len(self.model_fields_set & {"body", "text", "base64"}) != 1:
            message = "give exactly one of body, text and base64"
            raise ValueError(message)
        return self

    def content(self) -> bytes:
        """Return the bytes to sign and send."""
        if self.text is not None:
            return self.text.encode()
        if self.base64 is not None:
            try:
                return base64.b64decode(self.base64, validate=True)
            except binascii.Error as error:
                message = f"base64: {error}"
                raise RefusedError(message) from error
        return as_bytes(self.body)

    def deliveries(self, *, now: float, t: int, destination_id: str | None) -> list[Delivery]:
        """Return the copies: identical bytes unless they are retried with a renewed `t`."""
        content = self.content()
        parsed = readable(content)
        first = Delivery(
            destination_id=destination_id if self.url is None else None,
            trace_id=self.trace_id if self.trace_id is not None else new_id(),
            type=str(parsed["type"]) if isinstance(parsed, dict) and "type" in parsed else None,
            body=content,
            created_at=now,
            ordering_timestamp=(
                self.ordering_timestamp if "ordering_timestamp" in self.model_fields_set else milliseconds(now)
            ),
            reference=self.reference if "reference" in self.model_fields_set else new_id(),
            t=self.t if self.t is not None or self.retry else t,
            secrets=self.secrets or ([self.secret] if self.secret is not None else None),
            headers=self.headers,
            url=self.url,
            is_retried=self.retry,
        )
        return copies(first, self.copies)


class ResendRequest(ControlRequest):
    """A webhook that is sent once more, as Terra does, or as an attacker does who has captured it."""

    trace_id: str | None = None
    ordering_timestamp: int | str | None = None
    sign_anew: bool = False
    copies: int = Field(default=1, ge=1, le=1000)
    concurrent: bool = False


class ReleaseRequest(ControlRequest):
    """The held webhooks to send, and their order."""

    order: Literal["fifo", "reverse", "shuffled"] | list[str] = "fifo"
    drop: list[str] = Field(default_factory=list)
    keep_holding: bool = False


class TimeRequest(ControlRequest):
    """A change of the time: at most one of `at` and `advance_s`, and whether time passes by itself afterwards."""

    at: AwareDatetime | None = None
    advance_s: float | None = Field(default=None, ge=0, le=MOST_ADVANCED_S)
    stopped: bool | None = None

    @model_validator(mode="after")
    def _is_one_change(self) -> Self:
        if self.at is not None and self.advance_s is not None:
            message = "give at most one of at and advance_s"
            raise ValueError(message)
        return self


class UserRequest(ControlRequest):
    """A connection that is created without a browser."""

    reference_id: str | None = None
    provider: str = "FITBIT"
    account: str | None = None
    user_id: str | None = None
    token: str | None = None
    silent: bool = False


class PendingLoginRequest(ControlRequest):
    """A login that may never be finished."""

    reference_id: str | None = None
    resource: str = "FITBIT"


class DataRequest(ControlRequest):
    """Generated data of a user."""

    type: str = "daily"
    date: Date | None = None
    days: int = Field(default=1, ge=1, le=1825)
    samples: bool = False
    revision: int | None = Field(default=None, ge=0)
    status: int | None = Field(default=None, ge=0, le=3)
    corrections: int = Field(default=0, ge=0, le=100)
    values: list[float] = Field(default_factory=list)
    field: str | None = None
    size: int | None = Field(default=None, ge=1, le=200_000_000)
    wait: bool = True

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if self.type not in {*DATA_TYPES, "all"}:
            message = f"type must be all or one of {', '.join(DATA_TYPES)}"
            raise ValueError(message)
        if sum(map(bool, (self.corrections, self.values, self.size))) > 1:
            message = "give at most one of corrections, values and size"
            raise ValueError(message)
        if self.type == "all" and (self.values or self.size):
            message = "values and size need one type"
            raise ValueError(message)
        if self.size and self.type not in RECORD_TYPES:
            message = f"size needs one of {', '.join(RECORD_TYPES)}"
            raise ValueError(message)
        return self

    @property
    def types(self) -> Sequence[str]:
        """The types to send."""
        return DATA_TYPES if self.type == "all" else (self.type,)


class PeriodRequest(ControlRequest):
    """A period of a user's data, as a back end requests it with to_webhook."""

    type: Literal["activity", "athlete", "body", "daily", "menstruation", "nutrition", "sleep"] = "daily"
    start_date: Date
    end_date: Date
    samples: bool = False
    wait: bool = True


class ReauthRequest(ControlRequest):
    """How the same account connects again; omitted fields are as in the settings."""

    order: Literal["auth_first", "reauth_first"] | None = None
    old_user: Literal["present", "null"] | None = None
    wait: bool = True

    def settings(self) -> dict[str, object]:
        """Return the settings that apply to this call."""
        chosen = {"reauth_order": self.order, "reauth_old_user": self.old_user}
        return {name: value for name, value in chosen.items() if value is not None}


class UserChanges(ControlRequest):
    """Changes to a Terra user that no webhook reports."""

    reference_id: str | None = None
    account: str | None = None
    scopes: str | None = None
    active: bool | None = None
    is_authenticated: bool = False
    created_at: str | None = None
    last_webhook_update: str | None = None


class EventRequest(BaseModel):
    """An event about a user; every other field goes into the webhook's body."""

    model_config = ConfigDict(extra="allow")

    type: str
    wait: bool = True


class AdminTokenRequest(ControlRequest):
    """A token of the Admin API."""

    scopes: list[str] = Field(default_factory=lambda: list(DEFAULT_SCOPES))
    dev_ids: list[str] | None = None
    expires_in_s: float | None = None


class AdminDecision(ControlRequest):
    """What the user answers on the page of a login of the Admin API."""

    decision: Literal["approved", "denied"] = "approved"


class ControlApi:
    """The interface through which tests and developers control the simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    def routes(self) -> list[BaseRoute]:
        """Return the paths of the control API."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/health", self.health),
            ("POST", "/reset", self.reset),
            ("GET", "/settings", self.settings),
            ("PATCH", "/settings", self.change_settings),
            ("GET", "/requests", self.requests),
            ("DELETE", "/requests", self.clear_requests),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("GET", "/deliveries", self.deliveries),
            ("POST", "/deliveries", self.deliver),
            ("POST", "/deliveries/{delivery_id}/again", self.deliver_again),
            ("GET", "/delivery_faults", self.delivery_faults),
            ("POST", "/delivery_faults", self.add_delivery_fault),
            ("DELETE", "/delivery_faults", self.clear_delivery_faults),
            ("POST", "/hold", self.hold),
            ("POST", "/release", self.release),
            ("POST", "/retry_now", self.retry_now),
            ("GET", "/time", self.time),
            ("POST", "/time", self.change_time),
            ("GET", "/logins", self.logins),
            ("POST", "/logins", self.add_login),
            ("POST", "/admin_tokens", self.add_admin_token),
            ("POST", "/admin_logins/{user_code}", self.decide_admin_login),
            ("GET", "/users", self.users),
            ("POST", "/users", self.add_user),
            ("PATCH", "/users/{user_id}", self.change_user),
            ("DELETE", "/users/{user_id}", self.remove_user),
            ("POST", "/users/{user_id}/events", self.add_event),
            ("POST", "/users/{user_id}/reauth", self.reconnect),
            ("POST", "/users/{user_id}/data", self.send_data),
            ("POST", "/users/{user_id}/requests", self.request_data),
            ("GET", "/payloads", self.payloads),
            ("POST", "/payloads/expire", self.expire_payloads),
        ]
        return [
            Route(f"/_control{path}", self._guarded(endpoint), methods=[method]) for method, path, endpoint in table
        ]

    def _guarded(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            if is_foreign(request.scope["headers"], names=self._terra.names):
                return JSONResponse({"error": "only from this machine"}, HTTPStatus.FORBIDDEN)
            try:
                response = await endpoint(request)
            except RefusedError as error:
                return JSONResponse({"error": str(error)}, error.status)
            except ValidationError as error:
                return JSONResponse(
                    {"error": error.errors(include_url=False, include_context=False, include_input=False)},
                    HTTPStatus.BAD_REQUEST,
                )
            self._terra.save()
            return JSONResponse(response)

        return handle

    # -- general ---------------------------------------------------------------------------------------------------

    async def health(self, request: Request) -> object:
        """Return that the simulator is running."""
        del request
        return {"status": "ok"}

    async def reset(self, request: Request) -> object:
        """Delete all state."""
        del request
        await self._terra.reset()
        return {"status": "ok"}

    async def settings(self, request: Request) -> object:
        """Return the settings."""
        del request
        return self._terra.shown_settings()

    async def change_settings(self, request: Request) -> object:
        """Change some settings and return all."""
        changes = await _json(request)
        if not isinstance(changes, dict):
            message = "the body must be an object"
            raise RefusedError(message)
        self._terra.change_settings(changes)
        return self._terra.shown_settings()

    async def requests(self, request: Request) -> object:
        """Return the REST calls received; `?path=` (its end) and `?method=` filter them."""
        calls = self._terra.journal.calls(
            path=request.query_params.get("path"), method=request.query_params.get("method")
        )
        return [call.model_dump() for call in calls]

    async def clear_requests(self, request: Request) -> object:
        """Delete the REST calls."""
        del request
        self._terra.journal.clear()
        return []

    async def faults(self, request: Request) -> object:
        """Return the active faults."""
        del request
        return [fault.model_dump() for fault in self._terra.faults.all()]

    async def add_fault(self, request: Request) -> object:
        """Activate a fault."""
        self._terra.faults.add(await _body_of(request, Fault))
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> object:
        """Remove all faults."""
        self._terra.faults.clear()
        return await self.faults(request)

    # -- webhooks --------------------------------------------------------------------------------------------------

    async def deliveries(self, request: Request) -> object:
        """Return every webhook; `?type=`, `?state=` and `?trace_id=` filter them."""
        found = [delivery.shown() for delivery in self._terra.outbox.deliveries()]
        filters = {name: value for name, value in request.query_params.items() if name in {"type", "state", "trace_id"}}
        return [shown for shown in found if all(shown[name] == value for name, value in filters.items())]

    async def deliver(self, request: Request) -> object:
        """Send a webhook of any kind and wait for the receiver's response."""
        fields = await _body_of(request, DeliveryRequest)
        configured = self._terra.destinations.configured
        if fields.url is None and configured is None:
            message = "no webhook_url is set"
            raise RefusedError(message, HTTPStatus.CONFLICT)
        deliveries = fields.deliveries(
            now=self._terra.clock(),
            t=self._terra.outbox.signing_time(),
            destination_id=configured.id if configured else None,
        )
        await self._terra.outbox.send(deliveries, concurrently=fields.concurrent)
        return _responses(deliveries)

    async def deliver_again(self, request: Request) -> object:
        """Send a webhook's body once more, and wait for the receiver's response."""
        fields = await _body_of(request, ResendRequest)
        earlier = self._terra.outbox.find(request.path_params["delivery_id"])
        if earlier is None:
            message = "no such delivery"
            raise RefusedError(message, HTTPStatus.NOT_FOUND)
        if earlier.url is None and earlier.destination_id not in self._terra.destinations.by_id:
            message = "no webhook_url is set"
            raise RefusedError(message, HTTPStatus.CONFLICT)
        has_timestamp = "ordering_timestamp" in fields.model_fields_set
        again = earlier.repeated(
            now=self._terra.clock(),
            trace_id=fields.trace_id,
            ordering_timestamp=fields.ordering_timestamp if has_timestamp else earlier.ordering_timestamp,
            t=self._terra.outbox.signing_time() if fields.sign_anew else None,
        )
        deliveries = copies(again, fields.copies)
        await self._terra.outbox.send(deliveries, concurrently=fields.concurrent)
        return _responses(deliveries)

    async def delivery_faults(self, request: Request) -> object:
        """Return the faults of the next webhooks."""
        del request
        return [fault.model_dump() for fault in self._terra.outbox.faults.all()]

    async def add_delivery_fault(self, request: Request) -> object:
        """Choose what happens to the next webhooks."""
        self._terra.outbox.faults.add(await _body_of(request, DeliveryFault))
        return await self.delivery_faults(request)

    async def clear_delivery_faults(self, request: Request) -> object:
        """Remove the faults of the next webhooks."""
        self._terra.outbox.faults.clear()
        return await self.delivery_faults(request)

    async def hold(self, request: Request) -> object:
        """Hold every webhook that is emitted from now on."""
        del request
        self._terra.outbox.is_holding = True
        return {"holding": True}

    async def release(self, request: Request) -> object:
        """Send held webhooks, in any order, and wait for the first attempts."""
        fields = await _body_of(request, ReleaseRequest)
        held = [delivery for delivery in self._terra.outbox.deliveries() if delivery.state == "held"]
        named = [*fields.drop, *(fields.order if isinstance(fields.order, list) else [])]
        unknown = sorted(set(named) - {delivery.trace_id for delivery in held})
        if unknown:
            message = f"not held: {', '.join(unknown)}"
            raise RefusedError(message, HTTPStatus.NOT_FOUND)
        self._terra.outbox.is_holding = fields.keep_holding
        dropped = [delivery for delivery in held if delivery.trace_id in fields.drop]
        chosen = [delivery for delivery in held if delivery.trace_id not in fields.drop]
        if fields.order == "reverse":
            chosen.reverse()
        elif fields.order == "shuffled":
            chosen = shuffled(chosen)
        elif isinstance(fields.order, list):
            positions = {trace_id: index for index, trace_id in enumerate(fields.order)}
            if fields.keep_holding:
                chosen = [delivery for delivery in chosen if delivery.trace_id in positions]
            chosen.sort(key=lambda delivery: positions.get(delivery.trace_id, len(positions)))
        await self._terra.outbox.release(chosen, dropped=dropped)
        return [delivery.shown() for delivery in chosen]

    async def retry_now(self, request: Request) -> object:
        """Attempt every pending delivery once, and wait for the responses."""
        del request
        return [delivery.shown() for delivery in await self._terra.outbox.retry_now()]

    async def time(self, request: Request) -> object:
        """Return the time, and whether it is stopped."""
        del request
        return {"now": terra_time(self._terra.clock()), "stopped": self._terra.clock.is_stopped}

    async def change_time(self, request: Request) -> object:
        """Stop the time, move it or let it run; what becomes due is attempted, and waited for when it is advanced."""
        fields = await _body_of(request, TimeRequest)
        if fields.stopped is not None:
            (self._terra.clock.stop if fields.stopped else self._terra.clock.run)()
            self._terra.outbox.recheck()
        if fields.at is not None:
            self._terra.outbox.move_to(fields.at.timestamp())
        if fields.advance_s is not None:
            await self._terra.outbox.advance(fields.advance_s)
        return await self.time(request)

    # -- the Admin API ---------------------------------------------------------------------------------------------

    async def add_admin_token(self, request: Request) -> object:
        """Create a token of the Admin API, as the dashboard does."""
        fields = await _body_of(request, AdminTokenRequest)
        expires_at = None if fields.expires_in_s is None else self._terra.clock() + fields.expires_in_s
        token = AdminToken(scopes=fields.scopes, dev_ids=fields.dev_ids, expires_at=expires_at)
        return self._terra.admin_tokens.issue(token).model_dump()

    async def decide_admin_login(self, request: Request) -> object:
        """Approve or deny a login of the Admin API, as the user does on its page."""
        login = self._terra.admin_tokens.login(user_code=request.path_params["user_code"])
        if login is None:
            message = "no such login"
            raise RefusedError(message, HTTPStatus.NOT_FOUND)
        login.decision = (await _body_of(request, AdminDecision)).decision
        return login.model_dump()

    # -- users -----------------------------------------------------------------------------------------------------

    async def logins(self, request: Request) -> object:
        """Return the logins started, with the addresses of their consent pages."""
        del request
        url = self._terra.settings.public_url
        return [
            login.model_dump() | {"auth_url": f"{url}/login/{login.token}"}
            for login in self._terra.users.logins.values()
        ]

    async def add_login(self, request: Request) -> object:
        """Start a login as authenticateUser does, with a pending user, and do not finish it."""
        fields = await _body_of(request, PendingLoginRequest)
        if fields.resource not in PROVIDERS or PROVIDERS[fields.resource].is_sdk:
            message = f"{fields.resource} has no login page"
            raise RefusedError(message)
        login = self._terra.begin_login(fields.resource, LoginRequest(reference_id=fields.reference_id))
        return login.model_dump() | {"auth_url": f"{self._terra.settings.public_url}/login/{login.token}"}

    async def users(self, request: Request) -> object:
        """Return all users, pending ones too."""
        del request
        return [user.model_dump() for user in self._terra.users.by_id.values()]

    async def add_user(self, request: Request) -> object:
        """Create a connection without a browser, also by spending a mobile token."""
        fields = await _body_of(request, UserRequest)
        if fields.provider not in PROVIDERS:
            message = f"unknown provider {fields.provider}"
            raise RefusedError(message)
        if fields.user_id in self._terra.users.by_id:
            message = f"{fields.user_id} exists"
            raise RefusedError(message, HTTPStatus.CONFLICT)
        reference_id = fields.reference_id
        if fields.token is not None:
            token = self._terra.users.spend_token(fields.token, self._terra.clock())
            if token is None:
                message = "the token is unknown, expired or used"
                raise RefusedError(message, HTTPStatus.CONFLICT)
            # The SDK's reference_id applies only if the token is not bound to one.
            if self._terra.settings.bound_tokens == "honoured":
                reference_id = token.reference_id or reference_id
        user, emission = self._terra.connect_directly(
            fields.provider,
            reference_id,
            fields.account,
            user_id=fields.user_id,
            silent=fields.silent,
        )
        if emission is not None:
            await asyncio.shield(emission.first_attempts)
        return {"user": user.model_dump(), "deliveries": _shown(emission)}

    async def change_user(self, request: Request) -> object:
        """Change Terra's data about a user, without a webhook."""
        user = self._user(request)
        changes: Mapping[str, object] = (await _body_of(request, UserChanges)).model_dump(exclude_unset=True)
        for name, value in changes.items():
            setattr(user, name, value)
        return user.model_dump()

    async def remove_user(self, request: Request) -> object:
        """Remove a user, without a webhook."""
        user = self._user(request)
        self._terra.users.remove([user])
        return user.model_dump()

    async def add_event(self, request: Request) -> object:
        """Apply an event to a user and send its webhook."""
        user = self._user(request)
        fields = await _body_of(request, EventRequest)
        emission = self._terra.apply_event(user, fields.type, fields.model_extra or {})
        if fields.wait:
            await asyncio.shield(emission.first_attempts)
        return {"deliveries": _shown(emission)}

    async def reconnect(self, request: Request) -> object:
        """Connect the same account again: `auth` and `user_reauth`, in either order."""
        user = self._user(request)
        fields = await _body_of(request, ReauthRequest)
        if user.created_at is None:
            message = "this user has never connected"
            raise RefusedError(message, HTTPStatus.CONFLICT)
        new, emission = self._terra.reconnect(user, fields.settings())
        if fields.wait:
            await asyncio.shield(emission.first_attempts)
        return {"user": new.model_dump(), "deliveries": _shown(emission)}

    # -- data ------------------------------------------------------------------------------------------------------

    async def send_data(self, request: Request) -> object:
        """Send generated data of a user: days, corrections, a sequence of values, or a body of a size."""
        user = self._user(request)
        fields = await _body_of(request, DataRequest)
        contents = await self.contents(user, fields)
        emission = self._terra.feed.send(user, contents)
        if fields.wait:
            await asyncio.shield(emission.first_attempts)
        return {"deliveries": _shown(emission)}

    async def contents(self, user: User, fields: DataRequest) -> list[Body | bytes]:
        """Return the bodies that a request is for."""
        feed, on = self._terra.feed, fields.date or date_of(self._terra.clock())
        if fields.size:
            try:
                return [await asyncio.to_thread(feed.of_size, user, fields.type, on, fields.size)]
            except ValueError as error:
                raise RefusedError(str(error)) from error
        if fields.corrections:
            return [
                feed.next_revision(user, each, on, samples=fields.samples)
                for _ in range(fields.corrections)
                for each in fields.types
            ]
        contents: list[Body | bytes] = []
        for each in fields.types:
            for number, value in enumerate(fields.values or [None]):
                status = fields.status or (AMENDED if number else None)
                body = feed.body(
                    user,
                    each,
                    on,
                    days=fields.days,
                    samples=fields.samples,
                    status=status,
                    revision=fields.revision,
                )
                if value is not None:
                    self._set_value(body, fields, value)
                contents.append(body)
        return contents

    def _set_value(self, body: Body, fields: DataRequest, value: float) -> None:
        path = fields.field or FIELDS.get(fields.type, "")
        try:
            set_value(body, path, int(value) if value == int(value) else value)
        except KeyError:
            message = f"{fields.type} has no field {path or 'to correct'}"
            raise RefusedError(message) from None

    async def request_data(self, request: Request) -> object:
        """Request a period of a user's data, as GET /api/v2/<type> with to_webhook does, without the rate limit."""
        user = self._user(request)
        fields = await _body_of(request, PeriodRequest)
        answer, emission = await self._terra.feed.request(
            user, fields.type, fields.start_date, fields.end_date, samples=fields.samples
        )
        if fields.wait:
            await asyncio.shield(emission.first_attempts)
        return {"answer": answer, "deliveries": _shown(emission)}

    async def payloads(self, request: Request) -> object:
        """Return what the URLs of `s3_payload` lead to, without the content."""
        del request
        return [each.model_dump(exclude={"content"}) for each in self._terra.outbox.pointers()]

    async def expire_payloads(self, request: Request) -> object:
        """Let every URL of `s3_payload` expire."""
        self._terra.outbox.expire()
        return await self.payloads(request)

    def _user(self, request: Request) -> User:
        user = self._terra.users.by_id.get(request.path_params["user_id"])
        if user is None:
            message = "no such user"
            raise RefusedError(message, HTTPStatus.NOT_FOUND)
        return user


def _shown(emission: Emission | None) -> list[dict[str, object]]:
    return [] if emission is None else [delivery.shown() for delivery in emission.deliveries]


def _responses(deliveries: list[Delivery]) -> list[dict[str, object]]:
    return [
        {
            "trace_id": delivery.trace_id,
            "status": delivery.attempts[0].status,
            "body": delivery.attempts[0].answer,
            "error": delivery.attempts[0].error,
        }
        for delivery in deliveries
    ]


async def _body_of(request: Request, model: type[Fields]) -> Fields:
    return model.model_validate(await _json(request))


async def _json(request: Request) -> object:
    body = await request.body()
    try:
        return {} if not body else await request.json()
    except ValueError as error:
        message = f"the body is not JSON: {error}"
        raise RefusedError(message) from error
