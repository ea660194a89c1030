"""Events for every function, as the local gateway sends them: events/<function>.json, for `sam local invoke`.

`python -m local.events` records them anew, on a stack of its own that it drives through everything that invokes a
function. Values that differ between runs are replaced by constants, and secrets by their names, so that the files
change only when the events do. `with_secrets` restores a running stack's secrets.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from local.testing import Stack, running_stack
from terra_simulator.signature import sign
from tools.environment import ROOT
from tools.progress import say, step

if TYPE_CHECKING:
    from collections.abc import Callable

Event = dict[str, Any]
Seen = TypeVar("Seen")

FOLDER: Final = ROOT / "events"
PERSON: Final = "ada"
SERVICE_KEY: Final = "SERVICE_KEY"
PATIENCE: Final = 120.0

USER_ID: Final = "00000000-0000-4000-8000-000000000000"
"""The constant for the user_id that ada has connected, in every file; other ids are numbered per file."""

FIELD: Final = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')

# Patterns of values that differ between runs, in the events' JSON, with their replacements.
UUID: Final = re.compile(r"(?!00000000)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
CHANGING: Final = (
    (re.compile(r"t=\d+,v1=[0-9a-f]{64}"), "t=0,v1=SIGNATURE"),
    (re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}"), f"Root=1-00000000-{'0' * 24}"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), lambda found: "0" * len(found.group())),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?"), "2026-01-01T00:00:00"),
    (re.compile(r"\b\d{10}(\d{3})?\b"), lambda found: "1767225600" + ("000" if found.group(1) else "")),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "3000"),
    (re.compile(r"python-httpx/[\d.]+"), "python-httpx"),
    (re.compile(r'(?<="x-forwarded-port":")\d+'), "3000"),
    (re.compile(r'(?<="requestId":")[^"]+'), "REQUEST_ID"),
    (re.compile(r'(?<="time":")\d\d/[^"]+'), "01/Jan/2026:00:00:00 +0000"),
)


def main() -> int:
    """Write the files anew."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        step("recording the events of a stack"),
        running_stack(more=("--events", scratch)) as stack,
    ):
        recorded = record(stack, Path(scratch))
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, event in recorded.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(event, indent=2, sort_keys=True) + "\n")
    say(f"  {len(recorded)} events are in {FOLDER.name}/")
    return 0


def record(stack: Stack, folder: Path) -> dict[str, Event]:
    """Return the first event of every function of a stack that keeps them in a folder, by the function's own folder.

    They contain no secrets, and no values that differ between runs.
    """
    replaced = {stack.service_key: SERVICE_KEY, **walk(stack)}
    names = {path.name for path in (ROOT / "functions").iterdir() if (path / "handler.py").is_file()}
    recorded = wait_until(lambda: present(folder, names), f"an event for each of {', '.join(sorted(names))}")
    return {name: scrubbed(text, replaced) for name, text in recorded.items()}


def present(folder: Path, names: set[str]) -> dict[str, str]:
    """Return the events in a folder, by name, once all exist."""
    found = {file.stem: file.read_text() for file in folder.glob("*.json")}
    return found if names <= found.keys() else {}


def walk(stack: Stack) -> dict[str, str]:
    """Trigger everything that invokes a function; return the values to replace in the events, with the replacements."""
    # In a fixed order; the webhook precedes the redirect, so that it is the first to write.
    settings = {
        "redirect_order": ["user_id", "resource", "reference_id"],
        "redirect_waits_for_webhook": True,
    }
    httpx.patch(f"{stack.terra_url}/_control/settings", json=settings, trust_env=False).raise_for_status()
    key = {"authorization": f"Bearer {stack.service_key}"}
    with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=PATIENCE) as browser:

        def call(method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # JSON
            answer = browser.request(method, path, headers=key, json=body).raise_for_status()
            return answer.json() if answer.content else None

        # The table's first change; a session's first one would only be the user_id that Terra announced.
        connected = {"reference_id": PERSON, "provider": "GARMIN"}
        made = httpx.post(f"{stack.terra_url}/_control/users", json=connected, trust_env=False).raise_for_status()
        user_id: str = made.json()["user"]["user_id"]  # the user of the first webhook
        session = call("POST", "/sessions", {"reference_id": PERSON, "resource": "FITBIT", "return_to": "web"})
        allowed = decide(session["auth_url"], "allow")
        browser.get(allowed)
        denied = decide(call("POST", "/sessions", {"reference_id": PERSON, "resource": "OURA"})["auth_url"], "deny")
        again = dict(FIELD.findall(browser.get(denied).text))
        browser.post("/auth/retry", data=again)
        call("GET", f"/sessions/{session['session_id']}")
        wait_until(
            lambda: user_id in json.dumps(call("GET", f"/connections?reference_id={PERSON}")["connections"]),
            "the webhook",
        )
        call("GET", f"/connections/{user_id}")
        call("GET", "/providers")
        call("POST", "/mobile-tokens", {"reference_id": PERSON})
        call("POST", "/connections/sync", {"reference_id": PERSON})
        httpx.post(f"{stack.control_url}/schedules/Reconcile", trust_env=False, timeout=PATIENCE).raise_for_status()
        call("DELETE", f"/connections/{user_id}")
        call("POST", "/erasures", {"reference_id": "nobody"})
    replaced = {user_id: USER_ID}
    for number, url in enumerate((allowed, denied)):
        query = httpx.URL(url).params
        replaced |= {query["session"]: f"SESSION_{number}", query["state"]: f"STATE_{number}"}
    return {**replaced, again["secret"]: "SECRET"}


def decide(auth_url: str, decision: str) -> str:
    """Press a button of the simulator's consent page, and return the redirect's URL."""
    answer = httpx.post(auth_url, data={"decision": decision}, trust_env=False, timeout=PATIENCE)
    return answer.headers["location"]


def wait_until(look: Callable[[], Seen], what: str) -> Seen:
    """Return the result of `look` as soon as it is not empty."""
    until = time.monotonic() + PATIENCE
    while not (seen := look()):
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.1)
    return seen


def scrubbed(text: str, replaced: dict[str, str]) -> Event:
    """Return an event without the values that differ between runs."""
    # Some events have spaces between their members, which the patterns do not match.
    text = json.dumps(json.loads(text), separators=(",", ":"))
    for value, name in replaced.items():
        text = text.replace(value, name)
    for pattern, instead in CHANGING:
        text = pattern.sub(instead, text)
    numbers: dict[str, int] = {}
    text = UUID.sub(lambda found: f"{USER_ID[:-12]}{numbers.setdefault(found.group(), len(numbers) + 1):012}", text)
    event: Event = json.loads(text)
    if "content-length" in event.get("headers", {}):
        event["headers"]["content-length"] = str(len(content(event)))
    if "Records" in event:
        # The number of records per batch is random.
        del event["Records"][1:]
    return event


def with_secrets(event: Event, stack: Stack) -> Event:
    """Return a recorded event that this stack accepts: with its service key, and signed now with its secret."""
    live: Event = json.loads(json.dumps(event).replace(SERVICE_KEY, stack.service_key))
    signature = sign(content(live), t=int(time.time()), secrets=[stack.signing_secret])
    headers = live.get("headers", {})
    live["headers"] = {name: signature if name.endswith("signature") else value for name, value in headers.items()}
    return live


def content(event: Event) -> bytes:
    """Return the body's bytes."""
    body = str(event.get("body", ""))
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()


if __name__ == "__main__":
    sys.exit(main())
