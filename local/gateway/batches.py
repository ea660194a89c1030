"""A function's response to a batch of records: all succeeded, some failed, or unreadable."""

import json
from collections.abc import Awaitable, Callable, Sequence

Invoke = Callable[[bytes], Awaitable[bytes]]
"""Runs the function on an event; raises `FunctionError` if there is no response."""


def failures(response: bytes, identifiers: Sequence[str], *, reports: bool) -> set[str]:
    """The identifiers of the records that failed. A response that cannot be read means all of them.

    AWS does not document unknown members; here they count as an error, so that the mistake shows.
    """
    if not reports:
        return set()
    content = json.loads(response)
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
    """The event that contains the records."""
    return json.dumps({"Records": records}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
