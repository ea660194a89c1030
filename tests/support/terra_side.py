"""A deployed stack with its own webhook endpoint, and the simulator's Admin API as Terra's side of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from tests.support.deployed import Deployed
from tests.support.endpoint import Endpoint
from tests.support.terra import Terra
from tools.terra import __main__ as terra_command
from tools.terra import recover, refetch

SCOPES = ["destinations:read", "destinations:write", "events:read", "events:write"]
DESTINATIONS = "/api/v3/admin/environments/local-dev/unified-api/destinations"


@dataclass
class TerraSide:
    deployed: Deployed
    terra: Terra
    endpoint: Endpoint
    monkeypatch: pytest.MonkeyPatch
    output: Callable[[], tuple[str, str]]
    token: str = ""

    def authorize(self, *scopes: str, **more: object) -> None:
        """Set a new Admin token in the environment of the commands."""
        self.token = self.terra.admin_token(scopes=list(scopes), **more)
        self.monkeypatch.setenv("TERRA_ADMIN_TOKEN", self.token)

    def keep_data(self) -> None:
        """Deploy the stack again with DataDeliveries=keep."""
        self.deployed.update(DataDeliveries="keep")

    def run(self, *options: str, confirms: bool = True) -> tuple[int, str, str]:
        """Run `make terra`; return its status, what it printed, and its errors."""
        return self._run(terra_command.main, "--cached-for", "0", *options, confirms=confirms)

    def recover(self, *options: str, since: str = "1h", confirms: bool = True) -> tuple[int, str, str]:
        return self._run(recover.main, "--since", since, *options, confirms=confirms)

    def refetch(self, *options: str, confirms: bool = True) -> tuple[int, str, str]:
        return self._run(refetch.main, *options, confirms=confirms)

    def _run(self, main: Callable[[list[str]], int], *options: str, confirms: bool) -> tuple[int, str, str]:
        self.output()
        command = ["dev", "--config", str(self.deployed.samconfig), *(["--yes"] if confirms else []), *options]
        status = main(command)
        out, err = self.output()
        for secret in (self.token, *self.stored().values(), *self.secrets_of_terra().values()):
            assert not secret or secret not in out + err, "a secret was printed"
        assert err.count("\n") <= 1, err
        return status, out, err

    def done(self, *options: str) -> str:
        """Run `make terra` successfully, and return what it printed."""
        status, out, err = self.run(*options)
        assert (status, err) == (0, ""), out + err
        return out

    def error(self, *options: str) -> str:
        """Run `make terra`, which fails, and return its line."""
        status, _, err = self.run(*options)
        assert status == 1
        return err

    @cached_property
    def _secrets_manager(self) -> Any:  # noqa: ANN401 - a client
        return self.deployed.client("secretsmanager")

    def stored(self) -> dict[str, str]:
        text = self._secrets_manager.get_secret_value(SecretId=self.deployed.outputs["SigningSecretsArn"])[
            "SecretString"
        ]
        stored: dict[str, str] = json.loads(text)
        return stored

    def store(self, values: Mapping[str, str]) -> None:
        arn = self.deployed.outputs["SigningSecretsArn"]
        self._secrets_manager.put_secret_value(SecretId=arn, SecretString=json.dumps(values))

    @cached_property
    def _owner(self) -> str:
        return self.terra.admin_token(scopes=[*SCOPES, "keys:read", "keys:write", "testdata:write"])

    def admin(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Call the Admin API as the account's owner."""
        headers = {"authorization": f"Bearer {self._owner}"}
        response = self.terra.client.request(method, path, json=body, headers=headers)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def destinations(self, *urls: str) -> list[dict[str, Any]]:
        """Return Terra's destinations for the endpoint or other URLs."""
        wanted = urls or (self.endpoint.url,)
        return [each for each in self.admin("GET", DESTINATIONS)["data"] if each["url"] in wanted]

    def destination(self) -> dict[str, Any]:
        (found,) = self.destinations()
        return found

    def make_by_hand(self, **fields: object) -> dict[str, Any]:
        """Create a destination as in the dashboard; it has its secret."""
        body = {"config": {"url": self.endpoint.url}, **fields}
        made: dict[str, Any] = self.admin("POST", DESTINATIONS, body)
        return made

    def change(self, destination_id: str, **fields: object) -> None:
        self.admin("PATCH", f"{DESTINATIONS}/{destination_id}", fields)

    def secrets_of_terra(self) -> dict[str, str]:
        found = self.admin("GET", DESTINATIONS)["data"]
        paths = {each["id"]: f"{DESTINATIONS}/{each['id']}/secrets" for each in found}
        return {name: self.admin("GET", path)["secrets"]["signing_secret"] for name, path in paths.items()}
