"""`make flat-cost`: does a request cost the same with 100,000 connections as with 1,000?

It fills DynamoDB Local, makes each kind of request on tables of each size in turn, and shows the units that DynamoDB
reports and the median duration. tests/integration/test_consumed_units.py compares the units of smaller tables.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from contextlib import ExitStack
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import httpx

from benchmarks import report
from benchmarks.functions import KEPT, reference_id_of, running_functions, user_id_of
from local import database
from local.testing import running_stack
from tests.support.api import decide, query_of
from tests.support.handlers import http_event
from tests.support.terra import Terra
from tests.support.terra_events import auth_event
from tools.progress import say, step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.functions import Functions, Invocation
    from local.testing import Stack

Invocations = dict[str, list["Invocation"]]
"""By the kind of request."""

PAGE: Final = 300
"""Connections in a step of a sweep. Smaller tables have no such page."""
WARM_UP: Final = 3
"""Rounds that are not counted: a function's first invocations load modules, connect and read secrets."""
_HIDDEN_FIELD: Final = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


class Requests:
    """Makes each kind of request on tables of one size."""

    def __init__(self, stack: Stack, terra: Terra, functions: Functions, keeping: Functions, size: int) -> None:
        self._stack = stack
        self._terra = terra
        self._functions = functions
        self._keeping = keeping
        self._size = size
        self._database = database.connect(stack.dynamodb_url)
        # Each user once before any user again: of two events in one second about one connection, one changes nothing.
        self._known = cycle(range(size))

    def users_of_page(self) -> dict[str, str]:
        """Return the users of a sweep's first page: the owner of each `user_id`."""
        page = self._database.scan(TableName=f"Connections{self._size}", Limit=PAGE)["Items"]
        return {item["user_id"]["S"]: item["reference_id"]["S"] for item in page}

    def sweep(self) -> None:
        """Start a sweep, and process its first page, whose users Terra knows."""
        current = {"session_id": {"S": "sweep:current"}}  # the previous sweep, which never finishes
        self._database.delete_item(TableName=f"Sessions{self._size}", Key=current)
        sweep_id = str(uuid4())
        self._functions.invoke("sweep: begin", "reconcile", {"id": sweep_id})
        task = {"sweep_id": sweep_id, "task": "ours", "segments": 1, "number": 0}
        event = {"Records": [{"messageId": "1", "body": json.dumps(task)}]}
        self._functions.invoke(f"sweep: a page of {PAGE}", "sweep_page", event)

    def list_all(self) -> None:
        """Request the first page of the connections of all users."""
        self._get(f"list all: a page of {PAGE}", "list_connections", "/connections", query=f"limit={PAGE}")

    def each_once(self) -> None:
        """Connect a new user and erase them again; in between, make requests about another one."""
        number, reference_id = next(self._known), str(uuid4())
        known = auth_event(user_id_of(number), reference_id_of(number))["user"]

        new_user = str(uuid4())
        self._functions.webhook("webhook: a new connection", auth_event(new_user, str(uuid4())))
        self._publish(new_user)
        self._functions.webhook("webhook: a known connection", {**auth_event("", None), "user": known})
        data = {"type": "daily", "user": known, "version": "2022-03-16", "data": [{"number": str(uuid4())}]}
        self._functions.webhook("webhook: data", data)

        authorization = {"identitySource": [f"Bearer {self._stack.service_key}"]}
        self._functions.invoke("authorize", "authorize", authorization)
        self._get("list providers", "list_providers", "/providers")
        self._post("mobile token", "create_mobile_token", "/mobile-tokens", 201, reference_id=str(uuid4()))

        denied = decide(self._new_session(str(uuid4()))["auth_url"], "deny")
        page = self._redirect("redirect: a failed login", "auth_failure", denied)
        form = urlencode(_HIDDEN_FIELD.findall(page["body"]))
        event = http_event("POST", "/auth/retry", headers=_headers("x-www-form-urlencoded"), body=form)
        self._functions.invoke("retry", "auth_retry", event, status=303)

        session = self._new_session(reference_id)
        self._get("get session: pending", "get_session", "/sessions/", session_id=session["session_id"])
        allowed = decide(session["auth_url"], "allow")
        self._redirect("redirect: verified by Terra", "auth_success", allowed)
        self._redirect("redirect: known to be connected", "auth_success", allowed)
        self._get("get session: connected", "get_session", "/sessions/", session_id=session["session_id"])

        self._get("list", "list_connections", "/connections", query=f"reference_id={known['reference_id']}")
        self._get("get connection", "get_connection", "/connections/", user_id=known["user_id"])
        self._get("get facts", "get_facts", "/connections/facts", user_id=known["user_id"])
        self._post("sync", "sync_connections", "/connections/sync", 200, reference_id=reference_id)
        user_id = query_of(allowed)["user_id"]
        event = http_event("DELETE", "/connections/", path_parameters={"user_id": user_id})
        self._functions.invoke("disconnect", "disconnect", event, status=204)
        self._post("erase", "erase_person", "/erasures", 204, reference_id=reference_id)

    def keep_data(self) -> None:
        """Deliver data to functions that keep it, and publish the event about it."""
        user = auth_event(user_id_of(0), reference_id_of(0))["user"]
        day = {"metadata": {"start_time": "2026-11-01T00:00:00Z", "end_time": "2026-11-01T23:59:59Z"}}
        body = {"type": "daily", "user": user, "version": "2022-03-16", "data": [{**day, "number": str(uuid4())}]}
        self._keeping.webhook("webhook: kept data", body)
        deliveries = f"Deliveries{KEPT}{self._size}"
        pages = self._database.get_paginator("scan").paginate(TableName=deliveries)
        items = [each for page in pages for each in page["Items"]]
        [pointer] = [each for each in items if each["delivery_id"]["S"].startswith("payload:")]
        self._database.delete_item(TableName=deliveries, Key={"delivery_id": pointer["delivery_id"]})
        record = {"ApproximateCreationDateTime": time.time(), "NewImage": pointer, "SequenceNumber": "1"}
        event = {"Records": [{"eventID": "1", "eventName": "INSERT", "dynamodb": record}]}
        self._keeping.invoke("publish kept data", "publish_data", event)

    def _publish(self, user_id: str) -> None:
        """Pass the stream record of a new connection to publish_events."""
        key = {"user_id": {"S": user_id}}
        item = self._database.get_item(TableName=f"Connections{self._size}", Key=key)["Item"]
        change = {"ApproximateCreationDateTime": time.time(), "NewImage": item, "SequenceNumber": "1"}
        event = {"Records": [{"eventID": "1", "eventName": "INSERT", "dynamodb": change}]}
        self._functions.invoke("publish a change", "publish_events", event)

    def _new_session(self, reference_id: str) -> dict[str, Any]:
        wanted = {"reference_id": reference_id, "resource": "FITBIT"}
        answer = self._post("new session", "create_session", "/sessions", 201, **wanted)
        session: dict[str, Any] = json.loads(answer["body"])
        return session

    def _post(self, kind: str, function: str, path: str, status: int, **body: str) -> dict[str, Any]:
        event = http_event("POST", path, headers=_headers("json"), body=json.dumps(body))
        return self._functions.invoke(kind, function, event, status=status)

    def _get(self, kind: str, function: str, path: str, *, query: str = "", **parameters: str) -> dict[str, Any]:
        event = http_event("GET", path, query=query, path_parameters=parameters)
        return self._functions.invoke(kind, function, event, status=200)

    def _redirect(self, kind: str, function: str, url: str) -> dict[str, Any]:
        return self._get(kind, function, urlsplit(url).path, query=urlsplit(url).query)


