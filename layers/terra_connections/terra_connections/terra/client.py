"""The client of Terra's REST API, over an `httpx.Client` that is passed in.

Source: Terra's OpenAPI documents (2026.07 and 2026.10) and FAQ. A success is accepted only if it contains all required
fields. No call follows redirects.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit

import httpx

from terra_connections.connections.facts import scopes_from
from terra_connections.data_types import WITHOUT_PERIOD
from terra_connections.errors import TerraRejected, TooManyRequests, UnknownResource
from terra_connections.ids import (
    ReferenceId,
    UserId,
    reference_id_from,
    session_id_from,
    user_id_from,
)
from terra_connections.terra.models import (
    DataRequest,
    Login,
    LoginRequest,
    MobileToken,
    UserInfo,
    UserPage,
    WidgetSession,
)
from terra_connections.terra.providers import Provider, parse_providers, resource_of
from terra_connections.terra.responses import (
    check_input,
    json_object,
    listed_user_ids,
    parse_success,
    retry_after_from,
    seconds_from,
    warnings_from,
)
from terra_connections.terra.transport import exchange, unusable_response

LOGIN_WITHIN = timedelta(seconds=18)
"""With two attempts to connect this is below the function's timeout of 28 s, and API Gateway's of 30 s."""
ANSWER_WITHIN = timedelta(seconds=10)

WIDGET_OPEN_FOR = timedelta(seconds=900)
"""The default lifetime of a widget's link: the shorter of the two values in Terra's documents (900, 86400)."""

DATA_TOKEN_PREFIX = "terra_dt_"  # noqa: S105 - the prefix of such tokens, not a token
"""A data token is sent as a bearer token, an API key in its own header.

