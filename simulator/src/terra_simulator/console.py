"""The page at `/`: all users of the simulated Terra, the last webhooks, and a button for each possible event.

Showing the page changes nothing. A button is a form's POST, answered by 303 back to the page, so a reload repeats
nothing. Like the control API, it serves only browsers on this machine, and rejects pages of other sites.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from terra_simulator import console_view, pages
from terra_simulator.consent import form_fields
from terra_simulator.control import ControlApi, DataRequest, RefusedError
from terra_simulator.data.diary import AMENDED, ENTERED_IN_ERROR
from terra_simulator.data_feed import date_of
from terra_simulator.data_reads import REQUESTED_TYPES
from terra_simulator.identifiers import new_id
from terra_simulator.origin_guard import is_foreign
from terra_simulator.outbox import Delivery, Emission, copies
from terra_simulator.providers import PROVIDERS
from terra_simulator.simulator import LoginRequest, Simulator
from terra_simulator.users import User

Form = Mapping[str, str]
LONGEST_WAIT_S: Final = 3.0
"""How long a button waits for the webhooks' first responses, so that the page can show them."""

REAUTHS: Final[dict[str, dict[str, object]]] = {
    "reauth_after": {"reauth_order": "auth_first", "reauth_old_user": "present"},
    "reauth_before": {"reauth_order": "reauth_first", "reauth_old_user": "present"},
    "reauth_null": {"reauth_order": "auth_first", "reauth_old_user": "null"},
}
EVENTS: Final = ("deauth", "access_revoked", "connection_error")
LARGE_BODY: Final = 10_000_000
REQUESTED: Final = timedelta(days=90)


class NotPossibleError(Exception):
    """The requested action is impossible; the text states the reason."""


