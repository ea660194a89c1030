"""The delivery of webhooks: signing, sending, retrying, holding, losing.

Terra's documentation: a delivery has one trace id and one ordering timestamp, both the same on every retry; delivery is
at least once and in no order. Whether the signature's `t` is renewed on a retry is not documented, so it is a
setting. A destination whose delivery is `ping` gets data events as `s3_payload`, with a URL of the payload which
expires.
"""

import asyncio
import functools
import json
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import httpx
from pydantic import BaseModel, ConfigDict, Field

from terra_simulator import identifiers
from terra_simulator.clock import Clock, milliseconds
from terra_simulator.destinations import Destination, Destinations, carries_data
from terra_simulator.faults import DeliveryFault, DeliveryFaults
from terra_simulator.identifiers import new_id
from terra_simulator.schedule import seconds_before_retry
from terra_simulator.settings import Settings
from terra_simulator.signature import sign

LONGEST_LOG: Final = 10_000
"""Finished deliveries are dropped beyond this many."""
LARGEST_LOG: Final = 512_000_000
"""They are also dropped beyond this many bytes of bodies and payloads."""

LARGEST_SHOWN: Final = 1_000_000
"""The control API does not show larger bodies, in bytes."""


@dataclass(frozen=True)
class Webhook:
    """An event to deliver; what is None is chosen for each delivery."""

    type: str
    body: bytes
    user: Mapping[str, object] = field(default_factory=dict)
    """The user that it is about, if its body is not JSON and cannot name one."""
    event_id: str | None = None
    trace_id: str | None = None
    reference: str | None = None
    ordering_timestamp: int | str | None = None
    resent: "Delivery | None" = None
    """The delivery that a resend repeats."""

    @classmethod
    def of(cls, body: dict[str, object]) -> "Webhook":
        """Return an event of this body."""
        return cls(str(body.get("type")), as_bytes(body))


class Pointer(BaseModel):
    """What the URL of an `s3_payload` leads to."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    name: str
    """The path of the URL after its base."""
    token: str
    """The URL's signature, which alone gives access."""
    content: bytes
    expires_at: float
    fetches: int = 0
    """How often the payload was served."""


class Attempt(BaseModel):
    """One attempt of a delivery."""

    at: float
    t: int = 0
    """Of the signature."""
    status: int | None
    answer: str = ""
    error: str | None = None
    url: str = ""
    took_ms: int = 0
    headers: dict[str, str] = Field(default_factory=dict)
    """Of the request, with the signature."""
    fault: Literal["timeout", "status"] | None = None
    """The fault that replaced the receiver's answer: `status` and `error` are the fault's."""
    received: int | None = None
    """The status of the answer that a fault replaced; None: there was no answer."""

    def with_fault(self, fault: DeliveryFault) -> "Attempt":
        """Return the attempt with its answer replaced."""
        kind = "timeout" if fault.kind == "timeout" else "status"
        status, error = (None, "TimeoutError") if kind == "timeout" else (fault.status, None)
        return self.model_copy(update={"fault": kind, "received": self.status, "status": status, "error": error})


