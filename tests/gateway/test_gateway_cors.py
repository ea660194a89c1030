"""CORS as API Gateway does it when the template has a CorsConfiguration."""

from collections.abc import Iterator

import pytest

from tests.support.gateway import TEMPLATE, Running, as_json, serving, write_project

CORS = """
      CorsConfiguration:
        AllowOrigins: ["https://app.example"]
        AllowMethods: [GET, POST]
        AllowHeaders: [authorization, content-type]
        ExposeHeaders: [x-id]
        MaxAge: 300
        AllowCredentials: true
"""
ORIGIN = {"Origin": "https://app.example"}
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = write_project(tmp_path_factory.mktemp("stack"))
    (root / "template.yaml").write_text(TEMPLATE.replace("  SharedLayer:", f"{CORS}  SharedLayer:", 1))
    with serving(root) as running:
        yield running


def cors_of(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", ["/answer", "/private", "/nowhere"])
def test_a_preflight_gets_a_response_on_every_path_without_the_authorizer(api: Running, path: str) -> None:
    response = api.client.options(path, headers={**ORIGIN, **PREFLIGHT})
    assert response.status_code == 204
    assert response.content == b""
    assert cors_of(dict(response.headers)) == {
        "access-control-allow-origin": "https://app.example",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET,POST",
        "access-control-allow-headers": "authorization,content-type",
        "access-control-max-age": "300",
    }


def test_another_origin_gets_no_permission(api: Running) -> None:
    response = api.client.options("/answer", headers={"Origin": "https://evil.example", **PREFLIGHT})
    assert response.status_code == 204
    assert cors_of(dict(response.headers)) == {}


def test_a_functions_own_cors_headers_are_replaced(api: Running) -> None:
    content = as_json({"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*", "X-Id": "1"}, "body": ""})
    headers = {"content-type": "application/json"}
    with_origin = api.client.post("/answer", content=content, headers={**headers, **ORIGIN})
    assert cors_of(dict(with_origin.headers)) == {
        "access-control-allow-origin": "https://app.example",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-id",
    }
    assert with_origin.headers["x-id"] == "1"
    assert cors_of(dict(api.client.post("/answer", content=content, headers=headers).headers)) == {}


def test_a_401_has_the_cors_headers(api: Running) -> None:
    response = api.client.get("/private", headers=ORIGIN)
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "https://app.example"
