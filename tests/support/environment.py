"""An environment in which every function starts, and what a function has loaded and read once it is ready."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from tools.environment import ROOT

SETTINGS = {
    "ANNOUNCEMENTS_QUEUE_URL": "https://sqs.example.com/announcements",
    "BACKFILLS_PER_USER_PER_HOUR": "1",
    "BACKFILLS_QUEUE_URL": "https://sqs.example.com/backfills",
    "BACKFILL_ON_CONNECT_DAYS": "30",
    "BACKFILL_WINDOW_DAYS": "7",
    "BRAND_COLOR": "",
    "BRAND_LOGO": "",
    "BRAND_NAME": "",
    "CONNECTIONS_TABLE": "Connections",
    "DEAD_PAYLOAD_FETCHES_QUEUE_URL": "https://sqs.example.com/dead-fetches",
    "DELIVERIES_TABLE": "Deliveries",
    "ERASURES_PER_USER_PER_HOUR": "1",
    "EVENT_BUS_NAME": "terra-connections",
    "MOBILE_TOKENS_PER_USER_PER_HOUR": "1",
    "OIDC_ALGORITHMS": "RS256",
    "OIDC_AUDIENCE": "app",
    "OIDC_ISSUER": "https://login.example.com",
    "OIDC_JWKS_URL": "",
    "OIDC_REFERENCE_ID_CLAIM": "sub",
    "OPEN_SESSIONS_PER_PERSON": "1",
    "PAYLOADS_BUCKET": "payloads",
    "PAYLOAD_FETCHES_QUEUE_URL": "https://sqs.example.com/fetches",
    "PAYLOAD_URLS": "https://payloads.example.com/payloads/",
    "PROBLEMS_URL": "/docs/problems.md",
    "PSEUDONYM_KEY": "1" * 64,
    "PUBLIC_BASE_URL": "",
    "QUIET_AFTER_DAYS": "7",
    "RETURN_TARGETS": "{}",
    "SERVICE_KEYS_ARN": "service-keys",
    "SESSIONS_TABLE": "Sessions",
    "SIGNATURE_MAX_AGE_SECONDS": "90000",
    "SIGNATURE_MAX_AHEAD_SECONDS": "300",
    "SIGNING_SECRETS_ARN": "signing-secrets",
    "SWEEP_QUEUE_URL": "https://sqs.example.com/sweep",
    "SWEEP_REVOKES_BELOW_PERCENT": "2",
    "SYNCS_PER_USER_PER_MINUTE": "1",
    "TERRA_API_URL": "https://terra.example.com/api/v2",
    "TERRA_DEV_ID": "dev",
    "TERRA_MOBILE_TOKEN_PATH": "/auth/tokens",
    "TERRA_SECRET_ARN": "terra",
    "TERRA_WIDGET_URL": "https://terra.example.com/api/widget/session",
}
"""A valid value of every setting. User tokens are enabled. No setting causes a network call."""

_PROGRAM = """
import json, os, sys
from types import SimpleNamespace
from terra_connections import settings

class Recorder(dict):
    def get(self, name):
        read.append(name)
        return super().get(name)

read = []
settings.os = SimpleNamespace(environ=Recorder(os.environ))
import handler
print(json.dumps([list(sys.modules), read]))
"""
"""Only settings.py reads the environment; boto3 copies all of it."""


def function_environment(**changes: str) -> dict[str, str]:
    """Return every setting, and a region for boto3."""
    return {**SETTINGS, "AWS_DEFAULT_REGION": "eu-west-1", **changes}


@dataclass(frozen=True)
class Loaded:
    """A function that is ready for its first request.

    Attributes:
        modules: the modules that it has imported.
        settings: the variables that it has read.
    """

    modules: frozenset[str]
    settings: frozenset[str]


@cache
def loaded(function: str, **changes: str) -> Loaded:
    """Load a function, named by its folder, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=ROOT / "functions" / function,
        env=function_environment(PYTHONPATH=str(ROOT / "layers/terra_connections"), **changes),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules, read = json.loads(run.stdout)
    return Loaded(frozenset(modules), frozenset(read))
