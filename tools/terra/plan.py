"""What has to change at Terra, so that the environment delivers to a stack: pure decisions, no calls.

The name of a stored signing secret links it to its destination: `destination-<id>`. So a destination is found again
after its URL has changed, and the metric `Signatures` shows which destination delivers. The newest stored one is the
current one; older ones are being replaced.

A secret is rotated by another destination with the same URL: it stays inactive until the stack accepts its secret. Then
both deliver, which is harmless (a delivery is stored once), until the older one is deleted. Terra's own rotation
(`signing-secret/rotate`) is not used: it needs the scope keys:write, and whether the older secret stays valid for a
while is not documented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools.stages import StageError
from tools.terra.models import NAME_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tools.terra.models import Destination

EVENT_TYPES: Final = (
    "auth",
    "auth_cancelled",
    "deauth",
    "user_reauth",
    "access_revoked",
    "permission_change",
    "connection_error",
)
"""The auth events, all that a stack stores by default. `auth` alone covers them if Terra has no further names."""
EVERY_TYPE: Final = ()
"""What a stack with DataDeliveries=keep takes. Terra means by it every type, also those of the future."""


@dataclass(frozen=True)
class Plan:
    """The changes, in their order.

    Attributes:
        drafts: inactive destinations of an interrupted run, whose secrets are lost: they are deleted.
        creates: whether a destination is created.
        current: the destination that delivers to the stack, or None if there is none yet.
        changes: the changes of its fields; the body of the update.
        retired: older destinations; they are deleted when nothing of theirs is outstanding.
        orphans: the names of signing secrets whose destinations Terra no longer has.
        event_types: what the stack takes.
        notes: what the user should know.
    """

    drafts: tuple[Destination, ...]
    creates: bool
    current: Destination | None
    changes: Mapping[str, object]
    retired: tuple[Destination, ...]
    orphans: tuple[str, ...]
    event_types: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def lines(self, url: str) -> list[str]:
        """Return the plan in words."""
        lines = [
            f"delete the inactive destination {each.id}, whose signing secret is not known" for each in self.drafts
        ]
        if self.creates:
            lines += [
                f"create an inactive webhook destination for {url}, with {_named(self.event_types)}",
                "store its signing secret beside the others, and wait until the functions use it",
                "activate it",
            ]
        if self.current is not None:
            lines += _change_lines(self.current, self.changes)
        for each in self.retired:
            lines.append(
                f"delete the destination {each.id} and forget its signing secret, once Terra has delivered what it "
                "still has for it"
            )
        lines += [f"forget the signing secret {name}, whose destination no longer exists" for name in self.orphans]
        return lines


def plan(
    webhooks: Sequence[Destination],
    stored: Mapping[str, str],
    *,
    url: str,
    event_types: Sequence[str],
    rotates: bool = False,
    named: str | None = None,
) -> Plan:
    """Decide what to change.

    Args:
        webhooks: the environment's webhook destinations.
        stored: the stack's signing secrets by name, in the order in which they were stored.
        url: the stack's WebhookUrl.
        event_types: the names that Terra accepts for what the stack takes, or `EVERY_TYPE`.
        rotates: replace the signing secret.
        named: the id of the destination that is the stack's, although nothing else shows it.

    Raises:
        StageError: `named` does not exist.
    """
    by_name = {each.secret_name: each for each in webhooks}
    own = [by_name[name] for name in stored if name in by_name]
    others = [each for each in webhooks if each not in own and each.url == url]
    if named is not None:
        chosen = next((each for each in webhooks if each.id == named), None)
        if chosen is None:
            message = (
                f"Terra has no webhook destination {named} in this environment: leave DESTINATION out, or correct it."
            )
            raise StageError(message)
        if chosen not in own and chosen not in others:
            others.insert(0, chosen)
    drafts = tuple(each for each in others if not each.active and each.id != named)
    adopted = [each for each in others if each not in drafts]
    notes = tuple(_notes(webhooks, stored, own=own, adopted=adopted, url=url))
    current = own[-1] if own else adopted[0] if adopted and stored else None
    retired = [each for each in (*own, *adopted) if each is not current]
    creates = current is None
    if rotates and current is not None and not retired:
        creates, retired, current = True, [current], None
    changes = {} if current is None else _changes(current, url, event_types)
    orphans = tuple(name for name in stored if name.startswith(NAME_PREFIX) and name not in by_name)
    return Plan(drafts, creates, current, changes, tuple(retired), orphans, tuple(event_types), notes)


def _changes(current: Destination, url: str, event_types: Sequence[str]) -> dict[str, object]:
    changes: dict[str, object] = {}
    if current.url != url:
        changes["config"] = {"url": url}
    if not has_right_types(current.event_types, event_types):
        changes["event_types"] = list(event_types)
    if not current.active:
        changes["active"] = True
    return changes


def has_right_types(names: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a destination has the event types that the stack takes.

    A stack that keeps data also accepts a choice of their types, but not the auth events alone.
    """
    if wanted or not names:
        return set(names) == set(wanted)
    return "auth" in names and bool(set(names) - set(EVENT_TYPES))


def _named(names: Sequence[str]) -> str:
    return f"the event types {', '.join(names)}" if names else "every event type"


def _change_lines(current: Destination, changes: Mapping[str, object]) -> list[str]:
    lines = []
    match changes.get("config"):
        case {"url": url}:
            lines.append(f"change the URL of the destination {current.id} from {current.url} to {url}")
    match changes.get("event_types"):
        case [*names]:
            before, after = (", ".join(map(str, some)) or "every type" for some in (current.event_types, names))
            lines.append(f"change the event types of the destination {current.id} from {before} to {after}")
    if "active" in changes:
        lines.append(f"activate the destination {current.id}")
    return lines


def _notes(
    webhooks: Sequence[Destination],
    stored: Mapping[str, str],
    *,
    own: Sequence[Destination],
    adopted: Sequence[Destination],
    url: str,
) -> list[str]:
    if own or not stored:
        return []
    if adopted:
        made = f"The destination {adopted[0].id} was made by hand; its signing secret is one of: {', '.join(stored)}."
        return [f"{made} ROTATE=1 replaces it by one that make terra manages."]
    elsewhere = [f"{each.id} ({each.url})" for each in webhooks if each.url != url]
    if not elsewhere:
        return []
    others = f"Other webhook destinations: {', '.join(elsewhere)}."
    return [f"{others} If one of them is this stack's, under its former URL, name it by DESTINATION=<id>."]
