"""The questions that need a person: at a login page, or with a phone."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Final

from tools.progress import say
from tools.verify_live.experiments import RESEND
from tools.verify_live.facts import names
from tools.verify_live.scratch import LOGIN, OF_SDK, OF_TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from tools.verify_live.data_api import DataApi
    from tools.verify_live.experiments import Run, Steps
    from tools.verify_live.receiver import Redirect

_ADDRESS: Final = re.compile(r"https://[!-~]+|http://(127\.0\.0\.1|localhost)[:/][!-~]+", re.ASCII)


def login(run: Run, data: DataApi, widget: str, *, within: float) -> Steps:
    """Let a person cancel a login, and read the redirect and the event."""
    facts = run.facts
    body = {
        "reference_id": LOGIN,
        "auth_success_redirect_url": f"{run.receiver_url}/success",
        "auth_failure_redirect_url": f"{run.receiver_url}/failure",
    }
    answer = data.ask("POST", widget, body=body)
    url = answer.fields.get("url")
    if not answer.is_success or not isinstance(url, str) or not _ADDRESS.fullmatch(url):
        facts.leave(["failure_redirect", "success_redirect", "cancelled_event"], answer.refusal)
        return
    say(f"  Within {within:.0f} s, open {url} in a browser, and cancel the login.")
    ends_at = time.monotonic() + within
    while time.monotonic() < ends_at and not facts.is_settled("failure_redirect"):
        for each in run.receiver.redirects():
            _settle_redirect(run, each)
        yield
    facts.leave(["failure_redirect", "cancelled_event"], f"No login was cancelled within {within:.0f} s.")
    facts.leave(["success_redirect"], "No login was finished.")
    ends_at = time.monotonic() + run.patience
    while time.monotonic() < ends_at and facts.is_settled("failure_redirect"):
        for event in run.receiver.at(RESEND):
            if event.reference_id == LOGIN and event.content.get("status") == "error":
                facts.settle("cancelled_event", f"`{event.type}`: {names(event.content)}")
                return
        yield
    if facts.is_settled("failure_redirect"):
        facts.settle("cancelled_event", "no event", f"none within {run.patience:.0f} s of the redirect")


def _settle_redirect(run: Run, redirect: Redirect) -> None:
    ordered = names(redirect.parameters)
    if redirect.kind == "success":
        run.facts.settle("success_redirect", ordered)
    else:
        reason = f"`reason` is {redirect.reason}" if redirect.reason else ""
        run.facts.settle("failure_redirect", names(sorted(redirect.parameters)), reason)


def mobile(run: Run, data: DataApi, *, within: float, file: Path) -> Steps:
    """Let a person redeem a bound token under another `reference_id`, and look at the connection."""
    facts = run.facts
    ends_at, expires_at, is_first = time.monotonic() + within, 0.0, True
    try:
        while time.monotonic() < ends_at:
            if time.monotonic() >= expires_at:
                answer = data.ask("POST", "/auth/tokens", query={"reference_id": OF_TOKEN})
                token, lasts = answer.fields.get("token"), answer.fields.get("expires_in")
                if not answer.is_success or not isinstance(token, str) or not isinstance(lasts, int):
                    facts.leave(["bound_token"], answer.refusal)
                    return
                _write(file, token)
                expires_at = time.monotonic() + max(lasts - 10, 1)
                if is_first:
                    is_first = False
                    say(
                        f"  Within {within:.0f} s, connect a device: in a test build of your app, call Terra.instance "
                        f"with the reference_id {OF_SDK}, and initConnection with the token in {file}."
                    )
            for each in run.receiver.at(RESEND):
                if each.type == "auth" and each.reference_id in {OF_TOKEN, OF_SDK}:
                    bound = each.reference_id == OF_TOKEN
                    facts.settle("bound_token", "the token's" if bound else "the one of the SDK")
                    return
            yield
        facts.leave(["bound_token"], f"No device was connected within {within:.0f} s.")
    finally:
        file.unlink(missing_ok=True)


def _write(file: Path, token: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(token)
