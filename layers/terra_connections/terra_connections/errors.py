"""What can go wrong, as a tree.

```text
TerraConnectionsError
├── InvalidRequest           the caller's request is malformed
├── Forbidden                the caller may not do this
├── NotFound                 no such thing, or not the caller's to see
├── UnknownResource          Terra does not know this provider, or it is not enabled
├── SdkOnlyProvider          the provider connects inside a phone app only
├── InputRefused             Terra refuses what the caller asks for, for another reason
├── RequestInProgress        the first request with this idempotency key is still running
├── ErasureInProgress        the user is being erased: nothing new begins
├── IdempotencyKeyReused     the same idempotency key came with another body
├── UnknownReturnTarget      no return target of this name is configured
├── TerraRejected            Terra refused our credentials or our request
│   ├── TerraUserLimit       the Terra environment is past its user limit
│   ├── EntitlementRequired  the Terra account does not include the product
│   └── EnvironmentDisabled  Terra has disabled the environment
├── NotSigned                a webhook that Terra did not sign
└── RetryLater               worth a repeat; says after how many seconds
    ├── TooManyRequests      Terra's rate limit
    ├── UserLimitReached     a user's limit of syncs, mobile tokens or erasures
    ├── ErasureUnfinished    an erasure needs another call
    ├── TooManySessions      one person's logins that nobody has finished
    ├── TerraUnavailable     Terra timed out, failed or answered nonsense
    │   └── AuthorizationUnavailable  Terra cannot check what the account includes
    ├── NotDurable           contention outlasted the time there is; nothing was written
    └── Misconfigured        a secret or a setting is missing or malformed
```

`problems.py` answers each of them; a test keeps the tree and that table in agreement.
"""

from collections.abc import Sequence


class TerraConnectionsError(Exception):
    """Anything that this package knows can go wrong. The message may be shown to the caller."""


class InvalidRequest(TerraConnectionsError):
    """The request is malformed.

    Attributes:
        errors: what is wrong, as pairs of the field's name and a sentence.
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors))
        self.errors = tuple(errors)


class Forbidden(TerraConnectionsError):
    """The caller may not do this."""


class NotFound(TerraConnectionsError):
    """There is no such thing, or it is not the caller's to see."""


class UnknownResource(TerraConnectionsError):
    """Terra does not know this provider, or it is not enabled for the account."""


class SdkOnlyProvider(TerraConnectionsError):
    """The provider has no login page: it connects inside a phone app, through Terra's SDK."""


class InputRefused(TerraConnectionsError):
    """Terra refuses what the caller asks for, and neither the provider's name nor its type explains it."""


class RequestInProgress(TerraConnectionsError):
    """The first request with this idempotency key has not been answered yet."""


class ErasureInProgress(TerraConnectionsError):
    """The user is being erased, or was erased after this login began: nothing new begins meanwhile."""


class IdempotencyKeyReused(TerraConnectionsError):
    """The idempotency key was used for another body."""


class UnknownReturnTarget(TerraConnectionsError):
    """No return target of this name is configured."""


class RetryLater(TerraConnectionsError):
    """Worth a repeat. Not raised itself.

    Attributes:
        retry_after: seconds to wait.
    """

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(RetryLater):
    """Terra's rate limit is used up."""


class TooManySessions(RetryLater):
    """A person has begun as many logins as may be open at once, and finished none of them."""


class UserLimitReached(RetryLater):
    """A user has had as many syncs, mobile tokens or erasures as they may within a time."""


class ErasureUnfinished(RetryLater):
    """The time of an erasure was up before everything was erased: a repeat goes on."""


class TerraRejected(TerraConnectionsError):
    """Terra refused our credentials or our request: a repeat will not help."""


class TerraUserLimit(TerraRejected):
    """The Terra environment is past its user limit (402)."""


class EntitlementRequired(TerraRejected):
    """The Terra account does not include the product that the call belongs to (403)."""


class EnvironmentDisabled(TerraRejected):
    """Terra has disabled the environment that the credentials belong to (403)."""


class TerraUnavailable(RetryLater):
    """Terra timed out, failed, or answered something that proves nothing."""


class AuthorizationUnavailable(TerraUnavailable):
    """Terra cannot check at the moment what the account includes (503)."""


class NotSigned(TerraConnectionsError):
    """Nothing proves that Terra sent this webhook."""


class NotDurable(RetryLater):
    """Other writers were in the way for too long: nothing was written, deliver again."""


class Misconfigured(RetryLater):
    """A secret or a setting is missing or malformed; only the operator can mend it."""
