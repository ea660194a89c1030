"""Let a running simulator send data: `terra-simulator-data send sleep --reference-id anna`.

Every command is one call of the control API, whose fields its options are named after:

    send TYPE|all        generated data: --date, --days, --samples, --revision, --status, --corrections,
                         --values 100,120,100, --field, --size
    request TYPE FROM TO a period, as a back end requests it with to_webhook: --samples
    set NAME=VALUE ...   settings, such as webhook_delivery=ping or payload_fault=slow; a VALUE is JSON or text
    expire               let the URL of every s3_payload expire now
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

URL: Final = "http://127.0.0.1:4000"
_TIMEOUT_S: Final = 120.0


class FailedError(Exception):
    """A command that the simulator cannot carry out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command and print its result; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with httpx.Client(base_url=f"{options.url}/_control", timeout=_TIMEOUT_S, trust_env=False) as client:
            print(_carried_out(client, options))
    except FailedError as error:
        print(f"terra-simulator-data: {error}", file=sys.stderr)
        return 1
    except httpx.HTTPError as error:
        print(f"terra-simulator-data: no simulator responds on {options.url} ({error}): use --url", file=sys.stderr)
        return 1
    return 0


def _carried_out(client: httpx.Client, options: argparse.Namespace) -> str:
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
            changes = dict(_setting(each) for each in options.settings)
            settings = _answer(client.patch("/settings", json=changes))
            return "\n".join(f"{name}={json.dumps(settings[name])}" for name in changes)
        case _:
            return f"{len(_answer(client.post('/payloads/expire')))} URLs have expired."


def _sent(client: httpx.Client, options: argparse.Namespace, path: str, fields: Mapping[str, object]) -> str:
    user_id = options.user_id or _user_id(client, options.reference_id)
    body = {**fields, **({"samples": True} if options.samples else {})}
    deliveries = _answer(client.post(f"/users/{user_id}/{path}", json=body))["deliveries"]
    return "\n".join(_line(each) for each in deliveries)


def _line(delivery: Mapping[str, Any]) -> str:
    attempts = delivery["attempts"]
    status = attempts[-1]["status"] or attempts[-1]["error"] if attempts else "not sent"
    name = f"{delivery['type']} of {delivery['event_type']}" if delivery["event_type"] else delivery["type"]
    return f"{name}: {delivery['state']}, {status}, trace id {delivery['trace_id']}"


def _user_id(client: httpx.Client, reference_id: str | None) -> str:
    users = [
        user
        for user in _answer(client.get("/users"))
        if user["created_at"] and reference_id in {None, user["reference_id"]}
    ]
    if not users:
        message = f"{reference_id or 'no user'} has no connection: connect one on the simulator's page"
        raise FailedError(message)
    return str(users[-1]["user_id"])


def _setting(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator:
        message = f"{text}: must be NAME=VALUE"
        raise FailedError(message)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _answer(response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    if response.is_success:
        return response.json()
    try:
        message = response.json()["error"]
    except (ValueError, LookupError):
        message = f"response {response.status_code}"
    raise FailedError(message if isinstance(message, str) else "; ".join(str(each["msg"]) for each in message))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="terra-simulator-data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default=URL, help=f"of the simulator ({URL})")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    send, request = commands.add_parser("send"), commands.add_parser("request")
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
    commands.add_parser("set").add_argument("settings", nargs="+", metavar="NAME=VALUE")
    commands.add_parser("expire")
    return parser


if __name__ == "__main__":
    sys.exit(main())
