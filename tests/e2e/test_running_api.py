"""The running API conforms to openapi.yaml, as tested by schemathesis."""

import shutil
import subprocess
import sys
from pathlib import Path

from local.testing import Stack, running_stack
from tools.environment import ROOT

NOT_CHECKED = {
    # API Gateway responds to a wrong method with 404, not with 405.
    "unsupported_method",
    # 503 is part of the contract (Terra is down), and occurs in a test when the simulator is under load.
    "not_a_server_error",
    # A request that the schema accepts can still be rejected: Terra does not offer most resources with a valid form.
    "positive_data_acceptance",
    # A disconnected connection is not deleted: its status is `revoked`, which its facts explain.
    "use_after_free",
}


def drive(stack: Stack, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("run", str(ROOT / "openapi.yaml")),
            *("--url", stack.api_url, "--header", f"Authorization: Bearer {stack.service_key}"),
            *("--exclude-checks", ",".join(sorted(NOT_CHECKED)), "--continue-on-failure"),
            # One worker: with more, CPython 3.11 miscounts its parser's depth across threads.
            *("--generation-deterministic", "--max-examples", "40", "--workers", "1", "--no-color", *options),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=stack.directory,
    )


def test_the_running_api_conforms_to_its_contract(stack: Stack) -> None:
    run = drive(stack)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]


def test_a_handler_that_breaks_the_contract_is_detected(tmp_path: Path) -> None:
    for name in ("functions", "layers"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "template.yaml", tmp_path)
    handler = tmp_path / "functions/list_connections/handler.py"
    right = '{"connections": '
    assert right in handler.read_text()
    handler.write_text(handler.read_text().replace(right, '{"connection": '))

    with running_stack(more=("--template", str(tmp_path / "template.yaml"))) as broken:
        run = drive(broken, "--include-path", "/connections")

    assert run.returncode == 1, run.stdout[-8000:] + run.stderr[-2000:]
    assert "'connections' is a required property" in run.stdout or '"connections" is a required property' in run.stdout
