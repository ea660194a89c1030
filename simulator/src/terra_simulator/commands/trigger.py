"""`terra-simulator trigger`: let an event of a connection occur in a running simulator."""

import argparse
from typing import Final

from terra_simulator.commands.options import add_url, assignment
from terra_simulator.control_client import ControlClient, ControlError, Delivery
from terra_simulator.data.bodies import DATA_TYPES

EVENTS: Final = ("auth", "user_reauth", "deauth", "access_revoked", "permission_change", "connection_error")
FIRST_USER: Final = "alice"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "trigger",
        help="let an event occur: a user connects, revokes access, has new data",
        description=f"Let an event occur in a running simulator: {', '.join(EVENTS)}, or data of a type "
        f"({', '.join(DATA_TYPES)}). `terra-simulator data send` has more options for data.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("event", metavar="EVENT", choices=[*EVENTS, *DATA_TYPES])
    parser.add_argument("--user", metavar="REFERENCE_ID", help=f"{FIRST_USER} for auth, else the newest connection")
    parser.add_argument("--provider", help="such as GARMIN; FITBIT for auth, else any")
    field_help = "a field of the event, such as message=expired; VALUE is JSON or text; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=field_help)
    add_url(parser)


def run(options: argparse.Namespace) -> int:
    """Trigger the event and print its webhooks; the status is 1 if one was sent and not delivered."""
    fields = dict(assignment(each) for each in options.set)
    user = options.user or (FIRST_USER if options.event == "auth" else None)
    with ControlClient(options.url) as client:
        if options.event in DATA_TYPES:
            place = f"/users/{client.user_id(user, options.provider)}/data"
            answer = client.call("POST", place, {"type": options.event, **fields})
            deliveries = [Delivery.of(each) for each in answer["deliveries"]]
        else:
            deliveries = client.trigger(options.event, reference_id=user, provider=options.provider, fields=fields)
    if all(each.destination_id is None for each in deliveries):
        message = (
            "the event occurred, and no webhook was sent: there is no destination for it. Start "
            "`terra-simulator listen`, or `terra-simulator serve` with --webhook-url"
        )
        raise ControlError(message)
    for each in deliveries:
        print(each)
    return int(any(each.state in {"pending", "given_up"} for each in deliveries))
