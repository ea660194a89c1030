"""What a function answers to a batch of records: all taken, some failed, or nothing that can be read."""

import json
from collections.abc import Awaitable, Callable, Sequence

Invoke = Callable[[bytes], Awaitable[bytes]]
"""Runs the function on an event; raises `FunctionError` when there is no answer."""


def failures(answer: bytes, identifiers: Sequence[str], *, reports: bool) -> set[str]:
    """The identifiers of the records that failed. An answer that cannot be read means all of them.

    AWS does not say what a member that it does not know means; here it is a mistake that shows.
    """
    if not reports:
        return set()
    content = json.loads(answer)
    if content is None or content == {}:
        return set()
    named = content.get("batchItemFailures", "") if isinstance(content, dict) else ""
    if named is None:
        return set()
    if not isinstance(named, list):
        return set(identifiers)
    failed = {entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in named}
    is_known = failed <= set(identifiers)
    return {name for name in identifiers if name in failed or not is_known}


def payload(records: Sequence[object]) -> bytes:
    """The event that holds the records."""
    return json.dumps({"Records": records}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
