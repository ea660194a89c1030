from typing import Any

import httpx
import pytest

from simulator_process import API_KEY, DEV_ID, Terra

GUARDED = [
    ("POST", "/api/v2/auth/authenticateUser"),
    ("POST", "/api/v2/auth/tokens"),
    ("POST", "/api/v2/auth/generateAuthToken"),
    ("POST", "/api/v2/auth/generateWidgetSession"),
    ("DELETE", "/api/v2/auth/deauthenticateUser"),
    ("GET", "/api/v2/userInfo"),
    ("POST", "/api/v2/bulkUserInfo"),
    ("GET", "/api/v2/subscriptions"),
    ("POST", "/api/widget/session"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"dev-id": DEV_ID}, 401),
        ({"x-api-key": API_KEY}, 401),
        ({"dev-id": "another-dev", "x-api-key": API_KEY}, 401),
        ({"dev-id": DEV_ID, "x-api-key": "wrong"}, 403),
    ],
)
def test_wrong_credentials_are_rejected(
    terra: Terra, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    terra.set(version="july")  # in later versions the widget alone rejects in another format
    response = terra.browser.request(method, path, headers=headers)

    assert response.status_code == status
    assert response.json().keys() == {"type", "title", "instance", "detail"}


def test_a_login_starts_with_a_pending_user(terra: Terra) -> None:
    started = terra.authenticate("anna", "OURA")

    assert started["status"] == "success"
    assert started["auth_url"].startswith(f"{terra.url}/login/")
    info = terra.user_info(started["user_id"])
    assert info["is_authenticated"] is False
    assert (info["user"]["provider"], info["user"]["reference_id"]) == ("OURA", "anna")
    assert info["user"]["active"] is True, "a client must not trust `active`"


def test_every_call_of_authenticate_user_creates_a_pending_user(terra: Terra) -> None:
    assert terra.authenticate()["user_id"] != terra.authenticate()["user_id"]
    assert len(terra.back_end.get("/api/v2/subscriptions").json()["users"]) == 2


def test_a_login_requires_only_a_resource(terra: Terra) -> None:
    response = terra.back_end.post("/api/v2/auth/authenticateUser?resource=GARMIN")

    assert response.status_code == 200
    assert terra.user_info(response.json()["user_id"])["user"]["reference_id"] is None


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("", b"", 400),
        ("?resource=", b"", 400),
        ("?resource=UNKNOWN", b"", 404),
        ("?resource=fitbit", b"", 404),
        ("?resource=APPLE", b"", 400),
        ("?resource=FITBIT", b"{", 400),
        ("?resource=FITBIT", b'{"reference_id": 7}', 400),
        ("?resource=FITBIT", b"[]", 400),
    ],
)
def test_an_invalid_login_request_returns_a_problem(terra: Terra, query: str, body: bytes, status: int) -> None:
    response = terra.back_end.post(f"/api/v2/auth/authenticateUser{query}", content=body)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["instance"] == f"/api/v2/auth/authenticateUser{query}"
    assert terra.control("GET", "/users") == []


def test_user_info_returns_404_for_unknown_users_and_400_without_an_id(terra: Terra) -> None:
    assert terra.back_end.get("/api/v2/userInfo?user_id=unknown").status_code == 404
    assert terra.back_end.get("/api/v2/userInfo").status_code == 400


def test_a_finished_login_is_authenticated(terra: Terra) -> None:
    info = terra.user_info(terra.connect())

    assert info["is_authenticated"] is True
    assert info["user"]["scopes"]
    assert info["user"]["created_at"]


@pytest.mark.parametrize("shape", ["array", "object"])
def test_the_connections_of_a_user_are_returned_in_both_shapes(terra: Terra, shape: str) -> None:
    terra.set(userinfo_reference_shape=shape)
    user_ids = {terra.connect("anna", "FITBIT"), terra.connect("anna", "OURA")}
    terra.connect("berta", "OURA")

    response = terra.back_end.get("/api/v2/userInfo?reference_id=anna").json()

    users = response if shape == "array" else response["users"]
    assert {user["user_id"] for user in users} == user_ids


