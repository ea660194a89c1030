"""Terra's REST API, as far as this stack asks it, over an `httpx.Client` that is passed in.

Source: Terra's OpenAPI document (2026.07) and FAQ. Errors come in four forms (RFC 9457 without a status, an older
`{status, message}`, HTML, empty), so only the status code is believed; and a 200 is believed only if it holds what it
must. No call follows redirects.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx

from terra_connections.errors import TerraRejected, TerraUnavailable, TooManyRequests, UnknownResource
from terra_connections.event import scopes_from
from terra_connections.ids import ReferenceId, UserId, reference_id_from, user_id_from

CONNECT_WITHIN = timedelta(seconds=3)
LOGIN_WITHIN = timedelta(seconds=18)
"""With two tries to connect this stays below the 28 s that the function has, and API Gateway's 30."""

_MAX_ANSWER = 1_000_000  # bytes; Terra's answers to these calls have a few hundred
_MAX_RETRY_AFTER = 3600
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def client() -> httpx.Client:
    """An HTTP client for Terra.

    It tries to connect twice. Nothing else is ever repeated: a request that was sent may have made a pending user, and
    Terra's auth endpoints have no idempotency key.
    """
    return httpx.Client(transport=httpx.HTTPTransport(retries=1))


class _Deadline(dict[str, float]):
    """The `timeout` extension of an httpx request, as one limit for all of it.

    httpx's own timeouts are of silence, each for one step: an answer that stalls or drips would have several of them.
    httpcore asks for a step's limit when the step begins, and is told what is left. Connecting has two steps (TCP and
    TLS) and may be tried twice.
    """

    def __init__(self, within: timedelta) -> None:
        super().__init__()
        self._connect = min(CONNECT_WITHIN, within / 4).total_seconds()
        self._ends_at = time.monotonic() + within.total_seconds()

    @property
    def has_passed(self) -> bool:
        return time.monotonic() > self._ends_at

    def get(self, step: str, _default: object = None) -> float:
        # Not zero, which would mean not to wait at all.
        left = max(self._ends_at - time.monotonic(), 0.001)
        return min(self._connect, left) if step in {"connect", "pool"} else left


@dataclass(frozen=True, slots=True)
class Login:
    """A login that Terra has prepared.

    Attributes:
        user_id: issued for the user being created; nothing promises that it is the final one.
        auth_url: where to send the person, exactly as Terra gave it.
    """

    user_id: UserId
    auth_url: str


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What Terra knows of one connection. `is_authenticated` is the reliable flag, `user.active` is not."""

    user_id: UserId
    is_authenticated: bool
    provider: str | None
    reference_id: ReferenceId | None
    scopes: tuple[str, ...] | None


class TerraApi:
    """Terra, asked with the account's credentials.

    Every call raises `TerraRejected` (401, 403 and other refusals), `TooManyRequests` (429) or `TerraUnavailable`
    (no answer in time, 5xx, or an answer that does not hold what it must).
    """

    def __init__(self, client: httpx.Client, *, api_url: str, dev_id: str, api_key: Callable[[], str]) -> None:
        self._client = client
        self._api_url = api_url.rstrip("/")
        self._dev_id = dev_id
        self._api_key = api_key

    def authenticate_user(
        self, *, resource: str, reference_id: ReferenceId, language: str | None, success_url: str, failure_url: str
    ) -> Login:
        """Prepare a login at one provider. Each call makes another pending user at Terra.

        Raises:
            UnknownResource: Terra does not know the provider, or it is not enabled.
        """
        body = {
            "reference_id": reference_id,
            "auth_success_redirect_url": success_url,
            "auth_failure_redirect_url": failure_url,
        }
        if language is not None:
            body["language"] = language
        status, content = self._ask(
            "POST", "/auth/authenticateUser", params={"resource": resource}, body=body, within=LOGIN_WITHIN
        )
        if status == HTTPStatus.NOT_FOUND:
            message = f"Terra does not offer {resource} to this account."
            raise UnknownResource(message)
        answer = _believed(status, content)
        user_id, auth_url = user_id_from(answer.get("user_id")), answer.get("auth_url")
        if user_id is None or not isinstance(auth_url, str) or not _is_web_address(auth_url):
            raise _nonsense()
        return Login(user_id, auth_url)

    def user_info(self, user_id: UserId, *, within: timedelta) -> UserInfo | None:
        """What Terra knows of one connection, or None where it answers that there is none (404)."""
        status, content = self._ask("GET", "/userInfo", params={"user_id": user_id}, within=within)
        if status == HTTPStatus.NOT_FOUND:
            return None
        answer = _believed(status, content)
        user, is_authenticated = answer.get("user"), answer.get("is_authenticated")
        if not isinstance(user, dict) or user.get("user_id") != user_id or not isinstance(is_authenticated, bool):
            raise _nonsense()
        provider = user.get("provider")
        return UserInfo(
            user_id=user_id,
            is_authenticated=is_authenticated,
            provider=provider.upper() if isinstance(provider, str) else None,
            reference_id=reference_id_from(user.get("reference_id")),
            scopes=scopes_from(user.get("scopes")),
        )

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        within: timedelta,
        body: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One request; the answer's status and bytes, as far as the answer may be believed at all."""
        deadline = _Deadline(within)
        headers = {"dev-id": self._dev_id, "x-api-key": self._api_key()}
        try:
            with self._client.stream(
                method,
                self._api_url + path,
                params=dict(params),
                json=body,
                headers=headers,
                extensions={"timeout": deadline},
            ) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > _MAX_ANSWER or deadline.has_passed:
                        raise _nonsense()
        except (httpx.TransportError, httpx.DecodingError) as error:
            message = "Terra did not answer in time."
            raise TerraUnavailable(message) from error
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            message = "Terra's rate limit is used up."
            raise TooManyRequests(message, retry_after=_retry_after(response))
        return response.status_code, bytes(content)


def _believed(status: int, content: bytes) -> dict[str, Any]:
    """The JSON object of a success; everything else is an error, told by the status alone."""
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        message = f"Terra refused the request ({status})."
        raise TerraRejected(message)
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        message = f"Terra failed ({status})."
        raise TerraUnavailable(message)
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise _nonsense() from None
    if not isinstance(answer, dict):
        raise _nonsense()
    if answer.get("status") == "error":
        message = "Terra refused the request."
        raise TerraRejected(message)
    return answer


def _nonsense() -> TerraUnavailable:
    return TerraUnavailable("Terra answered something that cannot be used.")


def _retry_after(response: httpx.Response) -> int:
    """Terra's Retry-After in seconds, within reason; a date or nonsense counts as the shortest wait that helps."""
    value = response.headers.get("retry-after", "")
    return min(max(int(value), 1), _MAX_RETRY_AFTER) if _SECONDS.fullmatch(value) else 5


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"https", "http"} and bool(parts.netloc)
