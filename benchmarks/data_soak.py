"""`make data-soak`: deliver health data while functions are killed and services stop, and count what was kept.

Senders deliver signed webhooks to the local stack and repeat each until the response is 200, as Terra does. Meanwhile
processes of the functions are killed (SIGKILL) at random times, and DynamoDB and the other AWS services are stopped
(SIGSTOP) for seconds. Afterwards every delivery must be in the bucket exactly once, byte for byte, and announced on the
bus at least once, always with the same event id.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import httpx
import psutil

from benchmarks import report
from local import messages
from local.testing import running_stack
from tests.support.data import Bucket, DataListener, daily, listening
from tests.support.processes import command_line, descendants
from tests.support.terra import Terra
from tests.support.webhooks import Webhook, as_bytes, now_s
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from local.testing import Stack

KILLED: Final = ("terra_webhook", "publish_data", "fetch_payload")
"""The functions between the receipt of a delivery and its event, by folder."""
SERVICES: Final = {"DynamoDB": "DynamoDBLocal", "S3, SQS and EventBridge": "local.ministack_server"}
"""A part of the command line of each service."""
OLD_ENOUGH: Final = 5.0
"""The age in seconds of a process that can be killed: one that is always killed while it is loaded handles no event."""
SENDERS: Final = 8
USERS: Final = 100
REPEATED: Final = 0.05
"""The share of deliveries that are sent once more after their response, as if it was lost."""
COMPARED: Final = 5_000
"""The most bodies that are read from the bucket and compared."""
QUIET: Final = 240.0
"""Seconds without a new event after which the missing ones are given up."""
SHOWN_EVERY: Final = 15.0
RECEIVED_AGAIN_AFTER: Final = "20"
"""Seconds after which a message is received again whose function was killed; in template.yaml it is 130."""


@dataclass(frozen=True, slots=True)
class Disturbances:
    """How often something fails. A slow machine must not be disturbed more often than it responds.

    Attributes:
        kill_every: the average pause in seconds between two kills.
        responses: the least number of responses between two kills.
        stop_every: the average pause in seconds between two stops of a service.
        longest_stop: in seconds.
    """

    kill_every: float = 1.0
    responses: int = 10
    stop_every: float = 20.0
    longest_stop: float = 4.0


@dataclass
class Soak:
    """What was sent and seen.

    Attributes:
        expected: the hash of the body of each push, by its key. It is computed here, and not read from the stack.
        pings: the trace ids of the pings.
        responses: the responses of the webhook by status; 0 is a broken connection.
        killed: the killed processes, by function.
        stopped: the stops, by service.
        event_ids: the event ids by key.
        by_trace: the keys by trace id.
        events: the number of events.
        stored: the keys in the bucket, of all users.
        different: the number of compared bodies that differ.
        compared: the number of compared bodies.
        seconds: the time of sending.
    """

    expected: dict[str, str] = field(default_factory=dict)
    pings: set[str] = field(default_factory=set)
    responses: Counter[int] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    event_ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    by_trace: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    events: int = 0
    stored: list[str] = field(default_factory=list)
    different: int = 0
    compared: int = 0
    seconds: float = 0.0

    @property
    def acknowledged(self) -> int:
        """The number of deliveries, all of which were answered 200 in the end."""
        return len(self.expected) + len(self.pings)

    @property
    def unannounced(self) -> set[str]:
        """The keys of pushes, and the trace ids of pings, without an event."""
        return (self.expected.keys() - self.event_ids.keys()) | (self.pings - self.by_trace.keys())

    def faults(self) -> list[str]:
        """Return what is wrong; nothing if every delivery was kept once and announced."""
        pinged = {key for trace_id in self.pings for key in self.by_trace.get(trace_id, ())}
        wanted, found = Counter([*self.expected, *pinged]), Counter(self.stored)
        counts = {
            "not in the bucket": len(wanted - found),
            "in the bucket without a delivery": len(found - wanted),
            "with another body": self.different,
            "not announced": len(self.unannounced),
            "with several event ids": sum(len(ids) > 1 for ids in self.event_ids.values()),
            "pings with several objects": sum(len(keys) > 1 for keys in self.by_trace.values()),
        }
        return [f"{count:,} {name}" for name, count in counts.items() if count]

    def figures(self) -> str:
        """Return the figures as Markdown."""
        others = {status: count for status, count in sorted(self.responses.items()) if status != httpx.codes.OK}
        rows = {
            "deliveries answered 200": f"{self.acknowledged:,}",
            "of these by ping": f"{len(self.pings):,}",
            "responses 200": f"{self.responses[httpx.codes.OK]:,}",
            "other responses": _counts({str(status or "none"): count for status, count in others.items()}),
            "killed processes": _counts(self.killed),
            "stops of services": _counts(self.stopped),
            "objects": f"{len(self.stored):,}",
            "compared bodies": f"{self.compared:,}",
            "events": f"{self.events:,}",
            "events that repeat another": f"{self.events - len(self.event_ids):,}",
            "deliveries a second": f"{self.acknowledged / max(self.seconds, 1e-9):.0f}",
            "faults": ", ".join(self.faults()) or "none",
        }
        return report.table(["", "count"], rows.items())


def _counts(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "none"


def soak(
    stack: Stack, deliveries: int, disturbances: Disturbances, *, pings: int = 0, seed: int = 0, quiet: float = QUIET
) -> Soak:
    """Deliver, disturb, wait for the events, and compare.

    Args:
        stack: the running stack.
        deliveries: how many are pushed.
        disturbances: how often.
        pings: how many further ones are sent by Terra's simulator in ping mode.
        seed: of the random times.
        quiet: as `QUIET`.
    """
    found, chance, killing, stopping = Soak(), *(random.Random(seed + n) for n in range(3))  # noqa: S311 - not secrets
    users = [str(uuid4()) for _ in range(min(USERS, deliveries))]
    is_over = threading.Event()
    with listening(stack) as listener, _short_visibility(stack), ExitStack() as ends:
        disturbing = [
            threading.Thread(target=_kill, args=(stack, disturbances, found, is_over, killing)),
            threading.Thread(target=_stop, args=(stack, disturbances, found, is_over, stopping)),
        ]
        for thread in disturbing:
            thread.start()
            ends.callback(thread.join)
        ends.callback(is_over.set)
        began = time.monotonic()
        with ThreadPoolExecutor(SENDERS + 1) as pool:
            sending = [
                pool.submit(_send, stack, users, deliveries // SENDERS + (n < deliveries % SENDERS), found, chance)
                for n in range(SENDERS)
            ]
            sending.append(pool.submit(_send_pings, stack, pings, found))
            shown = began
            while not all(each.done() for each in sending):
                _collect(listener, found)
                if time.monotonic() - shown > SHOWN_EVERY:
                    shown = time.monotonic()
                    say(
                        f"  {found.acknowledged:,} of {deliveries + pings:,} deliveries, {found.events:,} events, "
                        f"{found.killed.total():,} kills, {found.stopped.total():,} stops"
                    )
                time.sleep(0.2)
            for each in sending:
                each.result()
        found.seconds = time.monotonic() - began
        is_over.set()
        _await_events(listener, found, quiet)
    bucket = Bucket(stack)
    prefixes = {f"p/{user}/" for user in users}
    prefixes |= {"/".join(key.split("/")[:2]) + "/" for trace in found.pings for key in found.by_trace.get(trace, ())}
    for prefix in sorted(prefixes):
        found.stored += bucket.keys(prefix)
    _compare(bucket, found, chance)
    return found


def _send(stack: Stack, users: Sequence[str], count: int, found: Soak, chance: random.Random) -> None:
    """Deliver until each delivery is answered 200."""
    with httpx.Client(base_url=stack.api_url, timeout=60) as client:
        for _ in range(count):
            user_id, padding = chance.choice(users), "x" * chance.choice((0, 1_000, 16_000))
            body = as_bytes(daily(user_id, steps=chance.randrange(30_000), number=str(uuid4()), padding=padding))
            webhook = Webhook(body, stack.signing_secret, t=now_s())
            _until_acknowledged(client, webhook, found)
            signed = hashlib.sha256(f"{webhook.t}.".encode() + body).hexdigest()
            key = f"p/{user_id}/daily/{webhook.t * 1000:015d}-{signed[:32]}.json.gz"
            found.expected[key] = hashlib.sha256(body).hexdigest()
            if chance.random() < REPEATED:
                _until_acknowledged(client, webhook, found)


def _until_acknowledged(client: httpx.Client, webhook: Webhook, found: Soak) -> None:
    while True:
        try:
            status = webhook.post(client).status_code
        except httpx.TransportError:
            status = 0
        found.responses[status] += 1
        if status == httpx.codes.OK:
            return
        time.sleep(0.1)


def _send_pings(stack: Stack, count: int, found: Soak) -> None:
    """Let the simulator deliver URLs; it repeats them itself."""
    with httpx.Client(base_url=stack.terra_url, timeout=120) as client:
        terra = Terra(client, stack.signing_secret)
        terra.settings(webhook_delivery="ping", admin_version="october")
        for number in range(count):
            if number % 20 == 0:
                user_id = terra.connect(f"soak-{uuid4()}")["user_id"]
            answer = client.post(f"/_control/users/{user_id}/data", json={"type": "daily"}).raise_for_status().json()
            found.pings |= {delivery["trace_id"] for delivery in answer["deliveries"]}
        terra.settings(webhook_delivery="push")


def _collect(listener: DataListener, found: Soak) -> None:
    for event in listener.take():
        detail = event["detail"]
        found.events += 1
        found.event_ids[detail["key"]].add(detail["event_id"])
        if detail["trace_id"] in found.pings:
            found.by_trace[detail["trace_id"]].add(detail["key"])


def _await_events(listener: DataListener, found: Soak, quiet: float) -> None:
    """Wait until every delivery is announced, or nothing has changed for a while."""
    missing, changed = len(found.unannounced), time.monotonic()
    while found.unannounced and time.monotonic() - changed < quiet:
        _collect(listener, found)
        if len(found.unannounced) < missing:
            missing, changed = len(found.unannounced), time.monotonic()
        time.sleep(0.2)


def _compare(bucket: Bucket, found: Soak, chance: random.Random) -> None:
    """Compare bodies, and the event id that the object has with the announced one."""
    keys = sorted(found.expected.keys() & set(found.stored))
    some = chance.sample(keys, min(COMPARED, len(keys)))

    def differs(key: str) -> bool:
        is_equal = hashlib.sha256(bucket.body(key)).hexdigest() == found.expected[key]
        return not is_equal or found.event_ids[key] != {bucket.metadata(key)["event-id"]}

    with ThreadPoolExecutor(SENDERS) as pool:
        found.different = sum(pool.map(differs, some))
    found.compared = len(some)


# --- disturbances -----------------------------------------------------------------------------------------------------


def _kill(stack: Stack, how: Disturbances, found: Soak, is_over: threading.Event, chance: random.Random) -> None:
    """Kill a process of one of the functions, again and again."""
    before = 0
    while not is_over.wait(chance.uniform(0, 2) * how.kill_every):
        if found.responses.total() - before < how.responses:
            continue
        before = found.responses.total()
        running = defaultdict(list)
        for process in descendants(stack.pid):
            line = command_line(process)
            for name in KILLED:
                if f"/functions/{name}" in line and _age(process) > OLD_ENOUGH:
                    running[name].append(process)
        if running:
            name = chance.choice(sorted(running))
            _signal(chance.choice(running[name]), signal.SIGKILL)
            found.killed[name] += 1


def _stop(stack: Stack, how: Disturbances, found: Soak, is_over: threading.Event, chance: random.Random) -> None:
    """Stop one of the services for some time, again and again: requests to it time out in the middle."""
    while not is_over.wait(chance.uniform(0, 2) * how.stop_every):
        name, part = chance.choice(sorted(SERVICES.items()))
        processes = [process for process in descendants(stack.pid) if part in command_line(process)]
        for process in processes:
            _signal(process, signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, how.longest_stop))
        for process in processes:
            _signal(process, signal.SIGCONT)
        found.stopped[name] += bool(processes)


def _age(process: psutil.Process) -> float:
    try:
        return time.time() - process.create_time()
    except psutil.NoSuchProcess:
        return 0


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


@contextmanager
def _short_visibility(stack: Stack) -> Iterator[None]:
    """Let messages whose function was killed be received again soon."""
    sqs = messages.services(stack.dynamodb_url, stack.aws_url).queues()
    url = stack.queues["PayloadFetches"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    # A message that is received for a fifth time in a row goes to the dead-letter queue, from which `make refetch`
    # takes it. Here nothing does.
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": RECEIVED_AGAIN_AFTER})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": before["VisibilityTimeout"]})
        sqs.close()


def main() -> int:
    """Run it on a stack of its own, and print the figures."""
    parser = argparse.ArgumentParser(prog="make data-soak", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=100_000, help="how many are pushed")
    parser.add_argument("--pings", type=int, help="how many more by ping (a fiftieth by default)")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    options = parser.parse_args()
    pings = options.deliveries // 50 if options.pings is None else options.pings
    with running_stack(more=("--retry-scale", "0.01")) as stack:
        found = soak(stack, options.deliveries, Disturbances(), pings=pings, seed=options.seed)
    say(found.figures())
    return 1 if found.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
