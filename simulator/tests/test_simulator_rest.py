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
        ({"dev-id": "somebody-else", "x-api-key": API_KEY}, 401),
        ({"dev-id": DEV_ID, "x-api-key": "wrong"}, 403),
    ],
)
def test_only_the_developers_own_credentials_pass(
    terra: Terra, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    terra.set(version="july")  # in later versions the widget alone rejects in another format
    response = terra.browser.request(method, path, headers=headers)

    assert response.status_code == status
    assert response.json().keys() == {"type", "title", "instance", "detail"}


def test_a_login_begins_with_a_pending_user(terra: Terra) -> None:
    started = terra.authenticate("anna", "OURA")

    assert started["status"] == "success"
    assert started["auth_url"].startswith(f"{terra.url}/login/")
    info = terra.user_info(started["user_id"])
    assert info["is_authenticated"] is False
    assert (info["user"]["provider"], info["user"]["reference_id"]) == ("OURA", "anna")
    assert info["user"]["active"] is True, "a client must not trust `active`"


def test_every_call_to_authenticate_user_makes_another_pending_user(terra: Terra) -> None:
    assert terra.authenticate()["user_id"] != terra.authenticate()["user_id"]
    assert len(terra.back_end.get("/api/v2/subscriptions").json()["users"]) == 2


def test_a_login_needs_nothing_but_a_resource(terra: Terra) -> None:
    response = terra.back_end.post("/api/v2/auth/authenticateUser?resource=GARMIN")

    assert response.status_code == 200
    assert terra.user_info(response.json()["user_id"])["user"]["reference_id"] is None


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("", b"", 400),
        ("?resource=", b"", 400),
        ("?resource=NOBODY", b"", 404),
        ("?resource=fitbit", b"", 404),
        ("?resource=APPLE", b"", 400),
        ("?resource=FITBIT", b"{", 400),
        ("?resource=FITBIT", b'{"reference_id": 7}', 400),
        ("?resource=FITBIT", b"[]", 400),
    ],
)
def test_a_wrong_login_is_a_problem(terra: Terra, query: str, body: bytes, status: int) -> None:
    response = terra.back_end.post(f"/api/v2/auth/authenticateUser{query}", content=body)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["instance"] == f"/api/v2/auth/authenticateUser{query}"
    assert terra.control("GET", "/users") == []


def test_user_info_does_not_know_strangers_and_needs_an_id(terra: Terra) -> None:
    assert terra.back_end.get("/api/v2/userInfo?user_id=nobody").status_code == 404
    assert terra.back_end.get("/api/v2/userInfo").status_code == 400


def test_a_finished_login_is_authenticated(terra: Terra) -> None:
    info = terra.user_info(terra.connect())

    assert info["is_authenticated"] is True
    assert info["user"]["scopes"]
    assert info["user"]["created_at"]


@pytest.mark.parametrize("shape", ["array", "object"])
def test_a_persons_connections_come_in_both_shapes(terra: Terra, shape: str) -> None:
    terra.set(userinfo_reference_shape=shape)
    user_ids = {terra.connect("anna", "FITBIT"), terra.connect("anna", "OURA")}
    terra.connect("berta", "OURA")

    answer = terra.back_end.get("/api/v2/userInfo?reference_id=anna").json()

    users = answer if shape == "array" else answer["users"]
    assert {user["user_id"] for user in users} == user_ids


@pytest.mark.parametrize(("setting", "status"), [("empty", 200), ("not_found", 404)])
def test_an_unknown_person_has_no_connections(terra: Terra, setting: str, status: int) -> None:
    terra.set(unknown_reference=setting)

    response = terra.back_end.get("/api/v2/userInfo?reference_id=nobody")

    assert response.status_code == status


def test_bulk_user_info_leaves_strangers_out(terra: Terra) -> None:
    user_id = terra.connect()

    answer = terra.back_end.post("/api/v2/bulkUserInfo", json=[user_id, "nobody"])

    assert [user["user_id"] for user in answer.json()] == [user_id]
    assert terra.back_end.post("/api/v2/bulkUserInfo", json={"user_ids": [user_id]}).status_code == 400
    assert terra.back_end.post("/api/v2/bulkUserInfo", content=b"").status_code == 400


