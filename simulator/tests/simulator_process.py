"""A simulator in a separate process, and clients for its interfaces."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

SOURCES = Path(__file__).parents[1] / "src"
DEV_ID = "test-dev"
API_KEY = "test-api-key"
SIGNING_SECRET = "test-signing-secret"


@dataclass
class Terra:
    url: str
    process: "subprocess.Popen[str]"
    back_end: httpx.Client
    browser: httpx.Client

    def control(self, method: str, path: str, fields: object = None, *, expect: int = 200) -> Any:  # noqa: ANN401 - JSON
        response = self.browser.request(method, f"/_control{path}", json=fields)
        assert response.status_code == expect, response.text
        return response.json()

    def set(self, **settings: object) -> None:
        self.control("PATCH", "/settings", settings)

    def authenticate(
        self, reference_id: str | None = "anna", resource: str = "FITBIT", **fields: str
    ) -> dict[str, str]:
        body = fields | ({} if reference_id is None else {"reference_id": reference_id})
        response = self.back_end.post("/api/v2/auth/authenticateUser", params={"resource": resource}, json=body)
        assert response.status_code == 200, response.text
        content: dict[str, str] = response.json()
        return content

    def decide(self, auth_url: str, decision: str = "allow", **form: str) -> httpx.Response:
        return self.browser.post(auth_url, data={"decision": decision} | form)

    def connect(self, reference_id: str | None = "anna", resource: str = "FITBIT", **form: str) -> str:
        started = self.authenticate(reference_id, resource)
        assert self.decide(started["auth_url"], **form).status_code == 200
        return started["user_id"]

    def user_info(self, user_id: str) -> Any:  # noqa: ANN401 - JSON
        response = self.back_end.get("/api/v2/userInfo", params={"user_id": user_id})
        assert response.status_code == 200, response.text
        return response.json()


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True))


@contextmanager
def running(*arguments: str) -> Iterator[Terra]:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "terra_simulator",
        "serve",
        "--port",
        "0",
        "--dev-id",
        DEV_ID,
        *arguments,
    ]
    environment = {
        "PYTHONPATH": str(SOURCES),
        "TERRA_SIMULATOR_API_KEY": API_KEY,
        "TERRA_SIMULATOR_SIGNING_SECRET": SIGNING_SECRET,
    }
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            announced = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert announced
            url = announced.group()
            credentials = {"dev-id": DEV_ID, "x-api-key": API_KEY}
            with (
                httpx.Client(base_url=url, headers=credentials, timeout=30, trust_env=False) as back_end,
                httpx.Client(base_url=url, timeout=30, trust_env=False) as browser,
            ):
                yield Terra(url, process, back_end, browser)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
            stderr.seek(0)
            assert stderr.read() == "", "the simulator wrote to stderr"
