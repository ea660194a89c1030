"""The same seed gives the same ids, tokens and data; the time is stopped, moved and advanced."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from admin_client import DESTINATIONS
from receiver import Receiver
from simulator_process import Terra, running
from terra_simulator import identifiers
from test_simulator_data import connected

STOPPED = ("--time", "2026-07-01T12:00:00+00:00", "--public-url", "http://terra.test")
"""With the same address in every run, although the port is another."""
ORDERING = "X-Terra-Ordering-Timestamp"


def everything(terra: Terra, receiver: Receiver) -> list[Any]:
    """Cause each kind of id, token and data; return all responses, and all webhooks with their headers."""
    terra.set(webhook_url=receiver.url, signature_time="simulated", webhook_order="shuffled")
    found: list[Any] = [terra.authenticate("anna", "OURA")]
    found.append(terra.back_end.post("/api/widget/session").json())
    found.append(terra.back_end.post("/api/v2/auth/generateAuthToken").json())
    user = terra.control("POST", "/users", {"reference_id": "anna", "provider": "GARMIN"})["user"]
    place = f"/users/{user['user_id']}"
    terra.control("POST", f"{place}/data", {"type": "all", "samples": True, "corrections": 1})
    terra.control("POST", f"{place}/requests", {"start_date": "2026-01-01", "end_date": "2026-06-30"})
    terra.set(webhook_delivery="ping", webhook_copies=2, webhook_loss=0.5)
    terra.control("POST", f"{place}/data", {"type": "all"})
    terra.set(webhook_copies=1, webhook_loss=0)
    found.append(terra.control("POST", f"{place}/reauth"))
    token = terra.control("POST", "/admin_tokens", {})
    headers = {"Authorization": f"Bearer {token['token']}"}
    created = terra.browser.post(DESTINATIONS, json={"config": {"url": "http://127.0.0.1:1"}}, headers=headers)
    found += [token, created.json()]
    login = terra.browser.post("/api/v3/admin/auth/device", data={"client_id": "cli"})
    found += [login.json(), terra.control("GET", "/users"), terra.control("GET", "/deliveries")]
    names = ("X-Terra-Trace-Id", ORDERING, "Terra-Reference", "Terra-Signature")
    found += [(*(each.headers[name] for name in names), each.body.decode()) for each in receiver.arrivals]
    return found


@contextmanager
def seeded(seed: int, *arguments: str) -> Iterator[Terra]:
    with running("--seed", str(seed), *STOPPED, *arguments) as terra:
        yield terra


def test_ids_tokens_and_data_depend_on_the_seed_only(receiver: Receiver) -> None:
    found = []
    for seed in (7, 7, 8):
        with seeded(seed) as terra:
            found.append(json.dumps(everything(terra, receiver)))
            receiver.arrivals.clear()
            terra.control("POST", "/reset")
            found.append(json.dumps(everything(terra, receiver)))
            receiver.arrivals.clear()

    assert found[0] == found[1] == found[2] == found[3]
    assert found[4] == found[5]
    assert found[4] != found[0]
    assert len(found[0]) > 100_000


def test_a_restart_with_the_same_seed_and_state_repeats_no_id(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state.json"))
    with seeded(7, *state) as terra:
        first = connected(terra)
    with seeded(7, *state) as terra:
        second = connected(terra, "berta")
        assert len(terra.control("GET", "/users")) == 2
    with seeded(7) as terra:
        assert connected(terra) == first

    assert second != first


def test_without_a_seed_ids_differ(terra: Terra) -> None:
    first = terra.connect("anna")
    terra.control("POST", "/reset")
    assert terra.connect("anna") != first


def test_shuffled_items_are_in_another_order() -> None:
    identifiers.use_seed(None)
    orders = [identifiers.shuffled("abc") for _ in range(50)]
    assert ["a", "b", "c"] not in orders
    assert {"".join(sorted(each)) for each in orders} == {"abc"}
    assert identifiers.shuffled("a") == ["a"]


def states(terra: Terra) -> list[tuple[str, int]]:
    return [(each["state"], len(each["attempts"])) for each in terra.control("GET", "/deliveries")]


def test_time_that_is_advanced_makes_each_retry_at_its_own_time(receiver: Receiver) -> None:
    with running("--time", "2026-07-01T12:00:00Z", "--webhook-url", receiver.url) as terra:
        receiver.answers.extend([500] * 20)
        terra.control("POST", "/users", {"reference_id": "anna"})
        assert states(terra) == [("pending", 1)]
        terra.control("POST", "/time", {"advance_s": 29.9})
        assert states(terra) == [("pending", 1)]

        terra.control("POST", "/time", {"advance_s": 86_400})

        (delivery,) = terra.control("GET", "/deliveries")
        assert delivery["state"] == "given_up"
        times = [attempt["at"] for attempt in delivery["attempts"]]
        waits = [round(after - before) for before, after in pairwise(times)]
        assert waits == [30, 60, 120, 240, 480, 960, 1920, 3840, 7680, 15360]
        now = terra.control("GET", "/time")
        assert now == {"now": "2026-07-02T12:00:29.901000+00:00", "stopped": True}
        # Signatures are made with the real time, which a receiver compares with its own clock.
        assert all(abs(each.t - time.time()) < 120 for each in receiver.arrivals)


def test_a_delayed_webhook_waits_for_the_simulated_time(receiver: Receiver) -> None:
    with running("--time", "2026-07-01T12:00:00Z", "--webhook-url", receiver.url, "--delay", "3600") as terra:
        terra.connect("anna")
        terra.control("POST", "/time", {"advance_s": 3599})
        assert states(terra) == [("pending", 0)]
        terra.control("POST", "/time", {"advance_s": 1.1})
        assert states(terra) == [("delivered", 1)]
        terra.connect("berta")
        terra.control("POST", "/time", {"stopped": False})
        terra.control("POST", "/time", {"at": "2026-08-01T00:00:00Z"})
        receiver.wait_for(2)


def test_events_have_different_times_while_time_is_stopped(receiver: Receiver) -> None:
    with running("--time", "2026-07-01T12:00:00Z", "--webhook-url", receiver.url) as terra:
        for name in ("anna", "berta"):
            terra.control("POST", "/users", {"reference_id": name})
        assert [each.headers[ORDERING] for each in receiver.arrivals] == ["1782907200001", "1782907200002"]


def test_invalid_times_are_rejected(terra: Terra) -> None:
    for fields in ({"at": "2026-07-01"}, {"advance_s": -1}, {"at": "2026-07-01T00:00:00Z", "advance_s": 1}):
        assert terra.control("POST", "/time", fields, expect=400)["error"]
    assert terra.control("GET", "/time")["stopped"] is False
