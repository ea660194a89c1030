"""The errors of this package.

```text
TerraConnectionsError
├── InvalidRequest           the caller's request is malformed
├── Forbidden                the caller may not do this
├── NotFound                 it does not exist, or the caller may not access it
├── UnknownResource          Terra does not know this provider, or it is not enabled
├── SdkOnlyProvider          the provider connects inside a phone app only
├── InputRefused             Terra rejects the caller's input for another reason
├── RequestInProgress        the first request with this idempotency key is still running
├── ErasureInProgress        the user is being erased, and can start nothing new
├── ConnectionEnded          the connection is revoked, and no login can repair it
├── IdempotencyKeyReused     the idempotency key was used with a different body
├── UnknownReturnTarget      no return target of this name is configured
├── TerraRejected            Terra rejected our credentials or our request
│   ├── TerraUserLimit       the Terra environment has exceeded its user limit
│   ├── EntitlementRequired  the Terra account does not include the product
│   └── EnvironmentDisabled  Terra has disabled the environment
├── NotSigned                the webhook has no valid signature of Terra
└── RetryLater               can be retried; has the seconds to wait
    ├── TooManyRequests      Terra's rate limit
    ├── UserLimitReached     a user's limit of syncs, mobile tokens, erasures or backfills
    ├── ErasureUnfinished    an erasure needs another call
    ├── TooManySessions      the user has too many unfinished logins
    ├── TerraUnavailable     Terra timed out, failed or sent an invalid response
    │   └── AuthorizationUnavailable  Terra cannot check what the account includes
    ├── NotDurable           contention lasted longer than the retries; nothing was written
    └── Misconfigured        a secret or a setting is missing or malformed
```

`problems.py` maps each of them to a response; a test compares the tree with that table.
"""

from collections.abc import Sequence


class TerraConnectionsError(Exception):
    """Base class of the errors. The message may be shown to the caller."""


class InvalidRequest(TerraConnectionsError):
    """The request is malformed.

    Attributes:
        errors: pairs of a field's name and an error message.
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors))
        self.errors = tuple(errors)


class Forbidden(TerraConnectionsError):
    """The caller may not do this."""


class NotFound(TerraConnectionsError):
    """It does not exist, or the caller may not access it."""


class UnknownResource(TerraConnectionsError):
    """Terra does not know this provider, or it is not enabled for the account."""


class SdkOnlyProvider(TerraConnectionsError):
    """The provider has no login page: it connects inside a phone app, through Terra's SDK."""


class InputRefused(TerraConnectionsError):
    """Terra rejects the caller's input, and neither the provider's name nor its type explains it."""


class RequestInProgress(TerraConnectionsError):
    """The first request with this idempotency key is still running."""


class ErasureInProgress(TerraConnectionsError):
    """The user is being erased, or was erased after this login started."""


class ConnectionEnded(TerraConnectionsError):
    """The connection is revoked. A login at its provider makes a new one."""


class IdempotencyKeyReused(TerraConnectionsError):
    """The idempotency key was used with a different body."""


class UnknownReturnTarget(TerraConnectionsError):
    """No return target of this name is configured."""


class RetryLater(TerraConnectionsError):
    """Base class of errors after which a retry can succeed. Not raised itself.

    Attributes:
        retry_after: seconds to wait.
    """

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(RetryLater):
    """Terra's rate limit is exceeded."""


class TooManySessions(RetryLater):
    """The user has reached the limit of unfinished logins."""


class UserLimitReached(RetryLater):
    """The user has reached the limit of syncs, mobile tokens, erasures or backfills in a period."""


class ErasureUnfinished(RetryLater):
    """The erasure reached its time limit before everything was erased. A retry continues it."""


class TerraRejected(TerraConnectionsError):
    """Terra rejected our credentials or our request. A retry does not help."""


class TerraUserLimit(TerraRejected):
    """The Terra environment has exceeded its user limit (402)."""


class EntitlementRequired(TerraRejected):
    """The Terra account does not include the product that the call belongs to (403)."""


class EnvironmentDisabled(TerraRejected):
    """Terra has disabled the environment that the credentials belong to (403)."""


class TerraUnavailable(RetryLater):
    """Terra timed out, failed, or sent an invalid response."""


class AuthorizationUnavailable(TerraUnavailable):
    """Terra temporarily cannot check what the account includes (503)."""


class NotSigned(TerraConnectionsError):
    """The webhook has no valid signature of Terra."""


class NotDurable(RetryLater):
    """Contention or throttling lasted too long. Nothing was written; the delivery can be retried."""


class Misconfigured(RetryLater):
    """A secret or a setting is missing or malformed. Only the operator can fix it."""
