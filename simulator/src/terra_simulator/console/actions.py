"""What the buttons of the console do."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from terra_simulator.console import view
from terra_simulator.control import ControlApi, DataRequest, RefusedError
from terra_simulator.data.diary import AMENDED, ENTERED_IN_ERROR
from terra_simulator.data_feed import date_of
from terra_simulator.data_reads import REQUESTED_TYPES
from terra_simulator.faults import DeliveryFault
from terra_simulator.identifiers import new_id
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
SCENARIOS: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "deauth_lost": ("deauth", {"webhook_loss": 1.0}),
    "access_revoked_late": ("access_revoked", {"webhook_delay_s": 10.0}),
    "connection_error_twice": ("connection_error", {"webhook_copies": 2}),
}
"""Events with the settings that apply to their webhooks only."""


class NotPossibleError(Exception):
    """The requested action is impossible; the text states the reason."""

    def __init__(self, reason: str, status: HTTPStatus = HTTPStatus.CONFLICT) -> None:
        super().__init__(reason)
        self.status = status


class Done(NamedTuple):
    """What an action has done, and the element of the page that it was for."""

    notice: str
    at: str = ""


class Actions:
    """Every action by its name."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator
        self._control = ControlApi(simulator)
        self._by_name: dict[str, Callable[[Form], Awaitable[str | Done]]] = {
            "connect": self._connect,
            "connect_silently": self._connect_silently,
            "begin_login": self._begin_login,
            "lose": lambda _: self._set("Webhooks are dropped from now on.", send_webhooks=False),
            "send": self._send,
            "hold": self._hold,
            "twice": lambda _: self._set("Each webhook is sent twice from now on.", webhook_copies=2),
            "once": lambda _: self._set("Each webhook is sent once from now on.", webhook_copies=1),
            "release": self._release,
            "release_reversed": self._release_reversed,
            "drop": self._drop,
            "retry": self._retry,
            "choose": self._choose,
            "choose_nothing": self._choose_nothing,
            "release_one": self._release_one,
            "drop_one": self._drop_one,
            "retry_one": self._retry_one,
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
            **{name: self._event_action(name, {}) for name in EVENTS},
            **{name: self._event_action(*scenario) for name, scenario in SCENARIOS.items()},
            **{name: self._reconnect_action(overrides) for name, overrides in REAUTHS.items()},
        }

    async def carry_out(self, form: Form) -> Done:
        """Carry out the action that a form names in `do`.

        Raises:
            NotPossibleError: When there is no such action, or it is impossible now.
        """
        action = self._by_name.get(form.get("do", ""))
        if action is None:
            message = "Use one of the buttons of the page."
            raise NotPossibleError(message, HTTPStatus.BAD_REQUEST)
        result = await action(form)
        done = result if isinstance(result, Done) else Done(result, form.get("at", ""))
        user_id = done.at.removeprefix("user-")
        is_gone = user_id != done.at and user_id not in self._terra.users.by_id
        return Done(done.notice, "users") if is_gone else done

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

    def _event_action(self, event_type: str, changes: Mapping[str, object]) -> Callable[[Form], Awaitable[str]]:
        async def act(form: Form) -> str:
            user = self._user(form)
            with self._terra.changed_settings(changes):
                emission = self._terra.apply_event(user, event_type, {})
            return f"{event_type} for {_name_of(user)}. {await self._result_of(emission)}"

        return act

    def _reconnect_action(self, overrides: Mapping[str, object]) -> Callable[[Form], Awaitable[Done]]:
        async def act(form: Form) -> Done:
            new, emission = self._terra.reconnect(self._connected(form), overrides)
            result = await self._result_of(emission)
            return Done(f"{_name_of(new)} was reconnected as {new.user_id}. {result}", f"user-{new.user_id}")

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

    async def _send(self, _form: Form) -> str:
        self._terra.outbox.is_holding = False
        return await self._set("Webhooks are sent from now on.", send_webhooks=True)

    async def _hold(self, _form: Form) -> str:
        self._terra.outbox.is_holding = True
        return await self._set("Webhooks are queued from now on.", send_webhooks=True)

    async def _choose(self, form: Form) -> str:
        try:
            fault = DeliveryFault.model_validate({"kind": form.get("fault"), "times": form.get("times")})
        except ValidationError as error:
            message = "Choose what happens, and a number from 1 to 1000."
            raise NotPossibleError(message) from error
        self._terra.outbox.faults.add(fault)
        return f"{view.shown_fault(fault)}."

    async def _choose_nothing(self, _form: Form) -> str:
        self._terra.outbox.faults.clear()
        return "The next deliveries are sent and answered normally."

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

    async def _retry_one(self, form: Form) -> str:
        return await self._run(self._terra.outbox.retry_now(self._delivery(form)), "Retried.")

    async def _again(self, form: Form) -> str:
        return await self._repeat(form, trace_id=None)

    async def _replay(self, form: Form) -> str:
        return await self._repeat(form, trace_id=new_id())

    async def _repeat(self, form: Form, *, trace_id: str | None) -> str:
        earlier = self._delivery(form)
        if earlier.url is None and earlier.destination_id not in self._terra.destinations.by_id:
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
        end = self._terra.clock() + LONGEST_WAIT_S
        if all(each.next_attempt_at is None or each.next_attempt_at < end for each in emission.deliveries):
            await asyncio.wait({emission.first_attempts}, timeout=LONGEST_WAIT_S)
        return view.outcome(emission.deliveries)

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
