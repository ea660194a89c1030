"""Settings are typed, and checked when a function starts. The template's own checks of URLs are the same."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from terra_connections import settings
from terra_connections.errors import Misconfigured
from tests.support import cloudformation
from tests.support.environment import SETTINGS

SAFE = [
    "https://connect.example.com",
    "https://connect.example.com:8443",
    "http://localhost:3000",
    "http://127.0.0.1:3000",
]
WITH_A_PATH = ["https://access.tryterra.co/api/v2", "http://127.0.0.1:4000/api/widget/session", "https://a.example/~b/"]
UNSAFE = [
    "http://connect.example.com",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
    "http://10.0.0.1",
    "https://user:password@connect.example.com",
    "https://user@localhost",
    "http://localhost@connect.example.com",
    "https://connect.example.com?x=1",
    "https://connect.example.com#x",
    "https://connect.example.com /x",
    " https://connect.example.com",
    "https://connect.example.com\n",
    "https://connect.example.com\\@evil.example",
    "https://",
    "https:///path",
    "HTTPS//connect.example.com",
    "ftp://connect.example.com",
    "connect.example.com",
]
PARAMETERS = cloudformation.parsed()["Parameters"]
ADDRESSES = [
    ("PUBLIC_BASE_URL", "PublicBaseUrl"),
    ("TERRA_API_URL", "TerraApiUrl"),
    ("TERRA_WIDGET_URL", "TerraWidgetUrl"),
]


READERS: list[Callable[[], object]] = [
    settings.ApiSettings.read,
    settings.BrandSettings.read,
    settings.CallerSettings.read,
    settings.announcements_queue_url,
    settings.backfill_on_connect_days,
    settings.backfill_window_days,
    settings.backfills_queue_url,
    settings.dead_fetches_queue_url,
    settings.deliveries_table,
    settings.event_bus_name,
    settings.fetches_queue_url,
    settings.open_session_limit,
    settings.payload_urls,
    settings.payloads_bucket,
    settings.problems_url,
    settings.return_targets,
    settings.revocation_percent,
    settings.sweep_queue_url,
    settings.TableSettings.read,
    settings.terra_secret_arn,
    settings.pseudonym_key,
    settings.quiet_after_days,
    settings.WebhookSettings.read,
    lambda: settings.TerraSettings.read(is_local=settings.ApiSettings.read().is_local),
    *(lambda name=name: settings.user_limit(name) for name in ("backfills", "syncs", "mobile-tokens", "erasures")),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid value of every setting."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


def read_all() -> None:
    for read in READERS:
        read()


def starts(monkeypatch: pytest.MonkeyPatch, **changes: str) -> bool:
    with monkeypatch.context() as changed:
        for name, value in changes.items():
            changed.setenv(name, value)
        try:
            read_all()
        except Misconfigured:
            return False
    return True


def template_accepts(parameter: str, value: str) -> bool:
    return re.fullmatch(PARAMETERS[parameter]["AllowedPattern"], value) is not None


@pytest.mark.parametrize(("variable", "parameter"), ADDRESSES)
def test_an_insecure_or_malformed_url_is_rejected(
    variable: str, parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected = UNSAFE if variable != "PUBLIC_BASE_URL" else UNSAFE + WITH_A_PATH
    # At a deployment, and, if the environment was changed in another way, when a function starts.
    assert [value for value in rejected if template_accepts(parameter, value)] == []
    assert [value for value in rejected if starts(monkeypatch, **{variable: value})] == []


@pytest.mark.parametrize(("variable", "parameter"), ADDRESSES)
def test_an_https_url_or_one_of_this_machine_is_accepted(
    variable: str, parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = [*SAFE, ""] if variable == "PUBLIC_BASE_URL" else SAFE + WITH_A_PATH
    assert [value for value in accepted if not template_accepts(parameter, value)] == []
    assert [value for value in accepted if not starts(monkeypatch, **{variable: value})] == []


def test_only_a_local_stack_may_call_terra_on_another_host_without_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # From the stack's containers.
    simulator = "http://host.docker.internal:4000/api/v2"
    assert starts(monkeypatch, TERRA_API_URL=simulator, PUBLIC_BASE_URL="http://127.0.0.1:3000")
    assert not starts(monkeypatch, TERRA_API_URL=simulator, PUBLIC_BASE_URL="https://connect.example.com")
    assert not starts(monkeypatch, TERRA_API_URL=simulator)


def test_functions_start_with_the_defaults_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, parameter in ADDRESSES:
        assert starts(monkeypatch, **{variable: PARAMETERS[parameter]["Default"]})


def test_the_error_names_the_variable_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRA_API_URL", "https://user:password@terra.example.com")
    with pytest.raises(Misconfigured, match="TERRA_API_URL must read https://host") as raised:
        read_all()
    assert "password" not in str(raised.value)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_error_names_a_missing_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(Misconfigured, match=f"^{name} must be set"):
        read_all()


MAY_BE_EMPTY = {
    *("BRAND_COLOR", "BRAND_LOGO", "BRAND_NAME", "OIDC_AUDIENCE", "OIDC_ISSUER", "OIDC_JWKS_URL"),
    *(
        "ANNOUNCEMENTS_QUEUE_URL",
        "BACKFILLS_QUEUE_URL",
        "PAYLOADS_BUCKET",
        "PAYLOAD_FETCHES_QUEUE_URL",
        "PAYLOAD_URLS",
        "PUBLIC_BASE_URL",
    ),
    "RETURN_TARGETS",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_only_these_settings_may_be_empty(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert starts(monkeypatch, **{name: ""}) == (name in MAY_BE_EMPTY)


def test_numbers_and_durations_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNATURE_MAX_AGE_SECONDS", "90000")
    monkeypatch.setenv("SIGNATURE_MAX_AHEAD_SECONDS", "1.5")
    monkeypatch.setenv("OPEN_SESSIONS_PER_PERSON", "20")
    monkeypatch.setenv("SYNCS_PER_USER_PER_MINUTE", "6.0")
    monkeypatch.setenv("SWEEP_REVOKES_BELOW_PERCENT", "0.5")
    webhooks = settings.WebhookSettings.read()
    assert (webhooks.signature_max_age, webhooks.signature_max_ahead) == (timedelta(hours=25), timedelta(seconds=1.5))
    assert settings.open_session_limit() == 20
    assert settings.user_limit("syncs") == 6
    assert settings.revocation_percent() == 0.5


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("OPEN_SESSIONS_PER_PERSON", "1.5", "be a whole number, 0 or greater"),
        ("OPEN_SESSIONS_PER_PERSON", "-1", "be a number, 0 or greater"),
        ("ERASURES_PER_USER_PER_HOUR", "many", "be a number, 0 or greater"),
        ("SIGNATURE_MAX_AGE_SECONDS", "nan", "be a number, 0 or greater"),
        ("SWEEP_REVOKES_BELOW_PERCENT", "101", "be a number from 0 to 100"),
        ("TERRA_MOBILE_TOKEN_PATH", "/auth/other", "be one of /auth/tokens, /auth/generateAuthToken"),
        ("SESSIONS_TABLE", "", "not be empty"),
    ],
)
def test_the_error_for_an_invalid_value_states_the_valid_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, must: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as raised:
        read_all()
    assert str(raised.value) == f"{name} must {must}."


def test_the_accepted_paths_for_mobile_tokens_are_those_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = PARAMETERS["TerraMobileTokenPath"]["AllowedValues"]
    assert all(starts(monkeypatch, TERRA_MOBILE_TOKEN_PATH=path) for path in allowed)
