"""Terra's REST API, read as it is. The stack's own client accepts every known shape, and does not show which it was."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx

from terra_connections.terra.client import DATA_TOKEN_PREFIX, credentials
from tools.stages import StageError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

PRODUCTION: Final = "https://access.tryterra.co/api/v2"
_TRIES: Final = 3


@dataclass(frozen=True)
class Answer:
    """A response.

    Attributes:
        content: the JSON in the body; None if there is none.
    """

    status: int
    content: Any

    @property
    def is_success(self) -> bool:
        """Whether Terra has carried the request out."""
        return httpx.codes.is_success(self.status)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The members of the content; empty if it is not an object."""
        return self.content if isinstance(self.content, dict) else {}

    @property
    def refusal(self) -> str:
        """Why there is no answer to a question."""
        code = self.fields.get("code")
        shown = f" {code}" if isinstance(code, str) and code.replace("_", "").isalpha() else ""
        return f"Terra responds {self.status}{shown}."


class DataApi:
    """The calls with the credentials of an environment."""

    def __init__(self, http: httpx.Client, *, url: str, dev_id: str, api_key: SecretStr) -> None:
        """Create a client.

        Args:
            http: the HTTP client; it must not follow redirects.
            url: the API's address.
            dev_id: the environment.
            api_key: its API key, or a data token.
        """
        self._http = http
        self.url = url.rstrip("/")
        self._dev_id = dev_id
        self._api_key = api_key

    @property
    def has_data_token(self) -> bool:
        """Whether the credential is a data token."""
        return self._api_key.get_secret_value().startswith(DATA_TOKEN_PREFIX)

    def ask(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None) -> Answer:
        """Send a request to a path, or to a whole URL.

        Raises:
            StageError: Terra cannot be reached.
        """
        address = path if "://" in path else self.url + path
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                response = self._http.request(
                    method,
                    address,
                    params=query,
                    json=body,
                    headers=credentials(self._dev_id, self._api_key.get_secret_value()),
                )
                break
            except httpx.TransportError as error:
                if method == "GET" and not last:
                    continue
                message = f"Terra's API cannot be reached at {address}: {one_line(error)}"
                raise StageError(message) from None
        try:
            content = response.json() if response.content else None
        except ValueError:
            content = None
        return Answer(response.status_code, content)

    def user_ids(self, reference_id: str) -> list[str]:
        """Return the connections of a `reference_id`, unfinished ones too.

        Raises:
            StageError: Terra cannot be reached, or does not list them.
        """
        answer = self.ask("GET", "/userInfo", query={"reference_id": reference_id})
        if answer.status == HTTPStatus.NOT_FOUND:
            return []
        listed = answer.fields.get("users") if answer.fields else answer.content
        if not answer.is_success or not isinstance(listed, list):
            said = answer.refusal if not answer.is_success else "Its response has no list of users."
            if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                said += " Compare TERRA_API_KEY with the environment; a data token needs the scope connections:read."
            message = f"Terra does not list the users of the environment {self._dev_id}: {said}"
            raise StageError(message)
        return [str(each["user_id"]) for each in listed if isinstance(each, dict) and "user_id" in each]

    def deauthenticate(self, user_id: str) -> None:
        """Remove a connection.

        Raises:
            StageError: Terra does not remove it.
        """
        answer = self.ask("DELETE", "/auth/deauthenticateUser", query={"user_id": user_id})
        if not answer.is_success and answer.status != HTTPStatus.NOT_FOUND:
            message = f"Terra does not remove a connection of this run: {answer.refusal}"
            raise StageError(message)
