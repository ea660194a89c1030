"""The pages that the end user sees: the consent page of a login, and the widget that precedes it.

Terra hides both behind URLs that its API returns (`auth_url`, and the widget's `url`); their form is not documented, so
these pages are the simulator's own.
"""

import asyncio
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from terra_simulator import pages
from terra_simulator.outbox import Emission
from terra_simulator.providers import PROVIDERS
from terra_simulator.simulator import Simulator, default_account
from terra_simulator.users import Login, WidgetSession


class ConsentPages:
    """The pages between the API's response and the redirect."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    def routes(self) -> list[BaseRoute]:
        """Return the pages' paths."""
        return [
            Route("/login/{token}", self.show_login, methods=["GET"]),
            Route("/login/{token}", self.decide, methods=["POST"]),
            Route("/widget/session/{session_id}", self.show_widget, methods=["GET"]),
            Route("/widget/session/{session_id}", self.pick, methods=["POST"]),
        ]

    async def show_login(self, request: Request) -> Response:
        """Show the consent page; showing it changes nothing."""
        login = self._login(request)
        if login is None:
            return _unknown()
        if login.outcome is not None:
            return _finished(is_connected=login.outcome == "allowed", redirect=login.redirect)
        return pages.render(
            "consent.html",
            login=login,
            provider=PROVIDERS[login.resource],
            app_name=self._terra.settings.app_name,
            account=default_account(login.reference_id),
        )

    async def decide(self, request: Request) -> Response:
        """Finish a login, once; a second decision redirects like the first one."""
        login = self._login(request)
        if login is None:
            return _unknown()
        form = await form_fields(request)
        match form.get("decision"):
            case "allow":
                emission = self._terra.allow(
                    login, form.get("account", "").strip() or default_account(login.reference_id)
                )
            case "deny":
                emission = self._terra.deny(login)
            case _:
                return pages.message("No decision", "Press Allow or Deny.", HTTPStatus.BAD_REQUEST)
        await self._settle(emission)
        if login.redirect is None:
            return _finished(is_connected=login.outcome == "allowed")
        return _see_other(login.redirect)

    async def show_widget(self, request: Request) -> Response:
        """Show the providers to choose from."""
        session = self._session(request)
        if session is None:
            return _expired()
        providers = [PROVIDERS[name] for name in session.providers]
        return pages.render("picker.html", session=session, providers=providers, app_name=self._terra.settings.app_name)

    async def pick(self, request: Request) -> Response:
        """Go on to the chosen provider's consent page; SDK providers have none."""
        session = self._session(request)
        if session is None:
            return _expired()
        form = await form_fields(request)
        if form.get("decision") == "deny":
            redirect, emission = self._terra.close_widget(session)
            await self._settle(emission)
            return _finished(is_connected=False) if redirect is None else _see_other(redirect)
        resource = form.get("provider", "")
        if resource not in session.providers:
            return pages.message("No such provider", "Go back and pick one of the list.", HTTPStatus.BAD_REQUEST)
        if PROVIDERS[resource].is_sdk:
            redirect = self._terra.picked_sdk_provider(session, resource)
            if redirect is not None:
                return _see_other(redirect)
            return pages.message(f"{PROVIDERS[resource].title} is on your phone", "Connect it inside the app.")
        login = self._terra.login_from_widget(session, resource)
        self._terra.save()
        return _see_other(f"/login/{login.token}")

    def _login(self, request: Request) -> Login | None:
        login = self._terra.users.logins.get(request.path_params["token"])
        return None if login is None or self._terra.is_void(login) else login

    def _session(self, request: Request) -> WidgetSession | None:
        session = self._terra.users.widget_sessions.get(request.path_params["session_id"])
        return None if session is None or self._terra.has_expired(session) else session

    async def _settle(self, emission: Emission | None) -> None:
        self._terra.save()
        if emission is not None and self._terra.settings.redirect_waits_for_webhook:
            await asyncio.shield(emission.first_attempts)


async def form_fields(request: Request) -> dict[str, str]:
    """Read a form's fields; the last of several values counts."""
    # Parsed here because starlette's own form() needs another package.
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))


def _see_other(url: str) -> Response:
    return RedirectResponse(url, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})


def _finished(*, is_connected: bool, redirect: str | None = None) -> Response:
    """How a login ended, with the link back to the app if there is one."""
    return pages.message(
        "You are connected" if is_connected else "Nothing was connected",
        "You can close this page and go back to the app." if redirect is None else "This login is finished.",
        back=redirect,
    )


def _unknown() -> Response:
    return pages.message("This link does not work", "It is unknown, or its user was removed.", HTTPStatus.NOT_FOUND)


def _expired() -> Response:
    return pages.message("This session is over", "Go back to the app and start again.", HTTPStatus.GONE)
