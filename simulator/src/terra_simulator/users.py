"""The simulated Terra's users, unfinished logins, widget sessions and mobile tokens.

Terra's terms: a `user_id` is one connection of one end user (one account at one provider); `reference_id` is the end
user's id in the developer's app. authenticateUser issues the user_id before the login.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from terra_simulator.identifiers import new_id, token_hex


class User(BaseModel):
    """One connection, or one that is still being established."""

    user_id: str
    provider: str
    reference_id: str | None = None
    account: str | None = None
    """The account at the provider; Terra never shows it, but it determines what a reconnect is."""
    scopes: str | None = None
    active: bool | None = True
    is_authenticated: bool = False
    created_at: str | None = None
    last_webhook_update: str | None = None
    most_recent_data_at: str | None = None

    def as_terra(self) -> dict[str, object]:
        """Return the user in Terra's schema `TerraUser`."""
        return self.model_dump(exclude={"account", "is_authenticated", "most_recent_data_at"})


class Login(BaseModel):
    """One consent page: its redirects and its outcome."""

    token: str
    resource: str
    flow_id: str
    user_id: str | None = None
    """The pre-issued user; a login that began in the widget has none."""
    reference_id: str | None = None
    success_url: str | None = None
    failure_url: str | None = None
    language: str | None = None
    widget_session_id: str | None = None
    outcome: Literal["allowed", "denied"] | None = None
    redirect: str | None = None


class WidgetSession(BaseModel):
    """One page on which an end user chooses a provider."""

    session_id: str
    providers: list[str]
    created_at: float
    reference_id: str | None = None
    success_url: str | None = None
    failure_url: str | None = None
    language: str | None = None


class MobileToken(BaseModel):
    """A single-use token for a mobile SDK."""

    token: str
    expires_at: float
    is_used: bool = False
    reference_id: str | None = None
    """The end user whose devices it connects; without one, the SDK names the end user."""


class SyntheticRun(BaseModel):
    """A synthetic user's latest run."""

    run_id: str
    description: str | None = None
    persona: str | None = None
    duration_hours: int
    status: Literal["active", "completed", "cancelled"] = "active"
    payloads_sent: int = 0
    created_at: float
    started_at: float
    expires_at: float
    last_run_at: float | None = None


class Users(BaseModel):
    """All users, logins, widget sessions and tokens, as kept in the state file."""

    by_id: dict[str, User] = Field(default_factory=dict)
    logins: dict[str, Login] = Field(default_factory=dict)
    widget_sessions: dict[str, WidgetSession] = Field(default_factory=dict)
    tokens: dict[str, MobileToken] = Field(default_factory=dict)
    deauthenticated: dict[str, User] = Field(default_factory=dict)
    """Connections that were ended by a deauth: the Admin API still knows them."""
    synthetic: dict[str, SyntheticRun] = Field(default_factory=dict)
    """The synthetic users of the Admin API, by user_id."""

    def pre_issue(self, provider: str, reference_id: str | None, *, active: bool) -> User:
        """Create a user who has not logged in."""
        user = User(user_id=new_id(), provider=provider, reference_id=reference_id, active=active)
        self.by_id[user.user_id] = user
        return user

    def listed(self, *, pending: bool) -> list[User]:
        """Return all users, with or without those who never finished a login."""
        return [user for user in self.by_id.values() if pending or user.is_authenticated]

    def of_reference(self, reference_id: str, *, pending: bool) -> list[User]:
        """Return the connections of one reference_id."""
        return [user for user in self.listed(pending=pending) if user.reference_id == reference_id]

    def with_account(self, provider: str, account: str) -> list[User]:
        """Return the live connections of one account at one provider."""
        return [
            user
            for user in self.by_id.values()
            if user.is_authenticated and (user.provider, user.account) == (provider, account)
        ]

    def remove(self, users: Iterable[User]) -> None:
        """Remove connections, as Terra does."""
        for user in users:
            self.by_id.pop(user.user_id, None)

    def open_login(self, login: Login) -> Login:
        """Keep a login until it is decided."""
        self.logins[login.token] = login
        return login

    def of_sdk(self, provider: str, reference_id: str) -> list[User]:
        """Return the live connections that a mobile SDK made for a reference_id, on any device: at most one."""
        return [user for user in self.of_reference(reference_id, pending=False) if user.provider == provider]

    def issue_token(self, now: float, *, lifetime_s: float, reference_id: str | None) -> MobileToken:
        """Create a token for a mobile SDK, bound to a reference_id if one is given."""
        token = MobileToken(token=token_hex(32), expires_at=now + lifetime_s, reference_id=reference_id)
        self.tokens[token.token] = token
        return token

    def spend_token(self, token: str, now: float) -> MobileToken | None:
        """Spend a mobile token; None if it is unknown, expired or used."""
        found = self.tokens.get(token)
        if found is None or found.is_used or found.expires_at < now:
            return None
        found.is_used = True
        return found


def terra_time(seconds: float) -> str:
    """Return a time in the format of Terra's `created_at`: ISO 8601 with microseconds and an offset."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
