"""Admin tokens, and the logins by device code that issue them.

Terra's documentation: a token has scopes, may be limited to some dev-ids, and may expire. An admin token starts with
`terra_at_`. The login is that of RFC 8628.
"""

import secrets
from typing import Final, Literal

from pydantic import BaseModel, Field

from terra_simulator.identifiers import choice, new_id, token_hex, token_urlsafe

PREFIX: Final = "terra_at_"
ACCOUNT_SCOPES: Final = frozenset({"account:read", "billing:read", "billing:write", "team:read", "team:write"})
"""A token that is limited to environments cannot have them."""
DEFAULT_SCOPES: Final = (
    "account:read",
    "connections:read",
    "destinations:read",
    "destinations:write",
    "events:read",
    "events:write",
    "payloads:read",
    "providers:read",
    "testdata:write",
)
SCOPES: Final = frozenset(DEFAULT_SCOPES) | ACCOUNT_SCOPES | {"keys:read", "keys:write", "tokens:read", "tokens:write"}
"""The scopes of the admin plane. `auth:write` and others belong to data tokens."""
LIFETIME_S: Final = 30 * 86_400


class AdminToken(BaseModel):
    """One token."""

    token: str = Field(default_factory=lambda: PREFIX + token_hex(24))
    token_id: str = Field(default_factory=new_id)
    name: str = "token"
    scopes: list[str]
    dev_ids: list[str] | None = None
    """None: every environment of the account."""
    created_via: str = "dashboard"
    expires_at: float | None = None
    last_used_at: float | None = None


class DeviceLogin(BaseModel):
    """A login by a code that the user enters in a browser."""

    device_code: str = Field(default_factory=lambda: token_urlsafe(32))
    user_code: str
    client_id: str
    scopes: list[str]
    dev_ids: list[str] | None
    hostname: str | None
    expires_at: float
    last_poll_at: float | None = None
    decision: Literal["pending", "approved", "denied"] = "pending"


class AdminTokens(BaseModel):
    """Every token and login, as kept in the state file."""

    tokens: list[AdminToken] = Field(default_factory=list)
    logins: list[DeviceLogin] = Field(default_factory=list)

    def issue(self, token: AdminToken) -> AdminToken:
        """Keep a new token."""
        self.tokens.append(token)
        return token

    def find(self, token: str) -> AdminToken | None:
        """Return the token that a caller has sent."""
        return next((each for each in self.tokens if secrets.compare_digest(each.token.encode(), token.encode())), None)

    def revoke(self, token: AdminToken) -> None:
        """End a token."""
        self.tokens.remove(token)

    def login(self, *, device_code: str = "", user_code: str = "") -> DeviceLogin | None:
        """Return a login by one of its codes."""
        return next(
            (each for each in self.logins if device_code == each.device_code or user_code == each.user_code), None
        )


def new_user_code() -> str:
    """Return a code in Terra's form: TERRA-K7MP-4WX2."""
    letters = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
    parts = ("".join(choice(letters) for _ in range(4)) for _ in range(2))
    return "-".join(("TERRA", *parts))
