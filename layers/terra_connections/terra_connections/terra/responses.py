"""Terra's responses: which are successes, the error for each other one, and the checked values of their fields.

Source: Terra's OpenAPI documents (2026.07 and 2026.10) and FAQ. Errors come in four forms (RFC 9457 without a status,
an older `{status, message}`, HTML, empty): the status code decides, and a `code` in a JSON body adds detail.
"""

import json
import re
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from terra_connections.errors import (
    AuthorizationUnavailable,
    EntitlementRequired,
    EnvironmentDisabled,
    InputRefused,
    TerraRejected,
    TerraUnavailable,
    TerraUserLimit,
)
from terra_connections.ids import UserId, user_id_from
from terra_connections.terra.transport import unusable_response

_MAX_RETRY_AFTER = 3600
_MAX_SECONDS = 86_400
_MAX_WARNINGS = 20
_MAX_WARNING = 300  # characters
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_PRODUCT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_OPERATORS_TO_MEND = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.GONE,
}
"""Rejections that no caller can cause: of the credentials, of the account, or because of the configured URL."""
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def parse_success(status: int, content: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON of a success; raise an error for any other response."""
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise refusal(status, content)
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise unusable_response() from None
    if isinstance(answer, dict) and answer.get("status") == "error":
        message = "Terra refused the request."
        raise TerraRejected(message)
    return answer


def refusal(status: int, content: bytes) -> TerraRejected | TerraUnavailable:
    """Return the error for a response that is not a success, with a message for the operator.

    Source: Terra's OpenAPI document (2026.10.08), `Problem` with `code` and `product`; 402 from the reference of
    2026.11.19, which shows no body. A body in another format, or with another code, is ignored.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    code, product = (answer.get("code"), answer.get("product")) if isinstance(answer, dict) else (None, None)
    if status == HTTPStatus.PAYMENT_REQUIRED:
        message = (
            "The Terra environment has reached its user limit (402): raise the limit in Terra's dashboard, or "
            "disconnect users that are no longer needed."
        )
        return TerraUserLimit(message)
    if (status, code) == (HTTPStatus.FORBIDDEN, "entitlement_required"):
        what = f"the product {product}" if isinstance(product, str) and _PRODUCT.fullmatch(product) else "this product"
        message = f"The Terra account does not include {what} (403 entitlement_required): add it in Terra's dashboard."
        return EntitlementRequired(message)
    if (status, code) == (HTTPStatus.FORBIDDEN, "environment_disabled"):
        message = (
            "Terra has disabled the environment of this dev-id (403 environment_disabled): enable it in Terra's "
            "dashboard, or ask Terra's support."
        )
        return EnvironmentDisabled(message)
    if (status, code) == (HTTPStatus.SERVICE_UNAVAILABLE, "authorization_unavailable"):
        message = "Terra cannot check at the moment what the account includes (503 authorization_unavailable)."
        return AuthorizationUnavailable(message)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return TerraRejected(f"Terra answered {status}.")
    return TerraUnavailable(f"Terra failed ({status}).")


def check_input(status: int) -> None:
    """Check whether a rejection is because of the caller's input, and not one that only the operator can fix.

    Raises:
        InputRefused: the caller's input was rejected.
    """
    is_refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_refused and status not in _OPERATORS_TO_MEND:
        message = f"Terra does not accept this provider, reference_id or language ({status})."
        raise InputRefused(message)


def json_object(answer: object) -> dict[str, Any]:
    """Return a JSON object; raise an error for any other JSON."""
    if not isinstance(answer, dict):
        raise unusable_response()
    return answer


def listed_user_ids(users: object) -> list[UserId]:
    """Return the ids of a list of users. One user without an id makes the whole list invalid."""
    if not isinstance(users, list):
        raise unusable_response()
    user_ids = [user_id_from(user.get("user_id")) if isinstance(user, dict) else None for user in users]
    if None in user_ids:
        raise unusable_response()
    return [user_id for user_id in user_ids if user_id is not None]


def seconds_from(value: object) -> timedelta | None:
    """Return a duration in seconds, or None if the value is invalid."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_SECONDS:
        return None
    return timedelta(seconds=value)


def warnings_from(value: object) -> tuple[str, ...]:
    """Return Terra's readable warnings. Invalid warnings never make a response invalid."""
    listed = value if isinstance(value, list) else [value]
    texts = [_UNPRINTABLE.sub(" ", text).strip() for text in listed if isinstance(text, str)]
    return tuple(text[:_MAX_WARNING] for text in texts if text)[:_MAX_WARNINGS]


def retry_after_from(value: str | None) -> int:
    """Return Terra's Retry-After in seconds, within limits; 5 if it is missing, a date or invalid."""
    return min(max(int(value), 1), _MAX_RETRY_AFTER) if value and _SECONDS.fullmatch(value) else 5
