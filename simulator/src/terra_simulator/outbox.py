"""The delivery of webhooks: signing, sending, retrying, holding, losing.

Terra's documentation: a delivery has one trace id and one ordering timestamp, both the same on every retry; delivery is
at least once and in no order. Whether the signature's `t` is renewed on a retry is not documented, so it is a
setting.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field

from terra_simulator.destinations import DATA_EVENTS, Destination, Destinations
from terra_simulator.schedule import seconds_before_retry
from terra_simulator.settings import Settings
from terra_simulator.signature import sign
from terra_simulator.users import new_id

LONGEST_LOG: Final = 10_000
"""Finished deliveries are dropped beyond this many."""


class Attempt(BaseModel):
    """One attempt of a delivery."""

    at: float
    status: int | None
    answer: str = ""
    error: str | None = None
    url: str = ""
    took_ms: int = 0


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
    payload: bytes | None = None
    """The event, if the body is a ping, which contains only its address."""
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

    def shown(self) -> dict[str, object]:
        """Return the delivery as the control API shows it."""
        return self.model_dump(exclude={"body", "payload", "secrets"}) | {"body": readable(self.body)}

    @property
    def event(self) -> bytes:
        """The event's bytes, however they are delivered."""
        return self.body if self.payload is None else self.payload

    @property
    def sent_t(self) -> int | None:
        """`t` of the first attempt; None if there was none."""
        return self.t if self.t is not None or not self.attempts else int(self.attempts[0].at)

    def repeated(
        self, *, now: float, trace_id: str | None, ordering_timestamp: int | str | None, is_signed_anew: bool
    ) -> "Delivery":
        """Return a delivery of the same body, to be sent once: by default exactly the original bytes."""
        return Delivery(
            event_id=self.event_id,
            destination_id=self.destination_id,
            trace_id=trace_id if trace_id is not None else self.trace_id,
            type=self.type,
            body=self.body,
            payload=self.payload,
            created_at=now,
            ordering_timestamp=ordering_timestamp,
            reference=self.reference,
            t=int(now) if is_signed_anew or self.sent_t is None else self.sent_t,
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


class Outbox:
    """Every delivery, and the tasks that send them."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        destinations: Callable[[], Destinations],
        *,
        environment_secret: str,
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._destinations = destinations
        self._environment_secret = environment_secret
        self._clock = clock
        self._on_change = on_change
        self._client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=200))
        self._log: dict[str, Delivery] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._wake_ups: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pings: dict[str, tuple[bytes, float]] = {}
        self.is_holding = False

    def deliveries(self) -> list[Delivery]:
        """Return every delivery, oldest first."""
        return list(self._log.values())

    def find(self, delivery_id: str) -> Delivery | None:
        """Return one delivery."""
        return self._log.get(delivery_id)

    def pinged(self, token: str) -> bytes | None:
        """Return the payload at the address of a ping; None if the address is unknown or has expired."""
        payload, expires_at = self._pings.get(token, (b"", 0.0))
        return payload if self._clock() < expires_at else None

    def undelivered(self) -> list[Delivery]:
        """Return the deliveries that must survive a restart."""
        return [delivery for delivery in self._log.values() if delivery.is_open]

    def restore(self, deliveries: Iterable[Delivery]) -> None:
        """Continue with an earlier run's deliveries."""
        for delivery in deliveries:
            self._log[delivery.delivery_id] = delivery
            if delivery.state == "pending":
                self._keep_trying(delivery)

    def emit(
        self,
        bodies: Sequence[dict[str, object]],
        *,
        of_event: Delivery | None = None,
        only: Destination | None = None,
    ) -> tuple[list[Delivery], asyncio.Task[None]]:
        """Send webhooks one after another, to every destination that admits them.

        Args:
            bodies: their bodies.
            of_event: a delivery of the event that is sent once more.
            only: the destination to send to, instead of every one.

        Returns:
            The deliveries, and a task that ends when each has been attempted once.
        """
        settings, now = self._settings(), self._clock()
        deliveries = [
            delivery
            for body in bodies
            for first in self._addressed(body, settings, now, of_event=of_event, only=only)
            for delivery in copies(first, settings.webhook_copies)
        ]
        for delivery in deliveries:
            if delivery.destination_id is None or not settings.send_webhooks:
                delivery.state = "lost"
            elif self.is_holding:
                delivery.state = "held"
            self._log[delivery.delivery_id] = delivery
        self._changed()
        pending = [delivery for delivery in deliveries if delivery.state == "pending"]
        return deliveries, self.begin(self._send_first(pending, after_s=settings.webhook_delay_s))

    def _addressed(
        self,
        body: dict[str, object],
        settings: Settings,
        now: float,
        *,
        of_event: Delivery | None,
        only: Destination | None,
    ) -> list[Delivery]:
        """Return a delivery of an event for each destination; one without a destination if none admits it."""
        event_id = of_event.event_id if of_event else new_id()
        event_type, payload = str(body.get("type")), of_event.event if of_event else as_bytes(body)
        log = self._log.values() if of_event else ()
        earlier = {each.destination_id: each for each in reversed(log) if each.event_id == event_id}
        vocabulary = settings.destination_vocabulary
        admitting: list[Destination | None] = [only] if only else []
        admitting = admitting or [*self._destinations().admitting(event_type, vocabulary)]
        found = []
        for destination in admitting or [None]:
            is_ping = destination is not None and destination.is_ping
            is_ping = is_ping and (settings.pings_auth_events or event_type in DATA_EVENTS)
            has_ordering = settings.ordering_header and (settings.ping_ordering_header or not is_ping)
            original = earlier.get(destination.id if destination else None, of_event)
            ordering_timestamp: int | str | None = int(now * 1000)
            if original is not None and not settings.refresh_ordering_on_resend:
                ordering_timestamp = original.ordering_timestamp
            keeps_trace_id = settings.resend_trace_id == "same"
            delivery = Delivery(
                event_id=event_id,
                destination_id=destination.id if destination else None,
                trace_id=original.trace_id if original and keeps_trace_id else new_id(),
                type=event_type,
                body=self._ping(payload, settings, now) if is_ping else payload,
                payload=payload if is_ping else None,
                created_at=now,
                ordering_timestamp=ordering_timestamp if has_ordering else None,
                reference=new_id() if settings.reference_header else None,
                t=original.sent_t if original and not settings.refresh_t_on_resend else None,
                next_attempt_at=now + settings.webhook_delay_s,
            )
            found.append(delivery)
        return found

    def _ping(self, payload: bytes, settings: Settings, now: float) -> bytes:
        """Keep a payload for a while, and return the event that has its address."""
        token = new_id()
        self._pings[token] = (payload, now + settings.ping_expires_in_s)
        return as_bytes(
            {
                "type": "s3_payload",
                "status": "success",
                "url": f"{settings.ping_url or settings.public_url}/payloads/{token}",
                "expires_in": int(settings.ping_expires_in_s),
            }
        )

    async def send(self, deliveries: Sequence[Delivery], *, concurrently: bool) -> None:
        """Attempt deliveries that a test requested, now, regardless of hold and loss."""
        for delivery in deliveries:
            self._log[delivery.delivery_id] = delivery
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
        await self._send_first(chosen, after_s=0.0)

    async def retry_now(self) -> list[Delivery]:
        """Attempt every pending delivery without waiting for its time."""
        pending = [delivery for delivery in self._log.values() if delivery.state == "pending"]
        await asyncio.gather(*(self._try(delivery) for delivery in pending))
        return pending

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
        self._pings.clear()
        self._locks.clear()
        self._wake_ups.clear()
        self.is_holding = False

    async def close(self) -> None:
        """Stop sending; pending deliveries stay pending."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _send_first(self, deliveries: Sequence[Delivery], *, after_s: float) -> None:
        if after_s:
            await asyncio.sleep(after_s)
            for delivery in deliveries:
                # Webhooks may have been put on hold during the delay.
                if self.is_holding and delivery.state == "pending" and not delivery.attempts:
                    delivery.state = "held"
        for delivery in deliveries:
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
            attempt = await self._post(delivery, destination)
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
        t = delivery.t if delivery.t is not None else int(now)
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
        return Attempt(at=now, status=status, answer=answer, error=failure, url=url, took_ms=took_ms)

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
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await woken.wait()
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
        if len(self._log) > LONGEST_LOG:
            finished = [delivery.delivery_id for delivery in self._log.values() if not delivery.is_open]
            for delivery_id in finished[: len(self._log) - LONGEST_LOG]:
                del self._log[delivery_id]
                self._locks.pop(delivery_id, None)
        self._on_change()


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
