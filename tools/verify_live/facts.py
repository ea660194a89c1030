"""The questions, their answers, and the fact sheet, which has no ids and no secrets."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

QUESTIONS: Final = {
    "first_retry_after": "How long after a failed attempt is the first retry?",
    "signature_time_on_retry": "Is `t` of the signature fresh on a retry?",
    "trace_id_on_retry": "Does a retry have the trace id of the first attempt?",
    "ordering_timestamp_on_retry": "Does a retry have the ordering timestamp of the first attempt?",
    "signature_values": "How many `v1` does a signature have?",
    "signature_time_on_resend": "Is `t` fresh on a resend?",
    "trace_id_on_resend": "Does a resend have the trace id of the first delivery?",
    "ordering_timestamp_on_resend": "Does a resend have the ordering timestamp of the first delivery?",
    "rotation_response": "What does `signing-secret/rotate` return?",
    "rotation_overlap": "Which secrets sign a new delivery after a rotation?",
    "retry_after_rotation": "Which secrets sign the retry of an earlier delivery after a rotation?",
    "event_types": "Which names does `event_types` accept?",
    "events_path": "Which path lists the events, and what is in a row?",
    "admin_rate_limit": "What is the rate limit of the Admin API?",
    "synthetic_auth": "Does a synthetic user send an `auth` event?",
    "synthetic_mark": "How are the deliveries of a synthetic user marked?",
    "ping": "What does a destination with `delivery: ping` receive for a data event?",
    "ping_host": "Which host has the payload of a ping?",
    "ping_expires_in": "How long is the address in a ping valid?",
    "ping_after_expiry": "What is the response when that address has expired?",
    "ping_ordering_timestamp": "Does a ping have the ordering timestamp?",
    "ping_auth": "Is an auth event sent as a ping, too?",
    "widget_path": "At which paths does the widget respond?",
    "widget_status": "With which status does it respond?",
    "widget_expires_in": "What is its `expires_in`?",
    "widget_unknown_provider": "What does it respond to an unknown provider?",
    "userinfo_by_reference": "What is the shape of `userInfo?reference_id=`?",
    "userinfo_unknown_reference": "What does it respond to an unknown `reference_id`?",
    "subscriptions": "What is the shape of a page of `subscriptions`?",
    "subscriptions_max_page": "What is `max_page`?",
    "mobile_token": "What does `auth/tokens` respond?",
    "data_token": "Which endpoints accept a data token?",
    "bound_token": "Whose `reference_id` applies to a bound mobile token?",
    "failure_redirect": "Which parameters does the failure redirect have?",
    "success_redirect": "Which parameters does the success redirect have, in which order?",
    "cancelled_event": "Which members does the event of a cancelled login have?",
}
"""Every question by its key, in the order of the fact sheet."""

NOT_SETTLED: Final = "not settled"
_NAME: Final = re.compile(r"[A-Za-z_](?:[A-Za-z_.-]*[0-9]?){0,2}", re.ASCII)
"""Names of members and parameters. Ids and secrets have more than two digits."""
_LONGEST_NAME: Final = 40


class Facts:
    """What has been settled so far."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, str]] = {}
        self._reasons: dict[str, str] = {}

    def settle(self, key: str, answer: str, detail: str = "") -> None:
        """Keep an answer; the first one counts."""
        if key not in QUESTIONS:
            raise KeyError(key)
        self._answers.setdefault(key, (answer, detail))

    def leave(self, keys: Iterable[str], reason: str) -> None:
        """State why some questions are not settled. An answer and an earlier reason have precedence."""
        for key in keys:
            self._reasons.setdefault(key, reason)

    def is_settled(self, key: str) -> bool:
        """Return whether there is an answer."""
        return key in self._answers

    @property
    def progress(self) -> str:
        """How many questions are settled."""
        return f"{len(self._answers)} of {len(QUESTIONS)} questions are settled"

    def sheet(self, now: datetime) -> str:
        """Return the fact sheet as a page of Markdown."""
        rows = []
        for key, question in QUESTIONS.items():
            answer, detail = self._answers.get(
                key, (NOT_SETTLED, self._reasons.get(key, "The run ended before the experiment."))
            )
            rows.append(f"| `{key}` | {question} | {answer} | {detail} |")
        return "\n".join(
            [
                "# What Terra does",
                "",
                f"Measured by `make verify-live`, {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
                "",
                "| key | question | answer | detail |",
                "|---|---|---|---|",
                *rows,
                "",
            ]
        )


def names(found: Iterable[object]) -> str:
    """Return names of members or parameters for the fact sheet, without anything that may be an id."""
    listed = [str(each)[: _LONGEST_NAME + 1] for each in found]
    shown = [each if len(each) <= _LONGEST_NAME and _NAME.fullmatch(each) else "(another name)" for each in listed]
    return ", ".join(shown) or "none"
