"""`make terra`: the destination, its event types and its signing secret, at the simulator's Admin API."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from local.aws_services import CREDENTIALS
from tests.support.endpoint import Endpoint
from tests.support.terra_side import DESTINATIONS, SCOPES, TerraSide
from tests.support.waiting import eventually
from tools.environment import ROOT
from tools.terra import probe
from tools.terra.plan import EVENT_TYPES

NOWHERE = "http://127.0.0.1:9/api/v3/admin"


def events_arrive(side: TerraSide, reference_id: str) -> str:
    """Connect a user, and wait until the endpoint has accepted the event; return the user_id."""
    user_id = str(side.terra.connect(reference_id)["user_id"])
    eventually(lambda: "auth" in side.endpoint.types(user_id))
    return user_id


def test_a_new_stack_gets_a_destination_whose_secret_is_stored_unseen(side: TerraSide, reference_id: str) -> None:
    out = side.done()

    made = side.destination()
    assert (made["active"], made["event_types"]) == (True, list(EVENT_TYPES))
    assert side.stored() == {f"destination-{made['id']}": side.secrets_of_terra()[made["id"]]}
    assert "1. create an inactive webhook destination" in out
    events_arrive(side, reference_id)
    assert side.endpoint.rejected == []
    assert "nothing to change" in side.done()
    assert "nothing to change" in side.done("--dry-run")


def test_a_dry_run_shows_the_plan_and_changes_nothing(side: TerraSide) -> None:
    out = side.done("--dry-run")

    assert "Terra would create a destination." in out
    assert side.destinations() == []
    assert side.stored() == {}


def test_nothing_is_changed_without_a_confirmation(side: TerraSide) -> None:
    side.monkeypatch.setattr(sys, "stdin", io.StringIO())
    status, _, err = side.run(confirms=False)
    assert (status, side.destinations()) == (1, [])
    assert err.startswith("Nothing was changed, because there is no terminal")


def test_a_changed_destination_is_corrected(side: TerraSide) -> None:
    side.done()
    made = side.destination()
    side.change(made["id"], active=False, event_types=["auth", "sleep"])

    out = side.done()

    assert f"activate the destination {made['id']}" in out
    assert side.destination() == made


def test_a_stack_that_keeps_data_gets_every_type_or_a_choice_with_data(side: TerraSide) -> None:
    side.done()
    side.keep_data()
    assert "from auth, " in (out := side.done())
    assert " to every type" in out
    made = side.destination()
    assert made["event_types"] == []
    side.change(made["id"], event_types=["auth", "daily"])
    assert "nothing to change" in side.done()
    assert side.destination()["event_types"] == ["auth", "daily"]


@pytest.mark.parametrize("status", [404, 503])
def test_a_stack_that_accepts_no_delivery_gets_no_active_destination(side: TerraSide, status: int) -> None:
    side.monkeypatch.setattr(probe, "GRACE", timedelta(seconds=1))
    side.endpoint.answer = status
    assert f"responds {status} to a test delivery that is signed correctly" in side.error()
    assert side.destination()["active"] is False

    side.endpoint.answer = 200
    made = side.destination()
    assert f"activate the destination {made['id']}" in side.done()
    assert side.destination() == {**made, "active": True}


def test_only_names_that_terra_accepts_are_used(side: TerraSide) -> None:
    side.terra.settings(destination_vocabulary="groups")
    side.done()
    assert side.destination()["event_types"] == ["auth"]
    assert "nothing to change" in side.done()


# -- rotation ----------------------------------------------------------------------------------------------------------


@contextmanager
def traffic(side: TerraSide, reference_id: str) -> Iterator[list[str]]:
    """Let events occur all the time, and return their users."""
    users: list[str] = []
    over = threading.Event()

    def connect() -> None:
        with httpx.Client(base_url=side.terra.client.base_url, timeout=60) as client:
            while not over.is_set():
                body = {"reference_id": f"{reference_id}-{len(users)}"}
                users.append(client.post("/_control/users", json=body).json()["user"]["user_id"])
                time.sleep(0.05)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        yield users
    finally:
        over.set()
        thread.join()


def test_a_rotation_under_load_rejects_and_loses_no_delivery(side: TerraSide, reference_id: str) -> None:
    side.done()
    old = side.destination()
    side.endpoint.cached_for = 1.0
    with traffic(side, reference_id) as users:
        time.sleep(0.5)
        side.done("--rotate", "--cached-for", "1.5")
        time.sleep(0.5)

    new = side.destination()
    assert new["id"] != old["id"]
    assert list(side.stored()) == [f"destination-{new['id']}"]
    eventually(lambda: {each["user"]["user_id"] for each in side.endpoint.accepted} >= set(users))
    assert side.endpoint.rejected == []
    assert side.endpoint.signed_with[0] == f"destination-{old['id']}"
    assert side.endpoint.signed_with[-1] == f"destination-{new['id']}"


def test_what_the_old_destination_could_not_deliver_is_resent_before_it_is_deleted(
    side: TerraSide, reference_id: str
) -> None:
    side.done()
    side.terra.settings(retry_scale=1)
    side.endpoint.answer = 503
    user_id = side.terra.connect(reference_id)["user_id"]
    side.endpoint.answer = 200

    assert "Resending 1 events" in side.done("--rotate")

    assert side.endpoint.types(user_id) == ["auth"] * len(side.endpoint.types(user_id))
    assert side.endpoint.types(user_id)
    assert len(side.stored()) == 1


def test_the_old_destination_is_kept_while_terra_retries_what_cannot_be_resent(
    side: TerraSide, reference_id: str
) -> None:
    side.done()
    side.terra.settings(retry_scale=1)
    side.endpoint.answer = 503
    gone = side.terra.connect(reference_id)["user_id"]
    side.terra.client.delete(f"/_control/users/{gone}")
    side.endpoint.answer = 200

    assert "still retries 1 of its deliveries" in side.done("--rotate")
    assert len(side.stored()) == 2
    assert [each["active"] for each in side.destinations()] == [True, True]

    side.terra.retry_now()
    assert "Deleted the destination" in side.done()
    assert len(side.stored()) == 1
    assert side.endpoint.types(gone) == ["auth"]


@pytest.mark.parametrize(
    ("method", "stage"),
    [
        ("POST", "before"),
        ("POST", "after"),
        ("PATCH", "before"),
        ("PATCH", "after"),
        ("DELETE", "before"),
        ("DELETE", "after"),
    ],
)
@pytest.mark.parametrize("rotates", [False, True])
def test_a_network_that_fails_in_the_middle_leaves_a_state_that_a_repeat_finishes(
    side: TerraSide, reference_id: str, method: str, stage: str, *, rotates: bool
) -> None:
    if rotates:
        side.done()
    elif method == "DELETE":
        side.make_by_hand()  # its secret is unknown: it is replaced
    side.terra.settings(retry_scale=1)
    # The first POST is a dry run.
    path = f"{DESTINATIONS}*"
    if method == "POST":
        side.terra.fault(path, "slow", method="POST", times=1)
    side.terra.fault(path, "disconnect", method=method, stage=stage, times=1)

    status, _, err = side.run(*(["--rotate"] if rotates else []))

    assert status == 1
    assert "Whether it was carried out is unknown; run the command again." in err
    side.done()
    if rotates and method == "POST":
        side.done("--rotate")
    active = side.destination()
    assert active["active"] is True
    assert list(side.stored()) == [f"destination-{active['id']}"]
    events_arrive(side, reference_id)
    assert side.endpoint.rejected == []


def test_a_destination_without_a_known_secret_is_replaced(side: TerraSide, reference_id: str) -> None:
    made = side.make_by_hand()
    out = side.done()
    assert f"delete the destination {made['id']}" in out
    assert side.destination()["id"] != made["id"]
    events_arrive(side, reference_id)


def test_a_destination_that_was_made_by_hand_is_kept_and_can_be_replaced(side: TerraSide, reference_id: str) -> None:
    made = side.make_by_hand(event_types=list(EVENT_TYPES))
    side.store({"main": made["signing_secret"]})

    assert f"{made['id']} was made by hand; its signing secret is one of: main." in side.done()
    assert side.stored() == {"main": made["signing_secret"]}

    assert "make secrets STAGE=dev FORGET=<name>" in side.done("--rotate")
    assert side.destination()["id"] != made["id"]
    assert next(iter(side.stored())) == "main"
    events_arrive(side, reference_id)


def test_with_keys_read_the_secret_of_a_handmade_destination_gets_its_name(side: TerraSide) -> None:
    made = side.make_by_hand(event_types=list(EVENT_TYPES))
    side.authorize(*SCOPES, "keys:read")
    for stored in ({"main": made["signing_secret"]}, {"main": "another-secret-of-another-day"}, {}):
        side.store(stored)
        assert "store the signing secret that Terra has" in side.done()
        assert side.stored()[f"destination-{made['id']}"] == made["signing_secret"]
    assert side.destination()["id"] == made["id"]


# -- another domain ----------------------------------------------------------------------------------------------------


@pytest.fixture
def moved(side: TerraSide) -> Iterator[TerraSide]:
    """The same stack with another domain, after its deployment; the former one no longer responds."""
    side.done()
    with Endpoint() as new:
        other = side.deployed.another().deploy(
            WebhookUrl=new.url, SigningSecretsArn=side.deployed.outputs["SigningSecretsArn"]
        )
        new.secrets = side.stored
        side.endpoint.answer = 404
        yield TerraSide(other, side.terra, new, side.monkeypatch, side.output, side.token)


def test_a_new_domain_loses_no_delivery(side: TerraSide, moved: TerraSide, reference_id: str) -> None:
    side.terra.settings(retry_scale=1)
    made, stored = side.destination(), side.stored()
    user_id = side.terra.connect(reference_id)["user_id"]

    out = moved.done()

    assert f"change the URL of the destination {made['id']} from {side.endpoint.url} to {moved.endpoint.url}" in out
    assert (moved.destination()["id"], moved.stored()) == (made["id"], stored)
    side.terra.retry_now()
    assert moved.endpoint.types(user_id) == ["auth"]


def test_a_new_domain_that_does_not_respond_yet_changes_nothing(side: TerraSide, moved: TerraSide) -> None:
    moved.endpoint.answer = 503
    assert "responds 503 to a test delivery that is signed correctly" in moved.error()
    assert moved.destinations() == []
    assert side.destination()["active"] is True


def test_a_handmade_destination_at_the_former_domain_is_named(side: TerraSide) -> None:
    made = side.make_by_hand(config={"url": "https://former.example.com/webhooks/terra"})
    side.store({"main": made["signing_secret"]})
    assert f"{made['id']} (https://former.example.com/webhooks/terra)" in side.done("--dry-run")
    side.done("--destination", made["id"])
    assert side.destination()["id"] == made["id"]
    assert "no webhook destination 12" in side.error("--destination", "12")


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("terra_dt_0123456789", "is not a token of Terra's Admin API"),
        ("\u201cterra_at_0123\u201d", "character 1 of 15 is U+201C"),
        ("terra_at_unknown", "it is unknown, or was revoked"),
    ],
)
def test_a_wrong_token_is_rejected_in_one_line(side: TerraSide, token: str, expected: str) -> None:
    side.token = token
    side.monkeypatch.setenv("TERRA_ADMIN_TOKEN", token)
    assert expected in side.error()


def test_a_token_without_the_rights_is_rejected_before_anything_is_changed(side: TerraSide) -> None:
    side.authorize("destinations:read", "destinations:write")
    assert "lacks the scopes events:read, events:write" in side.error()
    side.authorize(*SCOPES, dev_ids=["another"])
    assert "does not reach the environment local-dev, only another" in side.error()
    side.authorize(*SCOPES, expires_in_s=-1)
    assert "it has expired" in side.error()
    assert side.destinations() == []


def test_an_unknown_environment_stage_or_address_is_reported(side: TerraSide) -> None:
    side.monkeypatch.setenv("TERRA_ADMIN_URL", NOWHERE)
    assert f"cannot be reached at {NOWHERE}" in side.error()
    side.monkeypatch.setenv("TERRA_ADMIN_URL", f"{side.deployed.stack.terra_url}/api/v4")
    assert "is not Terra's Admin API, or has no such path (404)" in side.error()
    side.monkeypatch.setenv("TERRA_ADMIN_URL", "http://terra.example.com/api/v3/admin")
    assert "must be an https address: the token would be sent there" in side.error()
    side.monkeypatch.setenv("TERRA_ADMIN_URL", "https://127.0.0.1:x")
    assert "TERRA_ADMIN_URL is not an address" in side.error()
    side.deployed.samconfig.write_text('[prod.deploy.parameters]\nstack_name = "x"\n')
    assert "There is no stage 'dev'" in side.error()


def test_an_unexpected_response_is_reported_without_its_content(side: TerraSide) -> None:
    side.terra.fault(DESTINATIONS, "wrong_shape", method="GET", times=1, body={"data": "terra_at_0123"})
    assert "something that is not a Destinations (1 errors)" in side.error()
    side.terra.fault("/me", "html", status=502)
    assert "responds 502" in side.error()


def test_the_rate_limit_is_respected(side: TerraSide) -> None:
    side.terra.settings(admin_rate_limit=4, admin_rate_window_s=1)
    side.done()
    assert side.destination()["active"] is True


def log_in(side: TerraSide, decision: str) -> tuple[int, str]:
    """Run the command without a token on a terminal, decide the login, and confirm."""
    stack = side.deployed.stack
    environment = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_DEFAULT_REGION": stack.region,
        "NO_PROXY": "*",
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT / "layers/terra_connections"),
    }
    command = [
        sys.executable,
        "-m",
        "tools.terra",
        "dev",
        "--config",
        str(side.deployed.samconfig),
        "--cached-for",
        "0",
    ]
    controller, terminal_end = pty.openpty()
    with os.fdopen(controller, "r+b", buffering=0) as terminal:
        files: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), terminal_end)
        process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **files)
        os.close(terminal_end)
        shown = ""
        while not (code := re.search(r"enter the code (TERRA-\w{4}-\w{4})\.", shown)):
            shown += terminal.read(1000).decode()
        side.terra.decide_admin_login(code[1], decision)
        if decision == "approved":
            while "[y/N]" not in shown:
                shown += terminal.read(1000).decode()
            terminal.write(b"y\n")
        try:
            while part := terminal.read(1000):
                shown += part.decode()
        except OSError:
            pass  # how Linux reports the end of the other side
        return process.wait(60), shown


def test_without_a_token_the_user_logs_in_and_the_token_is_revoked(side: TerraSide) -> None:
    side.terra.settings(device_login_interval_s=0)
    status, shown = log_in(side, "approved")
    assert status == 0, shown
    assert side.destination()["active"] is True
    assert "terra_at_" not in shown
    assert [call["status"] for call in side.terra.calls("/tokens/self")] == [204]

    status, shown = log_in(side, "denied")
    assert (status, "Terra issues no Admin token: the login was denied." in shown) == (1, True)


def test_without_a_token_and_a_terminal_it_ends(side: TerraSide) -> None:
    side.monkeypatch.delenv("TERRA_ADMIN_TOKEN")
    side.monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert "TERRA_ADMIN_TOKEN is not set" in side.error()
