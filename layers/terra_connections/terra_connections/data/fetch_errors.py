"""Why a payload was not fetched. No caller is waiting for a fetch: these errors are never mapped to a response.

```text
NotFetched
├── Expired       the URL's server no longer serves it: Terra has to send a new URL
├── Refused       the rules of a fetch forbid it: a retry does not help
└── Unavailable   a retry can succeed, until the URL expires
```
"""

from enum import StrEnum


class Refusal(StrEnum):
    """A rule of a fetch that forbids it."""

    URL = "url"
    """It is not in the allow-list."""
    ADDRESS = "address"
    """The host has an address that is not public."""
    CERTIFICATE = "certificate"
    """The server has no valid certificate for the host."""
    REDIRECT = "redirect"
    STATUS = "status"
    """Neither 200 nor an error."""
    ENCODING = "encoding"
    """The content encoding is unknown, or the content does not have it."""
    LENGTH = "length"
    """The response does not say where its content ends, so that a truncated one could not be recognised."""
    SIZE = "size"
    OTHER_USER = "other_user"
    """The payload is not of the user that the delivery names."""
    NOT_A_FETCH = "not_a_fetch"
    """The message in the queue is not one of this stack."""


class Failure(StrEnum):
    """Why a retry can succeed."""

    TIME = "time"
    """The content was not complete within the time."""
    CONNECTION = "connection"
    """It could not be made, or broke, or the response was not HTTP."""
    STATUS = "server_error"


class NotFetched(Exception):
    """Base class. Not raised itself.

    Attributes:
        reason: a word for logs, metrics and the dead-letter queue. It contains nothing of the URL or the content.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Expired(NotFetched):
    """The server rejects the URL (400, 403), or no longer has its content (404, 410)."""

    def __init__(self) -> None:
        super().__init__("expired")


class Refused(NotFetched):
    """A rule forbids the fetch."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)


class Unavailable(NotFetched):
    """The server did not respond as a whole in time, or failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
