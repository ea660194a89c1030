"""Messages for unknown names in a request: they suggest the most similar known name."""

from collections.abc import Sequence
from difflib import get_close_matches

# Names that Terra's API and other APIs have for the same thing.
_ALSO_CALLED = {
    "authfailureredirecturl": "return_to",
    "authsuccessredirecturl": "return_to",
    "lang": "language",
    "locale": "language",
    "provider": "resource",
    "providers": "resources",
    "redirecturi": "return_to",
    "redirecturl": "return_to",
    "returnurl": "return_to",
    "user": "reference_id",
    "userid": "reference_id",
}
_COMPARED = 64
"""The number of compared characters of an unknown name; the time of a comparison grows with it."""


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """Return a message about an unknown name.

    Args:
        kind: `field` or `parameter`.
        name: the name in the request.
        known: every name that the request may contain.
    """
    plain = _plain(name[:_COMPARED])
    by_plain_name = {other: meant for other, meant in _ALSO_CALLED.items() if meant in known}
    by_plain_name |= {_plain(one): one for one in known}
    if close := get_close_matches(plain, by_plain_name, n=1, cutoff=0.7):
        return f"unknown {kind}; did you mean {by_plain_name[close[0]]}?"
    if len(known) == 1:
        return f"unknown {kind}; the only {kind} is {known[0]}"
    return f"unknown {kind}; the {kind}s are {', '.join(known[:-1])} and {known[-1]}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
