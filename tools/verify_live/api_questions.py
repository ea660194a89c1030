"""The questions that requests settle: to the Admin API, and to Terra's REST API."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tools.terra.admin import AdminRefused
from tools.terra.change import draft
from tools.terra.plan import EVENT_TYPES
from tools.verify_live.facts import names
from tools.verify_live.scratch import LOGIN, MARKER, OF_TOKEN, SYNTHETIC

if TYPE_CHECKING:
    from tools.terra.admin import AdminApi
    from tools.verify_live.data_api import Answer, DataApi
    from tools.verify_live.facts import Facts

_DATA: Final = (
    *("activity", "athlete", "body", "daily", "health_observation", "hormone", "lab_report", "lab_report.completed"),
    *("menstruation", "nutrition", "planned_workout", "route", "sleep"),
)
_OTHER: Final = ("s3_payload", "large_request_processing", "large_request_sending", "unified_api.sleep.updated")
_CONTROL: Final = "no_such_event_type"
WIDGET_PATHS: Final = ("/api/widget/session", "/widget/session", "/widget/api/session")
"""The three spellings in Terra's documents. The older endpoint is a path of the REST API."""
OLDER_WIDGET: Final = "/auth/generateWidgetSession"
OF_DATA_API: Final = (
    *("widget_path", "widget_status", "widget_expires_in", "widget_unknown_provider"),
    *("userinfo_by_reference", "userinfo_unknown_reference", "subscriptions", "subscriptions_max_page"),
    *("mobile_token", "data_token", "bound_token", "failure_redirect", "success_redirect", "cancelled_event"),
)
"""The questions that need the credentials of the REST API."""


def event_types(api: AdminApi, facts: Facts) -> list[str]:
    """Find the names that `event_types` accepts, by dry runs; return them, or nothing if any name is accepted.

    Raises:
        StageError: the Admin API rejects the token, or cannot be reached.
    """
    if _is_accepted(api, _CONTROL):
        facts.leave(["event_types"], "A dry run accepts any name.")
        return []
    asked = (*EVENT_TYPES, *_DATA, *_OTHER)
    accepted = [name for name in asked if _is_accepted(api, name)]
    rejected = [name for name in asked if name not in accepted]
    if not accepted:
        facts.leave(["event_types"], "A dry run accepts none of the names.")
        return []
    facts.settle("event_types", ", ".join(accepted) or "none", f"rejected: {', '.join(rejected) or 'none'}")
    return accepted


def _is_accepted(api: AdminApi, name: str) -> bool:
    try:
        api.dry_run("POST", body=draft("https://example.com/", [name]))
    except AdminRefused as error:
        if error.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
            raise
        return False
    return True


def data_api(data: DataApi, facts: Facts) -> str | None:
    """Settle what requests to the REST API settle; return the address of the widget.

    Raises:
        StageError: it cannot be reached.
    """
    statuses = {
        "userInfo": _user_info(data, facts),
        "subscriptions": _subscriptions(data, facts),
        "auth/tokens": _mobile_token(data, facts),
    }
    address, statuses["the widget"] = _widget(data, facts)
    if data.has_data_token:
        accepted = {
            name: "yes" if status < HTTPStatus.BAD_REQUEST else str(status) for name, status in statuses.items()
        }
        facts.settle("data_token", ", ".join(f"{name}: {said}" for name, said in accepted.items()))
    else:
        facts.leave(["data_token"], "TERRA_API_KEY is an API key, not a data token.")
    return address


