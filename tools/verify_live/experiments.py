"""The experiments with deliveries. Each is a generator that yields while it waits, so that all wait at once."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from tools.environment import LOOPBACK
from tools.terra import deliveries
from tools.terra.admin import AdminRefused
from tools.terra.plan import EVENT_TYPES
from tools.verify_live.facts import names
from tools.verify_live.receiver import DISTINCT_AFTER
from tools.verify_live.scratch import SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tools.terra.admin import AdminApi
    from tools.terra.models import Destination
    from tools.verify_live.data_api import DataApi
    from tools.verify_live.facts import Facts
    from tools.verify_live.receiver import Arrival, Receiver

    Steps = Generator[None, None, None]

RETRY, ROTATION, PING, RESEND = "retry", "rotation", "ping", "resend"
"""The scratch destinations: one whose deliveries fail once, one whose secret is rotated, one with pings, and one that
accepts everything, to which the synthetic user's events are resent."""
GENERATED: Final = "activity"
"""The type of generated events."""
NEW, OLD = "the new secret", "the old secret"
INTERVAL: Final = 0.1  # seconds
_POLL: Final = 2.0  # seconds between calls of the Admin API that wait for something
MOST_PINGS: Final = 10
OF_PING: Final = ("ping_host", "ping_expires_in", "ping_after_expiry")
"""The questions about the address in a ping."""
_LABEL: Final = re.compile(r"[a-z-]{3,60}", re.ASCII)


@dataclass
class Run:
    """What the experiments share.

    Attributes:
        destinations: the scratch destinations by their names.
        http: the client for the addresses in pings.
        event_types: the names that Terra accepts; empty if it accepts any.
        patience: how long a further event is awaited whose absence is an answer, in seconds.
        ends_at: when the run must end, by `time.monotonic`.
    """

    api: AdminApi
    data: DataApi | None
    receiver: Receiver
    facts: Facts
    http: httpx.Client
    receiver_url: str
    patience: float
    ends_at: float
    destinations: dict[str, Destination] = field(default_factory=dict)
    event_types: list[str] = field(default_factory=list)

    def note_limit(self, response: httpx.Response) -> None:
        """Keep the rate limit that a response of the Admin API states."""
        limit = response.headers.get("x-ratelimit-limit", "")
        if limit.isdecimal() and "/api/v3/admin" in response.url.path:
            self.facts.settle("admin_rate_limit", limit, "the header `X-RateLimit-Limit`")

    def create(self, name: str, *, event_types: Sequence[str] = (), **config: str) -> None:
        """Create a scratch destination, whose secret the receiver gets."""
        made = self.api.create(
            {
                "type": "webhook",
                "config": {"url": f"{self.receiver_url}/{name}", **config},
                "event_types": [each for each in event_types if each in self.event_types],
            }
        )
        self.destinations[name] = made
        if made.signing_secret is not None:
            self.receiver.secrets[name] = {OLD: made.signing_secret}

    def generate(self, name: str) -> str:
        """Let Terra deliver an event to one scratch destination, and return its made-up user."""
        return self.api.generate(event_type=GENERATED, destination_id=self.destinations[name].id).user_id


@dataclass
class Experiment:
    """One experiment.

    Attributes:
        keys: the questions that it settles.
        missing: why they are not settled if time is over.
    """

    keys: tuple[str, ...]
    steps: Steps
    missing: str


def conduct(run: Run, experiments: Sequence[Experiment]) -> None:
    """Continue all experiments until each has ended, or time is over."""
    running = list(experiments)
    try:
        while running and time.monotonic() < run.ends_at:
            running = [each for each in running if advance(run, each)]
            time.sleep(INTERVAL)
    finally:
        for each in running:
            each.steps.close()
            run.facts.leave(each.keys, each.missing)


def advance(run: Run, experiment: Experiment) -> bool:
    """Continue an experiment; return whether it has not ended."""
    try:
        next(experiment.steps)
    except StopIteration:
        return False
    except AdminRefused as error:
        # Not the text, which may quote ids.
        code = f" {error.problem.code}" if error.problem.code else ""
        said = "has no such path" if error.is_missing_path else f"responds {error.status}{code}"
        run.facts.leave(experiment.keys, f"Terra's Admin API {said}.")
        return False
    return True


