"""A payload of 100 MB is fetched, read and stored with little memory."""

import json
import os
import socket
import subprocess
import sys
import threading

from local.aws_services import CREDENTIALS
from local.testing import Stack
from tests.support import cloudformation
from tests.support.payload_server import payload_server
from tools.environment import ROOT

LARGE = 100_000_000
_PROGRAM = """
import json, re, resource, sys
from datetime import timedelta
from pathlib import Path
import boto3
from terra_connections.data.delivery import DataDelivery
from terra_connections.data.download import downloaded
from terra_connections.data.payload_urls import PayloadUrl
from terra_connections.data.safe_get import safe_get
from terra_connections.data.store import PayloadStore

def peak():
    # Linux: the peak in getrusage begins with that of the parent.
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s+([0-9]+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes

port, endpoint, bucket = int(sys.argv[1]), sys.argv[2], sys.argv[3]
store = PayloadStore(boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1"), bucket)
peaks = []
for size in map(int, sys.argv[4:]):
    # The machine that runs the tests may be slow: the time limit has tests of its own.
    parts = safe_get(PayloadUrl("127.0.0.1", port, True, f"/payloads/{size}"), within=timedelta(hours=1))
    with downloaded(parts) as download:
        facts = download.payload
        store.put_file(DataDelivery.of(facts, signed="0" * 64, signed_at=1, position=1, pseudonym=None, trace_id=None,
                                       terra_reference=None), download.file)
    peaks.append(peak())
print(json.dumps({"peaks": peaks, "bytes": facts.bytes, "type": facts.type, "records": facts.records}))
"""


def serve(connection: socket.socket, requests: list[bytes]) -> None:
    """Send a payload of the size in the path: records of samples that gzip only halves."""
    size = int(requests[-1].split(b" ")[1].rpartition(b"/")[2])
    samples = [{"timestamp": os.urandom(16).hex(), "bpm": 60} for _ in range(2000)]
    record = json.dumps({"metadata": {"start_time": "2026-11-26"}, "hr_data": {"samples": samples}}).encode() + b","
    beginning, end = b'{"type": "daily", "user": {"user_id": "large-payload"}, "data": [', b'{}], "padding": "'
    count = (size - 10_000) // len(record)
    rest = size - len(beginning) - count * len(record) - len(end) - 2
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
    for part in (beginning, *[record] * count, end, b"x" * rest, b'"}'):
        connection.sendall(part)


def test_the_memory_of_a_fetch_does_not_depend_on_the_size_of_the_payload(stack: Stack) -> None:
    assert stack.payloads is not None

    def behave(connection: socket.socket, _is_stopped: threading.Event) -> None:
        serve(connection, server.requests)

    with payload_server(behave, is_tls=False) as server:
        command = [sys.executable, "-c", _PROGRAM, str(server.port), stack.aws_url, stack.payloads["bucket"]]
        run = subprocess.run(
            [*command, "1000000", str(LARGE)],
            cwd=ROOT,
            env={**CREDENTIALS, "PYTHONPATH": str(ROOT / "layers/terra_connections"), "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["bytes"], found["type"]) == (LARGE, "daily")
    assert found["records"] > 100
    small, large = found["peaks"]
    memory = cloudformation.parsed()["Globals"]["Function"]["MemorySize"] * 1024 * 1024
    assert large < memory / 2
    # One part of an upload (8 MB), and its buffers.
    assert large - small < 50_000_000
