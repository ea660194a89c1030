"""What a deployment decides. The only module that reads the environment; template.yaml declares every name."""

import os
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from terra_connections.signature import Tolerance


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of a function. boto3 reads AWS_ENDPOINT_URL_* by itself."""

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
    return_targets: str
    public_base_url: str
    problems_url: str
    brand_name: str
    brand_color: str
    brand_logo: str
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
        """The settings of this process.

        Raises:
            KeyError: a variable that template.yaml declares is missing.
        """
        return cls(**{name: os.environ[name.upper()] for name in cls.__dataclass_fields__})

    @property
    def tolerance(self) -> Tolerance:
        """How far a webhook's signature may lie from now."""
        return Tolerance(
            past=timedelta(seconds=float(self.signature_max_age_seconds)),
            future=timedelta(seconds=float(self.signature_max_ahead_seconds)),
        )

    @property
    def is_local(self) -> bool:
        """Whether the stack itself runs on a laptop: its own address says so."""
        return urlsplit(self.public_base_url).hostname in {"127.0.0.1", "localhost"}
