"""The pytest plugin, in pytest processes of their own, and the example that the README shows."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from simulator_process import SOURCES

pytest_plugins = ["pytester"]
EXAMPLES = Path(__file__).parents[1] / "examples"
README = Path(__file__).parents[1] / "README.md"
PLUGIN = "terra_simulator.pytest_plugin"
IS_INSTALLED = any(each.value == PLUGIN for each in entry_points(group="pytest11"))


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(SOURCES))
    pytester.makeini("[pytest]\nfilterwarnings =\n    error\n    ignore::DeprecationWarning\n    ignore::UserWarning\n")
    if not IS_INSTALLED:
        # Installed, pytest finds it itself: tests/tools/test_simulator_package.py shows it.
        monkeypatch.setenv("PYTEST_PLUGINS", PLUGIN)
    return pytester


def test_the_example_of_the_readme_passes(run: pytest.Pytester) -> None:
    for name in ("flask_receiver.py", "test_flask_receiver.py"):
        (run.path / name).write_text((EXAMPLES / name).read_text())

    run.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=5)


def test_the_readme_quotes_the_example() -> None:
    sources = [path.read_text() for path in EXAMPLES.glob("*.py")]
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    assert blocks
    assert [block for block in blocks if not any(block in source for source in sources)] == []


def test_every_test_has_an_empty_simulator_with_the_same_ids(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import datetime
        import pytest

        seen = []

        @pytest.mark.parametrize("number", [1, 2])
        def test_a_user(terra, number):
            assert terra.users() == []
            assert terra.settings()["webhook_copies"] == 1
            assert terra.time.now() < datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
            terra.duplicate(3)
            terra.time.advance(days=2)
            seen.append(terra.connect("alice", "GARMIN").user_id)

        def test_the_ids_are_the_same():
            assert len(seen) == 2
            assert len(set(seen)) == 1
        """
    )

    run.runpytest_subprocess().assert_outcomes(passed=3)


def test_everything_that_the_fixture_offers(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import datetime
        import httpx
        import pytest
        from terra_simulator.control_client import ControlError

        def test_modes_end_with_their_block(terra):
            terra.send_to("http://127.0.0.1:1/")
            before = terra.settings()
            with terra.duplicate(3), terra.delay(1), terra.lose(0.5), terra.reorder("shuffled"):
                assert terra.settings() != before
            assert terra.settings() == before
            with pytest.raises(ZeroDivisionError), terra.reorder():
                1 / 0
            assert terra.settings() == before

        def test_users_and_events(terra):
            alice = terra.connect("alice", "GARMIN")
            again = terra.reconnect(alice)
            assert again.user_id != alice.user_id
            assert [each.type for each in again.deliveries] == ["auth", "user_reauth"]
            (deauth,) = terra.trigger("deauth", "alice", message="left")
            assert deauth.body["message"] == "left"
            assert deauth.state == "lost"
            assert terra.users() == []
            with pytest.raises(ControlError, match="alice has no connection"):
                terra.trigger("deauth", "alice")

        def test_a_denied_login(terra):
            headers = {"dev-id": terra.dev_id, "x-api-key": terra.api_key}
            url = f"{terra.api_url}/auth/authenticateUser?resource=GARMIN"
            body = {"auth_failure_redirect_url": "https://app.example/failed"}
            started = httpx.post(url, headers=headers, json=body, trust_env=False).json()
            assert terra.login(started["auth_url"], allow=False).startswith("https://app.example/failed?")
            assert [each.type for each in terra.deliveries()] == ["auth_cancelled"]
            assert [each["path"] for each in terra.requests("/authenticateUser", method="POST")]
            terra.fault("/authenticateUser", "rate_limit", times=1)
            assert httpx.post(url, headers=headers, trust_env=False).status_code == 429
            with pytest.raises(ControlError, match="is not a login"):
                terra.login(f"{terra.url}/login/unknown")

        def test_time(terra):
            noon = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC)
            terra.time.stop(noon)
            assert terra.connect().deliveries[0].body["user"]["created_at"].startswith("2026-07-01T12:00:00")
            assert terra.time.advance(hours=1) - noon < datetime.timedelta(hours=1, seconds=1)
            terra.time.run()
            first = terra.time.now()
            while terra.time.now() == first:
                pass
            assert terra.time.now() - noon < datetime.timedelta(hours=2)

        @pytest.mark.parametrize("count", [1, 2, 32, 33, 100])
        def test_chunks(terra, count):
            alice = terra.connect()
            sent = terra.chunks(count, alice, event_type="sleep")
            announced = ["large_request_processing", "large_request_sending"]
            assert [each.type for each in sent] == announced + ["sleep"] * count
            assert sent[1].body["expected_payloads"] == count

        def test_data(terra):
            (daily,) = terra.send("daily", terra.connect(), date=datetime.date(2026, 7, 1))
            assert daily.body["data"][0]["metadata"]["start_time"].startswith("2026-07-01")
        """
    )

    run.runpytest_subprocess().assert_outcomes(passed=10)


def test_arguments_come_from_the_configuration_and_a_failure_lists_webhooks(run: pytest.Pytester) -> None:
    run.makeini("[pytest]\nterra_simulator_arguments = --seed 5 --webhook-url http://127.0.0.1:1/ --retry-scale 1000\n")
    run.makepyfile("def test_it(terra):\n    terra.connect()\n    assert terra.settings()['data_seed'] == 6\n")

    result = run.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*webhooks of terra-simulator*", "auth: pending, ConnectError*"])


def test_a_simulator_that_does_not_start_is_one_line(run: pytest.Pytester) -> None:
    run.makeini("[pytest]\nterra_simulator_arguments = --lose 2\n")
    run.makepyfile("def test_it(terra):\n    pass\n")

    result = run.runpytest_subprocess()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*SimulatorError: the simulator did not start: terra-simulator: webhook_loss: *"])
