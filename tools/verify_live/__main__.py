"""`make verify-live DEV_ID=... RECEIVER_URL=...`: settle what Terra's documents leave open, in a test environment.

It creates scratch destinations and a synthetic user, reads what Terra sends and responds, writes a fact sheet without
ids and secrets, and removes everything again. It needs a token of the Admin API, and a tunnel to this machine.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import httpx
from pydantic import SecretStr

from tools import put_secrets
from tools.environment import LOOPBACK, ROOT, variable
from tools.progress import say, step
from tools.stages import StageError, one_line
from tools.terra import command
from tools.terra.admin import admin_url
from tools.verify_live import api_questions, assisted, experiments
from tools.verify_live.data_api import PRODUCTION, DataApi
from tools.verify_live.experiments import PING, RESEND, RETRY, ROTATION, Experiment, Run
from tools.verify_live.facts import Facts
from tools.verify_live.receiver import HOST, Receiver
from tools.verify_live.scratch import MARKER, Scratch

if TYPE_CHECKING:
    from collections.abc import Sequence

SCOPES: Final = (
    *("connections:read", "destinations:read", "destinations:write"),
    *("events:read", "events:write", "testdata:write"),
)
ROTATES: Final = "keys:write"
API_URL: Final = "TERRA_API_URL"
WITHIN: Final = 540.0
"""Seconds for the deliveries: Terra's pages state 30 s and 5 min for the first retry."""
LAST_PORT: Final = 65_535
_TUNNEL: Final = (
    "start a tunnel from a public https address to it (for example cloudflared tunnel --url http://{host}:{port}), and "
    "set RECEIVER_URL to that address"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Settle the questions."""
    parser = argparse.ArgumentParser(prog="make verify-live", description=__doc__)
    parser.add_argument("--dev-id", default="", help="the test environment")
    parser.add_argument("--receiver-url", default="", help="the public address of a tunnel to this machine")
    parser.add_argument("--port", default="8787", help="the port that the tunnel forwards to")
    parser.add_argument("--facts", type=Path, default=ROOT / "build" / "terra-facts.md", help="the fact sheet")
    parser.add_argument(
        "--rotate", action="store_true", help="let a login grant keys:write, to rotate a scratch secret"
    )
    parser.add_argument("--login", action="store_true", help="ask you to cancel a login")
    parser.add_argument("--sdk", action="store_true", help="ask you to connect a device")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and do nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--within", type=float, default=WITHIN, help=argparse.SUPPRESS)
    parser.add_argument("--person-within", type=float, default=180.0, help=argparse.SUPPRESS)
    parser.add_argument("--patience", type=float, default=10.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    before = {ending: signal.signal(ending, _interrupt) for ending in (signal.SIGTERM, signal.SIGHUP)}
    try:
        return command.run(lambda: _verify(options))
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _verify(options: argparse.Namespace) -> int:
    if not options.dev_id:
        message = "DEV_ID is missing: name a test environment of your Terra account, never the one of your users."
        raise StageError(message)
    if not options.port.isdecimal() or not 0 < int(options.port) <= LAST_PORT:
        message = f"RECEIVER_PORT={options.port} is not a port: write a number from 1 to {LAST_PORT}."
        raise StageError(message)
    url = _receiver_url(options)
    run_path = f"/{MARKER}-{token_hex(8)}"
    data_url = variable(API_URL) or PRODUCTION
    facts = Facts()
    with Receiver(run_path, int(options.port)) as receiver, command.http_client() as http:
        _require_tunnel(http, url, url + run_path, receiver, options)
        api_key = _api_key()
        optional = (ROTATES,) if options.rotate else ()
        with command.authorized(
            http, url=admin_url(data_url), dev_id=options.dev_id, scopes=SCOPES, optional=optional
        ) as api:
            data = DataApi(http, url=data_url, dev_id=options.dev_id, api_key=api_key) if api_key else None
            scratch = Scratch(api, data)
            left = str(scratch.find())
            others = [each for each in api.webhooks() if each.active and f"/{MARKER}-" not in each.url]
            _show_plan(options, left, len(others), has_key=data is not None)
            if options.dry_run:
                say("A dry run: nothing was changed.")
                return 0
            if not command.confirmed("Do this?", is_confirmed=options.yes):
                return 1
            run = Run(
                api,
                data,
                receiver,
                facts,
                http,
                receiver_url=url + run_path,
                patience=options.patience,
                ends_at=time.monotonic() + options.within,
            )
            http.event_hooks = {"response": [run.note_limit]}
            _token_file(options).unlink(missing_ok=True)
            if left and not _remove(scratch):
                return 1
            try:
                _experiment(run, options)
            except KeyboardInterrupt:
                say("Interrupted.")
                raise
            finally:
                is_clean = _remove(scratch)
                _write(options.facts, facts)
    return 0 if is_clean else 1


# -- before ------------------------------------------------------------------------------------------------------------


def _receiver_url(options: argparse.Namespace) -> str:
    url = str(options.receiver_url).rstrip("/")
    tunnel = _TUNNEL.format(host=HOST, port=options.port)
    if not url:
        message = f"RECEIVER_URL is missing: Terra must reach this machine's port {options.port}; {tunnel}."
        raise StageError(message)
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        message = f"RECEIVER_URL is not an address: {one_line(error)}"
        raise StageError(message) from None
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.host in LOOPBACK)
    if not parts.host or not is_safe or parts.query or parts.fragment:
        message = f"RECEIVER_URL must be an https address without a query: {tunnel}."
        raise StageError(message)
    return url


def _require_tunnel(http: httpx.Client, shown: str, url: str, receiver: Receiver, options: argparse.Namespace) -> None:
    """Check that the address leads to the receiver."""
    try:
        response = http.get(f"{url}/check")
        said = f"responds {response.status_code}" + (" from something else" if response.is_success else "")
        if response.is_success and response.text == receiver.nonce:
            return
    except httpx.HTTPError as error:
        said = f"cannot be reached ({one_line(error)[:-1]})"
    tunnel = _TUNNEL.format(host=HOST, port=options.port)
    message = f"RECEIVER_URL {shown} does not lead to port {options.port} of this machine: it {said}; {tunnel}."
    raise StageError(message)


def _api_key() -> SecretStr | None:
    what = "The API key or data token of the test environment"
    value = put_secrets.given(put_secrets.API_KEY, what, empty="leave out the questions that need it")
    return SecretStr(value) if value else None


def _show_plan(options: argparse.Namespace, left: str, others: int, *, has_key: bool) -> None:
    lines = [
        "create webhook destinations with generated events, reject some deliveries and wait for the retries",
        "create a synthetic user, and let Terra resend one of its events",
        "rotate the signing secret of one of these destinations, if the token has the scope keys:write",
    ]
    if left:
        lines.insert(0, f"remove what an earlier run has left: {left}")
    if has_key:
        lines.append("open widget sessions, issue a mobile token, and read the lists of users")
    if has_key and options.login:
        lines.append("ask you to cancel a login")
    if has_key and options.sdk:
        lines.append("ask you to connect a device")
    lines.append(f"remove all of it, and write {options.facts}")
    say(f"The plan for the environment {options.dev_id}, in at most {options.within / 60:.0f} min:")
    for number, line in enumerate(lines, start=1):
        say(f"  {number}. {line}")
    if not has_key:
        say("Without TERRA_API_KEY the questions about the REST API, the widget and mobile tokens stay open.")
    if others:
        say(f"{others} other active destinations of this environment receive the synthetic user's events, too.")


# -- the run -----------------------------------------------------------------------------------------------------------


def _remove(scratch: Scratch) -> bool:
    """Remove what this run and earlier ones have created; return whether nothing is left."""
    try:
        with step("removing what was created at Terra"):
            errors = scratch.remove()
    except KeyboardInterrupt:
        say("  Interrupted again, so not everything was removed: run the command again, which removes the rest.")
        raise
    for each in errors:
        say(f"    {each}")
    if errors:
        say("  Not everything was removed: run the command again, which removes the rest.")
    return not errors


def _experiment(run: Run, options: argparse.Namespace) -> None:
    with step("asking which event types Terra accepts"):
        run.event_types = api_questions.event_types(run.api, run.facts)
    run.create(RETRY, event_types=[experiments.GENERATED])
    run.create(PING, event_types=[experiments.GENERATED, "auth"], delivery="ping")
    run.create(RESEND)
    run.receiver.refusing_first.add(RETRY)
    waiting = [
        Experiment(
            (
                *("first_retry_after", "signature_time_on_retry", "trace_id_on_retry"),
                *("ordering_timestamp_on_retry", "signature_values"),
            ),
            experiments.retry(run),
            "Terra sent no retry in time.",
        ),
        Experiment(
            ("ping", "ping_host", "ping_expires_in", "ping_after_expiry", "ping_ordering_timestamp"),
            experiments.ping(run),
            "Terra sent no ping in time.",
        ),
        Experiment(("ping_auth",), experiments.ping_auth(run), "No auth event arrived as a ping or otherwise."),
        Experiment(
            ("synthetic_mark", "synthetic_auth"), experiments.synthetic(run), "The synthetic user sent nothing in time."
        ),
        Experiment(
            (
                *("signature_time_on_resend", "trace_id_on_resend", "ordering_timestamp_on_resend"),
                "events_path",
            ),
            experiments.resend(run),
            "No resent event arrived in time.",
        ),
    ]
    keys = ("rotation_response", "rotation_overlap", "retry_after_rotation")
    if ROTATES in run.api.me().scopes:
        run.create(ROTATION, event_types=[experiments.GENERATED])
        run.receiver.refusing.add(ROTATION)
        waiting.append(Experiment(keys, experiments.rotation(run), "No delivery after the rotation arrived in time."))
    else:
        run.facts.leave(keys, "The Admin token lacks the scope keys:write.")
    # Deliveries are on their way while the REST API is asked.
    waiting = [each for each in waiting if experiments.advance(run, each)]
    _ask_data_api(run, options, waiting)
    with step("waiting for Terra's deliveries", lambda: run.facts.progress):
        experiments.conduct(run, waiting)
    run.facts.leave(["admin_rate_limit"], "No response has the header `X-RateLimit-Limit`.")


def _ask_data_api(run: Run, options: argparse.Namespace, waiting: list[Experiment]) -> None:
    data, facts, within = run.data, run.facts, options.person_within
    if data is None:
        facts.leave(api_questions.OF_DATA_API, "TERRA_API_KEY is not set.")
        return
    with step("asking the REST API"):
        widget = api_questions.data_api(data, facts)
    keys = ("failure_redirect", "success_redirect", "cancelled_event")
    if options.login and widget is not None:
        waiting.append(Experiment(keys, assisted.login(run, data, widget, within=within), "No login was cancelled."))
    facts.leave(keys if not options.login or widget is None else (), "It needs a person and a widget: LOGIN=1 asks.")
    if options.sdk:
        waiting.append(
            Experiment(
                ("bound_token",),
                assisted.mobile(run, data, within=within, file=_token_file(options)),
                "No device was connected.",
            )
        )
    else:
        facts.leave(["bound_token"], "It needs a person with a device: SDK=1 asks.")


def _token_file(options: argparse.Namespace) -> Path:
    """Return where a mobile token is written for the person with the device, who alone can read it."""
    facts: Path = options.facts
    return facts.with_name("mobile-token")


def _write(file: Path, facts: Facts) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(facts.sheet(datetime.now(UTC)), encoding="utf-8")
    except OSError as error:
        say(facts.sheet(datetime.now(UTC)))
        message = f"The fact sheet, which is printed above, cannot be written: {one_line(error)}"
        raise StageError(message) from None
    say(f"Wrote {file}: {facts.progress}.")


if __name__ == "__main__":
    sys.exit(main())
