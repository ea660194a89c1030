"""The paths of the Admin API, with the scopes that each needs."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from terra_simulator.admin.destination_api import DestinationApi
from terra_simulator.admin.event_api import EventApi, nothing_here
from terra_simulator.admin.guard import Endpoint, Guard
from terra_simulator.admin.token_api import TokenApi
from terra_simulator.admin.user_api import UserApi
from terra_simulator.calls import HttpEndpoint, recorded
from terra_simulator.simulator import Simulator

BASE = "/api/v3/admin"
ENVIRONMENT = "/environments/{dev_id}"
DESTINATIONS = f"{ENVIRONMENT}/unified-api/destinations"
OCTOBER, NOVEMBER = f"{ENVIRONMENT}/webhook-events", f"{ENVIRONMENT}/events"

Line = tuple[str, str, Endpoint, tuple[str, ...]]


class AdminApi:
    """The Admin API as routes."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator
        self._guard = Guard(simulator)
        self._tokens = TokenApi(simulator)
        self._destinations = DestinationApi(simulator)
        self._events = EventApi(simulator)
        self._users = UserApi(simulator)

    def routes(self) -> list[BaseRoute]:
        """Return the paths, and the page on which a login is approved."""
        public = [
            Route(f"{BASE}/auth/device", recorded(self._terra, self._tokens.start_login), methods=["POST"]),
            Route(f"{BASE}/auth/token", recorded(self._terra, self._tokens.finish_login), methods=["POST"]),
            Route("/cli/verify", self._tokens.verify, methods=["GET", "POST"]),
        ]
        guarded = [self._route(line, only=None) for line in (*self._account(), *self._destination_lines())]
        october = [self._route(line, only="october") for line in self._event_lines(OCTOBER)]
        november = [self._route(line, only="november") for line in (*self._event_lines(NOVEMBER), self._rotation())]
        return [*public, *guarded, *october, *november]

    def _route(self, line: Line, *, only: str | None) -> BaseRoute:
        method, path, endpoint, scopes = line
        guarded = self._guard(endpoint, *scopes)

        async def in_version(request: Request) -> Response:
            is_there = only is None or self._terra.settings.admin_version == only
            return await guarded(request) if is_there else await nothing_here(request)

        handler: HttpEndpoint = in_version
        return Route(f"{BASE}{path}", recorded(self._terra, handler), methods=[method])

    def _account(self) -> list[Line]:
        users, tokens = self._users, self._tokens
        synthetic = f"{ENVIRONMENT}/synthetic-users"
        return [
            ("GET", "/me", tokens.me, ()),
            ("POST", "/tokens/self/rotate", tokens.rotate, ()),
            ("DELETE", "/tokens/self", tokens.revoke, ()),
            ("GET", "/environments", users.environments, ("account:read",)),
            ("GET", ENVIRONMENT, users.environment, ("account:read",)),
            ("GET", f"{ENVIRONMENT}/api-key", users.api_key, ("keys:read",)),
            ("GET", f"{ENVIRONMENT}/users", users.all, ("connections:read",)),
            ("GET", synthetic, users.synthetic_users, ("connections:read",)),
            ("POST", synthetic, users.create_synthetic, ("testdata:write",)),
            ("GET", f"{synthetic}/{{user_id}}", users.synthetic_user, ("connections:read",)),
            ("POST", f"{synthetic}/{{user_id}}/start", users.start, ("testdata:write",)),
            ("POST", f"{synthetic}/{{user_id}}/stop", users.stop, ("testdata:write",)),
        ]

    def _destination_lines(self) -> list[Line]:
        api, one = self._destinations, f"{DESTINATIONS}/{{destination_id}}"
        return [
            ("GET", f"{ENVIRONMENT}/unified-api/destination-types", api.types, ("destinations:read",)),
            ("GET", DESTINATIONS, api.all, ("destinations:read",)),
            ("POST", DESTINATIONS, api.create, ("destinations:write",)),
            ("POST", f"{DESTINATIONS}/batch-create", api.create_all, ("destinations:write",)),
            ("GET", one, api.one, ("destinations:read",)),
            ("PATCH", one, api.update, ("destinations:write",)),
            ("DELETE", one, api.delete, ("destinations:write",)),
            ("GET", f"{one}/secrets", api.secrets, ("keys:read",)),
        ]

    def _rotation(self) -> Line:
        path = f"{DESTINATIONS}/{{destination_id}}/signing-secret/rotate"
        return ("POST", path, self._destinations.rotate_secret, ("destinations:write", "keys:write"))

    def _event_lines(self, prefix: str) -> list[Line]:
        api, is_october = self._events, prefix == OCTOBER
        return [
            ("GET", prefix, api.dispatches if is_october else api.all, ("events:read",)),
            ("GET", f"{prefix}/stats", api.stats, ("events:read",)),
            ("POST", f"{prefix}/resend", api.resend, ("events:write",)),
            ("POST", f"{prefix}/generate", api.generate, ("testdata:write",)),
            ("GET", f"{prefix}/{{event_id}}", api.dispatch if is_october else api.one, ("events:read",)),
            ("GET", f"{prefix}/{{event_id}}/payload", api.payload, ("payloads:read",)),
        ]
