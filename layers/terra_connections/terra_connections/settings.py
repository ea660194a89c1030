"""The settings of a deployment. Only this module reads the environment; template.yaml declares every name."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from terra_connections.errors import Misconfigured
from terra_connections.webhooks.signature import Tolerance

_ADDRESS = re.compile(r"(https?)://([A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})


def _environment(names: Iterable[str]) -> dict[str, str]:
    return {name: os.environ[name.upper()] for name in names}


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment variables of a function. boto3 reads AWS_ENDPOINT_URL_* itself."""

    connections_table: str
    sessions_table: str
    deliveries_table: str
    event_bus_name: str
    terra_dev_id: str
    terra_api_url: str
    terra_widget_url: str
    terra_mobile_token_path: str
    terra_secret_arn: str
    signing_secrets_arn: str
    service_keys_arn: str
    pseudonym_key: str
    signature_max_age_seconds: str
    signature_max_ahead_seconds: str
    public_base_url: str
    problems_url: str
    oidc_issuer: str
    oidc_audience: str
    oidc_algorithms: str
    oidc_jwks_url: str
    oidc_reference_id_claim: str
    open_sessions_per_person: str
    syncs_per_user_per_minute: str
    mobile_tokens_per_user_per_hour: str
    erasures_per_user_per_hour: str
    sweep_queue_url: str
    sweep_revokes_below_percent: str

    @classmethod
    def read(cls) -> "Settings":
        """Read the settings of this process.

        Raises:
            KeyError: a variable that template.yaml declares is missing.
            Misconfigured: a URL is unsafe: Terra's API key, or the secret of a redirect, would be sent unencrypted.
        """
        settings = cls(**_environment(cls.__dataclass_fields__))
        for name in ("public_base_url", "terra_api_url", "terra_widget_url"):
            settings._check(name)
        return settings

    def _check(self, name: str) -> None:
        """Apply the template's AllowedPattern, for an environment that was changed by other means."""
        address: str = getattr(self, name)
        if name == "public_base_url" and not address:
            return
        found = _ADDRESS.fullmatch(address)
        # The containers of a local stack reach this machine under other names than localhost.
        is_safe = found is not None and (found[1] == "https" or found[2] in _LOOPBACK or self.is_local)
        if not is_safe or (found and found[4] and name == "public_base_url"):
            path = "" if name == "public_base_url" else "[/path]"
            # Without the value, which may contain a password.
            message = (
                f"{name.upper()} must read https://host[:port]{path}, without user name, query, fragment or spaces; "
                "http is for localhost only."
            )
            raise Misconfigured(message)

    @property
    def tolerance(self) -> Tolerance:
        """The accepted age of a webhook's signature, in the past and in the future."""
        return Tolerance(
            past=timedelta(seconds=float(self.signature_max_age_seconds)),
            future=timedelta(seconds=float(self.signature_max_ahead_seconds)),
        )

    @property
    def is_local(self) -> bool:
        """Whether the stack runs on a local machine, according to its own base URL."""
        return urlsplit(self.public_base_url).hostname in _LOOPBACK


# Lambda limits the environment of a function to 4 kB. Variables that may be long are set only where they are read.


@dataclass(frozen=True, slots=True)
class ReturnSettings:
    """The settings of functions that redirect users to the app."""

    return_targets: str

    @classmethod
    def read(cls) -> "ReturnSettings":
        """Read these settings.

        Raises:
            KeyError: template.yaml does not set them for this function.
        """
        return cls(**_environment(cls.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class BrandSettings:
    """The settings of functions that show pages."""

    brand_name: str
    brand_color: str
    brand_logo: str

    @classmethod
    def read(cls) -> "BrandSettings":
        """Read these settings.

        Raises:
            KeyError: template.yaml does not set them for this function.
        """
        return cls(**_environment(cls.__dataclass_fields__))
