"""The local stack as processes: its output, the data that it keeps, and that it leaves no process behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import boto3
import httpx
import psutil
import pytest

from local import database, testing
from local.aws_services import CREDENTIALS
from local.processes import StackError
from local.stack import PORTS
from tests.support.processes import command_line, descendants, kill_with_descendants, wait_until_gone
from tests.support.waiting import eventually
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local.testing import Stack


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


class Launch(Protocol):
    def __call__(
        self,
        directory: Path,
        *,
        in_memory: bool = True,
        loads: bool = False,
        variables: Mapping[str, str] | None = None,
        more: tuple[str, ...] = (),
    ) -> subprocess.Popen[bytes]: ...


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Starts stacks, and ends them and all their processes, even if the test fails."""
    with ExitStack() as ends:

        def start(directory: Path, **how: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - those of testing.launch
            process = testing.launch(directory, **how)
            ends.callback(kill_with_descendants, process)
            return process

        yield start


def ports(stack: Stack) -> list[int]:
    urls = (stack.api_url, stack.terra_url, stack.dynamodb_url, stack.aws_url, stack.demo_url, stack.oidc_issuer)
    return [port for url in urls if (port := urlsplit(url).port)]


def listening(stack: Stack) -> list[int]:
    open_ports = []
    for port in ports(stack):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                open_ports.append(port)
    return open_ports


def ended(process: subprocess.Popen[bytes], place: Path, within: float = 60.0) -> tuple[int, str]:
    code = process.wait(within)
    return code, (place / "output.txt").read_text()


# --- a running stack -------------------------------------------------------------------------------------------------


def test_stack_json_is_readable_only_by_its_owner(stack: Stack) -> None:
    assert mode(stack.directory / "stack.json") == 0o600
    assert mode(stack.directory / "keys.json") == 0o600
    assert mode(stack.directory) == 0o700


def test_every_part_responds(stack: Stack) -> None:
    assert len(listening(stack)) == 6
    assert httpx.get(f"{stack.terra_url}/_control/health").status_code == 200
    assert httpx.get(f"{stack.api_url}/connections?reference_id=ada").status_code == 401
    assert re.fullmatch(r"3\.\d+\.\d+", stack.python)


def test_nothing_but_dynamodb_local_listens_beyond_this_machine(stack: Stack) -> None:
    beyond = {
        process.name()
        for process in descendants(stack.pid)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in {"127.0.0.1", "::1"}
    }
    assert beyond == ({"java"} if stack.engine == "dynamodb-local" else set())


def test_a_port_open_to_the_network_is_reported_with_the_remedy(stack: Stack) -> None:
    lines = [line for line in stack.output.read_text().splitlines() if "every network interface" in line]
    if stack.engine != "dynamodb-local":
        assert lines == []
        return
    [line] = lines
    assert str(urlsplit(stack.dynamodb_url).port) in line
    assert "DATABASE=ministack" in line
    assert "firewall" in line


def test_the_engine_is_reported_as_detected(stack: Stack) -> None:
    health = httpx.get(f"{stack.dynamodb_url}/_ministack/health")
    assert stack.engine == ("ministack" if health.status_code == 200 else "dynamodb-local")
    assert stack.engine in stack.output.read_text()


def test_the_tables_are_those_of_the_template(stack: Stack) -> None:
    declared = database.declared_tables(ROOT / "template.yaml")
    client = database.connect(stack.dynamodb_url)
    assert {stack.tables.connections, stack.tables.sessions, stack.tables.deliveries} == set(declared)
    for name, properties in declared.items():
        table = client.describe_table(TableName=name)["Table"]
        assert table["KeySchema"] == properties["KeySchema"]
        indexes = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", ())}
        wanted = {index["IndexName"]: index for index in properties.get("GlobalSecondaryIndexes", ())}
        assert indexes.keys() == wanted.keys()
        for index, found in indexes.items():
            assert found["KeySchema"] == wanted[index]["KeySchema"]
            assert found["Projection"] == wanted[index]["Projection"]
        streams = "StreamSpecification" in properties
        assert table.get("StreamSpecification", {}).get("StreamEnabled", False) is streams
        expiry = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert expiry.get("AttributeName") == properties["TimeToLiveSpecification"]["AttributeName"]


def test_the_secrets_contain_the_keys(stack: Stack) -> None:
    client = boto3.client(
        "secretsmanager",
        endpoint_url=stack.aws_url,
        region_name=stack.region,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    wanted = {
        "terra-connections/TerraSecret": {"api_key": stack.terra_api_key},
        "terra-connections/SigningSecrets": {"local": stack.signing_secret},
        "terra-connections/ServiceKeys": {"local": stack.service_key},
        "terra-connections/PseudonymKey": {
            "key": json.loads((stack.directory / "keys.json").read_text())["pseudonym_key"]
        },
        "terra-connections/NotifyKey": {"key": stack.notify_key},
    }
    stored = {name: json.loads(client.get_secret_value(SecretId=name)["SecretString"]) for name in wanted}
    client.close()
    assert stored == wanted


def test_no_secret_is_on_a_command_line(stack: Stack) -> None:
    lines = [command_line(process) for process in psutil.process_iter()]
    assert any("terra_simulator" in line for line in lines)
    for secret in (stack.terra_api_key, stack.signing_secret, stack.service_key, stack.notify_key):
        assert not [line for line in lines if secret in line]


def test_a_second_stack_in_the_same_folder_is_rejected(stack: Stack, launch: Launch, tmp_path: Path) -> None:
    output = stack.output.read_text()
    command = ["--directory", str(stack.directory)]
    process = launch(tmp_path, more=(*command,))
    code, output_text = ended(process, tmp_path)
    assert (code, len(output_text.splitlines())) == (1, 1)
    assert str(stack.pid) in output_text
    assert "Ctrl-C" in output_text
    assert stack.output.read_text() == output
    assert testing.read(stack.directory) == stack


def test_a_port_in_use_is_reported_in_one_line(stack: Stack, launch: Launch, tmp_path: Path) -> None:
    used = str(urlsplit(stack.terra_url).port)
    process = launch(tmp_path, variables={"TERRA_PORT": used})
    code, output_text = ended(process, tmp_path)
    assert (code, len(output_text.splitlines())) == (1, 1)
    assert f"Port {used}" in output_text
    assert "TERRA_PORT" in output_text
    assert not (tmp_path / "stack.json").exists()


def test_all_ports_in_use_are_reported_at_once_with_their_programs(launch: Launch, tmp_path: Path) -> None:
    with ExitStack() as held:
        taken = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(2)]
        ports = dict(zip(("API_PORT", "DEMO_PORT"), map(str, taken), strict=True))
        code, output_text = ended(launch(tmp_path, variables=ports), tmp_path)
    assert (code, len(output_text.splitlines())) == (1, 1)
    for port in taken:
        assert re.search(rf"[Pp]ort {port}, for the [^;]+, is in use by \S+ \(process {os.getpid()}\)", output_text)
    assert "make run DEMO_PORT=0 API_PORT=0" in output_text


def test_the_default_ports_are_not_those_of_macos_and_of_development_servers() -> None:
    defaults = [port.default for port in PORTS]
    assert len(set(defaults)) == len(defaults)
    assert {3000, 3001, 4200, 4321, 5000, 5173, 7000, 8000, 8080, 8888, 9000}.isdisjoint(defaults)
    assert max(defaults) < 32768  # below the ports that Linux gives to connections


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"API_PORT": "http"}, "API_PORT=http"),
        ({"API_PORT": "70000"}, "API_PORT=70000"),
        ({"DATABASE": "postgres"}, "DATABASE=postgres"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(
    launch: Launch, variables: dict[str, str], named: str, tmp_path: Path
) -> None:
    code, output_text = ended(launch(tmp_path, variables=variables), tmp_path)
    assert (code, len(output_text.splitlines())) == (1, 1)
    assert named in output_text


# --- persistent tables -----------------------------------------------------------------------------------------------

TABLE = """
Resources:
  {name}:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - {{AttributeName: id, AttributeType: {type}}}
        - {{AttributeName: owner, AttributeType: S}}
      KeySchema:
        - {{AttributeName: id, KeyType: HASH}}
      GlobalSecondaryIndexes:
        - IndexName: by-owner
          KeySchema: [{{AttributeName: owner, KeyType: HASH}}]
          Projection: {{ProjectionType: ALL}}
      StreamSpecification: {{StreamViewType: NEW_AND_OLD_IMAGES}}
      PointInTimeRecoverySpecification: {{PointInTimeRecoveryEnabled: !Equals [a, b]}}
      TimeToLiveSpecification: {{AttributeName: ttl, Enabled: true}}
"""


def test_a_kept_table_gets_its_missing_indexes_and_settings(stack: Stack, tmp_path: Path) -> None:
    client = database.connect(stack.dynamodb_url)
    client.create_table(
        TableName="Grown",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.put_item(TableName="Grown", Item={"id": {"S": "1"}, "owner": {"S": "ada"}})
    template = tmp_path / "template.yaml"
    template.write_text(TABLE.format(name="Grown", type="S"))
    for _ in range(2):
        asyncio.run(database.make_tables(stack.dynamodb_url, database.declared_tables(template)))
    found = client.query(
        TableName="Grown",
        IndexName="by-owner",
        KeyConditionExpression="#o = :o",
        ExpressionAttributeNames={"#o": "owner"},
        ExpressionAttributeValues={":o": {"S": "ada"}},
    )
    assert found["Count"] == 1
    assert client.describe_table(TableName="Grown")["Table"]["StreamSpecification"]["StreamEnabled"]
    expiry = client.describe_time_to_live(TableName="Grown")["TimeToLiveDescription"]
    assert expiry["TimeToLiveStatus"] == "ENABLED"
    client.delete_table(TableName="Grown")


def test_a_kept_table_with_other_keys_is_rejected_with_the_remedy(stack: Stack, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(TABLE.format(name="Changed", type="S"))
    asyncio.run(database.make_tables(stack.dynamodb_url, database.declared_tables(template)))
    template.write_text(TABLE.format(name="Changed", type="N"))
    with pytest.raises(StackError, match="make clean"):
        asyncio.run(database.make_tables(stack.dynamodb_url, database.declared_tables(template)))
    database.connect(stack.dynamodb_url).delete_table(TableName="Changed")


def test_another_server_is_not_identified_as_a_database(stack: Stack) -> None:
    assert asyncio.run(database.identify(stack.aws_url)) == "ministack"
    with pytest.raises(StackError, match="neither"):
        asyncio.run(database.identify(stack.demo_url))


# --- termination -----------------------------------------------------------------------------------------------------


def store(stack: Stack, word: str) -> None:
    database.connect(stack.dynamodb_url).put_item(TableName=stack.tables.sessions, Item={"session_id": {"S": word}})


def has_stored(stack: Stack, word: str) -> bool:
    client = database.connect(stack.dynamodb_url)
    return "Item" in client.get_item(TableName=stack.tables.sessions, Key={"session_id": {"S": word}})


def test_a_killed_stack_leaves_no_process_and_a_restart_keeps_its_data(launch: Launch, tmp_path: Path) -> None:
    process = launch(tmp_path, in_memory=False)
    testing.wait_until_up(process, tmp_path)
    first = testing.read(tmp_path)
    store(first, "kept")
    processes = descendants(process.pid)
    assert len(processes) > 5

    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert wait_until_gone(processes) == []
    assert listening(first) == []
    assert (tmp_path / "stack.json").exists()  # no process was left to remove it

    with testing.running_stack(directory=tmp_path, in_memory=False) as second:
        assert second.pid != first.pid
        assert has_stored(second, "kept")
        assert (second.service_key, second.signing_secret) == (first.service_key, first.signing_secret)
        processes = descendants(second.pid)
    assert wait_until_gone(processes) == []
    assert listening(second) == []
    assert not (tmp_path / "stack.json").exists()
    assert "Stopping" in second.output.read_text()


def test_a_stack_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    """The shell stands for `make` in `make run`: when killed, it cannot notify the stack."""
    script = f'exec "$0" -m local.stack --in-memory --directory {tmp_path} --parent $PPID >{tmp_path}/output.txt 2>&1'
    starter = subprocess.Popen(
        ["/bin/sh", "-c", f"/bin/sh -c '{script}' \"$0\"; true", str(ROOT / ".venv" / "bin" / "python")],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(testing.PORT_VARIABLES, "0")},  # noqa: TID251
    )
    try:
        eventually((tmp_path / "stack.json").exists, within=120)
        running = testing.read(tmp_path)
        processes = descendants(running.pid)
        starter.kill()
        starter.wait(60)
    finally:
        kill_with_descendants(starter)
    assert wait_until_gone(processes) == []
    assert listening(running) == []
    assert not (tmp_path / "stack.json").exists()


def test_a_stack_with_ministack_as_the_database_ends_when_ministack_ends(launch: Launch, tmp_path: Path) -> None:
    process = launch(tmp_path, variables={"DATABASE": "ministack"})
    testing.wait_until_up(process, tmp_path)
    running = testing.read(tmp_path)
    assert running.engine == "ministack"
    store(running, "here")
    assert has_stored(running, "here")
    processes = descendants(process.pid)
    wrappers = [
        process
        for process in processes
        if "local.ministack_server" in command_line(process) and "parent_watch.py" in command_line(process)
    ]
    assert len(wrappers) == 2

    wrappers[0].kill()
    code, output_text = ended(process, tmp_path)
    assert code == 1
    assert "ended by itself" in output_text
    assert wait_until_gone(processes) == []
    assert not (tmp_path / "stack.json").exists()


def test_a_function_that_cannot_be_loaded_ends_the_stack_with_its_traceback(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "handler.py").write_text("import no_such_module\n")
    template = tmp_path / "template.yaml"
    parameters = re.findall(
        r"^  ([A-Z]\w+):\n    Type: (?:String|Number)", (ROOT / "template.yaml").read_text(), re.MULTILINE
    )
    broken = {"CodeUri": "broken", "Handler": "handler.lambda_handler", "Runtime": "python3.13"}
    resources = {
        "HttpApi": {"Type": "AWS::Serverless::HttpApi"},
        "Broken": {"Type": "AWS::Serverless::Function", "Properties": broken},
    }
    declared = {name: {"Type": "String", "Default": ""} for name in parameters}
    template.write_text(json.dumps({"Parameters": declared, "Resources": resources}))
    place = tmp_path / "stack"
    more = ("--template", str(template))
    code, output_text = ended(launch(place, loads=True, variables={"DATABASE": "ministack"}, more=more), place)
    assert code == 1
    assert "A function cannot be loaded: Broken" in output_text
    assert "no_such_module" in output_text


def test_a_template_that_is_not_yaml_is_reported_in_one_line(launch: Launch, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("a: [")
    place = tmp_path / "stack"
    code, output_text = ended(
        launch(place, variables={"DATABASE": "ministack"}, more=("--template", str(template))), place
    )
    assert code == 1
    assert f"{template}: while parsing" in output_text.splitlines()[-1]


def test_a_changed_template_is_reported_with_the_command_that_applies_it(launch: Launch, tmp_path: Path) -> None:
    for name in ("functions", "layers"):
        (tmp_path / name).symlink_to(ROOT / name)
    template = tmp_path / "template.yaml"
    shutil.copy(ROOT / "template.yaml", template)
    process = launch(tmp_path / "stack", variables={"DATABASE": "ministack"}, more=("--template", str(template)))
    testing.wait_until_up(process, tmp_path / "stack")
    output = tmp_path / "stack" / "output.txt"
    line = "template.yaml has changed: press Ctrl-C and run make run again to apply it."
    for number in (1, 2):
        template.touch()  # without another content it is not a change
        with template.open("a") as file:
            file.write(f"# change {number}\n")
        eventually(lambda number=number: output.read_text().count(line) == number)  # type: ignore[misc]