def _headers(content_type: str) -> dict[str, str]:
    return {"content-type": f"application/{content_type}"}


def measure(
    stack: Stack, terra: Terra, sizes: Sequence[int], *, rounds: int, warm_up: int = WARM_UP
) -> dict[int, Invocations]:
    """Return the invocations by size: on each in turn, so that disturbances of the machine affect all alike."""
    # Webhooks would write to the stack's own tables.
    terra.settings(send_webhooks=False)
    with ExitStack() as ends:
        functions = {size: ends.enter_context(running_functions(stack, size)) for size in sizes}
        keeping = {size: ends.enter_context(running_functions(stack, size, keeps_data=True)) for size in sizes}
        requests = [Requests(stack, terra, functions[size], keeping[size], size) for size in sizes]
        for user_id, owner in {
            user: owner for each in requests for user, owner in each.users_of_page().items()
        }.items():
            terra.connect(owner, user_id=user_id, account=user_id, silent=True)
        # Erasures leave tombstones in later pages of the table.
        for act in (Requests.sweep, Requests.list_all, Requests.each_once, Requests.keep_data):
            for _ in range(warm_up + rounds):
                for each in requests:
                    act(each)
        invocations = {size: functions[size].invocations | keeping[size].invocations for size in sizes}
        return {size: {kind: found[warm_up:] for kind, found in of.items()} for size, of in invocations.items()}


def figures(measured: Mapping[int, Invocations]) -> str:
    """Return the consumption and the median duration of each kind of request at each size, as Markdown."""
    head = ["request", "DynamoDB: calls", "units", *(f"p50 at {size:,}" for size in measured)]
    rows = []
    for kind in next(iter(measured.values())):
        found = {
            (len(each.calls), sum(sum(call.units.values()) for call in each.calls))
            for of_size in measured.values()
            for each in of_size[kind]
        }
        calls, units = (
            " or ".join(f"{value:g}" for value in sorted(set(values))) for values in zip(*found, strict=True)
        )
        times = [median(each.ms for each in of_size[kind]) for of_size in measured.values()]
        rows.append([kind, calls, units, *(f"{ms:.1f} ms" for ms in times)])
    return report.table(head, rows)


def main() -> None:
    """Measure, and print or write the figures."""
    parser = argparse.ArgumentParser(prog="make flat-cost", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000], help="numbers of connections")
    parser.add_argument("--rounds", type=int, default=40, help="how often each kind of request is made on each size")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    options = parser.parse_args()
    with (
        running_stack() as stack,
        httpx.Client(base_url=stack.terra_url, timeout=60) as client,
        step(f"{options.rounds} rounds on {', '.join(f'{size:,}' for size in options.sizes)} connections"),
    ):
        table = figures(measure(stack, Terra(client, stack.signing_secret), options.sizes, rounds=options.rounds))
    say(table)
    if options.write:
        command = f'make flat-cost SIZES="{" ".join(map(str, options.sizes))}" ROUNDS={options.rounds} WRITE=1'
        how = f"`{command}` on {time.strftime('%d %B %Y')}, under Python {stack.python} on {os.cpu_count()} cores."
        report.write("flat cost", "make flat-cost", f"{how}\n\n{table}")


if __name__ == "__main__":
    main()
