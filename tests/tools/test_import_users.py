"""`make import`: users who connected before the stack existed are adopted, and need no new login."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import botocore.client
import httpx
import pytest

from local.aws_services import CREDENTIALS
from local.testing import Stack
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import ReferenceId, UserId
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tests.support.api import connections_of, erase
from tests.support.tables import Tables, own_tables
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools.doctor.stack import deployed
from tools.environment import ROOT, everything
from tools.import_users.__main__ import main, opened
from tools.import_users.users_file import UsersFile
from tools.stages import StageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


@dataclass
class Target:
    """A stack to import into, as CloudFormation describes it; its tables and functions are the running stack's."""

    stack: Stack
    folder: Path
    name: str = field(default_factory=lambda: f"import-{uuid4().hex[:8]}")
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def samconfig(self) -> Path:
        return self.folder / "samconfig.toml"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    def client(self, service: str) -> Any:  # noqa: ANN401 - a client of any service
        return boto3.client(service, endpoint_url=self.stack.aws_url, region_name=self.stack.region)  # type: ignore[call-overload]

    def deploy(self, *, tables: Sequence[str] = (), **changed: str) -> "Target":
        settings = f'stack_name = "{self.name}"\nregion = "{self.stack.region}"\n'
        self.samconfig.write_text(f"[dev.deploy.parameters]\n{settings}")
        keys = {"TerraSecret": {"api_key": self.stack.terra_api_key}, "PseudonymKey": {"key": self.pseudonym_key}}
        for name, value in keys.items():
            made = self.client("secretsmanager").create_secret(
                Name=f"{self.name}/{name}", SecretString=json.dumps(value)
            )
            self.secrets[name] = made["ARN"]
        connections, sessions = tables or (self.stack.tables.connections, self.stack.tables.sessions)
        outputs = {f"{name}Arn": arn for name, arn in self.secrets.items()}
        outputs |= {"ApiUrl": self.stack.api_url, "ConnectionsTable": connections, "SessionsTable": sessions}
        given = {**self.stack.parameters, **changed}
        template = {
            "Parameters": {name: {"Type": "String"} for name in given},
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        self.client("cloudformation").create_stack(
            StackName=self.name,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        )
        return self

    @property
    def pseudonym_key(self) -> str:
        return str(json.loads((self.stack.directory / "keys.json").read_text())["pseudonym_key"])

    def write(self, *rows: Sequence[str]) -> Path:
        file = self.folder / "users.csv"
        with file.open("w", newline="") as lines:
            csv.writer(lines).writerows([("user_id", "reference_id", "terra_reference_id"), *rows])
        return file

    def options(self, *more: str, file: Path | None = None) -> list[str]:
        named = [] if file is None else ["--file", str(file)]
        return ["dev", *named, "--samconfig", str(self.samconfig), "--reports", str(self.reports), *more]

    def run(self, *rows: Sequence[str], apply: bool = True) -> dict[str, str]:
        """Import these rows, and return the result of each `user_id` from the report."""
        before = self.all_reports()
        more = ["--apply"] if apply else []
        assert main(self.options(*more, file=self.write(*rows))) == 0
        (path,) = self.all_reports() - before
        assert path.stat().st_mode & 0o777 == 0o600
        return results(path)

    def run_quickly(self, *rows: Sequence[str]) -> dict[str, str]:
        """Do the same without waits."""
        before = self.all_reports()
        stack = deployed("dev", self.samconfig)
        try:
            with opened(stack, UsersFile(self.write(*rows)), self.reports, scale=0.01) as one:
                one.run(is_plan=False)
        finally:
            (path,) = self.all_reports() - before
        return results(path)

    def all_reports(self) -> set[Path]:
        return set(self.reports.glob("*.csv"))


def results(report: Path) -> dict[str, str]:
    with report.open(newline="") as lines:
        return {row["user_id"]: row["result"] for row in csv.DictReader(lines)}


@pytest.fixture
def plan(account: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terra: Terra) -> Target:
    """A stack that is not deployed yet."""
    terra.settings(send_webhooks=False)
    addresses = {"AWS_ENDPOINT_URL": account.aws_url, "AWS_ENDPOINT_URL_DYNAMODB": account.dynamodb_url}
    for name, value in {**CREDENTIALS, **addresses, "NO_PROXY": "*"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    return Target(account, tmp_path)


@pytest.fixture
def target(plan: Target) -> Target:
    return plan.deploy()


@pytest.fixture
def tables(stack: Stack, dynamodb: "DynamoDBClient") -> Tables:
    return Tables(dynamodb, stack)


@pytest.fixture
def connect(terra: Terra) -> Callable[..., str]:
    """Connect a user at Terra, without a webhook."""

    def make(reference_id: str | None, **details: object) -> str:
        user = terra.connect(reference_id, account=str(uuid4()), silent=True, **details)  # type: ignore[arg-type] # or None
        return str(user["user_id"])

    return make


# -- no new login ------------------------------------------------------------------------------------------------------


def test_an_imported_user_is_listed_receives_events_and_can_disconnect(
    target: Target, terra: Terra, api: httpx.Client, connect: Callable[..., str], reference_id: str
) -> None:
    user_id = connect(reference_id)
    assert connections_of(api, reference_id) == []
    assert target.run((user_id, reference_id, "")) == {user_id: "adopted"}
    (listed,) = connections_of(api, reference_id)
    assert (listed["user_id"], listed["status"], listed["provider"]) == (user_id, "connected", "FITBIT")
    terra.settings(send_webhooks=True)
    terra.happen(user_id, "connection_error")
    eventually(lambda: connections_of(api, reference_id)[0]["status"] == "needs_reauth")
    terra.happen(user_id, "permission_change", scopes_added="BODY")
    eventually(lambda: "BODY" in connections_of(api, reference_id)[0]["scopes"])
    assert api.delete(f"/connections/{user_id}").is_success
    eventually(lambda: connections_of(api, reference_id) == [])
    assert user_id not in {user["user_id"] for user in terra.client.get("/_control/users").json()}
    # A repeat does not undo it.
    assert target.run((user_id, reference_id, "")) == {user_id: "already_known"}
    assert connections_of(api, reference_id) == []


def test_a_renamed_user_keeps_the_new_name_when_terra_sends_the_old_one(
    target: Target, terra: Terra, api: httpx.Client, connect: Callable[..., str], reference_id: str
) -> None:
    old = f"{reference_id}-old"
    user_id = connect(old)
    assert target.run((user_id, reference_id, old)) == {user_id: "adopted"}
    terra.settings(send_webhooks=True)
    terra.happen(user_id, "permission_change", scopes_added="BODY")
    eventually(lambda: "BODY" in connections_of(api, reference_id)[0]["scopes"])
    assert api.post("/connections/sync", json={"reference_id": reference_id}).json()["connections"]
    assert api.post("/connections/sync", json={"reference_id": old}).json()["connections"] == []
    assert connections_of(api, old) == []
    assert erase(api, old).is_success
    assert [each["user_id"] for each in connections_of(api, reference_id)] == [user_id]
    assert erase(api, reference_id).is_success
    assert user_id not in {user["user_id"] for user in terra.client.get("/_control/users").json()}
    assert target.run((user_id, reference_id, old)) == {user_id: "erased"}


def test_a_wrong_name_is_corrected_by_another_import(
    target: Target, api: httpx.Client, connect: Callable[..., str], reference_id: str
) -> None:
    at_terra, wrong = f"{reference_id}-terra", f"{reference_id}-wrong"
    user_id = connect(at_terra)
    target.run((user_id, wrong, at_terra))
    assert target.run((user_id, reference_id, at_terra)) == {user_id: "adopted"}
    assert connections_of(api, wrong) == []
    assert len(connections_of(api, reference_id)) == 1
    assert target.run((user_id, at_terra, "")) == {user_id: "adopted"}
    assert len(connections_of(api, at_terra)) == 1


def test_a_connection_without_a_reference_id_at_terra_needs_an_explicit_row(
    target: Target, terra: Terra, api: httpx.Client, connect: Callable[..., str], reference_id: str
) -> None:
    user_id = connect(None)
    assert target.run((user_id, reference_id, "")) == {user_id: "no_reference_id"}
    assert target.run((user_id, reference_id, "null")) == {user_id: "adopted"}
    terra.settings(send_webhooks=True)
    terra.happen(user_id, "connection_error")
    eventually(lambda: connections_of(api, reference_id)[0]["status"] == "needs_reauth")
    assert erase(api, reference_id).is_success
    assert user_id not in {user["user_id"] for user in terra.client.get("/_control/users").json()}


# -- what is stored ----------------------------------------------------------------------------------------------------


def stores(target: Target, dynamodb: "DynamoDBClient") -> tuple[ConnectionStore, UserStore]:
    names = target.stack.tables
    users = UserStore(
        dynamodb,
        connections_table=names.connections,
        sessions_table=names.sessions,
        pseudonyms=Pseudonyms(target.pseudonym_key),
    )
    return ConnectionStore(dynamodb, names.connections, users=users), users


def test_each_row_has_its_result_and_a_plan_stores_nothing(
    target: Target,
    terra: Terra,
    dynamodb: "DynamoDBClient",
    tables: Tables,
    connect: Callable[..., str],
    reference_id: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("new", "known", "pending", "other", "unowned", "tombstone", "erased", "renamed")
    ids = {name: connect(None if name == "unowned" else f"{reference_id}-{name}") for name in names}
    unknown, conflict = str(uuid4()), str(uuid4())
    target.run((ids["known"], f"{reference_id}-known", ""))
    terra.change(ids["pending"], is_authenticated=False)
    connections, users = stores(target, dynamodb)
    connections.put_tombstones([UserId(ids["tombstone"])])
    erased = ReferenceId(f"{reference_id}-erased")
    users.begin_erasure(erased)
    users.end_erasure(erased, since=datetime.now(UTC))
    rows: list[Sequence[str]] = [(ids[name], f"{reference_id}-{name}", "") for name in names if name != "renamed"]
    rows[3] = (ids["other"], f"{reference_id}-another", "")
    rows += [(ids["renamed"], f"{reference_id}-app", f"{reference_id}-renamed"), (unknown, reference_id, "")]
    rows += [(conflict, "a", ""), (conflict, "b", ""), ("=1+1", reference_id, "")]
    expected = {
        ids["new"]: "to_adopt",
        ids["known"]: "already_known",
        ids["pending"]: "not_authenticated",
        ids["other"]: "other_owner",
        ids["unowned"]: "no_reference_id",
        ids["tombstone"]: "erased",
        ids["erased"]: "erased",
        ids["renamed"]: "to_adopt",
        unknown: "unknown_at_terra",
        conflict: "conflict",
        "'=1+1": "malformed",
    }
    capsys.readouterr()
    assert target.run(*rows, apply=False) == expected
    printed = capsys.readouterr().out
    assert "users.csv: line 11: the lines 11, 12 have different values for this user_id" in printed
    assert "users.csv: line 13: user_id must have" in printed
    assert re.search(r"^  to_adopt +2$", printed, re.MULTILINE)
    assert re.search(
        r"^Nothing was stored\. To store: make import STAGE=dev FILE=\S+users\.csv APPLY=1$", printed, re.MULTILINE
    )
    assert [tables.connection(ids[name]) is not None for name in names] == [name == "known" for name in names]
    adopted = {name: "adopted" if result == "to_adopt" else result for name, result in expected.items()}
    assert target.run(*rows) == adopted
    assert [tables.connection(ids[name]) is not None for name in names] == [
        name in {"known", "new", "renamed"} for name in names
    ]
    known = {name: "already_known" if result == "adopted" else result for name, result in adopted.items()}
    assert target.run(*rows) == known
    assert target.stack.terra_api_key not in "".join(path.read_text() for path in target.all_reports())


def test_a_connection_that_an_event_has_stored_meanwhile_is_left_as_it_is(
    target: Target, terra: Terra, tables: Tables, reference_id: str
) -> None:
    terra.settings(send_webhooks=True)
    user_id = str(terra.connect(reference_id)["user_id"])
    before = eventually(lambda: tables.facts(user_id))
    assert target.run((user_id, reference_id, "")) == {user_id: "already_known"}
    assert tables.facts(user_id) == before


def test_terras_own_list_is_imported_without_a_file(
    plan: Target, terra: Terra, dynamodb: "DynamoDBClient", connect: Callable[..., str], reference_id: str
) -> None:
    terra.settings(largest_page=2)
    ids = {connect(f"{reference_id}-{number}") for number in range(5)}
    unowned = connect(None)
    with own_tables(dynamodb, "Connections", "Sessions") as own:
        target = plan.deploy(tables=own)
        assert main(target.options("--apply")) == 0
        (report,) = target.all_reports()
        found = results(report)
        assert {found[user_id] for user_id in ids} == {"adopted"}
        assert found[unowned] == "no_reference_id"
        stored = {item["user_id"]["S"] for item in dynamodb.scan(TableName=own[0])["Items"]}
        assert ids <= stored
        assert unowned not in stored
        assert main(target.options("--apply")) == 0
        (repeated,) = target.all_reports() - {report}
        assert {results(repeated)[user_id] for user_id in ids} == {"already_known"}


# -- failures ----------------------------------------------------------------------------------------------------------


def users_at_terra(connect: Callable[..., str], reference_id: str, count: int) -> list[tuple[str, str]]:
    return [(connect(f"{reference_id}-{number}"), f"{reference_id}-{number}") for number in range(count)]


def test_a_rate_limit_of_terra_is_waited_for(
    target: Target, terra: Terra, connect: Callable[..., str], reference_id: str
) -> None:
    rows = users_at_terra(connect, reference_id, 12)
    terra.fault("/userInfo", "rate_limit", retry_after=1, times=8)
    began = time.monotonic()
    assert target.run(*[(*row, "") for row in rows]) == dict.fromkeys(dict(rows), "adopted")
    assert time.monotonic() - began >= 1


def test_a_rate_limit_that_does_not_end_stops_the_import(
    target: Target, terra: Terra, connect: Callable[..., str], reference_id: str
) -> None:
    rows = users_at_terra(connect, reference_id, 2)
    terra.fault("/userInfo", "rate_limit", retry_after=1)
    with pytest.raises(StageError, match=r"rate limit is used up\. Repeat the command later"):
        target.run_quickly(*[(*row, "") for row in rows])


def test_an_import_that_fails_in_the_middle_continues_when_it_is_repeated(
    target: Target, terra: Terra, connect: Callable[..., str], reference_id: str
) -> None:
    rows = [(*row, "") for row in users_at_terra(connect, reference_id, 40)]
    assert target.run(*rows[:20]) == dict.fromkeys([row[0] for row in rows[:20]], "adopted")
    terra.fault("/userInfo", "status", status=503)
    with pytest.raises(StageError, match=r"^10 users in sequence failed: Terra failed \(503\)\. Repeat the command"):
        target.run_quickly(*rows)
    terra.client.delete("/_control/faults")
    calls = len(terra.calls("/userInfo"))
    assert Counter(target.run(*rows).values()) == {"already_known": 20, "adopted": 20}
    # Terra is not called about users that are known.
    assert len(terra.calls("/userInfo")) - calls == 1 + 20


def test_a_user_that_terra_fails_for_is_unverified_and_not_stored(
    target: Target, terra: Terra, tables: Tables, connect: Callable[..., str], reference_id: str
) -> None:
    user_id = connect(reference_id)
    terra.fault("/userInfo", "wrong_shape", times=3)
    assert target.run_quickly((user_id, reference_id, "")) == {user_id: "unverified"}
    assert tables.connection(user_id) is None
    terra.fault("/userInfo", "disconnect", times=2)
    assert target.run_quickly((user_id, reference_id, "")) == {user_id: "adopted"}


def test_an_interrupted_import_continues_when_it_is_repeated(
    target: Target, terra: Terra, connect: Callable[..., str], reference_id: str
) -> None:
    rows = [(*row, "") for row in users_at_terra(connect, reference_id, 60)]
    terra.fault("/userInfo", "slow", delay_s=0.3)
    program = [sys.executable, "-m", "tools.import_users", *target.options("--apply", file=target.write(*rows))]
    environment = everything() | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/terra_connections'}"}
    process = subprocess.Popen(program, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: any("adopted" in path.read_text() for path in target.all_reports()))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert errors.decode() == "Interrupted. The same command continues: what is stored is already known then.\n"
    assert b"The import stopped early: " in output
    terra.client.delete("/_control/faults")
    counts = Counter(target.run(*rows).values())
    assert counts["already_known"] >= 1
    assert counts["adopted"] >= 1
    assert counts.total() == 60 == counts["already_known"] + counts["adopted"]


@pytest.fixture
def one_row(target: Target, reference_id: str) -> Path:
    return target.write((str(uuid4()), reference_id, ""))


def test_rejected_credentials_are_reported_before_anything_else(
    target: Target, one_row: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put = target.client("secretsmanager").put_secret_value
    put(SecretId=target.secrets["TerraSecret"], SecretString='{"api_key": "key-of-another-account"}')
    assert main(target.options("--apply", file=one_row)) == 1
    errors = capsys.readouterr().err
    expected = f"Terra cannot be called with the key of {target.name}: Terra answered 403. Store the right one: "
    assert errors == f"{expected}make secrets STAGE=dev\n"
    put(SecretId=target.secrets["TerraSecret"], SecretString='{"api_key": ""}')
    assert main(target.options("--apply", file=one_row)) == 1
    assert "A secret holds no value yet." in capsys.readouterr().err
    assert target.all_reports() == set()


def test_an_unreachable_terra_is_one_line(plan: Target, capsys: pytest.CaptureFixture[str]) -> None:
    target = plan.deploy(TerraApiUrl=NOWHERE)
    stack = deployed("dev", target.samconfig)
    with (
        opened(stack, None, target.reports, scale=0.01) as one,
        pytest.raises(StageError, match=rf"^{NOWHERE}: Terra did not answer in time\. Repeat the command later\.$"),
    ):
        one.check_credentials()
    assert capsys.readouterr().out == ""


def test_an_unknown_stage_a_missing_stack_and_a_missing_file_are_one_line(
    target: Target, one_row: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = target.options(file=one_row)
    assert main(["other", *options[1:]]) == 1
    assert capsys.readouterr().err.startswith("There is no stage 'other': set STAGE to one of dev ")
    assert main(target.options(file=target.folder / "none.csv")) == 1
    assert capsys.readouterr().err.endswith(
        "none.csv cannot be read: No such file or directory. Set FILE to a CSV file.\n"
    )
    target.samconfig.write_text('[dev.deploy.parameters]\nstack_name = "none"\nregion = "us-east-1"\n')
    assert main(options) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("AWS does not describe the stack none: ")
    assert errors.count("\n") == 1


def test_a_rejection_by_aws_in_the_middle_is_one_line(
    plan: Target, connect: Callable[..., str], reference_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = plan.deploy(tables=("no-such-table", "no-such-table"))
    assert main(target.options("--apply", file=target.write((connect(reference_id), reference_id, "")))) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("AWS rejected the request: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(("answer", "is_stored"), [("y", True), ("n", False), ("", False), (None, False)])
def test_on_a_terminal_it_asks_before_it_stores(
    target: Target,
    tables: Tables,
    connect: Callable[..., str],
    reference_id: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: str | None,
    *,
    is_stored: bool,
) -> None:
    user_id = connect(reference_id)
    asked = []

    def reply(question: str) -> str:
        asked.append(question)
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", reply)
    assert main(target.options(file=target.write((user_id, reference_id, "")))) == 0
    assert asked == [f"Store 1 connection in {target.name}? [y/N] "]
    assert (tables.connection(user_id) is not None) is is_stored


# -- permissions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The IAM actions of this process's AWS calls. A transaction needs those of its writes."""
    made: set[str] = set()
    call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001 - no public hook has the request
    writes = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}

    def record(client: Any, operation: str, request: dict[str, Any]) -> Any:  # noqa: ANN401 - boto3's own types
        service = client.meta.service_model.service_name
        if operation == "TransactWriteItems":
            made.update(f"{service}:{writes[kind]}" for write in request["TransactItems"] for kind in write)
        else:
            made.add(f"{service}:{operation}")
        return call(client, operation, request)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", record)
    return made


def test_the_documented_permissions_are_the_needed_ones(
    target: Target, connect: Callable[..., str], reference_id: str, calls: set[str]
) -> None:
    target.run((connect(reference_id), reference_id, ""))
    section = (ROOT / "docs/moving-in.md").read_text().partition("\n## Permissions\n")[2].partition("\n## ")[0]
    # An erasure at the same moment replaces an item by a tombstone.
    rare = {"dynamodb:DeleteItem"}
    assert set(re.findall(r"`(\w+:\w+)`", section)) == calls | rare
