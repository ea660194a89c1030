"""The HTML of the page at `/`: plain forms, no script, one column on a phone and two on a desktop."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from typing import Final

from starlette.responses import HTMLResponse

from terra_simulator import pages
from terra_simulator.data.bodies import RECORD_TYPES
from terra_simulator.outbox import Delivery, readable
from terra_simulator.providers import PROVIDERS
from terra_simulator.simulator import Simulator
from terra_simulator.users import User

MAX_CONNECTIONS: Final = 50
MAX_WEBHOOKS: Final = 25
_MAX_RESPONSE_TEXT: Final = 160

_STYLE: Final = """
:root { --good: #1a7f37; --bad: #b3261e; --wait: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --good: #56d364; --bad: #ff8a80; --wait: #e3b341; } }
main { max-width: 76rem; }
h1 { font-size: 1.5rem; } h2 { margin: 0 0 .75rem; font-size: 1.15rem; }
h3 { margin: 1.25rem 0 .5rem; font-size: 1rem; }
h3, h4 { overflow-wrap: anywhere; } h4 { margin: 0 0 .5rem; font-size: 1rem; }
section, article { margin-bottom: 1rem; min-width: 0; }
article, section { scroll-margin-top: 4rem; }
nav { display: flex; flex-wrap: wrap; gap: 0 1.25rem; margin-bottom: .75rem; } nav a { padding: .6rem 0; }
article + article { padding-top: 1rem; border-top: 1px solid var(--line); }
.columns { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 1rem; align-items: start; }
@media (min-width: 60rem) { .columns { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } }
.notice { position: sticky; top: 0; z-index: 1; margin: 0 0 1rem; padding: .6rem .9rem; border: 1px solid var(--strong);
  border-radius: .5rem; background: var(--card); overflow-wrap: anywhere; }
.buttons { display: flex; flex-wrap: wrap; gap: .4rem; margin: .25rem 0 .6rem; }
.buttons button { width: auto; min-height: 2.75rem; margin: 0; padding: .35rem .8rem; font-size: .9rem; }
fieldset { margin: 0 0 .4rem; padding: 0; border: 0; min-width: 0; }
legend { padding: 0; color: var(--soft); font-size: .875rem; }
.fields { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .6rem;
  margin-bottom: .6rem; }
input, select { width: 100%; min-height: 2.75rem; padding: .5rem .6rem; border: 1px solid var(--line);
  border-radius: .5rem; background: var(--paper); color: inherit; font: inherit; }
label { font-size: .875rem; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem .75rem; margin: 0 0 .5rem; }
dd { margin: 0; font-size: .875rem; } dd, code { overflow-wrap: anywhere; }
.state { font-weight: 600; font-size: .875rem; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .wait { color: var(--wait); }
p { margin: 0 0 .6rem; overflow-wrap: anywhere; } .soft { color: var(--soft); font-size: .875rem; }
details { margin-bottom: .5rem; font-size: .875rem; } summary { cursor: pointer; padding: .3rem 0; }
pre { margin: 0; padding: .5rem; border-radius: .5rem; background: var(--paper); white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .8rem; }
:focus-visible { outline: 3px solid var(--strong); outline-offset: 2px; }
"""

# The referrer stays on this site: without one, browsers send forms with the Origin `null`, which counts as foreign.
_HEADERS: Final = {
    **pages.HEADERS,
    "Content-Security-Policy": f"{pages.HEADERS['Content-Security-Policy']}; form-action 'self'",
    "Referrer-Policy": "same-origin",
}

FAULTS: Final = ("none", "wrong_user", "gzip_bomb", "slow", "redirect", "large", "truncated")
_DATA_BUTTONS: Final = (
    ("send_data", "Send"),
    ("correct_data", "Send a correction"),
    ("send_values", "Send 100, 120, 100"),
    ("send_large", "Send 10 MB"),
    ("request_data", "Request 90 days"),
    ("amend", "Amend today's observation"),
    ("retract", "Retract today's observation"),
)
_MAX_BODY_TEXT: Final = 20_000

_STATES: Final = {
    "delivered": ("good", "delivered"),
    "pending": ("wait", "pending"),
    "held": ("wait", "queued"),
    "lost": ("bad", "dropped"),
    "given_up": ("bad", "given up"),
}


def page(terra: Simulator, *, notice: str, reference_id: str) -> HTMLResponse:
    """The page with the current state; with a reference_id, only that user's part."""
    status = f'<p class="notice" role="status">{escape(notice)}</p>' if notice else ""
    return pages.document(
        "Console",
        f"""<h1>Terra simulator</h1>
<nav aria-label="This page"><a href="#connect">Simulate a connection</a> <a href="#users">Users</a>
<a href="#webhooks">Last webhooks</a> <a href="/">Refresh</a></nav>
{status}
<div class="columns">
<div>
{_webhooks(terra)}
{_connect_form(terra)}
{_user_list(terra, reference_id)}
</div>
{_last_webhooks(terra, reference_id)}
</div>""",
        style=_STYLE,
        headers=_HEADERS,
    )


def outcome(deliveries: Sequence[Delivery]) -> str:
    """The current results of deliveries, in a sentence."""
    return f"{', '.join(f'{d.type}: {_result(d)}' for d in deliveries)}."


def _webhooks(terra: Simulator) -> str:
    settings, outbox = terra.settings, terra.outbox
    held = sum(delivery.state == "held" for delivery in outbox.deliveries())
    pending = sum(delivery.state == "pending" for delivery in outbox.deliveries())
    sending = (
        ("lose", "Drop webhooks", "good", "sent")
        if settings.send_webhooks
        else ("send", "Send webhooks", "bad", "dropped")
    )
    copying = ("once", "Send once") if settings.webhook_copies > 1 else ("twice", "Send each twice")
    buttons = [sending[:2], copying]
    if not outbox.is_holding:
        buttons.append(("hold", "Queue webhooks"))
    if held or outbox.is_holding:
        buttons += [
            ("release", "Send queued"),
            ("release_reversed", "Send queued in reverse order"),
            ("drop", "Drop queued"),
        ]
    if pending:
        buttons.append(("retry", "Retry pending now"))
    times = "" if settings.webhook_copies == 1 else f", {settings.webhook_copies} times each"
    holding = '; new ones are <span class="state wait">queued</span>' if outbox.is_holding else ""
    return f"""<section class="card">
<h2>Webhooks</h2>
<p>Webhooks are <span class="state {sending[2]}">{sending[3]}</span>{times}{holding}. Queued: {held}.
Pending: {pending}.</p>
{_destinations(terra)}
<form method="post"><div class="buttons">{_buttons(buttons)}</div></form>
{_data_settings(terra)}
</section>"""


def _data_settings(terra: Simulator) -> str:
    """How data are sent: inline or by URL, and what is wrong with them."""
    settings, configured = terra.settings, terra.destinations.configured
    delivery = ("push", "Send data inline") if configured and configured.is_pinged else ("ping", "Send data by URL")
    orders = ("processing sending chunks", "chunks sending processing", "sending shuffled processing", "shuffled")
    selects = "".join(
        _select(name, label, options, str(chosen))
        for name, label, options, chosen in (
            ("output_format", "Format of data", ("json", "fhir", "fit"), settings.output_format),
            ("payload_fault", "What is wrong with payloads at a URL", FAULTS, settings.payload_fault),
            (
                "large_request_order",
                "After a request for more than a month",
                orders,
                " ".join(settings.large_request_order),
            ),
        )
    )
    buttons = _buttons([("data_settings", "Apply"), delivery, ("expire", "Let all URLs expire")])
    return f"""<details><summary>Data: inline or by URL, formats, faults</summary>
<form method="post"><div class="fields">{selects}</div><div class="buttons">{buttons}</div></form></details>"""


def _select(name: str, label: str, options: Sequence[str], chosen: str, *, suffix: str = "") -> str:
    listed = options if chosen in options else (chosen, *options)
    shown = "".join(
        f'<option value="{escape(each)}"{" selected" if each == chosen else ""}>{escape(each)}</option>'
        for each in listed
    )
    place = escape(f"{name}{suffix}")
    return f'<div><label for="{place}">{label}</label><select id="{place}" name="{name}">{shown}</select></div>'


def _destinations(terra: Simulator) -> str:
    lines = [
        f"{each.shown_url or 'not set'}{'' if each.active else ' (inactive)'}"
        + (f"; only {', '.join(each.event_types)}" if each.event_types else "")
        for each in terra.destinations.by_id.values()
        if each.type == "webhook"
    ]
    return "".join(f'<p class="soft">Webhook URL: {escape(line)}</p>' for line in lines or ["not set"])


def _connect_form(terra: Simulator) -> str:
    enabled = terra.settings.enabled_providers
    options = "".join(
        f'<option value="{name}"{" selected" if name == "FITBIT" else ""}>{escape(PROVIDERS[name].title)}</option>'
        for name in sorted(enabled)
    )
    return f"""<section class="card" id="connect">
<h2>Simulate a connection</h2>
<form method="post">
<div class="fields">
<div><label for="new-reference-id">User (reference_id)</label>
<input id="new-reference-id" name="reference_id" maxlength="256" autocomplete="off" autocapitalize="none"></div>
<div><label for="new-provider">Provider</label><select id="new-provider" name="provider">{options}</select></div>
<div><label for="new-account">Provider account (default: same as user)</label>
<input id="new-account" name="account" maxlength="200" autocomplete="off" autocapitalize="none"></div>
</div>
<div class="buttons">{
        _buttons(
            [
                ("connect", "Connect"),
                ("connect_silently", "Connect without webhook"),
                ("begin_login", "Start a login, never finish it"),
            ]
        )
    }</div>
</form>
</section>"""


def _user_list(terra: Simulator, reference_id: str) -> str:
    users = [user for user in terra.users.by_id.values() if not reference_id or user.reference_id == reference_id]
    shown = users[-MAX_CONNECTIONS:]
    by_reference_id = sorted(shown, key=lambda user: (user.reference_id is None, user.reference_id or ""))
    groups = "".join(
        f"<h3>{escape(name) if name is not None else 'No reference_id'}</h3>"
        + "".join(_connection(terra, user, reference_id) for user in own)
        for name, own in groupby(by_reference_id, key=lambda user: user.reference_id)
    )
    more = (
        f'<p class="soft">{len(users) - len(shown)} older connections are not shown.</p>'
        if len(users) > len(shown)
        else ""
    )
    return f"""<section class="card" id="users">
<h2>Users and connections: {len(users)}</h2>
<form method="get"><label for="filter">Show only this user (reference_id)</label>
<input id="filter" name="reference_id" value="{escape(reference_id)}" maxlength="256" autocomplete="off"
 autocapitalize="none">
<div class="buttons"><button>Show</button></div></form>
{groups or "<p>No users.</p>"}{more}
</section>"""


def _connection(terra: Simulator, user: User, reference_id: str) -> str:
    title = escape(PROVIDERS[user.provider].title)
    hidden = _hidden(user_id=user.user_id, filter=reference_id, at=f"user-{user.user_id}")
    return f"""<article id="user-{escape(user.user_id)}">
<h4>{title} <span class="state {_state_of(user)}</span></h4>
<dl>{_facts(user)}</dl>
{_link_to_login(terra, user)}
<form method="post">{hidden}
{_event_buttons(user)}
</form>
</article>"""


def _state_of(user: User) -> str:
    if user.is_authenticated:
        return 'good">connected'
    return 'wait">login never finished' if user.created_at is None else 'bad">access revoked'


def _facts(user: User) -> str:
    facts = [("user_id", user.user_id)]
    if user.created_at is not None:
        facts += [("account", user.account or ""), ("scopes", user.scopes or "none")]
    return "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts)


def _link_to_login(terra: Simulator, user: User) -> str:
    logins = [login for login in terra.users.logins.values() if login.user_id == user.user_id and login.outcome is None]
    return "".join(f'<p><a href="/login/{escape(login.token)}">Open the login page</a></p>' for login in logins)


def _event_buttons(user: User) -> str:
    if user.created_at is None:
        return _group("Terra", [("forget", "Delete user (no webhook)"), ("deauth", "Deauthenticate")])
    return (
        _group(
            "Trigger an event",
            [
                ("deauth", "Disconnected (deauth)"),
                ("access_revoked", "Access revoked"),
                ("connection_error", "Connection error"),
            ],
        )
        + _group("Data of today", [("activity", "An activity"), ("send_all", "One of every type")])
        + "<details><summary>More data</summary>"
        + _select("data_type", "Type", RECORD_TYPES, "daily", suffix=f"-{user.user_id}")
        + f'<div class="buttons">{_buttons(_DATA_BUTTONS)}</div></details>'
        + _group(
            "Reconnect the same account",
            [
                ("reauth_after", "auth, then user_reauth"),
                ("reauth_before", "user_reauth, then auth"),
                ("reauth_null", "user_reauth with old_user = null"),
            ],
        )
        + "<details><summary>Change permissions</summary>"
        f'<label for="scopes-{escape(user.user_id)}">Scopes, separated by commas</label>'
        f'<input id="scopes-{escape(user.user_id)}" name="scopes" value="{escape(user.scopes or "")}" maxlength="500"'
        ' autocomplete="off" autocapitalize="none">'
        f'<div class="buttons">{_buttons([("withdraw", "Revoke"), ("grant", "Grant")])}</div></details>'
        + _group("Without a webhook", [("forget", "Delete user (no webhook)")])
    )


def _last_webhooks(terra: Simulator, reference_id: str) -> str:
    every = [
        delivery for delivery in terra.outbox.deliveries() if not reference_id or _is_about(delivery, reference_id)
    ]
    shown = every[: -MAX_WEBHOOKS - 1 : -1]
    rows = "".join(_delivery(delivery, reference_id) for delivery in shown)
    return f"""<section class="card" id="webhooks">
<h2>Last webhooks</h2>
{rows or "<p>None yet.</p>"}
</section>"""


def _delivery(delivery: Delivery, reference_id: str) -> str:
    style, state = _STATES[delivery.state]
    at = datetime.fromtimestamp(delivery.created_at, UTC)
    buttons = [("again", "Resend"), ("replay", "Resend with a new trace ID")]
    if delivery.state == "held":
        buttons = [("release_one", "Send now"), ("drop_one", "Drop")]
    hidden = _hidden(delivery_id=delivery.delivery_id, filter=reference_id, at="webhooks")
    if len(delivery.body) > _MAX_BODY_TEXT:
        body = f"{len(delivery.body):,} bytes: {delivery.body[:1000].decode(errors='replace')}..."
    else:
        body = json.dumps(readable(delivery.body), indent=1, ensure_ascii=False)
    return f"""<article>
<h4>{escape(_title(delivery))} <span class="state {style}">{state}</span></h4>
<p class="soft"><time datetime="{at.isoformat()}">{at:%H:%M:%S} UTC</time>{escape(_subject(delivery))}</p>
<p>{escape(_attempts(delivery))}{escape(_result(delivery))}</p>
<details><summary>Body</summary>
<p class="soft">trace ID {escape(delivery.trace_id)}</p>
<pre>{escape(body)}</pre></details>
<form method="post">{hidden}<div class="buttons">{_buttons(buttons)}</div></form>
</article>"""


def _title(delivery: Delivery) -> str:
    """The type; of an announced payload also its own type."""
    type_ = delivery.type or "no type"
    return f"{type_} of {delivery.event_type}" if delivery.event_type else type_


def _attempts(delivery: Delivery) -> str:
    count = len(delivery.attempts)
    return f"Sent {count} times. Last result: " if count > 1 else "Result: "


def _result(delivery: Delivery) -> str:
    """The receiver's last response."""
    if not delivery.attempts:
        return {"held": "queued", "lost": "dropped, not sent"}.get(delivery.state, "pending")
    last = delivery.attempts[-1]
    if last.status is None:
        return f"no response ({last.error})"
    text = " ".join(last.answer.split())
    return f"response {last.status} {text[:_MAX_RESPONSE_TEXT]}".rstrip()


def _subject(delivery: Delivery) -> str:
    user = delivery.subject
    if not user:
        return ""
    return f", {user.get('provider')} of {user.get('reference_id') or 'no reference_id'}"


def _is_about(delivery: Delivery, reference_id: str) -> bool:
    body = readable(delivery.body) if len(delivery.body) <= _MAX_BODY_TEXT else None
    return reference_id in {
        delivery.subject.get("reference_id"),
        body.get("reference_id") if isinstance(body, dict) else None,
    }


def _group(legend: str, buttons: Iterable[tuple[str, str]]) -> str:
    return f'<fieldset><legend>{legend}</legend><div class="buttons">{_buttons(buttons)}</div></fieldset>'


def _buttons(buttons: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<button name="do" value="{name}">{escape(label)}</button>' for name, label in buttons)


def _hidden(**fields: str) -> str:
    return "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in fields.items())
