"""One write to the connections table, as its stream reports it."""

from dataclasses import dataclass

from terra_connections.connections.facts import Facts, Position
from terra_connections.ids import UserId


@dataclass(frozen=True, slots=True)
class Change:
    """One item of the table, before and after a write.

    Attributes:
        user_id: the item's key.
        old: the item before; None if it did not exist.
        new: the item after; None if it was removed.
        version: the version of the item that was written or removed.
        at: the time of the write.
    """

    user_id: UserId
    old: Facts | None
    new: Facts | None
    version: int
    at: Position

    @property
    def related(self) -> set[UserId]:
        """The item's own `user_id`, and those that it links to as parts of the same connection."""
        images = [facts for facts in (self.old, self.new) if facts is not None]
        named = {user_id for facts in images for user_id in (facts.replaced_by, *facts.replaces) if user_id}
        return named | {self.user_id}
