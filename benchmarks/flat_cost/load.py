"""Fills a table with copies of an item, fast: from several processes, without a client library's overhead per item."""

import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

import httpx

from tools.progress import say

AT_ONCE: Final = 25  # the limit of BatchWriteItem
PROCESSES: Final = 2
CHUNK: Final = 1_000
OF_A_PERSON: Final = 2
"""Connections per user."""
SIGN_OF_LIFE: Final = 10.0  # seconds, if there is no terminal
HEADERS: Final = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
    # DynamoDB Local requires a signature but does not check it; computing one takes longer than the request.
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=none",
}


def user_id_of(number: int) -> str:
    """The `user_id` of a connection, the same in tables of every size."""
    return str(UUID(bytes=blake2b(f"connection {number}".encode(), digest_size=16).digest()))


def person_of(number: int) -> str:
    """The `reference_id` of its owner."""
    return str(UUID(bytes=blake2b(f"person {number // OF_A_PERSON}".encode(), digest_size=16).digest()))


def fill(endpoint: str, table: str, pattern: Mapping[str, Any], count: int) -> None:
    """Write `count` copies of an item, each with a `user_id` and a `reference_id` of its own.

    Args:
        endpoint: of DynamoDB Local.
        table: of connections.
        pattern: an item as the functions have written it, in DynamoDB's JSON.
        count: how many.
    """
    began = shown = time.monotonic()
    done = 0
    with ProcessPoolExecutor(PROCESSES) as pool:
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        for chunk in as_completed([pool.submit(_write, endpoint, table, json.dumps(pattern), of) for of in chunks]):
            done += chunk.result()
            is_shown = sys.stdout.isatty() or done == count or time.monotonic() - shown > SIGN_OF_LIFE
            if is_shown:
                shown = time.monotonic()
                _show(done, count, shown - began)


def _show(done: int, count: int, seconds: float) -> None:
    filled = "#" * (30 * done // count)
    line = f"  [{filled:30}] {done:,} of {count:,} connections, {seconds:.0f} s"
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{line}" + ("\n" if done == count else ""))
        sys.stdout.flush()
    else:
        say(line)


def _write(endpoint: str, table: str, pattern: str, numbers: range) -> int:
    """Write one process's part. Runs in a process of its own."""
    item = json.loads(pattern)
    user_id, person = item["user_id"]["S"], item["reference_id"]["S"]
    with httpx.Client(base_url=endpoint, headers=HEADERS, timeout=60, trust_env=False) as client:
        for start in range(numbers.start, numbers.stop, AT_ONCE):
            some = range(start, min(start + AT_ONCE, numbers.stop))
            items = (pattern.replace(user_id, user_id_of(n)).replace(person, person_of(n)) for n in some)
            puts = ",".join(f'{{"PutRequest":{{"Item":{text}}}}}' for text in items)
            answer = client.post("/", content=f'{{"RequestItems":{{"{table}":[{puts}]}}}}')
            answer.raise_for_status()
            if answer.json()["UnprocessedItems"]:
                message = f"{endpoint} did not take everything."
                raise RuntimeError(message)
    return len(numbers)
