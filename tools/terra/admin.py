"""The client of Terra's Admin API."""

from __future__ import annotations

import math
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from tools.environment import LOOPBACK, variable
from tools.progress import say
from tools.stages import StageError, one_line
from tools.terra.models import (
    Destination,
    DestinationConfig,
    Destinations,
    DestinationSecrets,
    GeneratedEvent,
    Page,
    Preview,
    Problem,
    SyntheticUser,
    SyntheticUsers,
    Token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import SecretStr

URL_VARIABLE: Final = "TERRA_ADMIN_URL"
PRODUCTION: Final = "https://access.tryterra.co/api/v3/admin"
TIMEOUT: Final = 20.0  # seconds
PACE: Final = 0.1  # seconds between two requests; Terra's own CLI paces pages so
PAGE: Final = 200  # rows; a greater limit is reduced to it
_TRIES: Final = 4
_LONGEST_WAIT: Final = 120.0  # seconds
_LONGEST_TEXT: Final = 300
_LOGIN: Final = "Set TERRA_ADMIN_TOKEN to a valid token of Terra's Admin API (docs/terra.md)."
_REMEDIES: Final = {
    "unauthorized": f"it is unknown, or was revoked. {_LOGIN}",
    "token_expired": f"it has expired. {_LOGIN}",
}

_Model = TypeVar("_Model", bound=BaseModel)


class AdminRefused(StageError):
    """Terra rejected a call.

    Attributes:
        status: the response's status.
        problem: the response's content; empty if it is not a problem.
    """

    def __init__(self, message: str, status: int, problem: Problem) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem

    @property
    def is_missing_path(self) -> bool:
        """Whether this version of the API does not have the path: a 404 without a problem."""
        return self.status == HTTPStatus.NOT_FOUND and not self.problem.code


def admin_url(terra_api_url: str) -> str:
    """Return the Admin API's address: TERRA_ADMIN_URL, that of a simulator on this machine, or Terra's.

    Args:
        terra_api_url: the stack's TerraApiUrl.

    Raises:
        StageError: TERRA_ADMIN_URL is not https: a token must not be sent to it.
    """
    named, api = variable(URL_VARIABLE), urlsplit(terra_api_url)
    if named:
        try:
            parts = httpx.URL(named)
        except httpx.InvalidURL as error:
            message = f"{URL_VARIABLE} is not an address: {one_line(error)}"
            raise StageError(message) from None
        if (
            not parts.host
            or parts.scheme not in {"http", "https"}
            or (parts.scheme == "http" and parts.host not in LOOPBACK)
        ):
            message = f"{URL_VARIABLE} must be an https address: the token would be sent there."
            raise StageError(message)
        return named.rstrip("/")
    if api.hostname in LOOPBACK:
        return f"{api.scheme}://{api.netloc}{urlsplit(PRODUCTION).path}"
    return PRODUCTION


class AdminApi:
    """The calls about one environment."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        url: str,
        dev_id: str,
        token: SecretStr,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a client.

        Args:
            http: the HTTP client; it must not follow redirects.
            url: the Admin API's address.
            dev_id: the environment.
            token: the Admin token.
            sleep: waits between requests.
        """
        self._http = http
        self._url = url
        self._dev_id = dev_id
        self._token = token
        self._sleep = sleep
        self._events: str | None = None

    def me(self) -> Token:
        """Return the caller's token."""
        return _read(Token, self._send("GET", "/me"))

    def revoke_own_token(self) -> None:
        """End the caller's token."""
        self._send("DELETE", "/tokens/self")

    # -- destinations ----------------------------------------------------------------------------------------------

    def webhooks(self) -> list[Destination]:
        """Return every webhook destination, inactive ones too."""
        found = _read(Destinations, self._send("GET", self._destinations()))
        return [each for each in found.data if each.type == Destination.model_fields["type"].default]

    def is_pinged(self, destination_id: str) -> bool:
        """Return whether a webhook gets URLs of payloads (delivery mode ping) instead of the payloads."""
        return _read(DestinationConfig, self._send("GET", self._destinations(destination_id))).delivery == "ping"

    def create(self, body: Mapping[str, object]) -> Destination:
        """Create a destination; the response contains its secret, which no later one does."""
        return _read(Destination, self._send("POST", self._destinations(), body=body))

    def update(self, destination_id: str, body: Mapping[str, object]) -> Destination:
        """Change a destination."""
        return _read(Destination, self._send("PATCH", self._destinations(destination_id), body=body))

    def delete(self, destination_id: str) -> None:
        """Delete a destination, its secret and what is left of its deliveries."""
        self._send("DELETE", self._destinations(destination_id))

    def dry_run(self, method: str, destination_id: str = "", body: Mapping[str, object] | None = None) -> Preview:
        """Return what Terra would do; it validates the request and changes nothing."""
        path = self._destinations(destination_id)
        return _read(Preview, self._send(method, path, body=body, query={"dry_run": "true"}))

    def signing_secret(self, destination_id: str) -> SecretStr | None:
        """Return a webhook's secret, which needs the scope keys:read; None if it signs with the environment's."""
        content = self._send("GET", f"{self._destinations(destination_id)}/secrets")
        return _read(DestinationSecrets, content).secrets.signing_secret

    def rotate_secret(self, destination_id: str) -> dict[str, Any]:
        """Let Terra replace a webhook's secret, which needs the scope keys:write; the response is not documented."""
        answer = self._send("POST", f"{self._destinations(destination_id)}/signing-secret/rotate")
        return answer if isinstance(answer, dict) else {}

    def _destinations(self, destination_id: str = "") -> str:
        path = self._environment("/unified-api/destinations")
        return f"{path}/{quote(destination_id, safe='')}" if destination_id else path

    # -- events ----------------------------------------------------------------------------------------------------

    @property
    def has_events(self) -> bool:
        """Whether the API has November's `events`; October's has `webhook-events`."""
        return self._events_path().endswith("/events")

    def events(self, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield every row of the list of events, newest first."""
        asked, cursor = {"limit": str(PAGE), **query}, None
        while True:
            page = _read(
                Page, self._send("GET", self._events_path(), query=asked | ({"cursor": cursor} if cursor else {}))
            )
            yield from page.data
            cursor = page.next_cursor
            if not page.has_more or not cursor:
                return

    def event(self, event_id: str) -> dict[str, Any]:
        """Return November's event, with its deliveries and their attempts."""
        found: dict[str, Any] = self._send("GET", f"{self._events_path()}/{quote(event_id, safe='')}")
        return found

    def resend(self, *, event_id: str, event_type: str, user_id: str) -> None:
        """Let Terra deliver an event once more, to every active destination that admits it."""
        body = {"user_id": user_id, "event_id": event_id, "event_type": event_type}
        self._send("POST", f"{self._events_path()}/resend", body=body)

    def generate(self, *, event_type: str, destination_id: str) -> GeneratedEvent:
        """Let Terra deliver a generated event to one destination, which needs the scope testdata:write."""
        body = {"type": event_type, "destination_id": destination_id}
        return _read(GeneratedEvent, self._send("POST", f"{self._events_path()}/generate", body=body))

    def _events_path(self) -> str:
        if self._events is None:
            newer, older = (self._environment(path) for path in ("/events", "/webhook-events"))
            try:
                self._send("GET", newer, query={"limit": "1"})
                self._events = newer
            except AdminRefused as error:
                if not error.is_missing_path:
                    raise
                self._events = older
        return self._events

    # -- synthetic users -------------------------------------------------------------------------------------------

    def synthetic_users(self) -> list[SyntheticUser]:
        """Return every synthetic user."""
        return _read(SyntheticUsers, self._send("GET", self._synthetic_users())).data

    def create_synthetic_user(self, body: Mapping[str, object]) -> SyntheticUser:
        """Create a connection whose data Terra generates; it delivers to every destination that admits them."""
        return _read(SyntheticUser, self._send("POST", self._synthetic_users(), body=body))

    def stop_synthetic_user(self, user_id: str) -> None:
        """End the generation of data. The connection remains."""
        self._send("POST", f"{self._synthetic_users()}/{quote(user_id, safe='')}/stop")

    def _synthetic_users(self) -> str:
        return self._environment("/synthetic-users")

    # -- requests --------------------------------------------------------------------------------------------------

    def _environment(self, path: str) -> str:
        return f"/environments/{quote(self._dev_id, safe='')}{path}"

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """Send a request and return the response's content.

        A request is repeated after 429. One that changes nothing is also repeated after a failure.

        Raises:
            StageError: Terra cannot be reached, fails, or rejects the request (`AdminRefused`).
        """
        is_safe = method == "GET"
        for last in (False,) * (_TRIES - 1) + (True,):
            self._sleep(PACE)
            try:
                response = self._http.request(
                    method,
                    self._url + path,
                    json=body,
                    params=query,
                    headers={"authorization": f"Bearer {self._token.get_secret_value()}"},
                )
            except httpx.TransportError as error:
                if is_safe and not last:
                    continue
                repeat = "" if is_safe else " Whether it was carried out is unknown; run the command again."
                message = f"Terra's Admin API cannot be reached at {self._url}: {one_line(error)}{repeat}"
                raise StageError(message) from None
            if response.status_code == HTTPStatus.TOO_MANY_REQUESTS and not last:
                self._wait(response)
            elif not (response.is_server_error and is_safe and not last):
                return self._content(response)
        raise AssertionError  # pragma: no cover - the last try returns or raises

    def _wait(self, response: httpx.Response) -> None:
        try:
            wait = min(float(response.headers.get("retry-after", "1")), _LONGEST_WAIT)
        except ValueError:
            wait = 1.0
        if not math.isfinite(wait):
            wait = 1.0
        if wait > 2:  # noqa: PLR2004 - seconds: shorter ones need no line
            say(f"  Terra limits the rate: waiting {wait:.0f} s ...")
        self._sleep(max(wait, 0.0))

    def _content(self, response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
        try:
            content = response.json() if response.content else None
        except ValueError:
            content = None
        if response.is_success:
            return content
        try:
            problem = Problem.model_validate(content)
        except ValidationError:
            problem = Problem()
        raise AdminRefused(self._explained(response, problem), response.status_code, problem)

    def _explained(self, response: httpx.Response, problem: Problem) -> str:
        said = "; ".join(problem.errors) or problem.detail or problem.title or "no explanation"
        said = " ".join(said.split())[:_LONGEST_TEXT]
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            return f"Terra rejects the Admin token: {_REMEDIES.get(problem.code, f'{said}. {_LOGIN}')}"
        if problem.code == "scope_missing":
            return f"The Admin token has too few scopes: {said}. docs/terra.md lists the scopes of each command."
        if problem.code == "dev_id_not_found":
            return (
                f"The Admin token does not reach the environment {self._dev_id}: compare the dev-id with the account "
                "and the environments of the token."
            )
        code = f" {problem.code}" if problem.code else ""
        if not problem.code and response.status_code == HTTPStatus.NOT_FOUND:
            return f"{self._url} is not Terra's Admin API, or has no such path (404): check {URL_VARIABLE}."
        return f"Terra's Admin API responds {response.status_code}{code}: {said}."


def _read(model: type[_Model], content: object) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # Not quoted: the content may have a secret.
        message = (
            f"Terra's Admin API responds with something that is not a {model.__name__} ({error.error_count()} errors)."
        )
        raise StageError(message) from None
