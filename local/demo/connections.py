"""The demo's back end calls the API: whose connections a user's token shows, and why some of them have ended."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import httpx

Json = dict[str, Any]

ENDED_BY: Final = ("revoked", "absent")
"""The kinds of facts that end a connection, as in openapi.yaml."""


class NotAvailableError(Exception):
    """The API did not accept the user's token, or did not respond.

    Attributes:
        status: the status for the page.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the API's response has the status {status}")
        self.status = status


class Connections:
    """Calls the API with the token of a user, and with the back end's own service key."""

    def __init__(self, api_url: str, service_key: str) -> None:
        self._api_url = api_url
        self._service_key = service_key
        self._reasons: dict[tuple[str, str], str] = {}

    async def of(self, authorization: str) -> list[Json]:
        """Return the connections of the user of a token, the ended ones, too: the API verifies it.

        Raises:
            NotAvailableError: the API did not accept the token, or did not respond.
        """
        listed: list[Json] = (await self._get("/connections?include=revoked", authorization))["connections"]
        return listed

    async def reasons(self, authorization: str) -> dict[str, str]:
        """Return why each ended connection of the user has ended, by `user_id`.

        It is the type of Terra's event, `disconnect` for DELETE /connections/{user_id}, or `absent` if Terra no longer
        knows it. Only a service key may read it.

        Raises:
            NotAvailableError: the API did not accept the token, or did not respond.
        """
        ended = [each for each in await self.of(authorization) if each["status"] == "revoked"]
        return {each["user_id"]: await self._reason(each["user_id"], each["updated_at"]) for each in ended}

    async def _reason(self, user_id: str, updated_at: str) -> str:
        key = (user_id, updated_at)
        if key not in self._reasons:
            path = f"/connections/{quote(user_id, safe='')}/facts"
            facts = (await self._get(path, f"Bearer {self._service_key}"))["facts"]  # the newest one first
            newest = next((fact for fact in facts if fact["kind"] in ENDED_BY), {"value": None})
            self._reasons[key] = newest["value"] or "absent"
        return self._reasons[key]

    async def _get(self, path: str, authorization: str) -> Json:
        async with httpx.AsyncClient(base_url=self._api_url, trust_env=False, timeout=30) as api:
            try:
                response = await api.get(path, headers={"Authorization": authorization})
            except httpx.HTTPError:
                raise NotAvailableError(httpx.codes.BAD_GATEWAY) from None
        if not response.is_success:
            raise NotAvailableError(response.status_code)
        body: Json = response.json()
        return body