Source: tryterra/agent-skills, terra-mobile-sdk/SKILL.md (2026). Terra's Vantage document (2026.10.22) sends `dev-id`
beside a data token, and no document forbids it.
"""

_REFERENCE = re.compile(r"[!-~]{1,256}", re.ASCII)
_ADDRESS = re.compile(r"[!-~]+", re.ASCII)
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_WIDGET_IS_ELSEWHERE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


class TerraClient:
    """Calls Terra with the account's credentials.

    Every call can raise `TerraRejected` or a subclass (401, 402, 403 and other rejections), `TooManyRequests` (429), or
    `TerraUnavailable` or its subclass (timeout, 5xx, or a response without the required fields).
    """

    def __init__(
        self,
        client: httpx.Client,
        *,
        api_url: str,
        widget_url: str,
        dev_id: str,
        api_key: Callable[[], str],
        mobile_token_path: str = "/auth/tokens",  # noqa: S107 - a path
        is_local: bool = False,
        on_call: Callable[[str, int | None, float], None] = lambda _call, _status, _milliseconds: None,
    ) -> None:
        """Create a client.

        Args:
            client: the HTTP client.
            api_url: the base URL of Terra's API.
            widget_url: the full URL of the widget's endpoint; Terra has published several.
            dev_id: the account's `dev-id`.
            api_key: returns an API key or a data token.
            mobile_token_path: the path of the endpoint for mobile tokens.
            is_local: allows http for login URLs on this machine, as does an `api_url` on this machine.
            on_call: is called after each call with its path, the status (if any) and the duration in milliseconds.
        """
        self._client = client
        self._on_call = on_call
        self._api_url = api_url.rstrip("/")
        self._widget_url = widget_url
        self._dev_id = dev_id
        self._api_key = api_key
        self._mobile_token_path = mobile_token_path
        self._is_local = is_local or urlsplit(api_url).hostname in _LOOPBACK

    def authenticate_user(self, login: LoginRequest, *, resource: str) -> Login:
        """Prepare a login at one provider. Each call creates another pending user at Terra.

        Raises:
            UnknownResource: Terra does not know the provider, or it is not enabled.
            InputRefused: Terra rejects the request for another reason, for example because of an SDK provider.
        """
        status, content = self._ask(
            "POST",
            "/auth/authenticateUser",
            params={"resource": resource},
            body=login.as_terra(),
            within=LOGIN_WITHIN,
        )
        if status == HTTPStatus.NOT_FOUND:
            message = f"Terra does not offer {resource} to this account."
            raise UnknownResource(message)
        check_input(status)
        answer = json_object(parse_success(status, content))
        user_id, auth_url = user_id_from(answer.get("user_id")), self._web_address(answer.get("auth_url"))
        if user_id is None or auth_url is None:
            raise unusable_response()
        return Login(user_id, auth_url)

    def widget_session(self, login: LoginRequest, *, resources: Sequence[str]) -> WidgetSession:
        """Prepare a page on which the user picks one of these providers, or without any, one of all enabled ones.

        Source: Terra's "Widget" page (November 2026) and widget document (2026.10.08). `providers` is one
        comma-separated string; Terra returns 500 for a list. A success is 200 or 201. A provider that Terra does not
        offer is a warning in the newer response, and 400 in the older one if there is no other provider.

        Raises:
            InputRefused: Terra rejects the request, for example because it offers none of the providers.
        """
        body = login.as_terra() | ({"providers": ",".join(resources)} if resources else {})
        status, content = self._ask("POST", "/widget/session", url=self._widget_url, body=body, within=LOGIN_WITHIN)
        if status in _WIDGET_IS_ELSEWHERE:
            message = (
                f"Terra has no widget at the configured address, or has retired it ({status}): set the parameter "
                "TerraWidgetUrl (TERRA_WIDGET_URL) to the address in Terra's current documentation."
            )
            raise TerraRejected(message)
        check_input(status)
        answer = json_object(parse_success(status, content))
        session_id, link = session_id_from(answer.get("session_id")), self._web_address(answer.get("url"))
        if session_id is None or link is None:
            raise unusable_response()
        open_for = seconds_from(answer.get("expires_in")) or WIDGET_OPEN_FOR
        return WidgetSession(session_id, link, open_for, warnings_from(answer.get("warnings")))

    def user_info(self, user_id: UserId, *, within: timedelta) -> UserInfo | None:
        """Return Terra's data about one connection; None if Terra does not know it (404)."""
        status, content = self._ask("GET", "/userInfo", params={"user_id": user_id}, within=within)
        if status == HTTPStatus.NOT_FOUND:
            return None
        answer = json_object(parse_success(status, content))
        user, is_authenticated = answer.get("user"), answer.get("is_authenticated")
        if not isinstance(user, dict) or user.get("user_id") != user_id or not isinstance(is_authenticated, bool):
            raise unusable_response()
        provider = user.get("provider")
        return UserInfo(
            user_id=user_id,
            is_authenticated=is_authenticated,
            provider=provider.upper() if isinstance(provider, str) else None,
            reference_id=reference_id_from(user.get("reference_id")),
            scopes=scopes_from(user.get("scopes")),
        )

    def list_user_ids(self, reference_id: ReferenceId, *, within: timedelta = ANSWER_WITHIN) -> list[UserId]:
        """Return the `user_id`s that Terra lists for a user. The list is not authoritative: check each one."""
        status, content = self._ask("GET", "/userInfo", params={"reference_id": reference_id}, within=within)
        if status == HTTPStatus.NOT_FOUND:
            return []
        answer = parse_success(status, content)
        # Two formats are documented: an array, and an object that contains it.
        return listed_user_ids(answer.get("users") if isinstance(answer, dict) else answer)

    def filter_known(self, user_ids: Sequence[UserId]) -> set[UserId]:
        """Return those of these `user_id`s that Terra lists. The list is not authoritative in either direction."""
        status, content = self._ask("POST", "/bulkUserInfo", body=list(user_ids))
        if status == HTTPStatus.NOT_FOUND:
            # Terra documents 404, but not whether for one, some or all of the ids. Halving the list finds out.
            half = len(user_ids) // 2
            return self.filter_known(user_ids[:half]) | self.filter_known(user_ids[half:]) if half else set()
        return set(listed_user_ids(parse_success(status, content))) & set(user_ids)

    def list_users_page(self, page: int, *, per_page: int = 500) -> UserPage:
        """Return one page of all users that Terra lists.

        Source: Terra's documents. `{users}` contains all users; `{next, max_page, results}` is a page, which was inside
        `data` until 2026.10. Only `next` is used: `max_page` has meant both the last index and the number of pages.
        """
        params = {"page": str(page), "per_page": str(per_page)}
        status, content = self._ask("GET", "/subscriptions", params=params)
        answer = json_object(parse_success(status, content))
        if "users" in answer:
            # A mix of the formats does not show whether there is another page.
            if answer.keys() & {"data", "next", "results"}:
                raise unusable_response()
            return UserPage(tuple(listed_user_ids(answer["users"])), None)
        listed = json_object(answer["data"]) if "data" in answer else answer
        following = listed.get("next", page)
        if following is not None and (type(following) is not int or following <= page):
            raise unusable_response()
        return UserPage(tuple(listed_user_ids(listed.get("results"))), following)

    def deauthenticate(self, user_id: UserId, *, within: timedelta = ANSWER_WITHIN) -> None:
        """Disconnect a user at Terra, irreversibly. A 404 (Terra no longer knows it) is a success, too."""
        status, content = self._ask("DELETE", "/auth/deauthenticateUser", params={"user_id": user_id}, within=within)
        if status != HTTPStatus.NOT_FOUND:
            parse_success(status, content)

    def request_data(self, user_id: UserId, type_: str, first: date, end: date) -> DataRequest | None:
        """Request the data of a period, which Terra sends to the webhook; None if Terra does not know the user.

        Source: Terra's OpenAPI document (2026.10), `DataSentToWebhook`. `message` is only in the answer to a request
        for more than a month.

        Args:
            user_id: the connection.
            type_: of `data_types.REQUESTED`; the athlete has no period.
            first: the first day.
            end: `end_date`.
        """
        period = {} if type_ == WITHOUT_PERIOD else {"start_date": first.isoformat(), "end_date": end.isoformat()}
        status, content = self._ask("GET", f"/{type_}", params={"user_id": user_id, **period, "to_webhook": "true"})
        if status == HTTPStatus.NOT_FOUND:
            return None
        answer = json_object(parse_success(status, content))
        reference = answer.get("reference")
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise unusable_response()
        return DataRequest(reference, is_large=bool(answer.get("message")))

    def mobile_token(self, reference_id: ReferenceId) -> MobileToken:
        """Return a single-use token for Apple Health, Samsung Health and Health Connect, bound to this user.

        Terra then ignores the `reference_id` that the SDK sends. A `reference_id` in the body would be ignored, and the
        token bound to no user, without any sign of it in the response. Source: Terra's OpenAPI document (2026.10.08),
        "/auth/tokens".
        """
        status, content = self._ask("POST", self._mobile_token_path, params={"reference_id": reference_id})
        answer = json_object(parse_success(status, content))
        token, expires_in = answer.get("token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(expires_in, int) or isinstance(expires_in, bool):
            raise unusable_response()
        return MobileToken(token, expires_in)

    def providers(self, *, within: timedelta) -> list[Provider]:
        """Return the providers that are enabled for the account. The calls need no API key.

        Two calls, because only the list `sdk_providers` shows which providers are SDK providers.
        """
        ends_at = time.monotonic() + within.total_seconds()
        status, content = self._ask(
            "GET", "/integrations/detailed", params={"sdk": "true"}, within=within, is_keyless=True
        )
        entries = json_object(parse_success(status, content)).get("providers")
        remaining = timedelta(seconds=max(ends_at - time.monotonic(), 0.1))
        status, content = self._ask("GET", "/integrations", within=remaining, is_keyless=True)
        sdk = json_object(parse_success(status, content)).get("sdk_providers")
        if not isinstance(entries, list) or not isinstance(sdk, list):
            raise unusable_response()
        # An empty list is valid. A list without any usable provider is not.
        if entries and not any(resource_of(entry) for entry in entries):
            raise unusable_response()
        return parse_providers(entries, sdk=sdk)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        url: str | None = None,
        params: Mapping[str, str] | None = None,
        within: timedelta = ANSWER_WITHIN,
        body: Mapping[str, str] | Sequence[str] | None = None,
        is_keyless: bool = False,
    ) -> tuple[int, bytes]:
        """Send one request, and return the response's status and body.

        `path` is the call's name, and its path unless `url` is given.

        Raises:
            TerraUnavailable: there was no complete response in time.
            TooManyRequests: Terra's rate limit (429).
        """
        headers = {"dev-id": self._dev_id} if is_keyless else credentials(self._dev_id, self._api_key())
        content = None if method == "GET" else b""
        if body is not None:
            content = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        address = self._api_url + path if url is None else url
        address = f"{address}?{urlencode(params, quote_via=quote)}" if params else address
        started, answer = time.perf_counter(), None
        try:
            answer = exchange(self._client, method, address, headers=headers, content=content, within=within)
        finally:
            status = answer.status if answer else None
            self._on_call(path, status, (time.perf_counter() - started) * 1000)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            message = "Terra's rate limit is used up."
            raise TooManyRequests(message, retry_after=retry_after_from(answer.retry_after))
        return answer.status, answer.content

    def _web_address(self, value: object) -> str | None:
        """Return a URL to which a browser may be redirected, unchanged; None if the value is not one."""
        if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
            return None
        try:
            scheme, host = urlsplit(value).scheme, urlsplit(value).hostname
        except ValueError:
            return None
        is_allowed = scheme == "https" or (scheme == "http" and self._is_local and host in _LOOPBACK)
        return value if is_allowed and host else None


def credentials(dev_id: str, api_key: str) -> dict[str, str]:
    """Return the authentication headers: an API key in `x-api-key`, a data token as a bearer token."""
    if api_key.startswith(DATA_TOKEN_PREFIX):
        return {"dev-id": dev_id, "authorization": f"Bearer {api_key}"}
    return {"dev-id": dev_id, "x-api-key": api_key}
