"""`make sweep-time`: the duration of a sweep of a million connections, computed from a real sweep of 100,000.

It loads DynamoDB Local, starts a sweep, and passes every message of its queue to the real function, one after the
other, until the sweep is finished. Terra is a server on this machine that knows every connection and responds at once:
Terra's own time is an assumption of the formula, and is stated beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx

from benchmarks import report
from benchmarks.functions import running_functions, user_id_of
from local import messages
from local.testing import running_stack
from terra_connections.reconciliation.sweep import SEGMENTS
from tests.support.terra import Terra
from tools.environment import ROOT
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.functions import Invocation
    from local.testing import Stack

PAGE: Final = ROOT / "docs" / "architecture.md"
MILLION: Final = 1_000_000
MEMORY_MB: Final = 512
"""Of a function, in template.yaml."""
VCPU_MB: Final = 1769
"""The memory that comes with one whole vCPU (AWS Lambda's documentation); CPU time scales in proportion below it."""
DYNAMODB_MS: Final = 4
"""The assumed time of a DynamoDB call. Not measured."""
TERRA_MS: Final = {"ours": 500, "theirs": 1000}
"""Terra's assumed time for 100 users (bulkUserInfo) and for a page of 500 (subscriptions). Not measured."""
HOP_MS: Final = 50
"""The assumed time of a message from SendMessage until the next invocation begins. Not measured."""
AT_ONCE: Final = {"ours": SEGMENTS, "theirs": 1}
"""The number of concurrent chains of pages."""
SIGN_OF_LIFE: Final = 10.0  # seconds
FAILURES: Final = 20
"""The number of steps that may fail and be retried; more is an error."""
IDLE_TIMEOUT: Final = 5  # seconds without a message, after which the sweep is over


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: the function's invocations by the step's task, and the duration."""

    size: int
    invocations: dict[str, list[Invocation]]
    seconds: float


class AllKnown(BaseHTTPRequestHandler):
    """Terra, as a sweep calls it; every user is connected there."""

    protocol_version = "HTTP/1.1"
    size = 0

    def do_GET(self) -> None:
        """Respond with a page of /subscriptions."""
        query = parse_qs(urlsplit(self.path).query)
        page, length = int(query.get("page", ["0"])[0]), int(query.get("per_page", ["500"])[0])
        numbers = range(page * length, min((page + 1) * length, self.size))
        following = page + 1 if numbers.stop < self.size else None
        self._answer({"data": {"next": following, "results": [_user(user_id_of(number)) for number in numbers]}})

    def do_POST(self) -> None:
        """Respond to /bulkUserInfo."""
        user_ids = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer([_user(user_id) for user_id in user_ids])

    def _answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep, print the formula, and write it to the page if requested."""
    parser = argparse.ArgumentParser(prog="make sweep-time", description=__doc__)
    parser.add_argument("--size", type=int, default=100_000, help="how many connections there are")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/architecture.md")
    options = parser.parse_args(arguments)
    with running_stack() as stack, httpx.Client(base_url=stack.terra_url, timeout=60) as client:
        sweep = work(stack, Terra(client, stack.signing_secret), options.size)
    text = section(sweep, stack.python)
    say(text)
    if options.write:
        report.write("a million connections", "make sweep-time", text, path=PAGE)
        say(f"Written to {PAGE.relative_to(ROOT)}.")
    return 0


def work(stack: Stack, terra: Terra, size: int) -> Sweep:
    """Load this many connections and run a sweep of them until it is finished.

    Raises:
        RuntimeError: It did not finish, or changed something.
    """
    terra.settings(send_webhooks=False)
    with all_known(size) as terra_url, running_functions(stack, size, TERRA_API_URL=terra_url) as functions:
        queues = messages.services(stack.dynamodb_url, stack.aws_url).queues()
        url = functions.queue_url
        began = shown = time.monotonic()
        functions.invoke("begin", "reconcile", {"id": str(uuid4())})
        done = failed = 0
        while found := queues.receive_message(QueueUrl=url, WaitTimeSeconds=IDLE_TIMEOUT).get("Messages"):
            [message] = found
            task = json.loads(message["Body"])["task"]
            event = {"Records": [{"messageId": message["MessageId"], "body": message["Body"]}]}
            try:
                functions.invoke(task, "sweep_page", event)
            except RuntimeError:
                # It is delivered again, as on AWS: on a busy machine a request may exceed its timeout.
                failed += 1
                if failed > FAILURES:
                    raise
                queues.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )
                continue
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            done += 1
            if time.monotonic() - shown > SIGN_OF_LIFE:
                shown = time.monotonic()
                say(f"  {done} steps of the sweep, {shown - began:.0f} s")
        seconds = time.monotonic() - began - IDLE_TIMEOUT
    invocations = {task: functions.invocations.get(task, []) for task in ("ours", "theirs", "verdict", "revoke")}
    if not any("Sweeps" in line and line["outcome"] == "finished" for line in functions.log):
        unfinished = "The sweep has not finished."
        raise RuntimeError(unfinished)
    steps = {task: len(of_task) for task, of_task in invocations.items()}
    if steps["revoke"] or steps["verdict"] != 1 or steps["theirs"] != math.ceil(size / 500):
        unexpected = f"Other steps than expected: {steps}"
        raise RuntimeError(unexpected)
    return Sweep(size, invocations, seconds)


