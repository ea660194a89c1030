"""What is tried, row by row: which folders a new process of Lambda's Python sees, and what it loads and calls."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.execution import WrongAnswerError
from tests.integration.webhooks import as_bytes
from tests.support import auth_event
from tools import build
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SETTINGS: Final = ROOT / "layers" / "terra_connections" / "terra_connections" / "settings.py"
ALTERNATIVES: Final = ROOT / "benchmarks" / "alternatives"
BODY: Final = as_bytes(auth_event("40f7b0e1-89e2-43ac-a5b8-1e29c8d47cad", "person-0a1b2c3d"))
"""A webhook of a new connection, as Terra sends it."""

READINGS: Final = 5_000
CALLS: Final = 400
CONNECTIONS: Final = 10

_BOTO3: Final = 'import boto3; boto3.client("dynamodb")'
_BOTOCORE: Final = (
    'import botocore.session; session = botocore.session.get_session(); session.create_client("dynamodb")'
)
# terra_connections asks for fewer looks for cycles as it is loaded. This process does not hear it.
USUAL_COLLECTOR: Final = "import gc; gc.set_threshold = lambda *_: None"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is tried.

    Attributes:
        name: as it is shown.
        folders: what comes first on the module path.
        load: Python that loads it, and that may leave functions without arguments in `calls`.
        basis: the name of the row that it is compared with; its own where there is none. The first row's is the
            measure of the table.
        times: how often each of the calls is made.
        upon: Python that loads what the basis does; then what `load` adds to it is measured in one process.
    """

    name: str
    folders: Sequence[Path]
    load: str
    basis: str
    times: int = 0
    upon: str = ""


class Places(NamedTuple):
    """Where things lie: what `make build` built, what the benchmark installed, and copies for this run only."""

    built: Path
    published: Path
    instead: Path
    scratch: Path

    @property
    def ours(self) -> Path:
        """The layer of our own code."""
        return self.built / "TerraConnectionsLayer" / "python"

    @property
    def packages(self) -> Path:
        """The layer of what it needs."""
        return self.built / "DependenciesLayer" / "python"

    @property
    def webhook(self) -> list[Path]:
        """All that terra_webhook runs on."""
        return [self.built / "TerraWebhook", self.ours, self.packages]

    @property
    def alternatives(self) -> Path:
        """What was tried instead, compiled as our own code is."""
        return self.scratch / "alternatives"

    @property
    def plain(self) -> list[Path]:
        """All that terra_webhook runs on, without byte-code."""
        return [self.scratch / "plain" / str(number) for number, _ in enumerate(self.webhook)]

    def prepare(self) -> None:
        """Make the copies."""
        build.make_own(ALTERNATIVES, self.alternatives / "benchmarks" / "alternatives", build.LAYER)
        for folder, copy in zip(self.webhook, self.plain, strict=True):
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def check(self) -> None:
        """Be sure that nothing was compiled where there shall be no byte-code.

        Raises:
            WrongAnswerError: Something was.
        """
        if any(path.suffix == ".pyc" for folder in self.plain for path in build.files(folder)):
            message = "Byte-code was written where none may be: what ran without it was measured wrongly."
            raise WrongAnswerError(message)


def environment(dynamodb_url: str) -> dict[str, str]:
    """What every row is started with: made-up settings, and a database that answers at once."""
    settings = re.findall(r"^    (\w+): str$", _SETTINGS.read_text(), re.MULTILINE)
    return {
        **{name.upper(): "1" for name in settings},
        "PUBLIC_BASE_URL": "",
        "TERRA_API_URL": "https://terra.example.com/api/v2",
        "TERRA_WIDGET_URL": "https://terra.example.com/api/widget/session",
        "PSEUDONYM_KEY": "1" * 64,
        "LANG": "en_US.UTF-8",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
    }