@pytest.mark.parametrize("version", ["october", "july"])
def test_subscriptions_come_whole_or_in_pages(terra: Terra, version: str) -> None:
    terra.set(version=version)
    everybody = [terra.connect(f"person-{number}") for number in range(5)]

    whole = terra.back_end.get("/api/v2/subscriptions").json()
    assert [user["user_id"] for user in whole["users"]] == everybody

    found: list[str] = []
    page: int | None = 0
    while page is not None:
        answer = terra.back_end.get("/api/v2/subscriptions", params={"page": page, "per_page": 2}).json()
        assert answer.keys() == ({"data"} if version == "july" else {"status", "next", "max_page", "results"})
        data = answer.get("data", answer)
        assert data["max_page"] == (2 if version == "july" else 3)
        found += [user["user_id"] for user in data["results"]]
        page = data["next"]
    assert found == everybody


@pytest.mark.parametrize("query", ["page=x", "page=-1", "page=0&per_page=0"])
def test_a_page_that_cannot_be_is_refused(terra: Terra, query: str) -> None:
    assert terra.back_end.get(f"/api/v2/subscriptions?{query}").status_code == 400


def test_lists_may_hide_those_who_never_finished(terra: Terra) -> None:
    terra.authenticate()
    connected = terra.connect()
    terra.set(lists_include_pending=False)

    users = terra.back_end.get("/api/v2/subscriptions").json()["users"]

    assert [user["user_id"] for user in users] == [connected]


def test_a_disconnected_user_is_gone(terra: Terra) -> None:
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
    answer = terra.back_end.post(path, params={"reference_id": "anna"}).json()

    assert (answer["status"], answer["expires_in"], len(answer["token"])) == ("success", 180, 64)
    connection = {"provider": "APPLE", "reference_id": "anna", "token": answer["token"]}
    assert terra.control("POST", "/users", connection)["user"]["provider"] == "APPLE"
    terra.control("POST", "/users", connection, expect=409)


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_a_bound_mobile_token_ignores_whom_the_sdk_names(terra: Terra, path: str) -> None:
    token = terra.back_end.post(path, params={"reference_id": "anna & co/+"}).json()["token"]
    assert redeemed(terra, token, "berta")["reference_id"] == "anna & co/+"


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_a_mobile_token_is_not_bound_by_a_body(terra: Terra, path: str) -> None:
    answer = terra.back_end.post(path, json={"reference_id": "anna"})
    assert answer.status_code == 200
    assert redeemed(terra, answer.json()["token"], "berta")["reference_id"] == "berta"


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


def test_the_old_widget_endpoint_is_gone(terra: Terra) -> None:
    response = terra.back_end.post("/api/v2/auth/generateWidgetSession", json={})

    assert response.status_code == 410
    assert response.json()["status"] == "error"


def widget_session(terra: Terra, **fields: object) -> httpx.Response:
    return terra.back_end.post("/api/widget/session", json=fields)


@pytest.mark.parametrize(("version", "status", "expires_in"), [("october", 201, 86_400), ("july", 200, 900)])
def test_a_widget_session_takes_providers_as_one_text(terra: Terra, version: str, status: int, expires_in: int) -> None:
    terra.set(version=version)
    response = widget_session(terra, providers="GARMIN,FITBIT", reference_id="anna")

    answer = response.json()
    assert answer.keys() == {"status", "session_id", "url", "expires_in"}
    assert (response.status_code, answer["expires_in"]) == (status, expires_in)
    page = terra.browser.get(answer["url"]).text
    assert 'value="GARMIN"' in page
    assert 'value="OURA"' not in page


def test_a_widget_session_breaks_on_a_list_of_providers(terra: Terra) -> None:
    response = widget_session(terra, providers=["GARMIN", "FITBIT"])

    assert response.status_code == 500
    assert response.headers["content-type"].startswith("text/html")