@pytest.mark.parametrize(("setting", "status"), [("empty", 200), ("not_found", 404)])
def test_an_unknown_reference_id_follows_the_setting(terra: Terra, setting: str, status: int) -> None:
    terra.set(unknown_reference=setting)

    response = terra.back_end.get("/api/v2/userInfo?reference_id=unknown")

    assert response.status_code == status


def test_bulk_user_info_omits_unknown_users(terra: Terra) -> None:
    user_id = terra.connect()

    response = terra.back_end.post("/api/v2/bulkUserInfo", json=[user_id, "unknown"])

    assert [user["user_id"] for user in response.json()] == [user_id]
    assert terra.back_end.post("/api/v2/bulkUserInfo", json={"user_ids": [user_id]}).status_code == 400
    assert terra.back_end.post("/api/v2/bulkUserInfo", content=b"").status_code == 400


@pytest.mark.parametrize("version", ["october", "july"])
def test_subscriptions_are_returned_complete_or_in_pages(terra: Terra, version: str) -> None:
    terra.set(version=version)
    user_ids = [terra.connect(f"user-{number}") for number in range(5)]

    whole = terra.back_end.get("/api/v2/subscriptions").json()
    assert [user["user_id"] for user in whole["users"]] == user_ids

    found: list[str] = []
    page: int | None = 0
    while page is not None:
        response = terra.back_end.get("/api/v2/subscriptions", params={"page": page, "per_page": 2}).json()
        assert response.keys() == ({"data"} if version == "july" else {"status", "next", "max_page", "results"})
        data = response.get("data", response)
        assert data["max_page"] == (2 if version == "july" else 3)
        found += [user["user_id"] for user in data["results"]]
        page = data["next"]
    assert found == user_ids


@pytest.mark.parametrize("query", ["page=x", "page=-1", "page=0&per_page=0"])
def test_an_invalid_page_returns_400(terra: Terra, query: str) -> None:
    assert terra.back_end.get(f"/api/v2/subscriptions?{query}").status_code == 400


def test_lists_may_omit_pending_users(terra: Terra) -> None:
    terra.authenticate()
    connected = terra.connect()
    terra.set(lists_include_pending=False)

    users = terra.back_end.get("/api/v2/subscriptions").json()["users"]

    assert [user["user_id"] for user in users] == [connected]


def test_a_disconnected_user_is_removed(terra: Terra) -> None:
    user_id = terra.connect()

    first = terra.back_end.delete("/api/v2/auth/deauthenticateUser", params={"user_id": user_id})
    second = terra.back_end.delete("/api/v2/auth/deauthenticateUser", params={"user_id": user_id})

    assert (first.status_code, first.json()) == (200, {"status": "success"})
    assert second.status_code == 404
    assert terra.back_end.get("/api/v2/userInfo", params={"user_id": user_id}).status_code == 404
    assert terra.back_end.delete("/api/v2/auth/deauthenticateUser").status_code == 400


TOKEN_PATHS = ["/api/v2/auth/tokens", "/api/v2/auth/generateAuthToken"]


def redeemed(terra: Terra, token: str, reference_id: str | None, **more: object) -> Any:  # noqa: ANN401 - JSON
    connection = {"provider": "APPLE", "reference_id": reference_id, "token": token, **more}
    return terra.control("POST", "/users", connection)["user"]


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_a_mobile_token_works_once(terra: Terra, path: str) -> None:
    response = terra.back_end.post(path, params={"reference_id": "anna"}).json()

    assert (response["status"], response["expires_in"], len(response["token"])) == ("success", 180, 64)
    connection = {"provider": "APPLE", "reference_id": "anna", "token": response["token"]}
    assert terra.control("POST", "/users", connection)["user"]["provider"] == "APPLE"
    terra.control("POST", "/users", connection, expect=409)


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_a_bound_mobile_token_ignores_the_reference_id_of_the_sdk(terra: Terra, path: str) -> None:
    token = terra.back_end.post(path, params={"reference_id": "anna & co/+"}).json()["token"]
    assert redeemed(terra, token, "berta")["reference_id"] == "anna & co/+"


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_a_mobile_token_is_not_bound_by_a_body(terra: Terra, path: str) -> None:
    response = terra.back_end.post(path, json={"reference_id": "anna"})
    assert response.status_code == 200
    assert redeemed(terra, response.json()["token"], "berta")["reference_id"] == "berta"


