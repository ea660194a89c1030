"""Makes the changes of a plan, in an order that loses no delivery."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from tools.progress import say
from tools.stages import StageError
from tools.terra import deliveries, probe
from tools.terra.admin import AdminRefused
from tools.terra.plan import EVENT_TYPES, Plan
from tools.terra.resend import choose, resend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tools.terra.admin import AdminApi
    from tools.terra.command import Side
    from tools.terra.models import Destination

RETRIED_FOR: Final = timedelta(hours=25)
"""Terra retries for a little over a day."""
IN_FLIGHT: Final = timedelta(seconds=10)
"""An attempt takes up to 8 s."""


def accepted_event_types(api: AdminApi) -> tuple[str, ...]:
    """Return the names of the auth events that Terra accepts; a dry run asks for them, because Terra lists none.

    Raises:
        StageError: Terra does not even accept `auth`.
    """
    names = list(EVENT_TYPES)
    while names:
        try:
            api.dry_run("POST", body=draft("https://example.com/", names))
        except AdminRefused as error:
            said = " ".join([*error.problem.errors, error.problem.detail or ""])
            rejected = set(names) & set(re.findall(r"\w+", said))
            if error.problem.code != "validation_failed" or names == ["auth"]:
                raise
            is_named = bool(rejected) and "auth" not in rejected
            names = [name for name in names if name not in rejected] if is_named else ["auth"]
        else:
            return tuple(names)
    raise AssertionError  # pragma: no cover - `auth` remains


def draft(url: str, event_types: Sequence[str]) -> dict[str, object]:
    """Return the body that creates an inactive webhook destination."""
    return {"type": "webhook", "config": {"url": url}, "event_types": list(event_types), "active": False}


@dataclass(frozen=True)
class Changes:
    """Makes changes at Terra and in the stack's secret.

    Attributes:
        side: the stage and the Admin API.
        cached_for: how long functions use the signing secrets that they have read.
        in_flight: how long to wait for attempts that have begun.
        sleep: waits.
    """

    side: Side
    cached_for: timedelta = probe.CACHED_FOR
    in_flight: timedelta = IN_FLIGHT
    sleep: Callable[[float], None] = time.sleep

    def preview(self, plan: Plan) -> None:
        """Let Terra check each change without making it."""
        api = self.side.api
        for each in (*plan.drafts, *plan.retired):
            say(f"Terra would {api.dry_run('DELETE', each.id).would} {each.id}.")
        if plan.creates:
            said = api.dry_run("POST", body=draft(self.side.url, plan.event_types)).would
            say(f"Terra would {said} a destination.")
        if plan.current is not None and plan.changes:
            said = api.dry_run("PATCH", plan.current.id, plan.changes).would
            say(f"Terra would {said} {plan.current.id}.")

    def make(self, plan: Plan) -> None:
        """Make every change.

        Raises:
            StageError: a step failed; a repeat of the command continues.
        """
        for each in plan.drafts:
            self.side.api.delete(each.id)
            say(f"Deleted the inactive destination {each.id}.")
        current = self._created(plan.event_types) if plan.creates else self._updated(plan)
        for old in plan.retired:
            self._retire(old, current)
        if plan.orphans:
            stored = self.side.stored_secrets()
            self.side.store_secrets({name: value for name, value in stored.items() if name not in plan.orphans})
            say(f"Forgot the signing secret {', '.join(plan.orphans)}.")

    def _created(self, event_types: Sequence[str]) -> Destination:
        """Create a destination that is active only when the stack accepts its signature."""
        api = self.side.api
        new = api.create(draft(self.side.url, event_types))
        say(f"Created the destination {new.id}, inactive.")
        if new.signing_secret is None:
            api.delete(new.id)
            message = (
                "Terra returned no signing secret for the new destination, so it was deleted: run the command again."
            )
            raise StageError(message)
        stored = self.side.stored_secrets()
        self.side.store_secrets({**stored, new.secret_name: new.signing_secret.get_secret_value()})
        say(f"Stored its signing secret as {new.secret_name}.")
        self._wait(new.signing_secret, is_first=not stored)
        return self._activate(new, {"active": True})

    def _updated(self, plan: Plan) -> Destination:
        """Change the current destination, after the stack has accepted its signature at the new URL."""
        current = plan.current
        if current is None:
            raise AssertionError
        if not plan.changes:
            return current
        stored = self.side.stored_secrets()
        if (secret := stored.get(current.secret_name) or next(iter(stored.values()), None)) is not None:
            if "active" in plan.changes:
                self._wait(SecretStr(secret), is_first=False)
            else:
                probe.require(self.side.http, self.side.url, SecretStr(secret))
        return self._activate(current, plan.changes)

    def _activate(self, destination: Destination, changes: Mapping[str, object]) -> Destination:
        changed = self.side.api.update(destination.id, changes)
        say(f"Changed the destination {changed.id}: {'active' if changed.active else 'inactive'}, {changed.url}.")
        return changed

    def _wait(self, secret: SecretStr, *, is_first: bool) -> None:
        # A function that found no secret reads again at its next request.
        at_least = timedelta() if is_first else self.cached_for
        probe.until_accepted(self.side.http, self.side.url, secret, at_least=at_least, sleep=self.sleep)

    def _retire(self, old: Destination, current: Destination) -> None:
        """Delete a destination once nothing of it is outstanding, and forget its secret."""
        left = self._outstanding(old, current)
        if left and old.active:
            say(
                f"The destination {old.id} stays active, and its signing secret valid: Terra still retries {left} of "
                "its deliveries, which cannot be resent. Run the command again later; Terra retries for a day."
            )
            return
        if old.active:
            self.side.api.update(old.id, {"active": False})
            self.sleep(self.in_flight.total_seconds())
        self.side.api.delete(old.id)
        say(f"Deleted the destination {old.id}.")
        stored = self.side.stored_secrets()
        if stored.pop(old.secret_name, None) is not None:
            self.side.store_secrets(stored)
            say(f"Forgot the signing secret {old.secret_name}.")
        elif kept := [name for name in stored if name != current.secret_name]:
            say(
                f"The stack still accepts the signing secrets {', '.join(kept)}. When the metric Signatures no longer "
                f"counts one of them: make secrets STAGE={self.side.stack.stage} FORGET=<name>"
            )

    def _outstanding(self, old: Destination, current: Destination) -> int:
        """Resend what the old destination has not delivered and the current one was never sent; return what is left."""
        # Their URLs may be equal, and rows without an id would count for both.
        both = [old, replace_url(current)]
        found = deliveries.events(self.side.api, both, since=datetime.now(UTC) - RETRIED_FOR)
        waiting = [each for each in found if not each.reached(*both) and not each.was_sent_to(current)]
        if not waiting:
            return 0
        choice = choose([each for each in found if each not in waiting] + waiting, both)
        mine = [each for each in choice.resent if each in waiting]
        say(f"Resending {len(mine)} events that the destination {old.id} could not deliver ...")
        result = resend(self.side.api, mine, both, sleep=self.sleep)
        if result.failed:
            message = (
                f"The stack rejects resent deliveries (status {result.last_status}), so the old destination was kept: "
                "run make doctor, and then this command again."
            )
            raise StageError(message)
        return len([each for each in choice.without_user if each in waiting]) + result.queued


def replace_url(destination: Destination) -> Destination:
    """Return a destination that matches rows by its id only."""
    return destination.model_copy(update={"url": ""})


def adopt_known_secrets(
    side: Side, webhooks: Sequence[Destination], *, named: str | None, can_read: bool
) -> dict[str, str]:
    """Return the stored secrets; with the scope keys:read, also those of destinations that were made by hand.

    A secret that is stored under another name gets the name of its destination.

    Args:
        side: the stage and the Admin API.
        webhooks: Terra's destinations.
        named: the id of the stack's destination, whatever its URL is.
        can_read: whether the token has the scope.
    """
    stored = side.stored_secrets()
    if not can_read:
        return stored
    renamed = dict(stored)
    for each in webhooks:
        if (each.url != side.url and each.id != named) or each.secret_name in stored:
            continue
        secret = side.api.signing_secret(each.id)
        value = secret.get_secret_value() if secret else None
        same = [name for name, other in stored.items() if other == value]
        if value:
            renamed = {name: other for name, other in renamed.items() if name not in same} | {each.secret_name: value}
    return renamed
