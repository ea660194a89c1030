"""The artefacts of `sam build` are the ones deployed: complete, small, compiled and reproducible."""

import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any

import pytest
import trustme
from samtranslator.yaml_helper import yaml_parse

from tests.support.environment import function_environment
from tools import build, setup
from tools.environment import ROOT

TEMPLATE: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
FUNCTIONS = [name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::Serverless::Function"]
LAYERS = [name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::Serverless::LayerVersion"]
PACKAGES = [name for name in LAYERS if name != "TerraConnectionsLayer"]

# In bytes, unpacked and zipped. Lambda downloads and unpacks them in every cold start.
LARGEST = {
    "AuthorizerDependenciesLayer": (33_500_000, 12_500_000),
    "DependenciesLayer": (33_500_000, 12_500_000),
    "TerraConnectionsLayer": (1_350_000, 640_000),
}
LARGEST_FUNCTION = (10_000, 6_000)

UNCHECKED_HASH = (0b01).to_bytes(4, "little")  # the flags of PEP 552: hash-based, not checked against the source


def run_like_lambda(python: Path, built: Path, function: str, program: str, **variables: str) -> str:
    """Run a program with nothing but the artefacts of a function, and return its output."""
    own = RESOURCES[function]["Properties"].get("Layers", [])
    layers = [str(built / layer["Ref"] / "python") for layer in (*TEMPLATE["Globals"]["Function"]["Layers"], *own)]
    path = f"import sys; sys.path[:0] = {[str(built / function), *layers]!r}; sys.dont_write_bytecode = True\n"
    environment = function_environment(AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none")
    environment |= variables
    run = subprocess.run(
        [python, "-I", "-S", "-c", path + program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_layer_is_built_by_its_makefile(built: Path) -> None:
    assert {folder.name for folder in built.iterdir() if folder.is_dir()} == {*FUNCTIONS, *LAYERS}
    for name in LAYERS:
        assert RESOURCES[name]["Metadata"]["BuildMethod"] == "makefile", f"{name} would contain no byte-code"


def test_the_artefact_of_a_function_is_its_handler(built: Path) -> None:
    for name in FUNCTIONS:
        (handler,) = build.files(built / name)
        assert handler.read_bytes() == (ROOT / RESOURCES[name]["Properties"]["CodeUri"] / "handler.py").read_bytes()


def test_the_same_sources_make_the_same_artefacts(built: Path, built_elsewhere: Path) -> None:
    first, second = build.contents(built), build.contents(built_elsewhere)
    assert first == second
    assert build.digest_of(first) == build.digest_of(second)


def test_files_of_layers_have_the_same_modes_and_times_in_every_build(built: Path, built_elsewhere: Path) -> None:
    def modes_and_times(folder: Path) -> dict[str, tuple[int, float]]:
        stats = {path.relative_to(folder).as_posix(): path.stat() for path in build.files(folder)}
        return {name: (stat.st_mode, stat.st_mtime) for name, stat in stats.items()}

    for name in LAYERS:
        assert modes_and_times(built / name) == modes_and_times(built_elsewhere / name)


def test_every_artefact_is_within_its_size_limit(built: Path) -> None:
    for name, content in build.contents(built).items():
        size, zipped = LARGEST.get(name, LARGEST_FUNCTION)
        assert content.size <= size, name
        assert content.zipped <= zipped, name


@pytest.mark.parametrize("layer", PACKAGES)
def test_a_layer_contains_exactly_the_locked_packages(built: Path, layer: str) -> None:
    text = (ROOT / RESOURCES[layer]["Properties"]["ContentUri"] / "requirements.txt").read_text()
    locked = re.findall(r"^([a-z0-9_.-]+)==([^ \\]+)", text, re.MULTILINE)
    installed = (folder.name.removesuffix(".dist-info") for folder in (built / layer / "python").glob("*.dist-info"))
    assert sorted(name.replace("_", "-").lower().rsplit("-", 1) for name in installed) == sorted(map(list, locked))


@pytest.mark.parametrize("layer", PACKAGES)
def test_every_package_has_its_licence(built: Path, layer: str) -> None:
    for metadata in (built / layer / "python").glob("*.dist-info/METADATA"):
        named = re.search(r"^License(-Expression)?: \S|^Classifier: License ::", metadata.read_text(), re.MULTILINE)
        text = [path for path in metadata.parent.rglob("*") if re.match(r"licen[cs]e|notice", path.name, re.IGNORECASE)]
        assert named or text, metadata.parent.name


@pytest.mark.parametrize("layer", PACKAGES)
def test_a_layer_contains_the_extension_modules_of_both_architectures(built: Path, layer: str) -> None:
    modules = {path.name for path in (built / layer).rglob("*.so")}
    assert modules
    arm, intel = ({name for name in modules if architecture in name} for architecture in ("aarch64", "x86_64"))
    assert arm | intel == modules
    assert {name.replace("aarch64", "x86_64") for name in arm} == intel


@pytest.mark.usefixtures("lambda_python")
def test_every_module_of_a_layer_has_unchecked_byte_code(built: Path) -> None:
    for name in LAYERS:
        modules = [*(built / name).rglob("*.py")]
        assert modules
        for module in modules:
            compiled = (module.parent / "__pycache__" / f"{module.stem}.cpython-313.pyc").read_bytes()
            assert compiled[4:8] == UNCHECKED_HASH, module


def test_no_artefact_contains_the_path_of_its_build(built: Path) -> None:
    for path in build.files(built):
        if path != built / "template.yaml":
            text = path.read_bytes()
            assert str(built).encode() not in text, path
            assert str(ROOT).encode() + b"/" not in text, path


@pytest.mark.usefixtures("lambda_python")
def test_byte_code_contains_its_path_in_lambda(built: Path) -> None:
    module = built / "TerraConnectionsLayer/python/terra_connections/__pycache__/handler.cpython-313.pyc"
    assert b"/opt/python/terra_connections/handler.py" in module.read_bytes()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_is_imported_from_its_artefacts_alone(built: Path, lambda_python: Path, function: str) -> None:
    program = "import handler; print(callable(handler.lambda_handler))"
    assert run_like_lambda(lambda_python, built, function, program) == "True\n"


def test_the_byte_code_runs_and_the_source_is_not_read(built: Path, lambda_python: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for name in LAYERS:
        shutil.copytree(built / name, broken / name)
    for module in broken.rglob("*.py"):
        module.write_text("raise SystemExit('the source was read')\n")
    shutil.copytree(built / "TerraWebhook", broken / "TerraWebhook")  # has no byte-code
    program = "import handler; print(callable(handler.lambda_handler))"
    assert run_like_lambda(lambda_python, broken, "TerraWebhook", program) == "True\n"


def test_every_object_of_wiring_can_be_created_from_the_artefacts(built: Path, lambda_python: Path) -> None:
    program = """
from terra_connections import wiring
created = [create() for create in vars(wiring).values() if hasattr(create, "cache_clear")]
print(sorted(thing.meta.service_model.service_name for thing in created if hasattr(thing, "meta")))
"""
    output = run_like_lambda(lambda_python, built, "Authorize", program)
    assert {"dynamodb", "secretsmanager", "sqs"} <= set(json.loads(output.replace("'", '"')))


# The requests that a client sends, and how it parses some responses, in regions of three partitions.
BOTO3_PROGRAM = """
import json, boto3
from botocore.awsrequest import AWSResponse

PUT = {"TableName": "t", "Item": {"k": {"S": "v"}}, "ConditionExpression": "a = b"}
CALLS = {
    "dynamodb": [
        ("put_item", PUT),
        ("transact_write_items", {"TransactItems": [{"Put": PUT}], "ClientRequestToken": "always the same"}),
        ("batch_get_item", {"RequestItems": {"t": {"Keys": [{"k": {"S": "v"}}]}}}),
    ],
    "secretsmanager": [("get_secret_value", {"SecretId": "arn"})],
    "sqs": [("send_message", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q", "MessageBody": "{}"})],
    "events": [("put_events", {"Entries": [{"Source": "s", "DetailType": "d", "Detail": "{}"}]})],
    "s3": [("put_object", {"Bucket": "b", "Key": "k", "Body": b"v", "IfNoneMatch": "*", "Metadata": {"n": "v"}})],
}

class Raw:
    def __init__(self, content): self.content = content
    def stream(self): yield self.content

recorded = []
for service in services:
    for region in ("eu-west-1", "us-gov-west-1", "cn-north-1"):
        client = boto3.client(service, region_name=region)
        model = client.meta.service_model
        shapes = {name: [model.shape_for(name).type_name, sorted(getattr(model.shape_for(name), "members", {}))]
                  for name in model.shape_names}
        operations = {name: [model.operation_model(name).http, model.operation_model(name).metadata.get("protocol")]
                      for name in model.operation_names}
        pages = [client.can_paginate(name) for name in sorted(client.meta.method_to_api_mapping)]
        def respond(request, **kwargs):
            body = request.body.read() if hasattr(request.body, "read") else request.body  # S3: with a checksum
            recorded.append([request.method, request.url, str(body), request.headers.get("X-Amz-Target")])
            text = b'{"__type": "com.amazonaws#ConditionalCheckFailedException", "message": "m"}'
            if service == "s3":
                text = b"<Error><Code>ConditionalRequestConflict</Code><Message>m</Message></Error>"
            return AWSResponse(request.url, 400, {"x-amzn-query-error": "A;Sender"}, Raw(text))
        client.meta.events.register("before-send", respond)
        for call, arguments in CALLS[service]:
            try:
                getattr(client, call)(**arguments)
            except client.exceptions.ClientError as error:
                recorded.append([type(error).__name__, str(error)])
        recorded.append([client.meta.endpoint_url, shapes, operations, pages])
print(json.dumps(recorded, sort_keys=True, default=str))
"""


def test_the_reduced_botocore_behaves_like_the_complete_one(built: Path, lambda_python: Path) -> None:
    makefile = (ROOT / "layers/dependencies/Makefile").read_text()
    services = re.findall(r"^services := (.+)$", makefile, re.MULTILINE)[0].split()
    program = f"services = {services!r}\n{BOTO3_PROGRAM}"
    reduced = run_like_lambda(lambda_python, built, "TerraWebhook", program)
    _, _, packages = setup.functions_python()
    complete = f"sys.path = [p for p in sys.path if 'Layer' not in p] + [{str(packages)!r}]\n{program}"
    assert reduced == run_like_lambda(lambda_python, built, "TerraWebhook", complete)
    # In each region: a request and an error for each call (three of DynamoDB, one of each other), and a model of each.
    assert len(json.loads(reduced)) == 3 * (7 + 3 + 3 + 3 + 3)


ROOTS_OF_AWS = [
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Starfield Services Root Certificate Authority - G2",
]
CALL_BY_SERVICE = {
    "dynamodb": "list_tables",
    "events": "list_event_buses",
    "s3": "list_buckets",
    "secretsmanager": "list_secrets",
    "sqs": "list_queues",
}


def test_the_ca_file_contains_amazon_s_roots_as_in_certifi(built: Path) -> None:
    layer = built / "DependenciesLayer"
    roots = ssl.create_default_context(cafile=str(layer / "aws-roots.pem"))
    names = re.findall(r"'commonName', '([^']+)'", str([root["subject"] for root in roots.get_ca_certs()]))
    assert sorted(names) == ROOTS_OF_AWS
    certifi = ssl.create_default_context(cafile=str(layer / "python" / "certifi" / "cacert.pem"))
    assert set(roots.get_ca_certs(binary_form=True)) < set(certifi.get_ca_certs(binary_form=True))


def test_the_ca_files_of_packages_are_unchanged(built: Path) -> None:
    _, _, packages = setup.functions_python()
    for name in ("botocore/cacert.pem", "certifi/cacert.pem"):
        assert (built / "DependenciesLayer" / "python" / name).read_bytes() == (packages / name).read_bytes()


# The CA file that each client reads for its first connection, its number of certificates, and the outcome.
HANDSHAKE_PROGRAM = """
import json, ssl
read = []
load = ssl.SSLContext.load_verify_locations

def load_and_record(context, cafile=None, *more, **others):
    load(context, cafile, *more, **others)
    read.append([str(cafile), len(context.get_ca_certs())])

ssl.SSLContext.load_verify_locations = load_and_record
from botocore.exceptions import ClientError, SSLError
from terra_connections import wiring

found = {}
for service, call in calls.items():
    read.clear()
    try:
        getattr(wiring._client(service), call)()
        outcome = "verified"
    except ClientError:
        outcome = "verified"
    except SSLError as error:
        outcome = "rejected" if "CERTIFICATE_VERIFY_FAILED" in str(error) else str(error)
    found[service] = [*read[0], outcome]
read.clear()
from terra_connections.terra import transport
transport.client()
print(json.dumps([found, read]))
"""


class ErrorHandler(BaseHTTPRequestHandler):
    """Responds to every AWS call with an error."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(400)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_more: object) -> None:
        """Print nothing."""


@pytest.fixture
def endpoint_by_tls() -> Iterator[tuple[str, bytes]]:
    """An AWS endpoint behind TLS, and the root certificate that verifies it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), ErrorHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", authority.cert_pem.bytes()
        server.shutdown()
        thread.join()


def handshakes(built: Path, python: Path, **variables: str) -> tuple[dict[str, Any], list[list[Any]]]:
    """Return each AWS client's CA file, its number of certificates and the outcome, and the Terra client's CA files."""
    program = f"calls = {CALL_BY_SERVICE!r}\n{HANDSHAKE_PROGRAM}"
    of_aws, of_terra = json.loads(run_like_lambda(python, built, "SweepPage", program, **variables))
    return of_aws, of_terra


def test_every_aws_client_verifies_with_the_ca_file_of_the_template(
    built: Path, lambda_python: Path, endpoint_by_tls: tuple[str, bytes], tmp_path: Path
) -> None:
    endpoint, authority = endpoint_by_tls
    named = TEMPLATE["Parameters"]["AwsCaBundle"]["Default"]
    variable = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["AWS_CA_BUNDLE"]
    assert variable["Fn::If"][1] == {"Ref": "AwsCaBundle"}
    # Lambda mounts the layer at /opt.
    shipped = built / "DependenciesLayer" / PurePosixPath(named).relative_to("/opt")

    of_aws, of_terra = handshakes(built, lambda_python, AWS_ENDPOINT_URL=endpoint, AWS_CA_BUNDLE=str(shipped))
    assert of_aws == {service: [str(shipped), len(ROOTS_OF_AWS), "rejected"] for service in CALL_BY_SERVICE}
    # Terra and OIDC issuers are verified by the full set of public roots.
    certifi = str(built / "DependenciesLayer" / "python" / "certifi" / "cacert.pem")
    assert [file for file, _ in of_terra] == [certifi]

    extended = tmp_path / "roots.pem"
    extended.write_bytes(shipped.read_bytes() + authority)
    of_aws, _ = handshakes(built, lambda_python, AWS_ENDPOINT_URL=endpoint, AWS_CA_BUNDLE=str(extended))
    assert of_aws == {service: [str(extended), len(ROOTS_OF_AWS) + 1, "verified"] for service in CALL_BY_SERVICE}


def test_with_the_parameter_left_empty_aws_clients_verify_with_certifi_s_file(
    built: Path, lambda_python: Path, endpoint_by_tls: tuple[str, bytes]
) -> None:
    of_aws, _ = handshakes(built, lambda_python, AWS_ENDPOINT_URL=endpoint_by_tls[0])
    certifi = str(built / "DependenciesLayer" / "python" / "certifi" / "cacert.pem")
    assert {service: (file, outcome) for service, (file, _, outcome) in of_aws.items()} == dict.fromkeys(
        CALL_BY_SERVICE, (certifi, "rejected")
    )


COLLECTIONS_WHILE_LOADING = """
import gc, json
before = sum(generation["collections"] for generation in gc.get_stats())
import handler
print(json.dumps(sum(generation["collections"] for generation in gc.get_stats()) - before))
"""


def test_the_garbage_collector_hardly_runs_while_a_function_is_loaded(built: Path, lambda_python: Path) -> None:
    assert int(run_like_lambda(lambda_python, built, "TerraWebhook", COLLECTIONS_WHILE_LOADING)) <= 1