def test_a_new_device_replaces_the_connection_of_an_sdk_provider(terra: Terra) -> None:
    token = terra.back_end.post(TOKEN_PATHS[0], params={"reference_id": "anna"}).json()["token"]
    old = redeemed(terra, token, None, account="phone")
    token = terra.back_end.post(TOKEN_PATHS[0], params={"reference_id": "anna"}).json()["token"]
    connection = {"provider": "APPLE", "token": token, "account": "another phone"}
    made = terra.control("POST", "/users", connection)
    assert made["user"]["user_id"] != old["user_id"]
    types = {delivery["type"]: delivery for delivery in made["deliveries"]}
    assert set(types) == {"user_reauth", "auth"}
    users = terra.control("GET", "/users")
    assert [user["user_id"] for user in users] == [made["user"]["user_id"]]


def test_the_old_widget_endpoint_returns_410(terra: Terra) -> None:
    response = terra.back_end.post("/api/v2/auth/generateWidgetSession", json={})

    assert response.status_code == 410
    assert response.json()["status"] == "error"


def widget_session(terra: Terra, **fields: object) -> httpx.Response:
    return terra.back_end.post("/api/widget/session", json=fields)


@pytest.mark.parametrize(("version", "status", "expires_in"), [("october", 201, 86_400), ("july", 200, 900)])
def test_a_widget_session_accepts_providers_as_one_text(
    terra: Terra, version: str, status: int, expires_in: int
) -> None:
    terra.set(version=version)
    response = widget_session(terra, providers="GARMIN,FITBIT", reference_id="anna")

    content = response.json()
    assert content.keys() == {"status", "session_id", "url", "expires_in"}
    assert (response.status_code, content["expires_in"]) == (status, expires_in)
    page = terra.browser.get(content["url"]).text
    assert 'value="GARMIN"' in page
    assert 'value="OURA"' not in page


def test_a_widget_session_returns_500_for_a_list_of_providers(terra: Terra) -> None:
    response = widget_session(terra, providers=["GARMIN", "FITBIT"])

    assert response.status_code == 500
    assert response.headers["content-type"].startswith("text/html")


def test_a_widget_session_rejects_invalid_bodies(terra: Terra) -> None:
    assert widget_session(terra, reference_id=7).status_code == 400
    assert terra.back_end.post("/api/widget/session", content=b"{").status_code == 400
    assert terra.back_end.post("/api/widget/session", content=b"[]").status_code == 400


def test_a_widget_session_warns_of_providers_that_are_unknown_or_not_enabled(terra: Terra) -> None:
    response = widget_session(terra, providers="UNKNOWN,OURA,STRAVA").json()
    assert len(response["warnings"]) == 2
    assert "UNKNOWN" in response["warnings"][0]
    assert "STRAVA" in response["warnings"][1]
    page = terra.browser.get(response["url"]).text
    assert 'value="OURA"' in page
    assert 'value="STRAVA"' not in page
    assert len(widget_session(terra, providers="UNKNOWN").json()["warnings"]) == 1


def test_an_older_widget_session_rejects_unknown_providers_and_has_no_warnings(terra: Terra) -> None:
    terra.set(version="july")
    assert widget_session(terra, providers="UNKNOWN").status_code == 400
    assert "warnings" not in widget_session(terra, providers="UNKNOWN,OURA").json()


