"""The requests to Terra, and its responses."""

from dataclasses import dataclass
from datetime import timedelta

from terra_connections.ids import (
    ReferenceId,
    SessionId,
    UserId,
)


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """The parameters of a login at Terra: the user, and the redirect URLs."""

    reference_id: ReferenceId
    language: str | None
    success_url: str
    failure_url: str

    def as_terra(self) -> dict[str, str]:
        """Return the request body for Terra."""
        body = {
            "reference_id": self.reference_id,
            "auth_success_redirect_url": self.success_url,
            "auth_failure_redirect_url": self.failure_url,
        }
        return body if self.language is None else {**body, "language": self.language}


@dataclass(frozen=True, slots=True)
class Login:
    """A login that Terra has prepared.

    Attributes:
        user_id: issued for the user being created; it is not guaranteed to be the final one.
        auth_url: the URL for the user, exactly as Terra returned it.
    """

    user_id: UserId
    auth_url: str


@dataclass(frozen=True, slots=True)
class WidgetSession:
    """A page that Terra has prepared, on which the user picks a provider.

    Attributes:
        session_id: Terra's id of the login, which its events contain.
        url: the URL for the user, exactly as Terra returned it.
        open_for: the lifetime of the link; a login that started before its end may still finish.
        warnings: Terra's messages about ignored parameters, for example a provider that it does not offer.
    """

    session_id: SessionId
    url: str
    open_for: timedelta
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Terra's data about one connection. `is_authenticated` is the reliable flag, `user.active` is not."""

    user_id: UserId
    is_authenticated: bool
    provider: str | None
    reference_id: ReferenceId | None
    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of the users that Terra lists.

    Attributes:
        user_ids: the listed `user_id`s, which may include those of unfinished logins.
        next_page: the number of the next page; None after the last one.
    """

    user_ids: tuple[UserId, ...]
    next_page: int | None


@dataclass(frozen=True, slots=True)
class DataRequest:
    """A request for data that Terra has accepted, and answers by webhooks.

    Attributes:
        reference: Terra's id of the request, which the webhooks carry as `terra-reference`.
        is_large: whether Terra sends the data in chunks.
    """

    reference: str
    is_large: bool


@dataclass(frozen=True, slots=True)
class MobileToken:
    """A single-use token for Terra's mobile SDKs; `expires_in` is in seconds."""

    token: str
    expires_in: int
