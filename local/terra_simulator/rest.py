"""Terra's REST API, under the paths and with the answers of its published OpenAPI document (https://docs.tryterra.co)."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from local.terra_simulator import answers
from local.terra_simulator.people import User
from local.terra_simulator.providers import PROVIDERS
from local.terra_simulator.simulator import MOBILE_TOKEN_LIFETIME_S, LoginRequest, Simulator
from local.terra_simulator.sockets import cut

Endpoint = Callable[[Request], Awaitable[Response]]
DEFAULT_PAGE_SIZE = 500


class RestApi:
    """The endpoints that a developer's back end calls."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    def routes(self) -> list[BaseRoute]:
        """Return the paths; everything else under /api is Terra's 404."""
        table: list[tuple[str, str, Endpoint]] = [
            ("POST", "/api/v2/auth/authenticateUser", self._guarded(self.authenticate_user)),
            ("POST", "/api/v2/auth/tokens", self._guarded(self.mobile_token)),
            ("POST", "/api/v2/auth/generateAuthToken", self._guarded(self.mobile_token)),
            ("POST", "/api/v2/auth/generateWidgetSession", self._guarded(self.generate_widget_session)),
            ("DELETE", "/api/v2/auth/deauthenticateUser", self._guarded(self.deauthenticate_user)),
            ("GET", "/api/v2/userInfo", self._guarded(self.user_info)),
            ("POST", "/api/v2/bulkUserInfo", self._guarded(self.bulk_user_info)),
            ("GET", "/api/v2/subscriptions", self._guarded(self.subscriptions)),
            ("GET", "/api/v2/integrations", self.integrations),
            ("GET", "/api/v2/integrations/detailed", self.integrations_detailed),
            ("POST", "/api/widget/session", self._guarded(self.widget_session)),
        ]
        routes: list[BaseRoute] = [
            Route(path, self._door(endpoint), methods=[method]) for method, path, endpoint in table
        ]
        everything = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [*routes, Route("/api/{rest:path}", self._door(self.nothing_here), methods=everything)]

    # -- the doors -------------------------------------------------------------------------------------------------

    def _door(self, endpoint: Endpoint) -> Endpoint:
        """Write every call down, and let ordered faults befall it."""

        async def enter(request: Request) -> Response:
            call = self._terra.journal.record(request, await request.body(), now=self._terra.clock())
            fault = self._terra.faults.take(request.method, request.url.path)
            if fault is None:
                response = await endpoint(request)
            else:
                await asyncio.sleep(fault.delay_s)
                is_answered_by_endpoint = fault.kind == "slow"
                response = fault.answer(request)
                if is_answered_by_endpoint or fault.stage == "after":
                    answered = await endpoint(request)
                    response = answered if is_answered_by_endpoint else response
            # What happened is kept before the caller hears of it.
            self._terra.save()
            if fault is not None and fault.kind == "disconnect":
                await cut(request.client)
            else:
                call.status = response.status_code
            return response

        return enter

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """Let only the developer's own credentials pass."""

        async def check(request: Request) -> Response:
            dev_id, api_key = request.headers.get("dev-id"), request.headers.get("x-api-key")
            if not dev_id or not api_key:
                return answers.problem(
                    request, HTTPStatus.UNAUTHORIZED, "dev-id or x-api-key headers are missing or malformed"
                )
            if dev_id != self._terra.dev_id:
                return answers.problem(request, HTTPStatus.UNAUTHORIZED, "dev-id and x-api-key do not match")
            if not hmac.compare_digest(api_key.encode(), self._terra.api_key.encode()):
                # Terra's document gives this one answer the plain media type.
                return answers.problem(
                    request, HTTPStatus.FORBIDDEN, "invalid credentials", media_type="application/json"
                )
            return await endpoint(request)

        return check

    # -- logging in ------------------------------------------------------------------------------------------------

    async def authenticate_user(self, request: Request) -> Response:
        """Pre-issue a user for one provider and return its login link; every call makes another pending user."""
        resource = request.query_params.get("resource")
        if not resource:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "resource is missing")
        provider = PROVIDERS.get(resource)
        if provider is None:
            return answers.problem(request, HTTPStatus.NOT_FOUND, f"resource {resource} not found")
        if provider.is_sdk:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, f"{resource} is connected by the mobile SDK")
        try:
            asked = LoginRequest.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, _explained(error))
        login = self._terra.begin_login(resource, asked)
        return JSONResponse(
            {
                "status": "success",
                "user_id": login.user_id,
                "auth_url": f"{self._terra.settings.public_url}/login/{login.token}",
            }
        )

    async def widget_session(self, request: Request) -> Response:
        """Open the widget; `providers` is one comma-separated text, and anything else breaks the server."""
        try:
            fields = json.loads(await request.body() or b"{}")
        except ValueError:
            return answers.legacy(HTTPStatus.BAD_REQUEST, "request body is not valid JSON")
        if not isinstance(fields, dict):
            return answers.legacy(HTTPStatus.BAD_REQUEST, "request body is not an object")
        listed = fields.get("providers")
        if not isinstance(listed, str | None):
            return answers.page(HTTPStatus.INTERNAL_SERVER_ERROR)
        try:
            asked = LoginRequest.model_validate(fields)
        except ValidationError as error:
            return answers.legacy(HTTPStatus.BAD_REQUEST, _explained(error))
        names = [name.strip() for name in listed.split(",")] if listed else self._terra.settings.enabled_providers
        providers = [name for name in names if name in PROVIDERS]
        if not providers:
            return answers.legacy(HTTPStatus.BAD_REQUEST, "no valid provider in providers")
        session = self._terra.open_widget(providers, asked)
        return JSONResponse(
            {
                "status": "success",
                "session_id": session.session_id,
                "url": f"{self._terra.settings.public_url}/widget/session/{session.session_id}",
                "expires_in": int(self._terra.settings.widget_expires_in_s),
            },
            self._terra.settings.widget_status,
        )

    async def generate_widget_session(self, request: Request) -> Response:
        """Answer as the endpoint that Terra has switched off."""
        del request
        return answers.legacy(HTTPStatus.GONE, "This endpoint has been replaced by /api/widget/session")

    async def mobile_token(self, request: Request) -> Response:
        """Return a token for a mobile SDK: one use, 180 seconds.

        It is bound to the `reference_id` of the query. One in a body is ignored without a word, as Terra does.
        """
        token = self._terra.issue_mobile_token(request.query_params.get("reference_id")).token
        return JSONResponse({"status": "success", "token": token, "expires_in": MOBILE_TOKEN_LIFETIME_S})

    async def deauthenticate_user(self, request: Request) -> Response:
        """Forget a connection; a `deauth` webhook follows."""
        user_id = request.query_params.get("user_id")
        if not user_id:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "user_id is missing")
        user = self._terra.people.users.get(user_id)
        if user is None:
            return _unknown_user(request)
        self._terra.deauthenticate(user)
        return JSONResponse({"status": "success"})

    # -- asking ----------------------------------------------------------------------------------------------------

    async def user_info(self, request: Request) -> Response:
        """Describe one connection, or all of one person."""
        user_id, reference_id = request.query_params.get("user_id"), request.query_params.get("reference_id")
        if user_id:
            user = self._terra.people.users.get(user_id)
            return _unknown_user(request) if user is None else JSONResponse(_user_info(user))
        if not reference_id:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "user_id or reference_id is missing")
        found = self._terra.people.of_reference(reference_id, pending=self._terra.settings.lists_include_pending)
        if not found and self._terra.settings.unknown_reference == "not_found":
            return _unknown_user(request)
        users = [user.as_terra() for user in found]
        return JSONResponse(users if self._terra.settings.userinfo_reference_shape == "array" else {"users": users})

    async def bulk_user_info(self, request: Request) -> Response:
        """Describe many connections; unknown ids are left out."""
        try:
            user_ids = json.loads(await request.body())
        except ValueError:
            user_ids = None
        if not isinstance(user_ids, list) or not all(isinstance(user_id, str) for user_id in user_ids):
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "request body is not a list of user ids")
        users = self._terra.people.users
        return JSONResponse([users[user_id].as_terra() for user_id in user_ids if user_id in users])

    async def subscriptions(self, request: Request) -> Response:
        """Describe everybody, in one answer or in pages."""
        users = [user.as_terra() for user in self._terra.people.listed(pending=self._listed_pending)]
        if "page" not in request.query_params:
            return JSONResponse({"users": users})
        try:
            page = int(request.query_params["page"])
            size = int(request.query_params.get("per_page", DEFAULT_PAGE_SIZE))
        except ValueError:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "page and per_page must be integers")
        if page < 0 or size < 1:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "page or per_page is out of range")
        last = max(0, (len(users) - 1) // size)
        return JSONResponse(
            {
                "data": {
                    "next": page + 1 if page < last else None,
                    "max_page": last,
                    "results": users[page * size : (page + 1) * size],
                }
            }
        )

    @property
    def _listed_pending(self) -> bool:
        return self._terra.settings.lists_include_pending

    async def integrations(self, request: Request) -> Response:
        """List the names of providers: all of Terra's, or with a dev-id the enabled ones."""
        names = self._visible_providers(request)
        if names is None:
            return answers.problem(request, HTTPStatus.UNAUTHORIZED, "dev-id is not known")
        return JSONResponse(
            {
                "status": "success",
                "providers": [name for name in names if not PROVIDERS[name].is_sdk],
                "sdk_providers": [name for name in names if PROVIDERS[name].is_sdk],
            }
        )

    async def integrations_detailed(self, request: Request) -> Response:
        """Describe providers; those of the mobile SDK only with `sdk=true`."""
        names = self._visible_providers(request)
        if names is None:
            return answers.problem(request, HTTPStatus.UNAUTHORIZED, "dev-id is not known")
        with_sdk = request.query_params.get("sdk", "").lower() == "true"
        return JSONResponse(
            {
                "status": "success",
                "providers": [
                    PROVIDERS[name].as_integration(is_enabled=name in self._terra.settings.enabled_providers)
                    for name in names
                    if with_sdk or not PROVIDERS[name].is_sdk
                ],
            }
        )

    def _visible_providers(self, request: Request) -> list[str] | None:
        dev_id = request.headers.get("dev-id")
        if not dev_id:
            return list(PROVIDERS)
        return list(self._terra.settings.enabled_providers) if dev_id == self._terra.dev_id else None

    async def nothing_here(self, request: Request) -> Response:
        """Answer a path or method that Terra does not have, as its web server does."""
        del request
        return answers.page(HTTPStatus.NOT_FOUND)


def _user_info(user: User) -> dict[str, object]:
    polled: dict[str, object] = {"last_polled_at": None, "most_recent_data_at": None}
    return {"status": "success", "user": user.as_terra() | polled, "is_authenticated": user.is_authenticated}


def _unknown_user(request: Request) -> Response:
    return answers.problem(request, HTTPStatus.NOT_FOUND, "user not found")


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"invalid {'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
