"""The redirect after a login.

Terra's documentation: `user_id`, `resource` and `reference_id` are appended to the developer's URL, whose own query is
kept. The order varies, `resource` can be missing, `reference_id` can be the literal text `null`, and nothing is signed.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

ORDERS: Final = tuple(permutations(("user_id", "resource", "reference_id")))


def with_parameters(url: str, parameters: Sequence[tuple[str, str | None]]) -> str:
    """Append parameters to a URL; None becomes the text `null`."""
    parts = urlsplit(url)
    appended = urlencode([(name, "null" if value is None else value) for name, value in parameters])
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, appended)))))
