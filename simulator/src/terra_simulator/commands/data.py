"""`terra-simulator data`: let a running simulator send data.

Every command is one call of the control API, whose fields its options are named after.
"""

import argparse
import json
from collections.abc import Mapping

from terra_simulator.commands.options import add_url, assignment
from terra_simulator.control_client import ControlClient, Delivery

_HELP = """
send TYPE|all        generated data: --date, --days, --samples, --revision, --status, --corrections,
                     --values 100,120,100, --field, --size
request TYPE FROM TO a period, as a back end requests it with to_webhook: --samples
set NAME=VALUE ...   settings, such as webhook_delivery=ping or payload_fault=slow; a VALUE is JSON or text
expire               let the URL of every s3_payload expire now
"""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "data",
        help="send data of a user, request a period, change settings",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_url(parser)
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    send, request = subcommands.add_parser("send"), subcommands.add_parser("request")
    for each in (send, request):
        each.add_argument("type")
        each.add_argument("--reference-id", help="the user; without one, the newest connection")
        each.add_argument("--user-id", help="the connection")
        each.add_argument("--samples", action="store_true")
    send.add_argument("--date")
    for name in ("--days", "--revision", "--status", "--corrections", "--size"):
        send.add_argument(name, type=int)
    send.add_argument("--values", help="separated by commas")
    send.add_argument("--field")
    request.add_argument("start_date", metavar="FROM")
    request.add_argument("end_date", metavar="TO")
    subcommands.add_parser("set").add_argument("settings", nargs="+", metavar="NAME=VALUE")
    subcommands.add_parser("expire")


def run(options: argparse.Namespace) -> int:
    """Carry out a command and print its result."""
    with ControlClient(options.url) as client:
        print(_carried_out(client, options))
    return 0


def _carried_out(client: ControlClient, options: argparse.Namespace) -> str:
    match options.command:
        case "send":
            names = ("type", "date", "days", "revision", "status", "corrections", "field", "size")
            fields = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
            if options.values:
                fields["values"] = [float(each) for each in options.values.split(",")]
            return _sent(client, options, "data", fields)
        case "request":
            period = {"type": options.type, "start_date": options.start_date, "end_date": options.end_date}
            return _sent(client, options, "requests", period)
        case "set":
            changes = dict(assignment(each) for each in options.settings)
            settings = client.call("PATCH", "/settings", changes)
            return "\n".join(f"{name}={json.dumps(settings[name])}" for name in changes)
        case _:
            return f"{len(client.call('POST', '/payloads/expire'))} URLs have expired."


def _sent(client: ControlClient, options: argparse.Namespace, path: str, fields: Mapping[str, object]) -> str:
    user_id = options.user_id or client.user_id(options.reference_id)
    body = {**fields, **({"samples": True} if options.samples else {})}
    deliveries = client.call("POST", f"/users/{user_id}/{path}", body)["deliveries"]
    return "\n".join(str(Delivery.of(each)) for each in deliveries)
