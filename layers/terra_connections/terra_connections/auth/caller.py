"""The caller of a request, and the users it may act for."""

from dataclasses import dataclass

from terra_connections.errors import Forbidden, InvalidRequest
from terra_connections.ids import ReferenceId


@dataclass(frozen=True, slots=True)
class Caller:
    """An authorized caller.

    Attributes:
        name: the kind of caller, `service` or `user`.
        subject: the user that a user token acts for; None for a service key, which acts for any user.
    """

    name: str
    subject: ReferenceId | None = None

    def reference_id(self, requested: ReferenceId | None) -> ReferenceId:
        """Return the user of a request: the token's subject, or the `reference_id` in a request with a service key.

        Raises:
            InvalidRequest: a request with a service key has no `reference_id`.
            Forbidden: a request with a user token names another user.
        """
        if self.subject is None:
            if requested is None:
                raise InvalidRequest([("reference_id", "is required with a service key")])
            return requested
        if requested not in (None, self.subject):
            message = "A user's token acts for its own subject only."
            raise Forbidden(message)
        return self.subject

    def require_service_key(self) -> None:
        """Reject user tokens, on requests that show the data of all users or internal facts.

        Raises:
            Forbidden: the caller has a user token.
        """
        if self.subject is not None:
            message = "This requires a service key: a user's token lists and reads its own connections only."
            raise Forbidden(message)

    def can_access(self, owner: ReferenceId | None) -> bool:
        """Whether the caller may read data of this owner. Data without an owner requires a service key."""
        return self.subject is None or owner == self.subject
