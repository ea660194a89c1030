"""One write of the table of connections, as its stream reports it."""

from dataclasses import dataclass

from terra_connections.connections.facts import Facts, Position
from terra_connections.ids import UserId


@dataclass(frozen=True, slots=True)
class Change:
    """One item of the table, before and after a write.

    Attributes:
        user_id: whose item.
        old: before; None if it was not there.
        new: after; None if it was removed.
        version: of the item that was written or removed.
        at: when.
    """

    user_id: UserId
    old: Facts | None
    new: Facts | None
    version: int
    at: Position

    @property
    def related(self) -> set[UserId]:
        """The item's own id, and those that it names as parts of the same connection."""
        images = [facts for facts in (self.old, self.new) if facts is not None]
        named = {user_id for facts in images for user_id in (facts.replaced_by, *facts.replaces) if user_id}
        return named | {self.user_id}
