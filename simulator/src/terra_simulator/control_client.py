"""A client of the control API of a running simulator, for the commands and for tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

PORT: Final = 4102
URL: Final = f"http://127.0.0.1:{PORT}"
_TIMEOUT_S: Final = 120.0


class ControlError(Exception):
    """A call that the simulator rejects, or that does not reach it; the text states what to do."""


@dataclass(frozen=True)
class Delivery:
    """One webhook to one destination."""

    type: str
    """Of the body: `s3_payload` in ping mode."""
    event_type: str
    """Of the event itself."""
    state: str
    """pending, held, delivered, given_up or lost."""
    status: int | None
    """The receiver's latest response; None without one."""
    error: str | None
    """Why there was none."""
    attempts: int
    trace_id: str
    body: Any
    """The JSON that was sent; text if it is something else, None beyond 1 MB."""
    destination_id: str | None
    """None: no destination admits the event."""
    url: str | None
    """Where the latest attempt went."""

    @classmethod
    def of(cls, shown: Mapping[str, Any]) -> Self:
        """Return a delivery from its form in the control API."""
        last: Mapping[str, Any] = shown["attempts"][-1] if shown["attempts"] else {}
        return cls(
            type=shown["type"],
            event_type=shown["event_type"] or shown["type"],
            state=shown["state"],
            status=last.get("status"),
            error=last.get("error"),
            attempts=len(shown["attempts"]),
            trace_id=shown["trace_id"],
            body=shown["body"],
            destination_id=shown["destination_id"],
            url=last.get("url"),
        )

    def __str__(self) -> str:
        name = f"{self.type} of {self.event_type}" if self.event_type != self.type else self.type
        return f"{name}: {self.state}, {self.status or self.error or 'not sent'}, trace id {self.trace_id}"


class ControlClient:
    """Calls of a running simulator. Use it as a context manager."""

    def __init__(self, url: str = URL) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(self, method: str, path: str, fields: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Make a call of the control API and return its response.

        Args:
            method: of HTTP.
            path: after `/_control`.
            fields: the body.

        Raises:
            ControlError: With the simulator's reason.
        """
        response = self.send(method, f"/_control{path}", fields)
        try:
            content = response.json()
            message = content["error"] if response.is_error else ""
        except (ValueError, LookupError):
            message = f"{self.url} is not a simulator (response {response.status_code})"
        if message:
            raise ControlError(message if isinstance(message, str) else "; ".join(str(each["msg"]) for each in message))
        return content

    def send(
        self, method: str, path: str, fields: Mapping[str, object] | None = None, *, token: str | None = None
    ) -> httpx.Response:
        """Make any call of the simulator; raises ControlError if none responds."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return self._http.request(method, path, json=fields, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            message = f"no simulator responds on {self.url} ({error}): start `terra-simulator serve`, or use --url"
            raise ControlError(message) from error

    def submit(self, url: str, form: Mapping[str, str]) -> httpx.Response:
        """Submit a form of one of the simulator's pages, without following a redirect."""
        return self._http.post(url, data=dict(form))

    def user_id(self, reference_id: str | None = None, provider: str | None = None) -> str:
        """Return the newest connection, of any user and provider or only of the named ones."""
        found = [
            user["user_id"]
            for user in self.call("GET", "/users")
            if user["created_at"]
            and reference_id in {None, user["reference_id"]}
            and provider in {None, user["provider"]}
        ]
        if not found:
            which = f" of {provider}" if provider else ""
            message = (
                f"{reference_id or 'no user'} has no connection{which}: "
                f"run `terra-simulator trigger auth --user {reference_id or 'alice'}`, or use the simulator's page"
            )
            raise ControlError(message)
        return str(found[-1])

    def trigger(
        self, event_type: str, *, reference_id: str | None, provider: str | None, fields: Mapping[str, object]
    ) -> list[Delivery]:
        """Let an event occur, and return its webhooks after their first attempts.

        Args:
            event_type: `auth` connects the user, `user_reauth` connects the same account again.
            reference_id: the user. Without one, `auth` creates a connection without an owner, and every other event is
                about the newest connection.
            provider: of the connection.
            fields: of the event; for `auth` and `user_reauth`, of the control API's call.
        """
        if event_type == "auth":
            named = {"reference_id": reference_id, "provider": provider or "FITBIT"}
            answer = self.call("POST", "/users", {**named, **fields})
        else:
            place = f"/users/{self.user_id(reference_id, provider)}"
            if event_type == "user_reauth":
                answer = self.call("POST", f"{place}/reauth", fields)
            else:
                answer = self.call("POST", f"{place}/events", {"type": event_type, **fields})
        return [Delivery.of(each) for each in answer["deliveries"]]
