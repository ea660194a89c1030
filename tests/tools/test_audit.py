"""`make audit` fails on a known vulnerability, and never treats an unreachable source as a clean result."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tools import audit, setup
from tools.environment import ROOT, everything

VULNERABLE = "2.4.1"


class Osv(BaseHTTPRequestHandler):
    """Knows one vulnerability, in one version of one package, and fails for the package "unknown"."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = query["package"]["name"]
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.11.3"}]}]
        affected = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}
        vulnerability = {"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "a vulnerability", "affected": [affected]}
        body = json.dumps(
            {"vulns": [vulnerability]} if (name, query["version"]) == ("jinja2", VULNERABLE) else {}
        ).encode()
        self.send_response(500 if name == "unknown" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_more: object) -> None:
        """Print nothing."""


@contextmanager
def osv() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def audited(tmp_path: Path, url: str, *pins: str) -> tuple[int, str]:
    """Audit a lock with these pins. Return the exit status and the output."""
    lock = tmp_path / "lock.txt"
    lock.write_text("".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in pins))
    command = [sys.executable, "-m", "tools.setup", "audit", "--lock", str(lock), "--osv-url", url]
    done = subprocess.run(command, cwd=ROOT, env=everything(), capture_output=True, text=True, check=False, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_a_known_vulnerability_fails_with_its_lock_and_the_fixed_version(tmp_path: Path) -> None:
    with osv() as url:
        status, printed = audited(tmp_path, url, "idna==3.20", f"jinja2=={VULNERABLE}")
    assert status == 1
    assert f"jinja2 {VULNERABLE} ({tmp_path / 'lock.txt'}): PYSEC-1, CVE-1; fixed in 2.11.3" in printed
    assert "1 of 2 packages have known vulnerabilities." in printed


def test_packages_without_vulnerabilities_pass_in_every_pinned_version(tmp_path: Path) -> None:
    with osv() as url:
        pins = ["idna==3.20", "jinja2==3.1.6 ; python_full_version >= '3.13'", "Jinja2==3.1.5 ; python_version < '3'"]
        status, printed = audited(tmp_path, url, *pins)
    assert status == 0, printed
    assert "3 packages of 1 locks were looked up (osv): no known vulnerability." in printed


def test_an_unreachable_source_is_reported_as_not_audited(tmp_path: Path) -> None:
    status, printed = audited(tmp_path, "http://127.0.0.1:9/v1/query", "idna==3.20")
    assert status == audit.NOT_AUDITED
    assert len(printed.splitlines()) == 1
    assert printed.startswith("NOT AUDITED: no source of known vulnerabilities can be reached from here (osv: ")
    assert "no known vulnerability" not in printed


def test_a_package_that_cannot_be_looked_up_is_reported_as_not_audited(tmp_path: Path) -> None:
    with osv() as url:
        status, printed = audited(tmp_path, url, "idna==3.20", "unknown==1.0")
    assert status == audit.NOT_AUDITED
    assert "NOT AUDITED: unknown 1.0: " in printed
    assert "no known vulnerability" not in printed


def test_the_locks_of_the_layers_and_of_the_tools_are_audited() -> None:
    locks = {path.relative_to(ROOT).as_posix() for path in audit.every_lock()}
    folders = [folder / "requirements.txt" for folder in [*setup.DEPENDENCIES, *setup.BENCHMARKS]]
    assert locks == {path.relative_to(ROOT).as_posix() for path in folders} | {
        f"requirements/{name}.txt" for name in setup.LOCKS
    }
    assert {"layers/dependencies/requirements.txt", "requirements/audit.txt"} <= locks


def test_every_package_of_a_lock_is_found() -> None:
    lock = ROOT / "requirements" / "tests.txt"
    names = {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)[^ ]*==", lock.read_text(), re.MULTILINE)}
    assert {package.name for package in audit.packages_of([lock])} == names