class Console:
    """The browser interface of the simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator
        self._control = ControlApi(simulator)
        self._notice = ""
        self._actions: dict[str, Callable[[Form], Awaitable[str]]] = {
            "connect": self._connect,
            "connect_silently": self._connect_silently,
            "begin_login": self._begin_login,
            "lose": lambda _: self._set("Webhooks are dropped from now on.", send_webhooks=False),
            "send": lambda _: self._set("Webhooks are sent from now on.", send_webhooks=True),
            "twice": lambda _: self._set("Each webhook is sent twice from now on.", webhook_copies=2),
            "once": lambda _: self._set("Each webhook is sent once from now on.", webhook_copies=1),
            "hold": self._hold,
            "release": self._release,
            "release_reversed": self._release_reversed,
            "drop": self._drop,
            "retry": self._retry,
            "release_one": self._release_one,
            "drop_one": self._drop_one,
            "again": self._again,
            "replay": self._replay,
            "grant": self._grant,
            "withdraw": self._withdraw,
            "forget": self._delete,
            "ping": lambda _: self._set("Data are sent as s3_payload from now on.", webhook_delivery="ping"),
            "push": lambda _: self._set("Data are sent inline from now on.", webhook_delivery="push"),
            "expire": self._expire,
            "data_settings": self._set_data,
            "activity": lambda form: self._send_data(form, {"type": "activity"}),
            "send_all": lambda form: self._send_data(form, {"type": "all"}),
            "send_data": lambda form: self._send_data(form, {}),
            "correct_data": lambda form: self._send_data(form, {"corrections": 1}),
            "send_values": lambda form: self._send_data(form, {"values": [100, 120, 100]}),
            "send_large": lambda form: self._send_data(form, {"size": LARGE_BODY}),
            "amend": lambda form: self._send_data(form, {"type": "health_observation", "status": AMENDED}),
            "retract": lambda form: self._send_data(form, {"type": "health_observation", "status": ENTERED_IN_ERROR}),
            "request_data": self._request_data,
            **{name: self._event_action(name) for name in EVENTS},
            **{name: self._reconnect_action(overrides) for name, overrides in REAUTHS.items()},
        }

    def routes(self) -> list[BaseRoute]:
        """Return the page's path."""
        return [
            Route("/", self._guarded(self.show), methods=["GET"]),
            Route("/", self._guarded(self.act), methods=["POST"]),
        ]

    def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            if is_foreign(request.scope["headers"], has_pages=True, names=self._terra.names):
                return pages.refusal(
                    "Request rejected", "This page can only be used from this machine.", HTTPStatus.FORBIDDEN
                )
            return await endpoint(request)

        return handle

    async def show(self, request: Request) -> Response:
        """Show the current state."""
        notice, self._notice = self._notice, ""
        return console_view.page(
            self._terra, notice=notice, reference_id=request.query_params.get("reference_id", "").strip()
        )

    async def act(self, request: Request) -> Response:
        """Carry out a button's action."""
        form = await form_fields(request)
        action = self._actions.get(form.get("do", ""))
        if action is None:
            return pages.refusal("Nothing was done", "Use one of the buttons of the page.", HTTPStatus.BAD_REQUEST)
        try:
            self._notice = await action(form)
        except NotPossibleError as error:
            return pages.refusal("Nothing was done", str(error), HTTPStatus.CONFLICT)
        self._terra.save()
        reference_id = form.get("filter", "")
        query = f"?reference_id={quote(reference_id)}" if reference_id else ""
        fragment = f"#{quote(form['at'])}" if form.get("at") else ""
        return RedirectResponse(f"/{query}{fragment}", HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})

    # -- users -----------------------------------------------------------------------------------------------------

    async def _connect(self, form: Form, *, silent: bool = False) -> str:
        provider = self._provider(form)
        user, emission = self._terra.connect_directly(
            provider, form.get("reference_id") or None, form.get("account") or None, user_id=None, silent=silent
        )
        return f"{_name_of(user)} connected. {await self._result_of(emission)}"

    async def _connect_silently(self, form: Form) -> str:
        return await self._connect(form, silent=True)

    async def _begin_login(self, form: Form) -> str:
        provider = self._provider(form)
        if PROVIDERS[provider].is_sdk:
            message = f"{PROVIDERS[provider].title} is connected inside a mobile app: it has no login page."
            raise NotPossibleError(message)
        self._terra.begin_login(provider, LoginRequest(reference_id=form.get("reference_id") or None))
        return "Login started. It remains unfinished until its page is opened."

    async def _delete(self, form: Form) -> str:
        user = self._user(form)
        self._terra.users.remove([user])
        return f"Deleted {_name_of(user)}, without a webhook."

    # -- events ----------------------------------------------------------------------------------------------------

    def _event_action(self, event_type: str) -> Callable[[Form], Awaitable[str]]:
        async def act(form: Form) -> str:
            return await self._trigger(self._user(form), event_type)

        return act

    def _reconnect_action(self, overrides: Mapping[str, object]) -> Callable[[Form], Awaitable[str]]:
        async def act(form: Form) -> str:
            new, emission = self._terra.reconnect(self._connected(form), overrides)
            return f"{_name_of(new)} was reconnected as {new.user_id}. {await self._result_of(emission)}"

        return act

    async def _grant(self, form: Form) -> str:
        user, scopes = self._connected(form), _scopes(form)
        return await self._trigger(user, "permission_change", scopes_added=scopes)

    async def _withdraw(self, form: Form) -> str:
        user, scopes = self._connected(form), _scopes(form)
        return await self._trigger(user, "permission_change", scopes_removed=scopes)

    async def _trigger(self, user: User, event_type: str, **extra: str) -> str:
        emission = self._terra.apply_event(user, event_type, extra)
        return f"{event_type} for {_name_of(user)}. {await self._result_of(emission)}"

    # -- data ------------------------------------------------------------------------------------------------------

    async def _send_data(self, form: Form, fields: Mapping[str, object]) -> str:
        user = self._connected(form)
        try:
            request = DataRequest.model_validate({"type": form.get("data_type", "daily"), **fields})
            contents = await self._control.contents(user, request)
        except (ValidationError, RefusedError) as error:
            message = f"This type of data cannot be sent so: {_reason(error)}."
            raise NotPossibleError(message) from error
        return f"Data of {_name_of(user)}. {await self._result_of(self._terra.feed.send(user, contents))}"

    async def _request_data(self, form: Form) -> str:
        user, today = self._connected(form), date_of(self._terra.clock())
        event_type = form.get("data_type", "daily")
        if event_type not in REQUESTED_TYPES:
            message = f"Terra has no endpoint that sends {event_type}."
            raise NotPossibleError(message)
        _, emission = await self._terra.feed.request(user, event_type, today - REQUESTED, today, samples=False)
        return f"{REQUESTED.days} days of {_name_of(user)} requested. {await self._result_of(emission)}"

    async def _set_data(self, form: Form) -> str:
        names = ("output_format", "payload_fault", "large_request_order")
        changes: dict[str, object] = {name: form[name] for name in names if name in form}
        if "large_request_order" in changes:
            changes["large_request_order"] = form["large_request_order"].split()
        try:
            self._terra.change_settings(changes)
        except ValidationError as error:
            message = "Use one of the options of the page."
            raise NotPossibleError(message) from error
        return "The settings of data were changed."

    async def _expire(self, _form: Form) -> str:
        return f"{self._terra.outbox.expire()} URLs have expired."

    # -- webhooks --------------------------------------------------------------------------------------------------

    async def _set(self, notice: str, **changes: object) -> str:
        self._terra.change_settings(changes)
        return notice

    async def _hold(self, _form: Form) -> str:
        self._terra.outbox.is_holding = True
        return "Webhooks are queued from now on."

    async def _release(self, _form: Form) -> str:
        return await self._send_queued(self._held())

    async def _release_reversed(self, _form: Form) -> str:
        return await self._send_queued(self._held()[::-1])

    async def _drop(self, _form: Form) -> str:
        held = self._held()
        self._terra.outbox.is_holding = False
        await self._terra.outbox.release([], dropped=held)
        return f"Dropped {len(held)} queued webhooks; new ones are sent."

    async def _release_one(self, form: Form) -> str:
        return await self._run(
            self._terra.outbox.release([self._held_one(form)], dropped=[]), "Sent one queued webhook."
        )

    async def _drop_one(self, form: Form) -> str:
        await self._terra.outbox.release([], dropped=[self._held_one(form)])
        return "Dropped one webhook."

    async def _retry(self, _form: Form) -> str:
        return await self._run(self._terra.outbox.retry_now(), "Retried all pending webhooks.")

    async def _again(self, form: Form) -> str:
        return await self._repeat(form, trace_id=None)

    async def _replay(self, form: Form) -> str:
        return await self._repeat(form, trace_id=new_id())

    async def _repeat(self, form: Form, *, trace_id: str | None) -> str:
        earlier = self._delivery(form)
        if earlier.destination_id not in self._terra.destinations.by_id:
            message = "This webhook has no destination."
            raise NotPossibleError(message)
        again = earlier.repeated(
            now=self._terra.clock(),
            trace_id=trace_id,
            ordering_timestamp=earlier.ordering_timestamp,
            t=None,
        )
        return await self._run(self._terra.outbox.send(copies(again, 1), concurrently=False), "Resent.")

    async def _send_queued(self, held: list[Delivery]) -> str:
        self._terra.outbox.is_holding = False
        return await self._run(self._terra.outbox.release(held, dropped=[]), f"Sent {len(held)} queued webhooks.")

    async def _result_of(self, emission: Emission | None) -> str:
        if emission is None:
            return "No webhook was sent."
        await asyncio.wait({emission.first_attempts}, timeout=LONGEST_WAIT_S)
        return console_view.outcome(emission.deliveries)

    async def _run(self, work: Coroutine[Any, Any, object], notice: str) -> str:
        await asyncio.wait({self._terra.outbox.begin(work)}, timeout=LONGEST_WAIT_S)
        return notice

    # -- form fields -----------------------------------------------------------------------------------------------

    def _provider(self, form: Form) -> str:
        provider = form.get("provider", "")
        if provider not in PROVIDERS:
            message = "There is no such provider."
            raise NotPossibleError(message)
        return provider

    def _user(self, form: Form) -> User:
        user = self._terra.users.by_id.get(form.get("user_id", ""))
        if user is None:
            message = "This user no longer exists."
            raise NotPossibleError(message)
        return user

    def _connected(self, form: Form) -> User:
        user = self._user(form)
        if user.created_at is None:
            message = "This user has never finished a login."
            raise NotPossibleError(message)
        return user

    def _held(self) -> list[Delivery]:
        return [delivery for delivery in self._terra.outbox.deliveries() if delivery.state == "held"]

    def _held_one(self, form: Form) -> Delivery:
        delivery = self._delivery(form)
        if delivery.state != "held":
            message = "This webhook is no longer queued."
            raise NotPossibleError(message)
        return delivery

    def _delivery(self, form: Form) -> Delivery:
        delivery = self._terra.outbox.find(form.get("delivery_id", ""))
        if delivery is None:
            message = "This webhook no longer exists."
            raise NotPossibleError(message)
        return delivery


def _name_of(user: User) -> str:
    return f"{user.reference_id or 'unnamed user'}'s {PROVIDERS[user.provider].title}"


def _reason(error: ValidationError | RefusedError) -> str:
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)


def _scopes(form: Form) -> str:
    scopes = ",".join(scope.strip() for scope in form.get("scopes", "").split(",") if scope.strip())
    if not scopes:
        message = "Enter one scope, or several separated by commas."
        raise NotPossibleError(message)
    return scopes