def test_the_widget_returns_403_in_the_older_format_for_wrong_credentials(terra: Terra) -> None:
    for headers in ({}, {"dev-id": "another-dev", "x-api-key": API_KEY}, {"dev-id": DEV_ID, "x-api-key": "wrong"}):
        response = terra.browser.post("/api/widget/session", headers=headers)
        assert response.status_code == 403
        assert response.json().keys() == {"status", "message"}


@pytest.mark.parametrize(
    ("account", "status", "code"),
    [
        ("user_limit", 402, None),
        ("entitlement_required", 403, "entitlement_required"),
        ("environment_disabled", 403, "environment_disabled"),
        ("authorization_unavailable", 503, "authorization_unavailable"),
    ],
)
def test_a_restricted_account_cannot_start_logins_but_can_be_read(
    terra: Terra, account: str, status: int, code: str | None
) -> None:
    terra.set(account=account)
    login = terra.back_end.post("/api/v2/auth/authenticateUser?resource=FITBIT")
    for response in (login, widget_session(terra), terra.back_end.post("/api/v2/auth/generateAuthToken")):
        assert (response.status_code, response.json().get("code")) == (status, code)
        assert response.headers["content-type"] == "application/problem+json"
    assert terra.back_end.get("/api/v2/subscriptions").status_code == 200


TOKEN = "terra_dt_0123456789"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"Bearer {TOKEN}", "dev-id": DEV_ID}, 200),
        ({"authorization": f"Bearer {TOKEN}", "dev-id": "another-dev"}, 401),
        ({"authorization": "Bearer terra_dt_other"}, 403),
        ({"authorization": f"Bearer {API_KEY}", "dev-id": DEV_ID}, 403),
        ({"x-api-key": TOKEN, "dev-id": DEV_ID}, 403),
        ({"x-api-key": API_KEY, "dev-id": DEV_ID}, 200),
    ],
)
def test_a_data_token_is_accepted_only_as_a_bearer_token(terra: Terra, headers: dict[str, str], status: int) -> None:
    terra.set(data_token=TOKEN)
    assert terra.browser.get("/api/v2/subscriptions", headers=headers).status_code == status


def test_a_setting_makes_the_widget_session_return_200(terra: Terra) -> None:
    terra.set(widget_status=200)

    assert widget_session(terra).status_code == 200


def test_integrations_need_no_key_and_are_filtered_by_dev_id(terra: Terra) -> None:
    terra.set(enabled_providers=["FITBIT", "APPLE"])

    everything = terra.browser.get("/api/v2/integrations").json()
    enabled = terra.browser.get("/api/v2/integrations", headers={"dev-id": DEV_ID}).json()

    assert "GARMIN" in everything["providers"]
    assert "SAMSUNG" in everything["sdk_providers"]
    assert (enabled["providers"], enabled["sdk_providers"]) == (["FITBIT"], ["APPLE"])
    assert terra.browser.get("/api/v2/integrations", headers={"dev-id": "another-dev"}).status_code == 401


def test_detailed_integrations_show_sdk_providers_on_request(terra: Terra) -> None:
    terra.set(enabled_providers=["FITBIT", "APPLE"])

    def names(query: str, headers: dict[str, str]) -> set[str]:
        response = terra.browser.get(f"/api/v2/integrations/detailed{query}", headers=headers).json()
        return {provider["provider"] for provider in response["providers"]}

    assert names("", {"dev-id": DEV_ID}) == {"FITBIT"}
    assert names("?sdk=true", {"dev-id": DEV_ID}) == {"FITBIT", "APPLE"}
    assert "GARMIN" in names("", {})


def test_unknown_paths_and_methods_return_404(terra: Terra) -> None:
    assert terra.back_end.get("/api/v2/nothing").status_code == 404
    assert terra.back_end.get("/api/v2/auth/authenticateUser").status_code == 404
