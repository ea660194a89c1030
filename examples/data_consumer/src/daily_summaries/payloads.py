"""The payloads in the bucket of Terra Connections, by the claim check of their event."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError


class DamagedPayload(Exception):
    """A payload is not what its event announced. The event is received again, and ends in the dead-letter queue."""


class Payloads:
    """Reads payloads.

    Args:
        client: an S3 client.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - boto3's types are not a dependency
        self._client = client

    def read(self, claim: Mapping[str, Any]) -> bytes | None:
        """Return the body that Terra sent; None if it no longer exists, because it was erased or has expired.

        Args:
            claim: the detail of the event.

        Raises:
            DamagedPayload: the body has another size or hash than the event states.
        """
        try:
            stored = self._client.get_object(Bucket=claim["bucket"], Key=claim["key"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        # One byte more than announced, so that a larger body is noticed, but never read.
        with stored["Body"] as compressed, gzip.GzipFile(fileobj=compressed) as body:
            content = body.read(claim["bytes"] + 1)
        if len(content) != claim["bytes"] or hashlib.sha256(content).hexdigest() != claim["sha256"]:
            message = f"{claim['key']} is not the body that its event announced"
            raise DamagedPayload(message)
        return content


def parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return a body as JSON; None if it is something else, which Terra sends if it is set to FIT or FHIR."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # invalid UTF-8 and numbers that are too long are ValueErrors, too
        return None
