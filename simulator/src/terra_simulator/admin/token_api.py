"""Tokens of the Admin API: the login by device code (RFC 8628), `/me`, rotation and revocation."""

import socket
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from terra_simulator import pages
from terra_simulator.admin.guard import Call, Change
from terra_simulator.admin.paging import rfc3339
from terra_simulator.admin.tokens import (
    ACCOUNT_SCOPES,
    DEFAULT_SCOPES,
    LIFETIME_S,
    SCOPES,
    AdminToken,
    DeviceLogin,
    new_user_code,
)
from terra_simulator.consent import form_fields
from terra_simulator.origin_guard import is_foreign
from terra_simulator.simulator import Simulator

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class TokenApi:
    """The endpoints, and the page on which a login is approved."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    async def start_login(self, request: Request) -> Response:
        """Start a login; a form, like every request of OAuth."""
        form = await form_fields(request)
        if not form.get("client_id"):
            return _refused("invalid_request", "client_id is missing")
        scopes = form.get("scope", "").split() or list(DEFAULT_SCOPES)
        dev_ids = form.get("requested_dev_ids", "").split() or None
        if unknown := sorted(set(scopes) - SCOPES):
            return _refused("invalid_scope", f"not a scope of the Admin API: {', '.join(unknown)}")
        if dev_ids and ACCOUNT_SCOPES & set(scopes):
            return _refused("invalid_scope", "account-level scopes cannot be limited to environments")
        settings = self._terra.settings
        login = DeviceLogin(
            user_code=new_user_code(),
            client_id=form["client_id"],
            scopes=scopes,
            dev_ids=dev_ids,
            hostname=form.get("requester_hostname"),
            expires_at=self._terra.clock() + settings.device_login_expires_in_s,
        )
        self._terra.admin_tokens.logins.append(login)
        url = f"{settings.public_url}/cli/verify"
        return JSONResponse(
            {
                "device_code": login.device_code,
                "user_code": login.user_code,
                "verification_uri": url,
                "verification_uri_complete": f"{url}?code={login.user_code}",
                "expires_in": int(settings.device_login_expires_in_s),
                "interval": settings.device_login_interval_s,
            }
        )

    async def finish_login(self, request: Request) -> Response:
        """Return the token once the login is approved."""
        form = await form_fields(request)
        if form.get("grant_type") != GRANT:
            return _refused("unsupported_grant_type")
        login = self._terra.admin_tokens.login(device_code=form.get("device_code", ""))
        if login is None or login.client_id != form.get("client_id"):
            return _refused("invalid_grant")
        now = self._terra.clock()
        if login.expires_at <= now:
            return _refused("expired_token")
        if login.decision == "denied":
            return _refused("access_denied")
        if login.decision == "pending":
            is_early = login.last_poll_at and now - login.last_poll_at < self._terra.settings.device_login_interval_s
            login.last_poll_at = now
            return _refused("slow_down" if is_early else "authorization_pending")
        self._terra.admin_tokens.logins.remove(login)
        token = self._terra.admin_tokens.issue(
            AdminToken(
                scopes=login.scopes,
                dev_ids=login.dev_ids,
                name=login.hostname or socket.gethostname(),
                created_via="device_login",
                expires_at=now + LIFETIME_S,
            )
        )
        return JSONResponse(
            {
                "access_token": token.token,
                "token_type": "Bearer",
                "expires_in": LIFETIME_S,
                "scope": " ".join(token.scopes),
                "token_id": token.token_id,
            }
        )

    async def verify(self, request: Request) -> Response:
        """Show the page on which a login is approved or denied."""
        if is_foreign(request.scope["headers"], has_pages=True, names=self._terra.names):
            return pages.message("Request rejected", "Only from this machine.", HTTPStatus.FORBIDDEN)
        form = await form_fields(request) if request.method == "POST" else dict(request.query_params)
        login = self._terra.admin_tokens.login(user_code=form.get("code", ""))
        if login is None:
            return pages.message("Unknown code", "Start the login again.", HTTPStatus.NOT_FOUND)
        if request.method == "POST":
            login.decision = "approved" if form.get("decision") == "allow" else "denied"
            self._terra.save()
            return pages.message(f"The login is {login.decision}", "Return to the terminal.")
        return pages.render("admin_login.html", login=login, headers=pages.SAME_ORIGIN_HEADERS)

    async def me(self, call: Call) -> dict[str, object]:
        """Return the caller's token."""
        return _shown(call.token)

    async def rotate(self, call: Call) -> Change:
        """Replace the caller's token; the old one ends at once."""

        def commit() -> dict[str, object]:
            self._terra.admin_tokens.revoke(call.token)
            new = call.token.model_copy(update={"token": AdminToken(scopes=[]).token})
            self._terra.admin_tokens.issue(new)
            return {"token": new.token, **_shown(new)}

        return Change("rotate", {"will_return_token": True}, commit, HTTPStatus.CREATED)

    async def revoke(self, call: Call) -> Change:
        """End the caller's token."""
        return Change(
            "revoke", {"token_id": call.token.token_id}, lambda: self._terra.admin_tokens.revoke(call.token), 204
        )


def _shown(token: AdminToken) -> dict[str, object]:
    return {
        "token_id": token.token_id,
        "kind": "admin",
        "customer_id": "customer-1",
        "scopes": token.scopes,
        "dev_ids": token.dev_ids,
        "name": token.name,
        "created_via": token.created_via,
        "expires_at": None if token.expires_at is None else rfc3339(token.expires_at),
        "grant_anchor_at": None,
        "last_used_at": None if token.last_used_at is None else rfc3339(token.last_used_at),
        "user": None,
        "staff": False,
    }


def _refused(error: str, description: str | None = None) -> Response:
    content = {"error": error} | ({} if description is None else {"error_description": description})
    return JSONResponse(content, HTTPStatus.BAD_REQUEST)
