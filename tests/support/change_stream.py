"""The items of the table of connections in memory, with the stream of their changes, and the events of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from terra_connections.change_events.change_event import ChangeEvent, change_events
from terra_connections.connections.change import Change
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import Facts, Position, TerraUser
from terra_connections.connections.lineage import listed_connections
from terra_connections.ids import ReferenceId, UserId

ADA, BOB = ReferenceId("ada"), ReferenceId("bob")
A, B, C = UserId("a"), UserId("b"), UserId("c")


def at(number: int) -> Position:
    return Position(1_750_000_000_000 + number * 1000)


def terra_user(
    user_id: UserId, owner: ReferenceId | None = ADA, scopes: Sequence[str] | None = ("SLEEP",)
) -> TerraUser:
    return TerraUser(user_id, owner=owner, provider="FITBIT", scopes=scopes)


@dataclass
class Table:
    """Items with versions, and the stream of their changes."""

    items: dict[UserId, tuple[Facts, int]] = field(default_factory=dict)
    stream: list[Change] = field(default_factory=list)

    def write(self, *written: Facts) -> list[Change]:
        """Write one transaction, and return its stream records."""
        changes = []
        for facts in written:
            known, version = self.items.get(facts.user_id, (None, 0))
            merged = known.merged(facts) if known else facts
            if merged != known:
                self.items[facts.user_id] = merged, version + 1
                changes.append(Change(facts.user_id, known, merged, version + 1, at(len(self.stream))))
        self.stream += changes
        return changes

    def erase(self, user_id: UserId) -> list[Change]:
        known, version = self.items.pop(user_id)
        self.stream.append(Change(user_id, known, None, version, at(len(self.stream))))
        return self.stream[-1:]

    @property
    def facts(self) -> list[Facts]:
        return [facts for facts, _ in self.items.values()]

    def events(self, changes: Iterable[Change]) -> list[ChangeEvent]:
        """Return the events for these changes, with everything else in its current state."""
        return [event for change in changes for event in change_events(change, self.facts)]

    def listed(self, reference_id: ReferenceId = ADA) -> list[Connection]:
        return listed_connections(reference_id, self.facts, include_revoked=False)
