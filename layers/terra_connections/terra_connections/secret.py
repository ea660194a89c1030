"""A secret of Secrets Manager: a JSON object of name -> value, cached for minutes."""

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from terra_connections.errors import Misconfigured

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

USABLE = re.compile(r"[\x21-\x7e]+")
"""The characters of a key or a secret. Others were pasted by mistake, and cannot be sent in a header."""
KEPT_FOR = timedelta(minutes=2)
"""A rotation takes effect within this time, without a deployment."""


class Secret:
    """One secret. While Secrets Manager is unavailable, the last value stays in use."""

    def __init__(
        self, client: "SecretsManagerClient", arn: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._arn = arn
        self._clock = clock
        self._values: dict[str, str] | None = None
        self._stale_at = 0.0

    def values(self) -> Mapping[str, str]:
        """Every usable value by its name; malformed ones are left out.

        Raises:
            Misconfigured: the secret cannot be read, is not a JSON object of strings, or has no usable value. The
                message quotes nothing of it.
        """
        if self._values is None or self._clock() >= self._stale_at:
            self._values = self._read()
            self._stale_at = self._clock() + KEPT_FOR.total_seconds()
        return self._values

    def value(self, name: str) -> str:
        """One value.

        Raises:
            Misconfigured: the value is missing.
        """
        value = self.values().get(name)
        if not value:
            message = f"The secret has no {name!r}, or one with spaces, line breaks or other than ASCII characters."
            raise Misconfigured(message)
        return value

    def _read(self) -> dict[str, str]:
        try:
            text = self._client.get_secret_value(SecretId=self._arn)["SecretString"]
        except (BotoCoreError, ClientError) as error:
            if self._values is not None:
                return self._values
            message = "A secret cannot be read."
            raise Misconfigured(message) from error
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            message = "A secret is not a JSON object of names and texts."
            # Not chained: the parser's error quotes the secret.
            raise Misconfigured(message) from None
        if not any(values.values()):
            message = "A secret holds no value yet."
            raise Misconfigured(message)
        # With an empty value anyone could sign webhooks or call the API.
        usable = {name: value for name, value in values.items() if USABLE.fullmatch(value)}
        if not usable:
            message = "A secret has spaces, line breaks or other than ASCII characters."
            raise Misconfigured(message)
        return usable
