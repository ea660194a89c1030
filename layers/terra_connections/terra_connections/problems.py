"""Errors as RFC 9457 problem details: the table that maps each error to its response."""

import math
from http import HTTPStatus
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from terra_connections import errors
from terra_connections.api_gateway import Response, json_response

TABLE: dict[type[Exception], tuple[HTTPStatus, str, str]] = {
    errors.InvalidRequest: (HTTPStatus.BAD_REQUEST, "invalid_request", "The request is malformed"),
    errors.NotSigned: (HTTPStatus.UNAUTHORIZED, "not_signed", "Not signed by Terra"),
    errors.Forbidden: (HTTPStatus.FORBIDDEN, "forbidden", "Not allowed"),
    errors.NotFound: (HTTPStatus.NOT_FOUND, "not_found", "Not found"),
    errors.UnknownResource: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "unknown_resource",
        "Terra does not offer this provider",
    ),
    errors.SdkOnlyProvider: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "sdk_only_provider",
        "This provider connects inside a phone app only",
    ),
    errors.InputRefused: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "refused_by_terra",
        "Terra does not accept what the request asks for",
    ),
    errors.RequestInProgress: (HTTPStatus.CONFLICT, "request_in_progress", "The first request is still running"),
    errors.ErasureInProgress: (HTTPStatus.CONFLICT, "erasure_in_progress", "The user is being erased"),
    errors.ConnectionEnded: (HTTPStatus.UNPROCESSABLE_ENTITY, "connection_ended", "The connection has ended"),
    errors.IdempotencyKeyReused: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "The Idempotency-Key was used for another request",
    ),
    errors.UnknownReturnTarget: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "unknown_return_target",
        "No return target of this name is configured",
    ),
    errors.TooManyRequests: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", "Too many requests"),
    errors.TooManySessions: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_sessions", "Too many logins are open"),
    errors.UserLimitReached: (HTTPStatus.TOO_MANY_REQUESTS, "user_limit_reached", "Too many for this user"),
    errors.ErasureUnfinished: (HTTPStatus.SERVICE_UNAVAILABLE, "erasure_unfinished", "Repeat to go on"),
    errors.TerraRejected: (HTTPStatus.BAD_GATEWAY, "terra_rejected", "Terra refused the request"),
    errors.TerraUserLimit: (
        HTTPStatus.BAD_GATEWAY,
        "terra_user_limit",
        "The user limit at Terra is reached",
    ),
    errors.EntitlementRequired: (
        HTTPStatus.BAD_GATEWAY,
        "terra_entitlement_required",
        "The Terra account does not include this product",
    ),
    errors.EnvironmentDisabled: (
        HTTPStatus.BAD_GATEWAY,
        "terra_environment_disabled",
        "The Terra environment is disabled",
    ),
    errors.AuthorizationUnavailable: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "terra_authorization_unavailable",
        "Terra cannot check what the account includes",
    ),
    errors.TerraUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "terra_unavailable", "Terra cannot be reached"),
    errors.NotDurable: (HTTPStatus.SERVICE_UNAVAILABLE, "not_durable", "Nothing was saved; try again"),
    errors.Misconfigured: (HTTPStatus.SERVICE_UNAVAILABLE, "misconfigured", "The stack is not set up completely"),
    # Raised when DynamoDB or Secrets Manager is unavailable, throttled or access is denied.
    ClientError: (HTTPStatus.SERVICE_UNAVAILABLE, "storage_unavailable", "The storage cannot be reached"),
    BotoCoreError: (HTTPStatus.SERVICE_UNAVAILABLE, "storage_unavailable", "The storage cannot be reached"),
}
ANSWERED = tuple(TABLE)
"""Every error that is mapped to a response. Any other error is a defect, and the runtime reports it."""
_IN_MINUTES = 120


def code_of(error: Exception) -> str:
    """The stable code of an error."""
    return _row(error)[1]


def problem(error: Exception, *, page: str) -> Response:
    """Return the response to an error.

    Args:
        error: one of `ANSWERED`.
        page: the URL of docs/problems.md. It has a heading for each code, so `type` links to the remedy.
            An absolute URL or a full path: RFC 9457, 3.1.1, recommends both over other relative references.
    """
    status, code, title = _row(error)
    body: dict[str, Any] = {
        "type": f"{page}#{code}",
        "title": title,
        "status": status.value,
        "code": code,
    }
    # The messages of our own errors are for the caller, those of AWS are not. NotSigned gives an attacker no detail.
    if isinstance(error, errors.TerraConnectionsError) and not isinstance(error, errors.NotSigned):
        body["detail"] = str(error)
        if status is HTTPStatus.TOO_MANY_REQUESTS and isinstance(error, errors.RetryLater):
            body["detail"] += f" Try again in {_duration(error.retry_after)}."
    if isinstance(error, errors.InvalidRequest):
        body["errors"] = [{"field": field, "message": message} for field, message in error.errors]
    headers = {"cache-control": "no-store"}
    if isinstance(error, errors.RetryLater):
        headers["retry-after"] = str(error.retry_after)
    elif status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.CONFLICT}:
        headers["retry-after"] = "1"
    return json_response(status, body, headers=headers, content_type="application/problem+json")


def _duration(seconds: int) -> str:
    """Format a wait for users: rounded up, and in whole minutes from two minutes on."""
    if seconds < _IN_MINUTES:
        return f"{seconds} second{'s' * (seconds != 1)}"
    return f"{math.ceil(seconds / 60)} minutes"


def _row(error: Exception) -> tuple[HTTPStatus, str, str]:
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)
