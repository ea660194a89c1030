"""`make recover STAGE=... SINCE=...`: let Terra resend what it could not deliver to a stage, for example in an outage.

SINCE is a time (2026-11-26T10:00:00Z) or a period (6h, 2d). Events that were delivered later are left out; a repeat
does no harm.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import httpx
from pydantic import SecretStr

from tools.progress import say, step
from tools.stages import StageError
from tools.terra import command, probe
from tools.terra.deliveries import events
from tools.terra.plan import plan
from tools.terra.resend import choose, resend

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tools.terra.command import Side
    from tools.terra.models import Destination
    from tools.terra.resend import Choice

SCOPES: Final = ("destinations:read", "events:read", "events:write")
KEPT_FOR: Final = timedelta(days=14)
"""Terra keeps payloads for 14 days (November: 30 days)."""
_PERIOD: Final = re.compile(r"([0-9]{1,5})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Resend the failed deliveries of a stage."""
    parser = command.parser("make recover", __doc__)
    parser.add_argument("--since", default="", help="a time, or a period such as 6h or 2d")
    options = parser.parse_args(arguments)
    return command.run(lambda: _recover(options))


def since(text: str, now: datetime) -> datetime:
    """Return the beginning of the period.

    Raises:
        StageError: it is not a time or a period, is in the future, or longer ago than Terra keeps events.
    """
    if period := _PERIOD.fullmatch(text):
        found = now - timedelta(**{_UNITS[period[2]]: int(period[1])})
    else:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            message = f"SINCE={text} is not a time: write a period (6h, 2d) or an RFC 3339 time (2026-11-26T10:00:00Z)."
            raise StageError(message) from None
        if found.tzinfo is None:
            message = f"SINCE={text} has no offset: add Z for UTC, or one such as +01:00."
            raise StageError(message)
    if found > now:
        message = f"SINCE={text} is in the future."
        raise StageError(message)
    if found < now - KEPT_FOR:
        message = f"SINCE={text} is too long ago: Terra keeps payloads for {KEPT_FOR.days} days."
        raise StageError(message)
    return found


def _recover(options: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    start = since(options.since, now)
    with command.side(options.stage, options.config, SCOPES) as side:
        destinations = stack_destinations(side)
        with step(f"reading what Terra has sent to {side.url} since {start:%Y-%m-%d %H:%M} UTC"):
            found = events(side.api, destinations, since=start)
        choice = choose(found, destinations)
        _report(len(found), choice)
        if not choice.resent:
            say("Nothing to resend.")
            return 0
        if options.dry_run:
            say("A dry run: nothing was resent.")
            return 0
        if not command.confirmed(f"Resend {len(choice.resent)} events?", is_confirmed=options.yes):
            return 1
        require_working_stack(side)
        result = resend(side.api, choice.resent, destinations)
        say(f"Delivered {result.delivered} of {len(choice.resent)} events.")
        if result.queued:
            say(f"{result.queued} are queued at Terra: run the command again later to see whether they arrived.")
        if result.gone:
            say(f"{result.gone} could not be resent: Terra no longer has their payload.")
        if result.failed:
            stopped = " The rest was not resent." if result.is_stopped else ""
            message = (
                f"The stack failed to accept {result.failed} of them (status {result.last_status or 'none'}).{stopped} "
                f"Run make doctor STAGE={side.stack.stage}, and then this command again."
            )
            raise StageError(message)
    return 0


def stack_destinations(side: Side) -> list[Destination]:
    """Return the stack's destinations: those whose secrets it has, and those with its URL.

    Raises:
        StageError: there is none, or none of them is active.
    """
    webhooks, stored = side.api.webhooks(), side.stored_secrets()
    wanted = plan(webhooks, stored, url=side.url, event_types=())
    found = [*wanted.drafts, *wanted.retired, *([wanted.current] if wanted.current else [])]
    if not found:
        message = f"Terra has no destination for {side.url}: make terra STAGE={side.stack.stage} creates one."
        raise StageError(message)
    if not any(each.active for each in found):
        message = (
            f"The destination {found[0].id} is inactive, so Terra would deliver nothing: make terra STAGE="
            f"{side.stack.stage} activates it."
        )
        raise StageError(message)
    return found


def require_working_stack(side: Side) -> None:
    """Deliver a signed test event to the stack.

    Raises:
        StageError: it accepts none.
    """
    statuses = [probe.answer(side.http, side.url, SecretStr(secret)) for secret in side.stored_secrets().values()]
    if httpx.codes.OK not in statuses:
        message = (
            f"{side.url} accepts no signed test delivery (status {', '.join(map(str, statuses)) or 'none'}), so "
            f"nothing was resent: make doctor STAGE={side.stack.stage}"
        )
        raise StageError(message)


def _report(count: int, choice: Choice) -> None:
    failed = len(choice.resent) + len(choice.superseded) + len(choice.without_user)
    say(f"{count} events were sent to it; {failed} were not delivered.")
    if choice.superseded:
        say(f"  {len(choice.superseded)} are left out: a newer event about the same connection was delivered.")
    if choice.without_user:
        count = len(choice.without_user)
        say(f"  {count} cannot be resent: Terra names no user for them. Reconciliation finds what they changed.")


if __name__ == "__main__":
    raise SystemExit(main())
