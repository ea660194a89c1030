"""Commands that repeat a request of the timeline. Secrets are shell variables: `$TOKEN` and others."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN: Final = {"Authorization": "Bearer $TOKEN"}
"""The header of a call with the app's user token, or with a service key."""
TERRA_KEYS: Final = {"dev-id": "$TERRA_DEV_ID", "x-api-key": "$TERRA_API_KEY"}


def curl(method: str, url: str, *, headers: Mapping[str, str] | None = None, body: object = None) -> str:
    """Return a curl command.

    Args:
        method: of HTTP.
        url: may contain shell variables.
        headers: their values may contain shell variables.
        body: sent as JSON, without variables.
    """
    request = "" if method == "GET" else f"-X {method} "
    parts = [f"curl {request}{_with_variables(url)}"]
    parts += [f"-H {_with_variables(f'{name}: {value}')}" for name, value in (headers or {}).items()]
    if body is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"]
    return " \\\n  ".join(parts)


def _with_variables(text: str) -> str:
    """Quote a text for a shell that expands its variables, and nothing else."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`")
    return f'"{escaped}"'
