"""The behaviour and the credentials of the simulated Terra.

Where Terra's sources disagree or are silent, there is a setting, so that a client can be tested with both. Tests change
them with `PATCH /_control/settings`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from terra_simulator.destinations import Vocabulary
from terra_simulator.providers import ENABLED_AT_FIRST, PROVIDERS

RedirectParameter = Literal["user_id", "resource", "reference_id"]
WidgetPath = Literal[
    "/api/widget/session", "/widget/session", "/widget/api/session", "/api/v2/auth/generateWidgetSession"
]
DEFAULT_DEV_ID: Final = "test-dev"
DEFAULT_API_KEY: Final = "test-api-key"
DEFAULT_SIGNING_SECRET: Final = "test-signing-secret"  # noqa: S105 - it protects nothing
Step = Annotated[str, StringConstraints(pattern=r"^(processing|sending|chunks|reversed|shuffled|chunk:\d{1,4})$")]


class Credentials(NamedTuple):
    """A back end's credentials, and Terra's signing secret."""

    api_key: str
    signing_secret: str

    @classmethod
    def from_environment(cls) -> Self:
        """Read both from TERRA_SIMULATOR_API_KEY and TERRA_SIMULATOR_SIGNING_SECRET, which have defaults.

        They never appear on a command line, which every user of a machine can list.
        """
        environment: Mapping[str, str] = os.environ  # noqa: TID251 - this is the simulator's settings.py
        return cls(
            environment.get("TERRA_SIMULATOR_API_KEY") or DEFAULT_API_KEY,
            environment.get("TERRA_SIMULATOR_SIGNING_SECRET") or DEFAULT_SIGNING_SECRET,
        )

    def shown(self) -> str:
        """Return the defaults among them as text; those of the environment stay secret."""
        api_key = f"API key {self.api_key}" if self.api_key == DEFAULT_API_KEY else ""
        secret = f"signing secret {self.signing_secret}" if self.signing_secret == DEFAULT_SIGNING_SECRET else ""
        return ", ".join(filter(None, (api_key, secret)))


def environment_of_child(sources: Path) -> dict[str, str]:
    """Return the environment of a simulator in a process of its own, which imports this package from its folder."""
    environment: Mapping[str, str] = os.environ  # noqa: TID251 - this is the simulator's settings.py
    path = os.pathsep.join(filter(None, (str(sources), environment.get("PYTHONPATH", ""))))
    return {**environment, "PYTHONPATH": path}


class Settings(BaseModel):
    """All behaviour that can be changed while the simulator runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    public_url: str
    """The simulator's address for browsers; auth_url and widget URLs begin with it."""
    app_name: str = Field(default="your app", min_length=1, max_length=100)
    """The name of the developer's app on the consent page."""
    send_webhooks: bool = True
    """False: events occur and their webhooks are dropped."""
    webhook_copies: int = Field(default=1, ge=1, le=10)
    """How often each webhook is sent: Terra promises at least once. Copies have identical bytes."""
    webhook_delay_s: float = Field(default=0.0, ge=0)
    webhook_spread_s: float = Field(default=0.0, ge=0)
    """Each webhook waits a random time up to this one in addition, so that they arrive in another order."""
    webhook_order: Literal["emitted", "reversed", "shuffled"] = "emitted"
    """The order in which the webhooks of one call are sent: the chunks of a request, `auth` and `user_reauth`."""
    webhook_loss: float = Field(default=0.0, ge=0, le=1)
    """The share of webhooks that are never sent."""
    signature_time: Literal["real", "simulated"] = "real"
    """The source of a signature's `t` if the simulator's clock was moved or stopped. Terra's SDKs reject a signature
    whose `t` differs from their own clock by more than five minutes."""
    webhook_timeout_s: float = Field(default=8.0, gt=0)
    retry_scale: float = Field(default=1.0, ge=0)
    refresh_t_on_retry: bool = True
    """Whether `t` of the signature is renewed on a retry is not documented."""
    signs_retries_anew: bool = True
    """False: a retry has the secrets of the first attempt, also after a rotation, which is not documented."""
    refresh_t_on_resend: bool = True
    """Whether `t` is renewed by a resend of the Admin API is not documented."""
    resend_trace_id: Literal["new", "same"] = "new"
    """Whether a resend is another delivery, with a trace id of its own, is not documented."""
    refresh_ordering_on_resend: bool = False
    """Whether the ordering timestamp is renewed by a resend is not documented."""
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
    """Whether `user.scopes` of a permission_change contains the scopes granted now; if not, only changes are sent."""
    same_account_elsewhere: Literal["both_live", "first_vanishes"] = "both_live"
    """The same account under another reference_id: newer API, both live; older API, the first vanishes silently."""
    final_user_id: Literal["pre_issued", "other"] = "pre_issued"
    """No source promises that authenticateUser's user_id is the final one."""

    redirect_waits_for_webhook: bool = False
    """True: the receiver responds to the webhook's first attempt before the browser is redirected."""
    redirect_order: tuple[RedirectParameter, ...] | None = None
    """None: the order of Terra's parameters changes from one redirect to the next."""
    redirect_omits: tuple[RedirectParameter, ...] = ()

    version: Literal["october", "july"] = "october"
    """The version of Terra's document: 2026.10.08, or 2026.07.17.1. It is the default of the three settings with None.

    In July /subscriptions put its pages into `data`, and the widget returned 200, opened for 900 s, gave no warning of
    unknown providers and returned wrong credentials as a problem.
    """
    subscriptions_shape: Literal["flat", "data", "users"] | None = None
    """`users` returns all users at once, whatever page was requested."""
    largest_page: int | None = Field(default=None, ge=1)
    """The maximum size of a page of /subscriptions, whatever `per_page` requests."""
    widget_paths: tuple[WidgetPath, ...] = ("/api/widget/session",)
    """The addresses of the widget: Terra's documents spell it in three ways, and the last one is the older endpoint."""
    widget_status: Literal[200, 201] | None = None
    widget_expires_in_s: float | None = Field(default=None, ge=0)
    data_token: str | None = Field(default=None, pattern="^terra_dt_")
    """Accepted as a bearer token, in addition to the API key."""
    bound_tokens: Literal["honoured", "ignored"] = "honoured"
    """Whether the `reference_id` of a mobile token overrides the SDK's. A token does not show whether it is bound."""
    account: Literal[
        "in_order", "user_limit", "entitlement_required", "environment_disabled", "authorization_unavailable"
    ] = "in_order"
    """The reason why Terra rejects new logins: 402, 403 with a code, or 503 with a code."""

    userinfo_reference_shape: Literal["array", "object"] = "array"
    unknown_reference: Literal["empty", "not_found"] = "empty"
    pending_user_active: bool = True
    """`user.active` of a user who has not logged in; True catches clients that trust it."""
    lists_include_pending: bool = True
    """Whether lists of users contain those who never finished a login."""
    enabled_providers: tuple[str, ...] = ENABLED_AT_FIRST

    data_seed: int = 0
    """Another seed gives generated data other values."""
    output_format: Literal["json", "fhir", "fit"] = "json"
    """The environment's format of data events. With fhir they are bundles; with fit, activities are binary files."""
    days_per_request: int = Field(default=1825, ge=1)
    days_per_hour: int = Field(default=6000, ge=1)
    """The requested days of a user_id in a rolling hour."""
    chunk_bytes: int = Field(default=10_000_000, ge=1)
    """The maximum size of a chunk, in bytes, of a request for more than a month."""
    chunk_days: int = Field(default=30, ge=1)
    """The maximum number of days in a chunk; Terra's is not documented."""
    chunk_reference: Literal["plain", "numbered"] = "plain"
    """Whether the header Terra-Reference of a chunk has the chunk's number, too: Terra's sources name both."""
    large_request_order: tuple[Step, ...] = ("processing", "sending", "chunks")
    """What follows a request for more than a month, in this order: the two announcements, and `chunks`, `reversed`,
    `shuffled` or single ones (`chunk:0`). What is missing is not sent, what is repeated is sent again."""
    payload_url: str | None = None
    """The beginning of the URLs of `s3_payload`; None: this simulator's address, over HTTP."""
    payload_expires_in_s: float = Field(default=300.0, ge=0)
    ping_ordering_header: bool = True
    """Whether an `s3_payload` has the ordering timestamp is not documented."""
    pings_auth_events: bool = False
    """Whether auth events are sent as `s3_payload`, too, which Terra's texts deny."""
    payload_fault: Literal["none", "wrong_user", "gzip_bomb", "slow", "redirect", "large", "truncated"] = "none"
    """What is wrong with payloads when they are fetched."""
    payload_bytes: int = Field(default=100_000_000, ge=1000)
    """The size of a large payload, which is JSON, and of a gzip bomb when it is unpacked."""
    payload_pause_s: float = Field(default=1.0, ge=0)
    """The pause after each byte of a slow payload."""
    payload_redirect_to: str = "http://169.254.169.254/latest/meta-data/"
    payloads_kept_days: float = Field(default=14.0, ge=0)
    """How long the Admin API returns and resends the payload of an event."""

    admin_version: Literal["october", "november"] = "november"
    """The Admin API's version. October: 2026.10.09, with `webhook-events`. November: with `events` and the rotation of
    signing secrets, whose paths are known from Terra's documentation and whose fields are assumed."""
    destination_vocabulary: Vocabulary = "types"
    """The names in `event_types` of a destination: of each type, or `auth` for all auth events. Terra lists none."""
    rotation_overlap_s: float = Field(default=0.0, ge=0)
    """How long the previous secret also signs after a rotation, which is not documented."""
    unanswered_status: Literal["zero", "absent"] = "zero"
    """`http_status` of an attempt without a response: Terra's sources name both."""
    failed_rows_name_destination: bool = True
    """False: rows of events have no `destination_id`, like Terra's older ones."""
    disable_after_failures: int | None = Field(default=None, ge=1)
    """Failed attempts in a row after which a destination is disabled; Terra's rule is not documented in full."""
    admin_rate_limit: int | None = Field(default=None, ge=1)
    """Calls of the Admin API for each token in `admin_rate_window_s`; Terra's numbers are not published."""
    admin_rate_window_s: float = Field(default=60.0, gt=0)
    device_login_expires_in_s: float = Field(default=900.0, ge=0)
    device_login_interval_s: int = Field(default=5, ge=0)
    synthetic_cadence_s: float = Field(default=300.0, gt=0)
    synthetic_auth: bool = False
    """Whether a synthetic user sends an `auth` webhook, which is not documented."""

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
        """Whether responses are those of the older document."""
        return self.version == "july"

    @property
    def widget_opens_for_s(self) -> float:
        """How long a widget's link is valid, in seconds."""
        if self.widget_expires_in_s is not None:
            return self.widget_expires_in_s
        return 900.0 if self.is_july else 86_400.0

    def changed(self, changes: Mapping[str, object]) -> Self:
        """Return these settings with changes; raises pydantic's ValidationError for an invalid name or value."""
        return self.model_validate(self.model_dump() | dict(changes))


class ConfiguredWebhook(BaseModel):
    """The destination that the command line configures. The control API shows it with the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook_url: str | None
    signing_secret: str
    webhook_delivery: Literal["push", "ping"] | None = None
    """None: as it is."""
