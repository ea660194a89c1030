"""Who calls, and for whom they may act."""

from dataclasses import dataclass

from terra_connections.errors import Forbidden, InvalidRequest
from terra_connections.ids import ReferenceId


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whom the authorizer let in.

    Attributes:
        name: what kind of caller, `service` or `user`.
        subject: the one person that a user's token acts for; None is a service key, which acts for anybody.
    """

    name: str
    subject: ReferenceId | None = None

    def person(self, asked: ReferenceId | None) -> ReferenceId:
        """Whom a request is about: the token's subject, or whom a service key names.

        Raises:
            InvalidRequest: a service key named nobody.
            Forbidden: a user's token named somebody else.
        """
        if self.subject is None:
            if asked is None:
                raise InvalidRequest([("reference_id", "is required with a service key")])
            return asked
        if asked not in (None, self.subject):
            message = "A user's token acts for its own subject only."
            raise Forbidden(message)
        return self.subject

    def may_see(self, owner: ReferenceId | None) -> bool:
        """Whether what this person owns is the caller's to see; what nobody owns is a service's only."""
        return self.subject is None or owner == self.subject