def pause(seconds: float) -> Steps:
    """Wait."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        yield


# -- retries -----------------------------------------------------------------------------------------------------------


def retry(run: Run) -> Steps:
    """Compare a rejected delivery with its first retry."""
    facts, user_id = run.facts, run.generate(RETRY)
    while not (attempts := run.receiver.of(RETRY, user_id)) or attempts[-1].at - attempts[0].at < DISTINCT_AFTER:
        yield
    first, second = attempts[0], attempts[-1]
    facts.settle("first_retry_after", f"{attempts[1].at - first.at:.0f} s")
    facts.settle("signature_values", str(first.values))
    facts.settle("trace_id_on_retry", _compared(first.trace_id, second.trace_id))
    facts.settle("ordering_timestamp_on_retry", _compared(first.ordering_timestamp, second.ordering_timestamp))
    _settle_time(facts, "signature_time_on_retry", first, second)


def _compared(first: str | None, second: str | None) -> str:
    if first is None or second is None:
        return "absent" if first == second else "absent in one of the two"
    return "the same" if first == second else "a new one"


def _settle_time(facts: Facts, key: str, first: Arrival, second: Arrival) -> None:
    if second.t > first.t:
        facts.settle(key, "fresh", f"`t` was {second.at - second.t:.0f} s old on arrival")
    else:
        facts.settle(key, "kept", f"`t` was {second.at - second.t:.0f} s old on arrival")


# -- rotation ----------------------------------------------------------------------------------------------------------


def rotation(run: Run) -> Steps:
    """Rotate a secret while a delivery waits for its retry, and look at what signs that retry and a new delivery."""
    facts, earlier = run.facts, run.generate(ROTATION)
    while not run.receiver.of(ROTATION, earlier):
        yield
    answer = run.api.rotate_secret(run.destinations[ROTATION].id)
    rotated_at = time.time()
    secret = answer.get("signing_secret")
    has_secret = isinstance(secret, str) and bool(secret)
    facts.settle(
        "rotation_response", "with the new secret" if has_secret else "without it", f"members: {names(answer)}"
    )
    if not has_secret:
        facts.leave(
            ["rotation_overlap", "retry_after_rotation"], "The response to the rotation has no `signing_secret`."
        )
        return
    run.receiver.secrets[ROTATION][NEW] = SecretStr(str(secret))
    run.receiver.refusing.discard(ROTATION)
    later = run.generate(ROTATION)
    while not (facts.is_settled("rotation_overlap") and facts.is_settled("retry_after_rotation")):
        for key, user_id in (("rotation_overlap", later), ("retry_after_rotation", earlier)):
            arrived = [each for each in run.receiver.of(ROTATION, user_id) if each.at > rotated_at]
            if arrived:
                facts.settle(key, " and ".join(sorted(arrived[0].signed_by)))
        yield


# -- the synthetic user, resends ---------------------------------------------------------------------------------------


def synthetic(run: Run) -> Steps:
    """Create a synthetic user, and wait for its events."""
    user = run.api.create_synthetic_user(
        {"duration_hours": 24, "description": "A healthy adult.", "reference_id": SYNTHETIC, "backfill_days": 0}
    )
    while not (data := [each for each in run.receiver.of(RESEND, user.user_id) if each.type not in EVENT_TYPES]):
        yield
    marks = data[0].user
    facts = run.facts
    provider = str(marks.get("provider"))
    is_marked = "SYNTHETIC" in provider.upper()
    facts.settle("synthetic_mark", "provider SYNTHETIC" if is_marked else "not by the provider", names(data[0].content))
    ends_at = time.monotonic() + run.patience
    while not (auth := [each for each in run.receiver.of(RESEND, user.user_id) if each.type == "auth"]):
        if time.monotonic() > ends_at:
            facts.settle("synthetic_auth", "no", f"none within {run.patience:.0f} s of its first data")
            facts.leave(["ping_auth"], "The synthetic user sends no `auth` event.")
            return
        yield
    facts.settle("synthetic_auth", "yes", f"members: {names(auth[0].content)}")


def resend(run: Run) -> Steps:
    """Let Terra resend an event of the synthetic user, and compare the deliveries."""
    facts, accepting = run.facts, run.destinations[RESEND]
    began = datetime.now(UTC)
    while not (first := [each for each in run.receiver.at(RESEND) if each.reference_id == SYNTHETIC]):
        yield
    user_id = str(first[0].user.get("user_id"))
    while not (found := _resendable(run, accepting, user_id, began)):
        yield from pause(_POLL)
    yield from pause(DISTINCT_AFTER)
    row: dict[str, Any] = next(run.api.events({"user_id": user_id}), {})
    path = "events" if run.api.has_events else "webhook-events"
    facts.settle("events_path", f"`/{path}`", f"members of a row: {names(row)}")
    event, resent_at = found[0], time.time()
    run.api.resend(event_id=event.event_id, event_type=event.type, user_id=user_id)
    while not (pair := _pair(run.receiver.of(RESEND, user_id), resent_at)):
        yield
    original, again = pair
    facts.settle("trace_id_on_resend", _compared(original.trace_id, again.trace_id))
    facts.settle("ordering_timestamp_on_resend", _compared(original.ordering_timestamp, again.ordering_timestamp))
    _settle_time(facts, "signature_time_on_resend", original, again)


def _resendable(run: Run, destination: Destination, user_id: str, since: datetime) -> list[deliveries.Event]:
    found = deliveries.events(run.api, [destination], since=since)
    return [each for each in found if each.user_id == user_id and each.reached(destination)]


def _pair(arrivals: Sequence[Arrival], resent_at: float) -> tuple[Arrival, Arrival] | None:
    """Return a resent delivery after its original: one of its body, trace id or ordering timestamp is the same."""
    for again in (each for each in arrivals if each.at > resent_at):
        for original in (each for each in arrivals if each.at < resent_at and each.type == again.type):
            has_time = again.ordering_timestamp is not None
            if (
                again.digest == original.digest
                or again.trace_id == original.trace_id
                or (has_time and again.ordering_timestamp == original.ordering_timestamp)
            ):
                return original, again
    return None


# -- pings -------------------------------------------------------------------------------------------------------------


def ping(run: Run) -> Steps:
    """Read a ping, fetch its payload at once, and again when its address has expired."""
    facts, user_id = run.facts, run.generate(PING)
    while not (found := [each for each in run.receiver.at(PING) if each.type == "s3_payload"]):
        if run.receiver.of(PING, user_id):
            facts.settle("ping", "the event itself")
            facts.leave([*OF_PING, "ping_ordering_timestamp"], "The destination received no ping.")
            return
        yield
    first = found[0]
    url, lasts = str(first.content.get("url")), first.content.get("expires_in")
    facts.settle("ping", "`s3_payload`", f"members: {names(first.content)}")
    facts.settle("ping_ordering_timestamp", "yes" if first.ordering_timestamp is not None else "no")
    response = _fetched(run, url)
    if response is None:
        facts.leave(OF_PING, "The address in the ping is not an https address, or its host cannot be reached.")
        return
    facts.settle("ping_host", _host(url), f"the payload's response is {response.status_code}")
    if isinstance(lasts, bool) or not isinstance(lasts, int | float):
        facts.leave(["ping_expires_in", "ping_after_expiry"], "`expires_in` of the ping is not a number.")
        return
    facts.settle("ping_expires_in", f"{lasts:.0f} s")
    left = first.at + lasts + 2.0 - time.time()
    if time.monotonic() + left > run.ends_at:
        facts.leave(["ping_after_expiry"], "The address is valid for longer than the rest of the run.")
        return
    yield from pause(left)
    expired = _fetched(run, url)
    if expired is None:
        facts.leave(["ping_after_expiry"], "The host could not be reached after the expiry.")
    else:
        facts.settle("ping_after_expiry", str(expired.status_code))


def ping_auth(run: Run) -> Steps:
    """Look for the synthetic user's auth event among the deliveries to the destination with pings."""
    fetched: set[bytes] = set()
    while not run.facts.is_settled("ping_auth"):
        for each in run.receiver.at(PING):
            if each.type == "auth" and each.reference_id == SYNTHETIC:
                run.facts.settle("ping_auth", "no", "the event itself was delivered")
            elif each.type == "s3_payload" and each.digest not in fetched and len(fetched) < MOST_PINGS:
                fetched.add(each.digest)
                response = _fetched(run, str(each.content.get("url")))
                if response is not None and _type_of(response) == "auth":
                    run.facts.settle("ping_auth", "yes")
        if run.facts.is_settled("synthetic_auth") and not _has_auth(run):
            return
        yield


def _has_auth(run: Run) -> bool:
    return any(each.type == "auth" and each.reference_id == SYNTHETIC for each in run.receiver.at(RESEND))


def _type_of(response: httpx.Response) -> object:
    try:
        content = response.json()
    except ValueError:
        return None
    return content.get("type") if isinstance(content, dict) else None


def _fetched(run: Run, url: str) -> httpx.Response | None:
    try:
        parts = httpx.URL(url)
        if parts.scheme != "https" and parts.host not in LOOPBACK:
            return None
        return run.http.get(url)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None


def _host(url: str) -> str:
    """Return the host of a payload, with the bucket if that is the beginning of the path, and without any id."""
    parts = urlsplit(url)
    bucket = parts.path.split("/")[1] if parts.path.count("/") > 1 else ""
    return f"`{parts.hostname}`" + (f", path `/{bucket}/...`" if _LABEL.fullmatch(bucket) else "")