class Delivery(BaseModel):
    """One webhook to one destination, from its emission to its end."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    delivery_id: str = Field(default_factory=new_id)
    event_id: str = Field(default_factory=new_id)
    """The event, which is the same for every destination and every resend."""
    destination_id: str | None = None
    """None: no destination admits the event, or the delivery has a URL and secrets of its own."""
    trace_id: str
    type: str | None
    body: bytes
    pointer: Pointer | None = None
    """The event's own payload, if the body is an `s3_payload`."""
    event_type: str | None = None
    """The type of that payload."""
    user: dict[str, Any] = Field(default_factory=dict)
    """The user that it is about, if its payload cannot name one."""
    created_at: float
    ordering_timestamp: int | str | None
    reference: str | None
    t: int | None = None
    """Set by the call that requested the delivery, or by the first attempt if `t` is not renewed."""
    secrets: list[str] | None = None
    headers: dict[str, str | None] = Field(default_factory=dict)
    url: str | None = None
    is_retried: bool = True
    state: Literal["pending", "held", "delivered", "given_up", "lost"] = "pending"
    attempts: list[Attempt] = Field(default_factory=list)
    next_attempt_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still be sent."""
        return self.state in {"pending", "held"}

    @property
    def payload(self) -> bytes:
        """The event's own payload, inline or not."""
        return self.pointer.content if self.pointer else self.body

    @property
    def payload_type(self) -> str | None:
        """The type of the event's own payload."""
        return self.event_type or self.type

    @functools.cached_property
    def subject(self) -> Mapping[str, object]:
        """The user that the event is about; empty if it names none."""
        content = {} if self.user else readable(self.payload)
        user = (content.get("user") or content.get("new_user")) if isinstance(content, dict) else None
        return user if isinstance(user, dict) else self.user

    @functools.cached_property
    def reference_id(self) -> str | None:
        """The reference_id of that user, or the one that an event without a user names."""
        body = readable(self.body) if len(self.body) <= LARGEST_SHOWN else None
        named = self.subject.get("reference_id") or (body.get("reference_id") if isinstance(body, dict) else None)
        return named if isinstance(named, str) else None

    @property
    def sent_t(self) -> int | None:
        """`t` of the first attempt; None if there was none."""
        return self.t if self.t is not None or not self.attempts else self.attempts[0].t

    def shown(self) -> dict[str, object]:
        """Return the delivery as the control API shows it."""
        shown = self.model_dump(exclude={"body": True, "secrets": True, "pointer": {"content"}})
        body = readable(self.body) if len(self.body) <= LARGEST_SHOWN else None
        return shown | {"body": body, "bytes": len(self.body)}

    def repeated(
        self, *, now: float, trace_id: str | None, ordering_timestamp: int | str | None, t: int | None
    ) -> "Delivery":
        """Return a delivery of the same body, to be sent once: without another `t`, exactly the original bytes."""
        return Delivery(
            event_id=self.event_id,
            destination_id=self.destination_id,
            trace_id=trace_id if trace_id is not None else self.trace_id,
            type=self.type,
            body=self.body,
            pointer=self.pointer,
            event_type=self.event_type,
            user=self.user,
            created_at=now,
            ordering_timestamp=ordering_timestamp,
            reference=self.reference,
            t=t if t is not None or self.sent_t is None else self.sent_t,
            secrets=self.secrets,
            headers=self.headers,
            url=self.url,
            is_retried=False,
        )

    def header_fields(self, settings: Settings, *, t: int, secrets: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """Build the header lines of one attempt."""
        signature = sign(self.body, t=t, secrets=self.secrets or secrets)
        fields: dict[str, str | None] = {"Content-Type": "application/json", "User-Agent": "Terra-Simulator"}
        if settings.signature_headers in {"both", "new"}:
            fields["X-Terra-Signature"] = signature
        if settings.signature_headers in {"both", "old"}:
            fields["Terra-Signature"] = signature
        fields["X-Terra-Trace-Id"] = self.trace_id
        if self.ordering_timestamp is not None:
            fields["X-Terra-Ordering-Timestamp"] = str(self.ordering_timestamp)
        fields["Terra-Reference"] = self.reference
        overridden = {name.lower() for name in self.headers}
        kept = {name: value for name, value in fields.items() if name.lower() not in overridden}
        return [(n.encode(), v.encode()) for n, v in (kept | self.headers).items() if v is not None]


class Emission(NamedTuple):
    """Webhooks just emitted, and the task that attempts each of them once."""

    deliveries: list[Delivery]
    first_attempts: asyncio.Task[None]


class Outbox:
    """Every delivery, and the tasks that send them."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        destinations: Callable[[], Destinations],
        *,
        environment_secret: str,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._destinations = destinations
        self._environment_secret = environment_secret
        self._clock = clock
        self._on_change = on_change
        self._client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=200))
        self._log: dict[str, Delivery] = {}
        self._bytes = 0
        self._pointers: dict[str, Pointer] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._wake_ups: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._progress = asyncio.Event()
        self.is_holding = False
        self.faults = DeliveryFaults()

    def deliveries(self) -> list[Delivery]:
        """Return every delivery, oldest first."""
        return list(self._log.values())

    def find(self, delivery_id: str) -> Delivery | None:
        """Return one delivery."""
        return self._log.get(delivery_id)

    def pointer(self, token: str) -> Pointer | None:
        """Return what a URL of an `s3_payload` leads to, by its signature."""
        return self._pointers.get(token)

    def pointers(self) -> list[Pointer]:
        """Return what every such URL leads to, oldest first."""
        return list(self._pointers.values())

    def expire(self) -> int:
        """Let every such URL expire now; return their number."""
        for each in self._pointers.values():
            each.expires_at = min(each.expires_at, self._clock())
        return len(self._pointers)

    def undelivered(self) -> list[Delivery]:
        """Return the deliveries that must survive a restart."""
        return [delivery for delivery in self._log.values() if delivery.is_open]

    def restore(self, deliveries: Iterable[Delivery]) -> None:
        """Continue with an earlier run's deliveries."""
        for delivery in deliveries:
            self._keep(delivery)
            if delivery.state == "pending":
                self._keep_trying(delivery)

    def emit(self, webhooks: Sequence[Webhook], *, only: Destination | None = None) -> Emission:
        """Send webhooks one after another, to every destination that admits them.

        Args:
            webhooks: the events; one that is listed twice is sent twice, with the same bytes and trace id.
            only: the destination to send to, instead of every one.
        """
        settings, now = self._settings(), self._clock.tick()
        addressed: dict[int, list[Delivery]] = {}
        firsts: list[Delivery] = []
        for webhook in webhooks:
            if id(webhook) in addressed:
                firsts += [copies(each, 2)[1] for each in addressed[id(webhook)]]
            else:
                addressed[id(webhook)] = self._addressed(webhook, settings, now, only=only)
                firsts += addressed[id(webhook)]
        deliveries = [each for first in firsts for each in self._copied(first, settings)]
        self._changed()
        pending = [delivery for delivery in deliveries if delivery.state == "pending"]
        match settings.webhook_order:
            case "reversed":
                pending.reverse()
            case "shuffled":
                pending = identifiers.shuffled(pending)
        return Emission(deliveries, self.begin(self._send_first(pending)))

    def _copied(self, first: Delivery, settings: Settings) -> list[Delivery]:
        """Return a new delivery and its copies, each with its time and state."""
        is_sent = first.destination_id is not None and settings.send_webhooks
        fault = self.faults.take("lost", "duplicate", "delay") if is_sent else None
        kind = fault.kind if fault else None
        deliveries = copies(first, max(settings.webhook_copies, 2 if kind == "duplicate" else 1))
        wait_s = settings.webhook_delay_s + (fault.delay_s if fault and kind == "delay" else 0.0)
        for delivery in deliveries:
            delivery.next_attempt_at = delivery.created_at + wait_s + settings.webhook_spread_s * _fraction(settings)
            if not is_sent or kind == "lost" or _is_lost(settings):
                delivery.state, delivery.next_attempt_at = "lost", None
            elif self.is_holding:
                delivery.state = "held"
            self._keep(delivery)
        return deliveries

    def _addressed(
        self, webhook: Webhook, settings: Settings, now: float, *, only: Destination | None
    ) -> list[Delivery]:
        """Return a delivery of an event for each destination; one without a destination if none admits it."""
        event_id = webhook.event_id or new_id()
        log = self._log.values() if webhook.resent else ()
        earlier = {each.destination_id: each for each in reversed(log) if each.event_id == event_id}
        admitting = [only] if only else self._destinations().admitting(webhook.type, settings.destination_vocabulary)
        addressees: list[Destination | None] = [*admitting]
        deliveries = []
        for destination in addressees or [None]:
            destination_id = None if destination is None else destination.id
            original = earlier.get(destination_id, webhook.resent)
            is_pinged = destination is not None and destination.is_pinged
            is_pinged = is_pinged and (settings.pings_auth_events or carries_data(webhook.type))
            has_ordering = settings.ordering_header and (settings.ping_ordering_header or not is_pinged)
            ordering_timestamp: int | str | None = (
                milliseconds(now) if webhook.ordering_timestamp is None else webhook.ordering_timestamp
            )
            if original is not None and not settings.refresh_ordering_on_resend:
                ordering_timestamp = original.ordering_timestamp
            trace_id = original.trace_id if original and settings.resend_trace_id == "same" else webhook.trace_id
            pointer = _pointer(webhook, settings, now) if is_pinged else None
            deliveries.append(
                Delivery(
                    event_id=event_id,
                    destination_id=destination_id,
                    trace_id=trace_id or new_id(),
                    type="s3_payload" if pointer else webhook.type,
                    body=as_bytes(_s3_payload(pointer, settings)) if pointer else webhook.body,
                    pointer=pointer,
                    event_type=webhook.type if pointer else None,
                    user=dict(webhook.user),
                    created_at=now,
                    ordering_timestamp=ordering_timestamp if has_ordering else None,
                    reference=(webhook.reference or new_id()) if settings.reference_header else None,
                    t=original.sent_t if original and not settings.refresh_t_on_resend else None,
                )
            )
        return deliveries

    def _keep(self, delivery: Delivery) -> None:
        self._log[delivery.delivery_id] = delivery
        self._bytes += len(delivery.payload)
        if delivery.pointer is not None:
            self._pointers.setdefault(delivery.pointer.token, delivery.pointer)

    async def send(self, deliveries: Sequence[Delivery], *, concurrently: bool) -> None:
        """Attempt deliveries that a test requested, now, regardless of hold and loss."""
        for delivery in deliveries:
            self._keep(delivery)
        self._changed()
        if concurrently:
            await asyncio.gather(*(self._try(delivery) for delivery in deliveries))
        else:
            for delivery in deliveries:
                await self._try(delivery)
        for delivery in deliveries:
            self._keep_trying(delivery)

    async def release(self, chosen: Sequence[Delivery], *, dropped: Iterable[Delivery]) -> None:
        """Send held deliveries in this order and lose others."""
        for delivery in dropped:
            delivery.state = "lost"
        for delivery in chosen:
            delivery.state = "pending"
            delivery.next_attempt_at = self._clock()
        self._changed()
        await self._send_first(chosen)

    async def retry_now(self, only: Delivery | None = None) -> list[Delivery]:
        """Attempt every pending delivery, or only this one, without waiting for its time."""
        chosen = self._log.values() if only is None else [only]
        pending = [delivery for delivery in chosen if delivery.state == "pending"]
        await asyncio.gather(*(self._try(delivery) for delivery in pending))
        return pending

    async def advance(self, seconds: float) -> None:
        """Let time pass at once, and wait for the attempts that become due: each is made at its own time."""
        end = self._clock() + seconds
        while True:
            await self._due_are_attempted()
            following = [each.next_attempt_at or 0.0 for each in self._log.values() if each.state == "pending"]
            at = max(min(following, default=end), self._clock())
            self.move_to(min(at, end))
            if at >= end:
                break
        await self._due_are_attempted()

    def move_to(self, at: float) -> None:
        """Set the time; what has become due is attempted."""
        self._clock.move_to(at)
        self.recheck()

    def recheck(self) -> None:
        """Let every retry that is waiting compute anew how long to wait."""
        for event in self._wake_ups.values():
            event.set()

    async def _due_are_attempted(self) -> None:
        while any(
            each.state == "pending" and (each.next_attempt_at or 0.0) <= self._clock() for each in self._log.values()
        ):
            self._progress.clear()
            await self._progress.wait()

    def signing_time(self) -> int:
        """Return `t` of a signature that is made now."""
        return int(time.time() if self._settings().signature_time == "real" else self._clock())

    def reschedule(self) -> None:
        """Apply a changed retry_scale to retries that are waiting."""
        for delivery in self._log.values():
            if delivery.state == "pending" and delivery.attempts:
                self._plan_retry(delivery)
                self._wake_up(delivery)

    async def clear(self) -> None:
        """Delete all deliveries, those in progress too."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._log.clear()
        self._bytes = 0
        self._pointers.clear()
        self._locks.clear()
        self._wake_ups.clear()
        self.is_holding = False
        self.faults.clear()
        self._progress.set()

    async def close(self) -> None:
        """Stop sending; pending deliveries stay pending."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _send_first(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in sorted(deliveries, key=lambda each: each.next_attempt_at or 0.0):
            wait = (delivery.next_attempt_at or 0.0) - self._clock()
            if wait > 0:
                await self._clock.sleep(wait)
                # Webhooks may have been put on hold during the delay.
                if self.is_holding and delivery.state == "pending" and not delivery.attempts:
                    delivery.state = "held"
            await self._try(delivery)
            self._keep_trying(delivery)

    async def _try(self, delivery: Delivery) -> None:
        async with self._locks.setdefault(delivery.delivery_id, asyncio.Lock()):
            if delivery.state != "pending":
                return
            destination = self._destinations().by_id.get(delivery.destination_id or "")
            if delivery.attempts and delivery.destination_id and not (destination and destination.active):
                # Terra does not state what becomes of retries then. A client must not depend on them.
                delivery.state, delivery.next_attempt_at = "given_up", None
                self._changed()
                return
            fault = None if delivery.attempts else self.faults.take("timeout", "status")
            attempt = await self._post(delivery, destination)
            attempt = attempt.with_fault(fault) if fault else attempt
            delivery.attempts.append(attempt)
            is_delivered = attempt.status is not None and httpx.codes.is_success(attempt.status)
            if is_delivered:
                delivery.state, delivery.next_attempt_at = "delivered", None
            else:
                self._plan_retry(delivery)
            if destination is not None:
                self._track(destination, is_delivered=is_delivered)
            self._changed()

    def _track(self, destination: Destination, *, is_delivered: bool) -> None:
        """Count failures; after too many the destination is disabled, if the settings say so."""
        destination.failures = 0 if is_delivered else destination.failures + 1
        most = self._settings().disable_after_failures
        if most is not None and destination.failures >= most:
            destination.active = False

    async def _post(self, delivery: Delivery, destination: Destination | None) -> Attempt:
        settings, now = self._settings(), self._clock()
        t = delivery.t if delivery.t is not None else self.signing_time()
        if not settings.refresh_t_on_retry:
            delivery.t = t
        url = delivery.url or (destination.url if destination else "")
        own = [self._environment_secret]
        signing = destination.secrets(now, environment=self._environment_secret) if destination else own
        if not settings.signs_retries_anew and delivery.secrets is None:
            delivery.secrets = signing
        headers = delivery.header_fields(settings, t=t, secrets=signing)
        status, answer, failure = None, "", None
        try:
            async with asyncio.timeout(settings.webhook_timeout_s):
                response = await self._client.post(url, content=delivery.body, headers=headers, timeout=None)
            status, answer = response.status_code, response.text
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            failure = f"{type(error).__name__}: {error}".removesuffix(": ")
        took_ms = int((self._clock() - now) * 1000)
        return Attempt(
            at=now,
            t=t,
            status=status,
            answer=answer,
            error=failure,
            url=url,
            took_ms=took_ms,
            headers={name.decode(): value.decode() for name, value in headers},
        )

    def _plan_retry(self, delivery: Delivery) -> None:
        wait = seconds_before_retry(len(delivery.attempts), scale=self._settings().retry_scale)
        if wait is None or not delivery.is_retried:
            delivery.state, delivery.next_attempt_at = "given_up", None
        else:
            delivery.next_attempt_at = delivery.attempts[-1].at + wait

    def _keep_trying(self, delivery: Delivery) -> None:
        if delivery.state == "pending" and delivery.delivery_id not in self._wake_ups:
            self._wake_ups[delivery.delivery_id] = asyncio.Event()
            self.begin(self._retry(delivery))

    def _wake_up(self, delivery: Delivery) -> None:
        event = self._wake_ups.get(delivery.delivery_id)
        if event is not None:
            event.set()

    async def _retry(self, delivery: Delivery) -> None:
        woken = self._wake_ups[delivery.delivery_id]
        while delivery.state == "pending":
            wait = (delivery.next_attempt_at or 0.0) - self._clock()
            if wait > 0:
                woken.clear()
                await self._clock.wait(woken, wait)
            else:
                await self._try(delivery)
        self._wake_ups.pop(delivery.delivery_id, None)

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run work on deliveries as a task, whether or not a caller waits for its end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _changed(self) -> None:
        if len(self._log) > LONGEST_LOG or self._bytes > LARGEST_LOG:
            for delivery in [each for each in self._log.values() if not each.is_open]:
                if len(self._log) <= LONGEST_LOG and self._bytes <= LARGEST_LOG:
                    break
                self._drop(delivery)
        self._progress.set()
        self._on_change()

    def _drop(self, delivery: Delivery) -> None:
        del self._log[delivery.delivery_id]
        self._bytes -= len(delivery.payload)
        self._locks.pop(delivery.delivery_id, None)
        if delivery.pointer is not None:
            self._pointers.pop(delivery.pointer.token, None)


def _fraction(settings: Settings) -> float:
    return identifiers.fraction() if settings.webhook_spread_s else 0.0


def _is_lost(settings: Settings) -> bool:
    return bool(settings.webhook_loss) and identifiers.fraction() < settings.webhook_loss


def _pointer(webhook: Webhook, settings: Settings, now: float) -> Pointer:
    folder = str(webhook.user.get("user_id") or new_id())[:8]
    return Pointer(
        name=f"{folder}/{webhook.type}-{new_id()}",
        token=identifiers.token_hex(32),
        content=webhook.body,
        expires_at=now + settings.payload_expires_in_s,
    )


def _s3_payload(pointer: Pointer, settings: Settings) -> dict[str, object]:
    """Return the body of a ping: a URL as Amazon S3 presigns it."""
    base = settings.payload_url or f"{settings.public_url}/payloads"
    expires_in = int(settings.payload_expires_in_s)
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires={expires_in}&X-Amz-Signature={pointer.token}"
    return {
        "type": "s3_payload",
        "status": "success",
        "url": f"{base}/{pointer.name}?{query}",
        "expires_in": expires_in,
    }


def copies(first: Delivery, count: int) -> list[Delivery]:
    """Return a delivery and its copies, under one trace id."""
    return [first, *(first.model_copy(update={"delivery_id": new_id()}, deep=True) for _ in range(1, count))]


def as_bytes(body: object) -> bytes:
    """Write a body as the bytes that are signed and sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def readable(body: bytes) -> object:
    """Return a body as JSON if it is, otherwise as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
