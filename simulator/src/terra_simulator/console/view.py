"""What the console shows: the values of the template console.html."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from terra_simulator.console.query import Query
from terra_simulator.data.bodies import RECORD_TYPES
from terra_simulator.destinations import Destination
from terra_simulator.faults import DeliveryFault
from terra_simulator.outbox import Attempt, Delivery, readable
from terra_simulator.providers import PROVIDERS, Provider
from terra_simulator.simulator import Simulator
from terra_simulator.users import User

PAGE_SIZE: Final = 25
MAX_TEXT: Final = 20_000
"""Longer bodies and answers are cut."""
_CUT: Final = 1_000
_MAX_RESULT: Final = 160

FAULTS: Final = {
    "timeout": "time out",
    "status": "are answered with 500",
    "lost": "are lost",
    "duplicate": "are sent twice",
    "delay": "are sent 10 s late",
}
"""What can be chosen for the next deliveries."""
_PAYLOAD_FAULTS: Final = ("none", "wrong_user", "gzip_bomb", "slow", "redirect", "large", "truncated")
_REQUEST_ORDERS: Final = (
    "processing sending chunks",
    "chunks sending processing",
    "sending shuffled processing",
    "shuffled",
)
_Item = TypeVar("_Item")


class State(NamedTuple):
    """A state in words, and its class in the style sheet: good, wait or bad."""

    style: str
    text: str


_STATES: Final = {
    "delivered": State("good", "delivered"),
    "pending": State("wait", "pending"),
    "held": State("wait", "queued"),
    "lost": State("bad", "dropped"),
    "given_up": State("bad", "given up"),
}


@dataclass(frozen=True)
class Connection:
    """A connection and what may be done with it."""

    user: User
    provider: Provider
    state: State
    last: "Row | None"
    """Its newest delivery."""
    login: str | None
    """The path of a login that is not finished."""

    @property
    def was_connected(self) -> bool:
        """Whether a login was ever finished, so that events, data and reconnects are possible."""
        return self.user.created_at is not None


@dataclass(frozen=True)
class Row:
    """A delivery in the list."""

    delivery: Delivery
    destination: str

    @property
    def ids(self) -> tuple[str, str]:
        """What a link may name it by. Copies and resends have the same trace id: it opens the newest one."""
        return self.delivery.delivery_id, self.delivery.trace_id

    @property
    def title(self) -> str:
        """The type; of an announced payload also its own type."""
        return _title(self.delivery)

    @property
    def state(self) -> State:
        """The state in words."""
        is_retrying = self.delivery.state == "pending" and self.delivery.attempts
        return State("wait", "retrying") if is_retrying else _STATES[self.delivery.state]

    @property
    def provider(self) -> str:
        """The title of the provider, if the event names one."""
        name = str(self.delivery.subject.get("provider") or "")
        return PROVIDERS[name].title if name in PROVIDERS else name

    @property
    def result(self) -> str:
        """The result of the last attempt, in a few words."""
        attempts = self.delivery.attempts
        return _status(attempts[-1]) if attempts else "not sent" if self.state.style == "bad" else "not sent yet"

    @property
    def body(self) -> str:
        """The body, with line breaks if it is JSON."""
        if len(self.delivery.body) > MAX_TEXT:
            return f"{len(self.delivery.body):,} bytes: {self.delivery.body[:_CUT].decode(errors='replace')}..."
        content = readable(self.delivery.body)
        return content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)


class Page(NamedTuple):
    """A part of a list: its number from 1 on, how many there are, and the number of all items."""

    number: int
    last: int
    total: int


def of(terra: Simulator, query: Query) -> dict[str, object]:
    """Return the values of the template."""
    rows = _rows(terra)
    connections, page = _page(list(_matching(terra, query)), query.page)
    shown = [row for row in rows if not query.reference_id or row.delivery.reference_id == query.reference_id]
    place = next((at for at, row in enumerate(shown) if query.open in row.ids), None)
    open_page = 1 if place is None else place // PAGE_SIZE + 1
    deliveries, deliveries_page = _page(shown, query.deliveries or open_page)
    states = [row.delivery.state for row in rows]
    newest = {str(row.delivery.subject.get("user_id")): row for row in reversed(rows)}
    logins = {each.user_id: f"/login/{each.token}" for each in terra.users.logins.values() if each.outcome is None}
    return {
        "query": query,
        "settings": terra.settings,
        "is_holding": terra.outbox.is_holding,
        "held": states.count("held"),
        "pending": states.count("pending"),
        "chosen": [shown_fault(fault) for fault in terra.outbox.faults.all()],
        "faults": FAULTS,
        "destinations": [each for each in terra.destinations.by_id.values() if each.type == "webhook"],
        "is_pinged": terra.destinations.configured is not None and terra.destinations.configured.is_pinged,
        "payload_faults": _PAYLOAD_FAULTS,
        "request_orders": _REQUEST_ORDERS,
        "providers": [PROVIDERS[name] for name in sorted(terra.settings.enabled_providers)],
        "record_types": RECORD_TYPES,
        "connections": [
            Connection(
                user, PROVIDERS[user.provider], _state_of(user), newest.get(user.user_id), logins.get(user.user_id)
            )
            for user in connections
        ],
        "page": page,
        "rows": deliveries,
        "deliveries_page": deliveries_page,
        "opened": None if place is None else shown[place].delivery.delivery_id,
        "clock": _clock,
        "status": _status,
        "answer": _answer,
    }


def outcome(deliveries: Sequence[Delivery]) -> str:
    """The current results of deliveries, in a sentence."""
    return f"{', '.join(f'{_title(each)}: {_result(each)}' for each in deliveries)}."


def shown_fault(fault: DeliveryFault) -> str:
    """What was chosen for the next deliveries."""
    what = f"are answered with {fault.status}" if fault.kind == "status" else FAULTS[fault.kind]
    what = f"are sent {fault.delay_s:g} s late" if fault.kind == "delay" else what
    if fault.times > 1:
        return f"The next {fault.times} deliveries {what}"
    singular = {"are": "is", "time": "times"}
    verb, _, rest = what.partition(" ")
    return f"The next delivery {singular[verb]} {rest}"


def _rows(terra: Simulator) -> list[Row]:
    """Every delivery, the newest first."""
    by_id = terra.destinations.by_id
    return [
        Row(each, _shown_destination(by_id.get(each.destination_id or ""), each))
        for each in reversed(terra.outbox.deliveries())
    ]


def _shown_destination(destination: Destination | None, delivery: Delivery) -> str:
    if destination is not None:
        return destination.shown_url or destination.type
    return "its own URL" if delivery.url else "none"


def _matching(terra: Simulator, query: Query) -> Iterable[User]:
    """The users that the page is for: by reference_id, the one with the newest connection first."""
    text = query.search.casefold()
    groups: dict[str | None, list[User]] = {}
    for user in reversed(terra.users.by_id.values()):
        fields = (user.reference_id, user.user_id, user.provider, user.account)
        if query.reference_id and user.reference_id != query.reference_id:
            continue
        if not text or any(text in (field or "").casefold() for field in fields):
            groups.setdefault(user.reference_id, []).append(user)
    return (user for group in groups.values() for user in group)


def _page(items: Sequence[_Item], number: int) -> tuple[Sequence[_Item], Page]:
    last = max(1, -(-len(items) // PAGE_SIZE))
    number = min(number, last)
    return items[(number - 1) * PAGE_SIZE : number * PAGE_SIZE], Page(number, last, len(items))


def _state_of(user: User) -> State:
    if user.is_authenticated:
        return State("good", "connected")
    return State("wait", "login never finished") if user.created_at is None else State("bad", "access revoked")


def _title(delivery: Delivery) -> str:
    type_ = delivery.type or "no type"
    return f"{type_} of {delivery.event_type}" if delivery.event_type else type_


def _result(delivery: Delivery) -> str:
    """The receiver's last response."""
    if not delivery.attempts:
        return {"held": "queued", "lost": "dropped, not sent"}.get(delivery.state, "pending")
    last = delivery.attempts[-1]
    text = "" if last.fault else " ".join(last.answer.split())[:_MAX_RESULT]
    return f"{_status(last)} {text}".rstrip()


def _status(attempt: Attempt) -> str:
    if attempt.status is not None:
        return f"response {attempt.status}"
    return "time-out" if (attempt.error or "").startswith("TimeoutError") else "no response"


def _answer(attempt: Attempt) -> str:
    """The answer's body, or what was in its place."""
    if attempt.answer:
        return attempt.answer if len(attempt.answer) <= MAX_TEXT else f"{attempt.answer[:_CUT]}..."
    return "" if attempt.fault else attempt.error or ""


def _clock(seconds: float) -> Mapping[str, str]:
    """A time as text, and in the format of HTML."""
    at = datetime.fromtimestamp(seconds, UTC)
    return {"text": f"{at:%H:%M:%S}", "title": f"{at:%Y-%m-%d %H:%M:%S} UTC", "iso": at.isoformat()}