def loading(places: Places) -> list[Row]:
    """What a cold start loads."""
    published, layer, botocore = "boto3 and a client, as published", "boto3 and a client", "botocore and a client"
    # httpx is in no layer: what it is made of is.
    webhook, everything = "terra_webhook", [places.packages, places.instead]
    beside = {
        "a second client (Secrets Manager)": 'session.create_client("secretsmanager")',
        "Powertools' Logger and metrics": (
            "from aws_lambda_powertools.logging import Logger; from aws_lambda_powertools.metrics import single_metric"
        ),
        "pydantic, with a model": "from pydantic import BaseModel\nclass Body(BaseModel):\n    name: str",
        "httpcore": "import httpcore; httpcore.ConnectionPool",
        "httpcore with a pool": (
            "import certifi, httpcore, ssl\n"
            "httpcore.ConnectionPool(ssl_context=ssl.create_default_context(cafile=certifi.where()))"
        ),
        "httpx with a client": "import httpx; httpx.Client()",
    }
    return [
        Row(published, [places.published], _BOTO3, published),
        Row("Python alone", [], "", "Python alone"),
        Row(f"{layer}, from our layer", [places.packages], _BOTO3, published),
        Row(botocore, [places.packages], _BOTOCORE, botocore),
        *(Row(f"... and {name}", everything, load, botocore, upon=_BOTOCORE) for name, load in beside.items()),
        Row(webhook, places.webhook, "import handler", webhook),
        Row("... looking for cycles as usual", places.webhook, f"{USUAL_COLLECTOR}; import handler", webhook),
        Row(
            "... looking for none while loading, then frozen",
            places.webhook,
            "import gc; gc.disable(); import handler; gc.freeze(); gc.enable()",
            webhook,
        ),
        Row("... without byte-code", places.plain, "import handler", webhook),
        Row("... with boto3 besides", places.webhook, "import boto3", webhook, upon="import handler"),
    ]


def reading(places: Places) -> list[Row]:
    """What reads a webhook."""
    plain, ours = "plain code (event.py)", [places.alternatives, places.ours]

    def row(name: str, folders: Sequence[Path], load: str, call: str, upon: str = "") -> Row:
        load = f"{load}\nbody = {BODY!r}\ncalls = {{'event': lambda: {call}}}"
        return Row(name, folders, load, plain, READINGS, upon=upon)

    code, parse = "from terra_connections.webhooks.payload import parse", "parse(body, 1700000000000)"
    by = "from benchmarks.alternatives.by_{} import parse"
    return [
        row("json.loads alone", [], "import json", "json.loads(body)"),
        row(plain, ours, code, parse),
        row("msgspec", [*ours, places.instead], by.format("msgspec"), parse, code),
        row("pydantic", [*ours, places.packages], by.format("pydantic"), parse, code),
    ]


def calling(places: Places) -> list[Row]:
    """What calls DynamoDB."""
    usual = "as botocore does it"
    folders = [places.alternatives, places.ours, places.packages]
    made = "from benchmarks.alternatives.clients import calls, client"

    def row(name: str, client: str, before: str = "") -> Row:
        load = f"{before}\n{made}\nfrom terra_connections import wiring\ncalls = calls({client}, {BODY!r})"
        return Row(name, folders, load, usual, CALLS)

    return [
        row(usual, "client()"),
        row("with `user_agent` given", "client(is_told_its_name=True)"),
        row("without parameter validation", "client(parameter_validation=False)"),
        row("both, as wiring.py does it", "wiring.dynamodb()"),
        row("both, looking for cycles as usual", "wiring.dynamodb()", USUAL_COLLECTOR),
    ]


def trusting(places: Places) -> list[Row]:
    """Whom a new TLS connection trusts."""
    files = {
        "botocore's own": places.packages / "botocore" / "cacert.pem",
        "certifi's, which botocore and the client of Terra take": places.packages / "certifi" / "cacert.pem",
        "ours, by AWS_CA_BUNDLE": places.packages.parent / "aws-roots.pem",
    }
    named = {f"{name}: {roots(file)} roots": str(file) for name, file in files.items()}
    load = (
        "import ssl\ncalls = {{'roots': lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations({!r})}}"
    )
    return [Row(name, [], load.format(file), next(iter(named)), CONNECTIONS) for name, file in named.items()]


def roots(file: Path) -> int:
    """How many certificates a file holds."""
    return file.read_text().count("-----BEGIN CERTIFICATE-----")


def tables(places: Places) -> Mapping[str, Sequence[Row]]:
    """Every row, by its table."""
    return {
        "loading": loading(places),
        "reading": reading(places),
        "calling": calling(places),
        "trusting": trusting(places),
    }
