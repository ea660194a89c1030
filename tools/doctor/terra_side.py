"""Compares a stack with Terra's side of it, through Terra's Admin API. Without an Admin token it checks nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import httpx

from tools.doctor.finding import fine, inconclusive, wrong
from tools.stages import StageError
from tools.terra import token
from tools.terra.admin import AdminApi, admin_url
from tools.terra.command import http_client
from tools.terra.deliveries import events
from tools.terra.plan import EVENT_TYPES, EVERY_TYPE, has_right_types, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tools.doctor.finding import Finding
    from tools.doctor.inside import Secrets
    from tools.doctor.stack import Stack
    from tools.terra.models import Destination

SUBJECT: Final = "Terra's destination"
RECENT: Final = timedelta(days=1)


def check(stack: Stack, secrets: Secrets, clock: Callable[[], float]) -> Iterator[Finding]:
    """Check that Terra has an active destination for the stack, with its event types and secret, and delivers to it."""
    if stack.is_local:
        return
    try:
        given = token.from_environment()
        if given is None:
            yield fine(SUBJECT, f"was not checked, because {token.TOKEN_VARIABLE} is not set (docs/terra.md)")
            return
        with http_client() as http:
            url = admin_url(stack.parameters["TerraApiUrl"])
            api = AdminApi(http, url=url, dev_id=stack.parameters["TerraDevId"], token=given)
            yield from _compare(stack, api, secrets.get("SigningSecrets", {}), datetime.fromtimestamp(clock(), UTC))
    except StageError as error:
        yield inconclusive(SUBJECT, f"cannot be read: {error}")


def _compare(stack: Stack, api: AdminApi, stored: Mapping[str, str], now: datetime) -> Iterator[Finding]:
    url, remedy = stack.outputs["WebhookUrl"], f"make terra STAGE={stack.stage}"
    scopes = api.me().scopes
    webhooks = api.webhooks()
    found = plan(webhooks, stored, url=url, event_types=EVERY_TYPE if stack.keeps_data else EVENT_TYPES)
    own = [*found.drafts, *found.retired, *([found.current] if found.current else [])]
    if not own:
        others = ", ".join(sorted(each.url for each in webhooks)) or "no webhook destination at all"
        yield wrong(SUBJECT, f"is missing: Terra has none for {url} (it has {others})", f"Create it: {remedy}")
        return
    current = found.current or max(own, key=lambda each: each.active)
    problems = [*_problems(current, url), *_problems_of_types(current, keeps_data=stack.keeps_data)]
    for problem in problems:
        yield wrong(SUBJECT, f"{current.id} {problem}", f"Correct it: {remedy}")
    if not problems:
        yield fine(SUBJECT, f"{current.id} is active, for {url}")
    if stack.keeps_data and not api.is_pinged(current.id):
        yield inconclusive(
            SUBJECT,
            f"{current.id} has the delivery mode push: bodies over about 5.6 MB are rejected (413) and lost",
            "If such bodies occur (the alarm DeliveriesTooLarge), set its delivery mode to ping at Terra.",
        )
    if len(own) > 1:
        others = ", ".join(each.id for each in own if each is not current)
        yield inconclusive(SUBJECT, f"{others} is an older one for this stack", f"Finish the rotation: {remedy}")
    yield _secret(api, current, stored, scopes, remedy)
    if "events:read" in scopes:
        yield _delivered(stack, api, own, now)


def _problems(destination: Destination, url: str) -> Iterator[str]:
    if not destination.active:
        yield "is inactive: Terra delivers nothing to it"
    if destination.url != url:
        yield f"has another URL: {destination.url}, not {url}"


def _problems_of_types(destination: Destination, *, keeps_data: bool) -> Iterator[str]:
    if keeps_data:
        if not has_right_types(destination.event_types, EVERY_TYPE):
            listed = ", ".join(destination.event_types)
            yield f"does not get both auth events and data, which the stack keeps: it has {listed}"
        return
    if not destination.event_types:
        yield "takes every event type: health data are delivered too, and the stack does not keep them"
        return
    # Whether `auth` alone covers all auth events is not documented; make terra asks Terra.
    wanted, names = set(EVENT_TYPES), set(destination.event_types)
    if missing := sorted(wanted - names) if names != {"auth"} else []:
        yield f"lacks the event types {', '.join(missing)}"
    if further := sorted(names - wanted):
        yield f"takes further event types, which the stack does not keep: {', '.join(further)}"


def _secret(
    api: AdminApi, destination: Destination, stored: Mapping[str, str], scopes: Sequence[str], remedy: str
) -> Finding:
    what = "Terra's signing secret"
    if "keys:read" not in scopes:
        if destination.secret_name in stored:
            return fine(what, f"is stored as {destination.secret_name}; to compare it, the token needs keys:read")
        return fine(what, "was not compared: the token does not have the scope keys:read")
    secret = api.signing_secret(destination.id)
    if secret is None:
        return inconclusive(
            what, "is that of the environment, not of the destination", f"Replace it: {remedy} ROTATE=1"
        )
    for name, value in stored.items():
        if value == secret.get_secret_value():
            return fine(what, f"is stored as {name}")
    return wrong(
        what, "is none of the stack's: deliveries are rejected (401)", f"Store or replace it: {remedy} ROTATE=1"
    )


def _delivered(stack: Stack, api: AdminApi, destinations: Sequence[Destination], now: datetime) -> Finding:
    what = "Terra's record of deliveries"
    found = events(api, destinations, since=now - RECENT)
    failed = [each for each in found if not each.reached(*destinations)]
    if not failed:
        return fine(what, f"{len(found)} events in the last day, all delivered")
    status = failed[-1].last_status(*destinations)
    causes: dict[int | None, str] = {
        httpx.codes.UNAUTHORIZED: "401 means another signing secret",
        None: "check the URL, its DNS entry and certificate",
    }
    cause = causes.get(status, "see docs/runbook.md#webhookfailing")
    return wrong(
        what,
        f"{len(failed)} of {len(found)} events of the last day were not delivered; the newest got "
        f"{status or 'no response'}",
        f"Find the cause ({cause}), and then: make recover STAGE={stack.stage} SINCE=24h",
    )
