"""How the simulated Terra behaves, and with which credentials.

Where Terra's sources disagree or say nothing, there is a setting, so that a client can be shown both. Tests change them
by `PATCH /_control/settings`.
"""

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from local.terra_simulator.providers import ENABLED_AT_FIRST, PROVIDERS

RedirectParameter = Literal["user_id", "resource", "reference_id"]


class Credentials(NamedTuple):
    """What a back end proves itself with, and what Terra signs with."""

    api_key: str
    signing_secret: str

    @classmethod
    def from_environment(cls) -> Self:
        """Read both secrets; they never appear on a command line, which every user of a machine can list.

        Raises:
            KeyError: With the name of the variable that is missing.
        """
        environment: Mapping[str, str] = os.environ  # noqa: TID251 - this is the simulator's settings.py
        return cls(environment["TERRA_SIMULATOR_API_KEY"], environment["TERRA_SIMULATOR_SIGNING_SECRET"])


class Settings(BaseModel):
    """Everything about the behaviour that can be changed while the simulator runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    public_url: str
    """The address browsers reach the simulator by; auth_url and widget URLs begin with it."""
    webhook_url: str | None = None
    signing_secret: str

    send_webhooks: bool = True
    """False: events happen and their webhooks get lost."""
    webhook_copies: int = Field(default=1, ge=1, le=10)
    """How often each webhook is sent: at least once is what Terra promises. Copies are equal to the byte."""
    webhook_delay_s: float = Field(default=0.0, ge=0)
    webhook_timeout_s: float = Field(default=8.0, gt=0)
    retry_scale: float = Field(default=1.0, ge=0)
    refresh_t_on_retry: bool = True
    """Nobody documents whether `t` of the signature is renewed on a retry."""
    signature_headers: Literal["both", "new", "old"] = "both"
    ordering_header: bool = True
    reference_header: bool = True

    success_shape: Literal["new", "old"] = "new"
    """Older payloads of `auth` repeat reference_id at the top."""
    cancel_shape: Literal["new", "old"] = "new"
    """Newer: `auth_cancelled` without a user. Older: `auth` with status error, user and provider."""
    cancel_reason: str | None = "access_denied"
    reauth_order: Literal["auth_first", "reauth_first"] = "auth_first"
    reauth_old_user: Literal["present", "null"] = "present"
    permission_change_scopes: Literal["present", "absent"] = "present"
    """Whether `user.scopes` of a permission_change says what is granted now; if not, the changes alone tell."""
    same_account_elsewhere: Literal["both_live", "first_vanishes"] = "both_live"
    """The same account under another reference_id: newer API, both live; older API, the first vanishes silently."""
    final_user_id: Literal["pre_issued", "other"] = "pre_issued"
    """No source promises that authenticateUser's user_id is the final one."""

    redirect_waits_for_webhook: bool = False
    """True: the webhook's first attempt is answered before the browser is redirected."""
    redirect_order: tuple[RedirectParameter, ...] | None = None
    """None: the order of Terra's parameters changes from one redirect to the next."""
    redirect_omits: tuple[RedirectParameter, ...] = ()

    version: Literal["october", "july"] = "october"
    """Of Terra's documents: 2026.10.08, or 2026.07.17.1. It decides what the three settings with None leave to it.

    In July /subscriptions put its pages into `data`, and the widget answered 200, opened for 900 s, gave no warning of
    unknown providers and wrote wrong credentials as a problem.
    """
    subscriptions_shape: Literal["flat", "data", "users"] | None = None
    """`users` answers with all users at once, whatever page was asked for."""
    largest_page: int | None = Field(default=None, ge=1)
    """The most that a page of /subscriptions holds, whatever `per_page` asks for."""
    widget_status: Literal[200, 201] | None = None
    widget_expires_in_s: float | None = Field(default=None, ge=0)
    data_token: str | None = Field(default=None, pattern="^terra_dt_")
    """Accepted as a bearer token, beside the API key."""
    account: Literal[
        "in_order", "user_limit", "entitlement_required", "environment_disabled", "authorization_unavailable"
    ] = "in_order"
    """What keeps Terra from beginning logins: 402, 403 with a code, or 503 with a code."""

    userinfo_reference_shape: Literal["array", "object"] = "array"
    unknown_reference: Literal["empty", "not_found"] = "empty"
    pending_user_active: bool = True
    """`user.active` of a user who has not logged in; True catches clients that trust it."""
    lists_include_pending: bool = True
    """Whether lists of users hold those who never finished a login."""
    enabled_providers: tuple[str, ...] = ENABLED_AT_FIRST

    @field_validator("enabled_providers")
    @classmethod
    def _providers_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(PROVIDERS))
        if unknown:
            message = f"unknown providers: {', '.join(unknown)}"
            raise ValueError(message)
        return names

    @property
    def is_july(self) -> bool:
        """Whether answers are those of the older document."""
        return self.version == "july"

    @property
    def widget_opens_for_s(self) -> float:
        """How long a widget's link opens."""
        if self.widget_expires_in_s is not None:
            return self.widget_expires_in_s
        return 900.0 if self.is_july else 86_400.0

    def changed(self, changes: Mapping[str, object]) -> Self:
        """Return these settings with changes; raises pydantic's ValidationError for a name or value that is none."""
        return self.model_validate(self.model_dump() | dict(changes))
