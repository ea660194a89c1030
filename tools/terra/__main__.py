"""`make terra STAGE=...`: let Terra deliver to a stage: its webhook destination, event types and signing secret.

It shows a plan, asks, and then makes the changes in an order that loses no delivery. ROTATE=1 replaces the signing
secret. After an error, the same command continues.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tools.progress import say
from tools.terra import command, probe
from tools.terra.change import IN_FLIGHT, Changes, accepted_event_types, adopt_known_secrets
from tools.terra.plan import EVERY_TYPE, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

SCOPES: Final = ("destinations:read", "destinations:write", "events:read", "events:write")
READ_SECRETS: Final = "keys:read"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make Terra's side of a stage what the stack needs."""
    parser = command.parser("make terra", __doc__)
    parser.add_argument("--rotate", action="store_true", help="replace the signing secret")
    parser.add_argument("--destination", metavar="ID", help="the stack's destination, if only you know that it is")
    parser.add_argument("--cached-for", type=float, default=probe.CACHED_FOR.total_seconds(), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    return command.run(lambda: _terra(options))


def _terra(options: argparse.Namespace) -> int:
    with command.side(options.stage, options.config, SCOPES) as side:
        webhooks = side.api.webhooks()
        before = side.stored_secrets()
        can_read = READ_SECRETS in side.api.me().scopes
        named = options.destination or None
        stored = adopt_known_secrets(side, webhooks, named=named, can_read=can_read)
        wanted = plan(
            webhooks,
            stored,
            url=side.url,
            event_types=EVERY_TYPE if side.stack.keeps_data else accepted_event_types(side.api),
            rotates=options.rotate,
            named=named,
        )
        added = sorted(stored.keys() - before.keys())
        lines = wanted.lines(side.url)
        if added:
            lines.insert(0, f"store the signing secret that Terra has as {', '.join(added)}")
        for note in wanted.notes:
            say(note)
        if options.rotate and wanted.retired and not wanted.creates:
            say("An earlier rotation is not finished: this continues it.")
        if not lines:
            say(f"Terra delivers to {side.url} as it should: nothing to change.")
            return 0
        say(f"The plan for {side.stack.name}:")
        for number, line in enumerate(lines, start=1):
            say(f"  {number}. {line}")
        changes = Changes(
            side,
            cached_for=timedelta(seconds=options.cached_for),
            in_flight=min(IN_FLIGHT, timedelta(seconds=options.cached_for)),
        )
        if options.dry_run:
            changes.preview(wanted)
            say("A dry run: nothing was changed.")
            return 0
        if not command.confirmed("Make these changes?", is_confirmed=options.yes):
            return 1
        if added:
            side.store_secrets(stored)
        changes.make(wanted)
        say(f"Done. make doctor STAGE={side.stack.stage} compares both sides.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
