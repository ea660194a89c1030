"""The synchronous client of the API."""

from __future__ import annotations

import time
import json
from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from terra_connections_client.retries import Attempts, Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Callable, Sequence
    from types import TracebackType

    from terra_connections_client.models import (
        Backfill,
        Connection,
        ConnectionList,
        CreatedSession,
        Explanation,
        MobileToken,
        Provider,
        Replay,
        Session,
    )


class TerraConnections:
    """The API of a stack. Every method raises `TerraConnectionsError`.

    Requests are repeated when that is safe: after 429, 502, 503, 504 and failed connections, as long as the API asks
    to wait, or for a growing time with jitter. Replays and backfills start anew with each request, so they are repeated
    only if they were certainly not processed.
    """

    def __init__(
        self,
        base_url: str,
        token: str | Callable[[], str],
        *,
        attempts: int = 5,
        longest_wait: float = 30.0,
        timeout: float = 35.0,
        http_client: httpx.Client | None = None,
    ) -> None:
        """Create a client; close it, or use it in a `with` block.

        Args:
            base_url: the URL of the API, the stack's output `ApiUrl`.
            token: a service key, or a user's token. A function is called for each request, for tokens that expire.
            attempts: how often a request is sent at most.
            longest_wait: the longest wait in seconds before a request is repeated. If the API asks for a longer one,
                the call fails at once, with `retry_after`.
            timeout: the seconds to wait for a response; API Gateway responds within 30 s.
            http_client: a client of your own, for example with a proxy. It is not closed.
        """
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._attempts = attempts
        self._longest_wait = longest_wait
        self._owned = None if http_client else httpx.Client(timeout=timeout)
        self._http = http_client or self._owned or httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._owned.close()

    # --- sessions

    def create_session(
        self,
        *,
        reference_id: str | None = None,
        resource: str | None = None,
        resources: Sequence[str] | None = None,
        user_id: str | None = None,
        return_to: str | None = None,
        language: str | None = None,
        idempotency_key: str | None = None,
    ) -> CreatedSession:
        """Start connecting a wearable: open the `auth_url` of the session for the user.

        Args:
            reference_id: your id of the user; required with a service key, except together with `user_id`.
            resource: the provider, for example FITBIT; without it the user picks one.
            resources: the providers that the user may pick from.
            user_id: the connection to repair, instead of a provider.
            return_to: the name of a configured return target.
            language: the language of the pages, for example de-CH.
            idempotency_key: a key of your own, if a later run of your program may repeat this call. By default each
                call has a new key, so that its own retries never create a second session.
        """
        body = {
            "reference_id": reference_id,
            "resource": resource,
            "resources": None if resources is None else list(resources),
            "user_id": user_id,
            "return_to": return_to,
            "language": language,
        }
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        session: CreatedSession = self._post("/sessions", body, headers=headers)
        return session

    def get_session(self, session_id: str) -> Session:
        """Get the status of a session."""
        session: Session = self._get(f"/sessions/{_segment(session_id)}")
        return session

    def wait_for_session(self, session_id: str, *, within: float = 900.0, interval: float = 2.0) -> Session:
        """Poll a session until it is no longer `pending`, for so many seconds at most; then it is returned as it is."""
        ends_at = monotonic() + within
        while True:
            session = self.get_session(session_id)
            if session["status"] != "pending" or monotonic() + interval > ends_at:
                return session
            time.sleep(interval)

    # --- connections

    def list_connections(
        self, reference_id: str | None = None, *, include_revoked: bool = False
    ) -> list[Connection]:
        """List a user's connections; `reference_id` is required with a service key."""
        query = {} if reference_id is None else {"reference_id": reference_id}
        page: ConnectionList = self._get("/connections", query | _revoked(include_revoked))
        return page["connections"]

    def all_connections(
        self, *, page_size: int = 100, include_revoked: bool = False
    ) -> Iterator[Connection]:
        """Iterate over the connections of all users, with a service key."""
        for page in self.connection_pages(page_size=page_size, include_revoked=include_revoked):
            for connection in page["connections"]:
                yield connection

    def connection_pages(
        self, *, page_size: int = 100, include_revoked: bool = False, cursor: str | None = None
    ) -> Iterator[ConnectionList]:
        """Iterate over the pages of all users' connections, with a service key.

        Args:
            page_size: how many items a page reads.
            include_revoked: also those that are disconnected.
            cursor: `next_cursor` of a page, to go on after it; it is valid for a day.
        """
        while True:
            query = {"limit": str(page_size)} | ({"cursor": cursor} if cursor else {})
            page: ConnectionList = self._get("/connections", query | _revoked(include_revoked))
            yield page
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def get_connection(self, user_id: str) -> Connection:
        """Get the connection of a `user_id` of Terra."""
        connection: Connection = self._get(f"/connections/{_segment(user_id)}")
        return connection

    def get_facts(self, user_id: str) -> Explanation:
        """Explain the status of a connection, with a service key."""
        explanation: Explanation = self._get(f"/connections/{_segment(user_id)}/facts")
        return explanation

    def disconnect(self, user_id: str) -> None:
        """Disconnect one wearable."""
        self._send(Call("DELETE", f"/connections/{_segment(user_id)}"))

    def sync_connections(self, reference_id: str | None = None) -> list[Connection]:
        """Update a user's connections from Terra, even if webhooks were lost, and return them."""
        page: ConnectionList = self._post("/connections/sync", {"reference_id": reference_id})
        return page["connections"]

    def erase_user(self, reference_id: str | None = None) -> None:
        """Erase a user's data. 503 `erasure_unfinished` is repeated, and each request continues the erasure."""
        self._post("/erasures", {"reference_id": reference_id})

    # --- health data

    def create_replay(
        self,
        *,
        reference_id: str | None = None,
        user_id: str | None = None,
        types: Sequence[str] | None = None,
        from_: str | None = None,
        to: str | None = None,
    ) -> Replay:
        """Announce stored payloads again, with a service key."""
        replay: Replay = self._post(
            "/replays", _period(reference_id, user_id, types, from_, to), is_repeatable=False
        )
        return replay

    def create_backfill(
        self,
        *,
        from_: str,
        to: str | None = None,
        reference_id: str | None = None,
        user_id: str | None = None,
        types: Sequence[str] | None = None,
    ) -> Backfill:
        """Request the data of a past period."""
        backfill: Backfill = self._post(
            "/backfills", _period(reference_id, user_id, types, from_, to), is_repeatable=False
        )
        return backfill

    def get_backfill(self, backfill_id: str) -> Backfill:
        """Get the state of a backfill."""
        backfill: Backfill = self._get(f"/backfills/{_segment(backfill_id)}")
        return backfill

    # --- providers

    def list_providers(self) -> list[Provider]:
        """List the available providers."""
        providers: list[Provider] = (self._get("/providers"))["providers"]
        return providers

    def create_mobile_token(self, reference_id: str | None = None) -> MobileToken:
        """Create a single-use token for Terra's mobile SDKs."""
        token: MobileToken = self._post("/mobile-tokens", {"reference_id": reference_id})
        return token

    # --- requests

    def _get(self, path: str, query: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        return self._send(Call("GET", path, query or {}))

    def _post(
        self, path: str, body: dict[str, Any], *, headers: dict[str, str] | None = None, is_repeatable: bool = True
    ) -> Any:  # noqa: ANN401 - JSON
        # Each attempt sends the same bytes: the API compares them for an Idempotency-Key.
        content = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self._send(Call("POST", path, {}, content, headers, is_repeatable))

    def _send(self, call: Call) -> Any:  # noqa: ANN401 - JSON
        attempts = Attempts(call, self._attempts, self._longest_wait)
        while True:
            token = self._token if isinstance(self._token, str) else self._token()
            try:
                response = self._http.request(
                    call.method,
                    f"{self._base_url}{call.path}",
                    params=call.query,
                    content=call.content,
                    headers={"Authorization": f"Bearer {token}", **call.headers},
                )
            except httpx.TransportError as error:
                wait = attempts.after(error)
            else:
                if response.is_success:
                    return response.json() if response.content else None
                wait = attempts.after(response)
            time.sleep(wait)


def _segment(text: str) -> str:
    """Return a segment of a path."""
    return quote(text, safe="")


def _revoked(is_included: bool) -> dict[str, str]:  # noqa: FBT001 - its name is that of the option
    return {"include": "revoked"} if is_included else {}


def _period(
    reference_id: str | None, user_id: str | None, types: Sequence[str] | None, from_: str | None, to: str | None
) -> dict[str, Any]:
    return {
        "reference_id": reference_id,
        "user_id": user_id,
        "types": None if types is None else list(types),
        "from": from_,
        "to": to,
    }
