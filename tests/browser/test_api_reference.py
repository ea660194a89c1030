"""The API reference of `make run`: Swagger UI, whose "Try it out" calls the local stack."""

import httpx
from playwright.sync_api import expect

from local.testing import Stack
from tests.support.chromium import DESKTOP, OpenPage

TIMEOUT = 30_000


def test_an_operation_can_be_tried_out_and_nothing_is_loaded_from_elsewhere(
    chromium: OpenPage, stack: Stack, reference_id: str
) -> None:
    page = chromium(**DESKTOP)
    requested: list[str] = []
    errors: list[str] = []
    page.context.on("request", lambda request: requested.append(request.url))
    page.context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"{stack.demo_url}/api")
    page.get_by_role("button", name="Authorize").first.click(timeout=TIMEOUT)
    dialog = page.locator(".modal-ux")
    dialog.get_by_role("textbox").first.fill(stack.service_key)
    dialog.get_by_role("button", name="Apply credentials").first.click()
    dialog.get_by_role("button", name="Close").last.click()
    operation = page.locator("#operations-sessions-createSession")
    operation.locator(".opblock-summary-control").click()
    operation.locator("textarea").first.fill(f'{{"reference_id": "{reference_id}", "resource": "FITBIT"}}')
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(
        "201", timeout=TIMEOUT
    )
    own = (f"{stack.demo_url}/", f"{stack.api_url}/", "data:", "blob:")
    assert [url for url in requested if not url.startswith(own)] == []
    assert errors == []


def test_the_contract_names_the_address_of_the_running_api(stack: Stack) -> None:
    contract = httpx.get(f"{stack.demo_url}/api/openapi.json").json()
    assert [server["url"] for server in contract["servers"]] == [stack.api_url]
    policy = httpx.get(f"{stack.demo_url}/api").headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert f"connect-src 'self' {stack.api_url};" in policy