def _widget(data: DataApi, facts: Facts) -> tuple[str | None, int]:
    parts = urlsplit(data.url)
    origin = f"{parts.scheme}://{parts.netloc}"
    addresses = {path: origin + path for path in WIDGET_PATHS}
    addresses[f"{parts.path}{OLDER_WIDGET}"] = data.url + OLDER_WIDGET
    answers = {path: data.ask("POST", url, body={"reference_id": LOGIN}) for path, url in addresses.items()}
    others = ", ".join(f"`{path}` {each.status}" for path, each in answers.items() if not each.is_success)
    found = [path for path, each in answers.items() if each.is_success]
    if not found:
        keys = ("widget_path", "widget_status", "widget_expires_in", "widget_unknown_provider")
        facts.leave(keys, f"No path responds with success: {others}.")
        return None, next(iter(answers.values())).status
    facts.settle("widget_path", ", ".join(f"`{each}`" for each in found), f"others: {others}" if others else "")
    answer = answers[found[0]]
    facts.settle("widget_status", str(answer.status), f"members: {names(answer.fields)}")
    _settle_seconds(facts, "widget_expires_in", answer)
    unknown = data.ask("POST", addresses[found[0]], body={"reference_id": LOGIN, "providers": "NO_SUCH_PROVIDER"})
    warned = "with `warnings`" if unknown.fields.get("warnings") else "without `warnings`"
    facts.settle("widget_unknown_provider", f"{unknown.status} {warned}")
    return addresses[found[0]], answer.status


def _settle_seconds(facts: Facts, key: str, answer: Answer) -> None:
    lasts = answer.fields.get("expires_in")
    if isinstance(lasts, int) and not isinstance(lasts, bool):
        facts.settle(key, f"{lasts} s")
    else:
        facts.leave([key], "The response has no `expires_in`.")


def _user_info(data: DataApi, facts: Facts) -> int:
    known = data.ask("GET", "/userInfo", query={"reference_id": SYNTHETIC})
    _settle_shape(facts, "userinfo_by_reference", known)
    unknown = data.ask("GET", "/userInfo", query={"reference_id": f"{MARKER}-unknown"})
    listed = unknown.fields.get("users", unknown.content)
    shown = "an empty list" if listed == [] else names(unknown.fields)
    facts.settle(
        "userinfo_unknown_reference", f"{unknown.status}, {shown}" if unknown.is_success else str(unknown.status)
    )
    return known.status


def _settle_shape(facts: Facts, key: str, answer: Answer) -> None:
    if not answer.is_success:
        facts.leave([key], answer.refusal)
    elif isinstance(answer.content, list):
        facts.settle(key, "an array")
    elif isinstance(answer.fields.get("users"), list):
        facts.settle(key, "an object with `users`", f"members: {names(answer.fields)}")
    else:
        facts.settle(key, "another shape", f"members: {names(answer.fields)}")


def _subscriptions(data: DataApi, facts: Facts) -> int:
    answer = data.ask("GET", "/subscriptions", query={"page": "0", "per_page": "1"})
    inner = answer.fields.get("data")
    listed = inner if isinstance(inner, dict) else answer.fields
    if not isinstance(listed.get("results"), list):
        _settle_shape(facts, "subscriptions", answer)
        facts.leave(["subscriptions_max_page"], "The response is not a page.")
        return answer.status
    shape = "`results` in `data`" if inner is listed else "`results` at the top"
    facts.settle("subscriptions", shape, f"members: {names(listed)}")
    most = listed.get("max_page")
    if isinstance(most, bool) or not isinstance(most, int) or not listed["results"]:
        facts.leave(["subscriptions_max_page"], "The page has no `max_page`, or the environment has no users.")
    elif most == 0:
        facts.settle("subscriptions_max_page", "the index of the last page")
    else:
        facts.settle("subscriptions_max_page", _meaning(data.ask("GET", "/subscriptions", query=_page(most))))
    return answer.status


def _page(number: int) -> dict[str, str]:
    return {"page": str(number), "per_page": "1"}


def _meaning(last: Answer) -> str:
    inner: Any = last.fields.get("data", last.fields)
    has_users = isinstance(inner, dict) and bool(inner.get("results"))
    return "the index of the last page" if has_users else "the number of pages"


def _mobile_token(data: DataApi, facts: Facts) -> int:
    answer = data.ask("POST", "/auth/tokens", query={"reference_id": OF_TOKEN})
    if answer.is_success:
        lasts = answer.fields.get("expires_in")
        shown = (
            f"{answer.status}, expires in {lasts} s" if isinstance(lasts, int) else f"{answer.status}, no `expires_in`"
        )
        facts.settle("mobile_token", shown, f"members: {names(answer.fields)}")
    else:
        facts.leave(["mobile_token"], answer.refusal)
    return answer.status
