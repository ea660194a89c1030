"""What is asked of Terra, and what it answers."""

from dataclasses import dataclass
from datetime import timedelta

from terra_connections.ids import (
    ReferenceId,
    SessionId,
    UserId,
)


@dataclass(frozen=True, slots=True)
class LoginAsked:
    """What Terra is told about any login: whose it is, and where the browser comes back to."""

    reference_id: ReferenceId
    language: str | None
    success_url: str
    failure_url: str

    def as_terra(self) -> dict[str, str]:
        """The body that Terra takes."""
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
        user_id: issued for the user being created; nothing promises that it is the final one.
        auth_url: where to send the person, exactly as Terra gave it.
    """

    user_id: UserId
    auth_url: str


@dataclass(frozen=True, slots=True)
class WidgetSession:
    """A page that Terra has prepared, on which the person picks a provider.

    Attributes:
        session_id: Terra's; its events name the login by it.
        url: where to send the person, exactly as Terra gave it.
        open_for: after this the link is dead; a login that began before may still finish.
        warnings: what Terra did not do of what was asked, in its words; a provider that it does not offer, for example.
    """

    session_id: SessionId
    url: str
    open_for: timedelta
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What Terra knows of one connection. `is_authenticated` is the reliable flag, `user.active` is not."""

    user_id: UserId
    is_authenticated: bool
    provider: str | None
    reference_id: ReferenceId | None
    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of everybody that Terra lists.

    Attributes:
        user_ids: whom it lists; people who never finished a login may be among them.
        next_page: the page to ask for next, or None after the last.
    """

    user_ids: tuple[UserId, ...]
    next_page: int | None


@dataclass(frozen=True, slots=True)
class MobileToken:
    """A single-use token for Terra's mobile SDKs; `expires_in` is in seconds."""

    token: str
    expires_in: int
