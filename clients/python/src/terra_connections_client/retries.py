"""Which requests are repeated, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx

from terra_connections_client.errors import TerraConnectionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 8.0
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        is_repeatable: whether the request may be sent again although the first one may have been processed.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True


@dataclass(slots=True)
class Attempts:
    """The attempts of one call.

    Attributes:
        most: how often the request is sent at most.
        longest_wait: the longest wait in seconds; if the API asks for a longer one, the call fails at once.
    """

    call: Call
    most: int
    longest_wait: float
    made: int = 0

    def after(self, outcome: httpx.Response | httpx.TransportError) -> float:
        """Return how many seconds to wait before the next attempt.

        Raises:
            TerraConnectionsError: there is no further attempt.
        """
        self.made += 1
        if isinstance(outcome, httpx.Response):
            error = TerraConnectionsError.of_response(outcome)
            may_repeat = self._may_repeat(error)
        else:
            error = TerraConnectionsError.of_failure(outcome)
            error.__cause__ = outcome
            may_repeat = self.call.is_repeatable or isinstance(outcome, _NOT_SENT)
        asked = error.retry_after or 0.0
        if not may_repeat or self.made >= self.most or asked > self.longest_wait:
            raise error
        # Jitter: clients that failed together do not return together.
        return asked + random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self.made - 1)))  # noqa: S311

    def _may_repeat(self, error: TerraConnectionsError) -> bool:
        if error.code == "request_in_progress":  # the first request with this Idempotency-Key is still running
            return True
        if error.status == httpx.codes.TOO_MANY_REQUESTS:  # rejected before it was processed
            return True
        # 502 with a code is an answer of Terra that another attempt does not change.
        is_temporary = error.status in {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT} or (
            error.status == httpx.codes.BAD_GATEWAY and error.code is None
        )
        return is_temporary and self.call.is_repeatable
