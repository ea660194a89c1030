"""The settings of the functions, by concern. Only this module reads the environment.

A function reads the settings that it needs when it is loaded. template.yaml gives it exactly these variables; boto3 and
Powertools read AWS_* and POWERTOOLS_* themselves. A setting that cannot be used is `Misconfigured`, with the variable's
name and what it must be, but without its value, which may contain a password.

Settings that are read together are named tuples: a cold start creates one in a fifth of the time of a frozen dataclass.
"""

import os
import re
from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple, NoReturn, Self
from urllib.parse import urlsplit

from terra_connections.errors import Misconfigured

_ADDRESS = re.compile(r"(https?)://([A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_MOBILE_TOKEN_PATHS = ("/auth/tokens", "/auth/generateAuthToken")
_USER_LIMITS = {
    "syncs": "SYNCS_PER_USER_PER_MINUTE",
    "mobile-tokens": "MOBILE_TOKENS_PER_USER_PER_HOUR",
    "erasures": "ERASURES_PER_USER_PER_HOUR",
    "backfills": "BACKFILLS_PER_USER_PER_HOUR",
}
"""The variable of each limited operation (`users.limits.Limited`)."""


class ApiSettings(NamedTuple):
    """This API.

    Attributes:
        public_base_url: its base URL; empty to use API Gateway's domain name.
    """

    public_base_url: str

    @classmethod
    def read(cls) -> Self:
        """Read these settings."""
        url = _text("PUBLIC_BASE_URL", may_be_empty=True)
        return cls(url and _address("PUBLIC_BASE_URL", has_path=False))

    @property
    def is_local(self) -> bool:
        """Whether the stack runs on a local machine, according to its own base URL."""
        return urlsplit(self.public_base_url).hostname in _LOOPBACK


def problems_url() -> str:
    """Return the URL of docs/problems.md, for problem details."""
    return _text("PROBLEMS_URL")


class CallerSettings(NamedTuple):
    """The authorizer: the service keys, and the issuer of user tokens; without one its other settings are unused."""

    service_keys_arn: str
    oidc_issuer: str
    oidc_audience: str
    oidc_algorithms: str
    oidc_jwks_url: str
    oidc_reference_id_claim: str

    @classmethod
    def read(cls) -> Self:
        """Read these settings."""
        return cls(
            service_keys_arn=_text("SERVICE_KEYS_ARN"),
            oidc_issuer=_text("OIDC_ISSUER", may_be_empty=True),
            oidc_audience=_text("OIDC_AUDIENCE", may_be_empty=True),
            oidc_algorithms=_text("OIDC_ALGORITHMS"),
            oidc_jwks_url=_text("OIDC_JWKS_URL", may_be_empty=True),
            oidc_reference_id_claim=_text("OIDC_REFERENCE_ID_CLAIM"),
        )


class TableSettings(NamedTuple):
    """The tables of connections and of sessions."""

    connections: str
    sessions: str

    @classmethod
    def read(cls) -> Self:
        """Read these settings."""
        return cls(connections=_text("CONNECTIONS_TABLE"), sessions=_text("SESSIONS_TABLE"))


def pseudonym_key() -> str:
    """Return the key of the users' pseudonyms. The keys of cursors are derived from it, too."""
    return _text("PSEUDONYM_KEY")


def user_limit(limited: str) -> int:
    """Return how often a user may do an operation (a value of `users.limits.Limited`) in its period; 0: no limit."""
    return _count(_USER_LIMITS[limited])


def open_session_limit() -> int:
    """Return how many unfinished logins a user may have; 0: no limit."""
    return _count("OPEN_SESSIONS_PER_PERSON")


class TerraSettings(NamedTuple):
    """Terra's API, without the key."""

    dev_id: str
    api_url: str
    widget_url: str
    mobile_token_path: str

    @classmethod
    def read(cls, *, is_local: bool) -> Self:
        """Read these settings. In a local stack, Terra's API may be on this machine or in a container."""
        return cls(
            dev_id=_text("TERRA_DEV_ID"),
            api_url=_address("TERRA_API_URL", is_local=is_local),
            widget_url=_address("TERRA_WIDGET_URL", is_local=is_local),
            mobile_token_path=_choice("TERRA_MOBILE_TOKEN_PATH", _MOBILE_TOKEN_PATHS),
        )


def terra_secret_arn() -> str:
    """Return the ARN of the secret with the key of Terra's API."""
    return _text("TERRA_SECRET_ARN")


class WebhookSettings(NamedTuple):
    """Terra's webhooks: the table of deliveries, the signing secrets, and the accepted age of a signature."""

    deliveries_table: str
    signing_secrets_arn: str
    signature_max_age: timedelta
    signature_max_ahead: timedelta

    @classmethod
    def read(cls) -> Self:
        """Read these settings."""
        return cls(
            deliveries_table=_text("DELIVERIES_TABLE"),
            signing_secrets_arn=_text("SIGNING_SECRETS_ARN"),
            signature_max_age=timedelta(seconds=_number("SIGNATURE_MAX_AGE_SECONDS")),
            signature_max_ahead=timedelta(seconds=_number("SIGNATURE_MAX_AHEAD_SECONDS")),
        )


def deliveries_table() -> str:
    """Return the name of the table of deliveries, for functions that receive no webhooks."""
    return _text("DELIVERIES_TABLE")


def return_targets() -> str:
    """Return the return targets as JSON, which `sessions.return_target` parses."""
    return _text("RETURN_TARGETS", may_be_empty=True)


class BrandSettings(NamedTuple):
    """The branding of the result pages, which `redirects.branding` parses."""

    name: str
    color: str
    logo: str

    @classmethod
    def read(cls) -> Self:
        """Read these settings."""
        return cls(
            name=_text("BRAND_NAME", may_be_empty=True),
            color=_text("BRAND_COLOR", may_be_empty=True),
            logo=_text("BRAND_LOGO", may_be_empty=True),
        )


def sweep_queue_url() -> str:
    """Return the URL of the queue of a sweep's steps."""
    return _text("SWEEP_QUEUE_URL")


def revocation_percent() -> float:
    """Return the share of missing connections from which on a sweep revokes none."""
    return _number("SWEEP_REVOKES_BELOW_PERCENT", at_most=100)


def payloads_bucket() -> str:
    """Return the name of the bucket of payloads; empty if data deliveries are discarded."""
    return _text("PAYLOADS_BUCKET", may_be_empty=True)


def announcements_queue_url() -> str:
    """Return the URL of the queue of announcements of stored payloads; empty if data deliveries are discarded."""
    return _text("ANNOUNCEMENTS_QUEUE_URL", may_be_empty=True)


def backfills_queue_url() -> str:
    """Return the URL of the queue of the steps of backfills; empty if data deliveries are discarded."""
    return _text("BACKFILLS_QUEUE_URL", may_be_empty=True)


def backfill_window_days() -> int:
    """Return the most days of one request of a backfill."""
    return max(1, _count("BACKFILL_WINDOW_DAYS"))


def backfill_on_connect_days() -> int:
    """Return the length of the backfill of a new connection; 0: there is none."""
    return _count("BACKFILL_ON_CONNECT_DAYS")


def fetches_queue_url() -> str:
    """Return the URL of the queue of payloads to fetch; empty if data deliveries are discarded."""
    return _text("PAYLOAD_FETCHES_QUEUE_URL", may_be_empty=True)


def dead_fetches_queue_url() -> str:
    """Return the URL of the queue of payloads that could not be fetched."""
    return _text("DEAD_PAYLOAD_FETCHES_QUEUE_URL")


def payload_urls() -> str:
    """Return the prefixes of the URLs that payloads may be fetched from, which `data.payload_urls` parses."""
    return _text("PAYLOAD_URLS", may_be_empty=True)


def quiet_after_days() -> int:
    """Return after how many days without data a connected wearable is quiet; 0: no check."""
    return _count("QUIET_AFTER_DAYS")


def event_bus_name() -> str:
    """Return the name of the event bus."""
    return _text("EVENT_BUS_NAME")


def _text(name: str, *, may_be_empty: bool = False) -> str:
    value = os.environ.get(name)
    if value is None:
        _reject(name, "be set: template.yaml declares it for this function")
    if not value and not may_be_empty:
        _reject(name, "not be empty")
    return value


def _choice(name: str, choices: Collection[str]) -> str:
    value = _text(name)
    if value not in choices:
        _reject(name, f"be one of {', '.join(choices)}")
    return value


def _number(name: str, *, at_most: int | None = None) -> float:
    value = _text(name)
    if not _NUMBER.fullmatch(value) or (at_most is not None and float(value) > at_most):
        _reject(name, "be a number, 0 or greater" if at_most is None else f"be a number from 0 to {at_most}")
    return float(value)


def _count(name: str) -> int:
    value = _number(name)
    if not value.is_integer():
        _reject(name, "be a whole number, 0 or greater")
    return int(value)


def _address(name: str, *, is_local: bool = False, has_path: bool = True) -> str:
    """Apply the template's AllowedPattern, for an environment that was changed by other means.

    Terra's API key, or the secret of a redirect, would otherwise be sent unencrypted. The containers of a local stack
    reach this machine under other names than localhost.
    """
    value = _text(name)
    found = _ADDRESS.fullmatch(value)
    if not found or not (found[1] == "https" or found[2] in _LOOPBACK or is_local) or (found[4] and not has_path):
        form = "https://host[:port][/path]" if has_path else "https://host[:port]"
        _reject(name, f"read {form}, without user name, query, fragment or spaces; http is for localhost only")
    return value


def _reject(name: str, must: str) -> NoReturn:
    message = f"{name} must {must}."
    raise Misconfigured(message)
