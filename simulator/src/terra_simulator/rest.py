"""Terra's REST API, with the paths and responses of its published OpenAPI document (https://docs.tryterra.co)."""

import hmac
import json
from http import HTTPStatus
from typing import get_args

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from terra_simulator import answers
from terra_simulator.calls import HttpEndpoint as Endpoint
from terra_simulator.calls import recorded
from terra_simulator.data_reads import DataReads, unknown_user
from terra_simulator.providers import PROVIDERS, SYNTHETIC
from terra_simulator.settings import WidgetPath
from terra_simulator.simulator import MOBILE_TOKEN_LIFETIME_S, LoginRequest, Simulator
from terra_simulator.users import User

DEFAULT_PAGE_SIZE = 500


class RestApi:
    """The endpoints that a developer's back end calls."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator
        self._reads = DataReads(simulator).endpoints()

    def routes(self) -> list[BaseRoute]:
        """Return the paths; everything else under /api is Terra's 404."""
        table: list[tuple[str, str, Endpoint]] = [
            ("POST", "/api/v2/auth/authenticateUser", self._guarded(self._entitled(self.authenticate_user))),
            ("POST", "/api/v2/auth/tokens", self._guarded(self._entitled(self.mobile_token))),
            ("POST", "/api/v2/auth/generateAuthToken", self._guarded(self._entitled(self.mobile_token))),
            ("DELETE", "/api/v2/auth/deauthenticateUser", self._guarded(self.deauthenticate_user)),
            ("GET", "/api/v2/userInfo", self._guarded(self.user_info)),
            ("POST", "/api/v2/bulkUserInfo", self._guarded(self.bulk_user_info)),
            ("GET", "/api/v2/subscriptions", self._guarded(self.subscriptions)),
            ("GET", "/api/v2/integrations", self.integrations),
            ("GET", "/api/v2/integrations/detailed", self.integrations_detailed),
            *(("POST", path, self._widget(path)) for path in get_args(WidgetPath)),
            *(
                ("GET", f"/api/v2/{name}", self._guarded(self._entitled(read, is_login=False)))
                for name, read in self._reads.items()
            ),
        ]
        routes: list[BaseRoute] = [
            Route(path, recorded(self._terra, endpoint), methods=[method]) for method, path, endpoint in table
        ]
        everything = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [*routes, Route("/api/{rest:path}", recorded(self._terra, self.nothing_here), methods=everything)]

    # -- wrappers --------------------------------------------------------------------------------------------------

    def _guarded(self, endpoint: Endpoint, *, is_widget: bool = False) -> Endpoint:
        """Reject every request without the developer's own credentials."""

        async def check(request: Request) -> Response:
            refused = self._refused_credentials(request)
            if refused is None:
                return await endpoint(request)
            status, detail = refused
            if is_widget and not self._terra.settings.is_july:
                return answers.legacy(HTTPStatus.FORBIDDEN, detail)
            # Terra's document gives 403 the media type application/json.
            is_plain = status == HTTPStatus.FORBIDDEN
            return answers.problem(
                request, status, detail, media_type="application/json" if is_plain else "application/problem+json"
            )

        return check

    def _refused_credentials(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """Return what is wrong with a request's credentials: `dev-id` and `x-api-key`, or a data token."""
        dev_id, api_key = request.headers.get("dev-id"), request.headers.get("x-api-key")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        valid = {self._terra.api_key, self._terra.settings.data_token or self._terra.api_key}
        if scheme.lower() == "bearer":
            given, valid = token, {each for each in valid if each.startswith("terra_dt_")}
        elif dev_id and api_key:
            given, valid = api_key, {each for each in valid if not each.startswith("terra_dt_")}
        else:
            return HTTPStatus.UNAUTHORIZED, "dev-id or x-api-key headers are missing or malformed"
        if dev_id and dev_id != self._terra.dev_id:
            return HTTPStatus.UNAUTHORIZED, "dev-id and x-api-key do not match"
        if not any(hmac.compare_digest(given.encode(), each.encode()) for each in valid):
            return HTTPStatus.FORBIDDEN, "invalid credentials"
        return None

    def _entitled(self, endpoint: Endpoint, *, is_login: bool = True) -> Endpoint:
        """Reject calls that the account may not make now (https://docs.tryterra.co, OpenAPI document 2026.10.08)."""

        async def check(request: Request) -> Response:
            match self._terra.settings.account:
                case "in_order":
                    return await endpoint(request)
                case "user_limit" if not is_login:
                    return await endpoint(request)
                case "user_limit":
                    return answers.problem(request, HTTPStatus.PAYMENT_REQUIRED, "past the user limit")
                case "authorization_unavailable" as code:
                    return answers.problem(request, HTTPStatus.SERVICE_UNAVAILABLE, "try again", code=code)
                case code:
                    return answers.problem(
                        request, HTTPStatus.FORBIDDEN, "not on this account", code=code, product="unified_api"
                    )

        return check

    # -- logging in ------------------------------------------------------------------------------------------------

    async def authenticate_user(self, request: Request) -> Response:
        """Pre-issue a user for one provider and return its login link; every call creates another pending user."""
        resource = request.query_params.get("resource")
        if not resource:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "resource is missing")
        provider = PROVIDERS.get(resource)
        if provider is None:
            return answers.problem(request, HTTPStatus.NOT_FOUND, f"resource {resource} not found")
        if provider.is_sdk:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, f"{resource} is connected by the mobile SDK")
        try:
            login_request = LoginRequest.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, _explained(error))
        login = self._terra.begin_login(resource, login_request)
        return JSONResponse(
            {
                "status": "success",
                "user_id": login.user_id,
                "auth_url": f"{self._terra.settings.public_url}/login/{login.token}",
            }
        )

    async def widget_session(self, request: Request) -> Response:
        """Open the widget; `providers` is one comma-separated text, and any other type gives a server error."""
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
            login_request = LoginRequest.model_validate(fields)
        except ValidationError as error:
            return answers.legacy(HTTPStatus.BAD_REQUEST, _explained(error))
        settings = self._terra.settings
        names = [name.strip() for name in listed.split(",")] if listed else list(settings.enabled_providers)
        if settings.is_july:
            providers, unknown = [name for name in names if name in PROVIDERS], []
        else:
            providers = [name for name in names if name in settings.enabled_providers]
            unknown = [name for name in names if name not in providers]
        if not providers and settings.is_july:
            return answers.legacy(HTTPStatus.BAD_REQUEST, "no valid provider in providers")
        # It is not documented what the newer page offers if all requested providers are unknown.
        session = self._terra.open_widget(providers or list(settings.enabled_providers), login_request)
        content: dict[str, object] = {
            "status": "success",
            "session_id": session.session_id,
            "url": f"{settings.public_url}/widget/session/{session.session_id}",
            "expires_in": int(settings.widget_opens_for_s),
        }
        if unknown:
            content["warnings"] = [f"provider {name} is unknown or not enabled" for name in unknown]
        return JSONResponse(content, settings.widget_status or (200 if settings.is_july else 201))

    def _widget(self, path: str) -> Endpoint:
        """Return the widget's endpoint at one of its addresses: the older one, too, is switched off by a setting."""
        is_older = path.startswith("/api/v2")
        answering = self._guarded(self._entitled(self.widget_session), is_widget=not is_older)

        async def gone(_request: Request) -> Response:
            return answers.legacy(HTTPStatus.GONE, "This endpoint has been replaced by /api/widget/session")

        absent = self._guarded(gone) if is_older else self.nothing_here

        async def choose(request: Request) -> Response:
            return await (answering if path in self._terra.settings.widget_paths else absent)(request)

        return choose

    async def mobile_token(self, request: Request) -> Response:
        """Return a token for a mobile SDK: one use, 180 seconds.

        It is bound to the `reference_id` of the query. One in a body is silently ignored, as by Terra.
        """
        token = self._terra.issue_mobile_token(request.query_params.get("reference_id")).token
        return JSONResponse({"status": "success", "token": token, "expires_in": MOBILE_TOKEN_LIFETIME_S})

    async def deauthenticate_user(self, request: Request) -> Response:
        """Remove a connection; a `deauth` webhook follows."""
        user_id = request.query_params.get("user_id")
        if not user_id:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "user_id is missing")
        user = self._terra.users.by_id.get(user_id)
        if user is None:
            return unknown_user(request)
        self._terra.deauthenticate(user)
        return JSONResponse({"status": "success"})

    # -- queries ---------------------------------------------------------------------------------------------------

    async def user_info(self, request: Request) -> Response:
        """Return one connection, or all of one reference_id."""
        user_id, reference_id = request.query_params.get("user_id"), request.query_params.get("reference_id")
        if user_id:
            user = self._terra.users.by_id.get(user_id)
            return unknown_user(request) if user is None else JSONResponse(_user_info(user))
        if not reference_id:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "user_id or reference_id is missing")
        found = self._terra.users.of_reference(reference_id, pending=self._terra.settings.lists_include_pending)
        if not found and self._terra.settings.unknown_reference == "not_found":
            return unknown_user(request)
        users = [user.as_terra() for user in found]
        return JSONResponse(users if self._terra.settings.userinfo_reference_shape == "array" else {"users": users})

    async def bulk_user_info(self, request: Request) -> Response:
        """Return many connections; unknown ids are omitted."""
        try:
            user_ids = json.loads(await request.body())
        except ValueError:
            user_ids = None
        if not isinstance(user_ids, list) or not all(isinstance(user_id, str) for user_id in user_ids):
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "request body is not a list of user ids")
        users = self._terra.users.by_id
        return JSONResponse([users[user_id].as_terra() for user_id in user_ids if user_id in users])

    async def subscriptions(self, request: Request) -> Response:
        """Return all users, in one response or in pages."""
        users = [user.as_terra() for user in self._terra.users.listed(pending=self._listed_pending)]
        is_july = self._terra.settings.is_july
        shape = self._terra.settings.subscriptions_shape or ("data" if is_july else "flat")
        if "page" not in request.query_params or shape == "users":
            return JSONResponse({"users": users} if is_july else {"status": "success", "users": users})
        try:
            page = int(request.query_params["page"])
            size = int(request.query_params.get("per_page", DEFAULT_PAGE_SIZE))
        except ValueError:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "page and per_page must be integers")
        if page < 0 or size < 1:
            return answers.problem(request, HTTPStatus.BAD_REQUEST, "page or per_page is out of range")
        size = min(size, self._terra.settings.largest_page or size)
        last = max(0, (len(users) - 1) // size)
        found: dict[str, object] = {
            "next": page + 1 if page < last else None,
            # The last index until July, the number of pages from October on.
            "max_page": last if shape == "data" else last + 1,
            "results": users[page * size : (page + 1) * size],
        }
        return JSONResponse({"data": found} if shape == "data" else {"status": "success", **found})

    @property
    def _listed_pending(self) -> bool:
        return self._terra.settings.lists_include_pending

    async def integrations(self, request: Request) -> Response:
        """Return the names of providers: all of Terra's, or with a dev-id the enabled ones."""
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
        """Return providers; those of the mobile SDK only with `sdk=true`."""
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
            return [name for name in PROVIDERS if name != SYNTHETIC]
        return list(self._terra.settings.enabled_providers) if dev_id == self._terra.dev_id else None

    async def nothing_here(self, request: Request) -> Response:
        """Respond to a path or method that Terra does not have, as its web server does."""
        del request
        return answers.page(HTTPStatus.NOT_FOUND)


def _user_info(user: User) -> dict[str, object]:
    polled: dict[str, object] = {"last_polled_at": None, "most_recent_data_at": user.most_recent_data_at}
    return {"status": "success", "user": user.as_terra() | polled, "is_authenticated": user.is_authenticated}


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"invalid {'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