def test_a_widget_session_refuses_nonsense(terra: Terra) -> None:
    assert widget_session(terra, reference_id=7).status_code == 400
    assert terra.back_end.post("/api/widget/session", content=b"{").status_code == 400
    assert terra.back_end.post("/api/widget/session", content=b"[]").status_code == 400


def test_a_widget_session_warns_of_providers_that_are_unknown_or_not_enabled(terra: Terra) -> None:
    answer = widget_session(terra, providers="NOBODY,OURA,STRAVA").json()
    assert len(answer["warnings"]) == 2
    assert "NOBODY" in answer["warnings"][0]
    assert "STRAVA" in answer["warnings"][1]
    page = terra.browser.get(answer["url"]).text
    assert 'value="OURA"' in page
    assert 'value="STRAVA"' not in page
    assert len(widget_session(terra, providers="NOBODY").json()["warnings"]) == 1


def test_an_older_widget_session_refuses_where_it_knows_no_provider_and_warns_of_none(terra: Terra) -> None:
    terra.set(version="july")
    assert widget_session(terra, providers="NOBODY").status_code == 400
    assert "warnings" not in widget_session(terra, providers="NOBODY,OURA").json()


def test_the_widget_writes_wrong_credentials_in_the_older_form_and_always_403(terra: Terra) -> None:
    for headers in ({}, {"dev-id": "somebody-else", "x-api-key": API_KEY}, {"dev-id": DEV_ID, "x-api-key": "wrong"}):
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
def test_an_account_that_is_not_in_order_begins_no_login_and_can_be_asked(
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
        ({"authorization": f"Bearer {TOKEN}", "dev-id": "somebody-else"}, 401),
        ({"authorization": "Bearer terra_dt_other"}, 403),
        ({"authorization": f"Bearer {API_KEY}", "dev-id": DEV_ID}, 403),
        ({"x-api-key": TOKEN, "dev-id": DEV_ID}, 403),
        ({"x-api-key": API_KEY, "dev-id": DEV_ID}, 200),
    ],
)
def test_a_data_token_is_a_bearer_token_and_no_key(terra: Terra, headers: dict[str, str], status: int) -> None:
    terra.set(data_token=TOKEN)
    assert terra.browser.get("/api/v2/subscriptions", headers=headers).status_code == status


def test_the_widget_session_may_also_answer_200(terra: Terra) -> None:
    terra.set(widget_status=200)

    assert widget_session(terra).status_code == 200


def test_integrations_need_no_key_and_a_dev_id_narrows_them_down(terra: Terra) -> None:
    terra.set(enabled_providers=["FITBIT", "APPLE"])

    everything = terra.browser.get("/api/v2/integrations").json()
    enabled = terra.browser.get("/api/v2/integrations", headers={"dev-id": DEV_ID}).json()

    assert "GARMIN" in everything["providers"]
    assert "SAMSUNG" in everything["sdk_providers"]
    assert (enabled["providers"], enabled["sdk_providers"]) == (["FITBIT"], ["APPLE"])
    assert terra.browser.get("/api/v2/integrations", headers={"dev-id": "stranger"}).status_code == 401


def test_detailed_integrations_show_sdk_providers_on_request(terra: Terra) -> None:
    terra.set(enabled_providers=["FITBIT", "APPLE"])

    def names(query: str, headers: dict[str, str]) -> set[str]:
        answer = terra.browser.get(f"/api/v2/integrations/detailed{query}", headers=headers).json()
        return {provider["provider"] for provider in answer["providers"]}

    assert names("", {"dev-id": DEV_ID}) == {"FITBIT"}
    assert names("?sdk=true", {"dev-id": DEV_ID}) == {"FITBIT", "APPLE"}
    assert "GARMIN" in names("", {})


def test_what_terra_does_not_have_is_not_found(terra: Terra) -> None:
    assert terra.back_end.get("/api/v2/nothing").status_code == 404
    assert terra.back_end.get("/api/v2/auth/authenticateUser").status_code == 404