@contextmanager
def all_known(size: int) -> Iterator[str]:
    """Serve Terra with this many users; yield the address of its API."""
    handler = type("AllKnown", (AllKnown,), {"size": size})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _user(user_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "provider": "FITBIT", "reference_id": "known", "active": True}


# --- the formula -----------------------------------------------------------------------------------------------------


def page_ms(task: str, pages: Sequence[Invocation]) -> float:
    """Return how long a page takes in Lambda: CPU, waiting for DynamoDB and Terra, and the message's transfer."""
    computing = median(page.cpu_ms for page in pages) * VCPU_MB / MEMORY_MB
    dynamodb = median(len(page.calls) for page in pages) * DYNAMODB_MS
    terra = median(page.terra_calls for page in pages) * TERRA_MS[task]
    return computing + dynamodb + terra + HOP_MS


def minutes(task: str, sweep: Sweep) -> float:
    """Return how many minutes this side of a sweep of a million connections takes."""
    pages = len(sweep.invocations[task]) * MILLION / sweep.size
    return pages * page_ms(task, sweep.invocations[task]) / AT_ONCE[task] / 60_000


def section(sweep: Sweep, python: str) -> str:
    """Return the figures and their derivation, as Markdown."""
    rows = []
    for task, name in (("ours", "ours"), ("theirs", "theirs")):
        pages = sweep.invocations[task]
        rows.append(
            [
                name,
                f"{len(pages):,}",
                f"{median(page.cpu_ms for page in pages):.1f} ms",
                f"{median(len(page.calls) for page in pages):g}",
                f"{median(page.terra_calls for page in pages):g}",
                f"{page_ms(task, pages) / 1000:.2f} s",
                f"{len(pages) * MILLION / sweep.size:,.0f}",
                str(AT_ONCE[task]),
                f"{minutes(task, sweep):.0f} min",
            ]
        )
    head = ["side", f"pages for {sweep.size:,}", "processor a page", "calls of DynamoDB", "requests to Terra"]
    head += ["a page in Lambda", "pages for a million", "at once", "time"]
    requests = sum(
        median(page.terra_calls for page in sweep.invocations[task]) * len(sweep.invocations[task]) for task in TERRA_MS
    )
    longest = max(minutes(task, sweep) for task in TERRA_MS)
    steps = sum(map(len, sweep.invocations.values()))
    how = (
        f"`make sweep-time SIZE={sweep.size} WRITE=1` has written this part. It worked a whole sweep of {sweep.size:,} "
        f"connections: {steps:,} invocations of the real function, one after the other, in {sweep.seconds:.0f} s, on "
        f"DynamoDB Local in memory under Python {python} on {os.cpu_count()} cores of {platform.machine()}. Terra was "
        "a server on the same machine that answered at once. Pages, calls and processor time are measured (medians of "
        "all pages); what DynamoDB, Terra and SQS take is assumed."
    )
    formula = (
        f"A page in Lambda = processor x {VCPU_MB} MB / {MEMORY_MB} MB + calls of DynamoDB x {DYNAMODB_MS:g} ms + "
        f"requests to Terra x {TERRA_MS['ours']} ms (100 users) or {TERRA_MS['theirs']} ms (a page of 500) + {HOP_MS} "
        "ms for the message. Time = pages for a million x a page in Lambda / at once."
    )
    result = (
        f"Both sides run at the same time: a sweep of a million connections takes {longest:.0f} min, with "
        f"{requests * MILLION / sweep.size / longest / 60:.1f} requests to Terra a second."
    )
    return f"{how}\n\n{report.table(head, rows)}\n\n{formula} {result}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
