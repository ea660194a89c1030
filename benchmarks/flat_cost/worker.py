"""Runs the functions on one set of tables, warm and in one process, and reports each call's consumption.

Run by path under the functions' interpreter, which has none of this project's packages. Argument: the project's folder.
Each input line is JSON (`function`, `event`), and so is each output line: `result`, `ms`, `cpu_ms`, `trips` (one for
each DynamoDB call: `call`, `units` by table and index, `missing` keys of a BatchGetItem, `written` kilobytes of a
transaction), `log_bytes`, `terra_calls`, `series` (the CloudWatch metrics written, by name and dimensions).
"""

import importlib.util
import io
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import botocore.session

Trip = dict[str, Any]
Handler = Callable[[Mapping[str, Any], object], Any]


class Consumption:
    """Requests and records the consumption of each DynamoDB call."""

    def __init__(self) -> None:
        self.trips: list[Trip] = []
        self._keys = self._written = 0

    def ask(self, params: dict[str, Any], **_more: object) -> None:
        """Handle botocore's `before-parameter-build`. Every call of the functions accepts this parameter."""
        params["ReturnConsumedCapacity"] = "INDEXES"
        self._keys = sum(len(of["Keys"]) for of in params.get("RequestItems", {}).values())
        self._written = sum(kilobytes(write) for write in params.get("TransactItems", []))

    def told(self, parsed: Mapping[str, Any], event_name: str, **_more: object) -> None:
        """Handle botocore's `after-call`."""
        consumed = parsed.get("ConsumedCapacity", [])
        units: dict[str, float] = {}
        for table in consumed if isinstance(consumed, list) else [consumed]:
            # Table names end with their number of connections; everything else must be equal.
            name = table["TableName"].rstrip("0123456789")
            units[name] = table["Table"]["CapacityUnits"]
            for index, of in table.get("GlobalSecondaryIndexes", {}).items():
                units[f"{name}/{index}"] = of["CapacityUnits"]
        found = sum(map(len, parsed.get("Responses", {}).values()))
        missing = max(self._keys - found, 0)
        call = event_name.rpartition(".")[2]
        self.trips.append({"call": call, "units": units, "missing": missing, "written": self._written})


def kilobytes(write: Mapping[str, Mapping[str, Any]]) -> int:
    """The charged size of a transaction's write: the started kilobytes of its item, and the same again for the index.

    JSON is longer than the stored form. An update's item is unknown: none of this project's exceeds a kilobyte, and
    some are in an index.
    """
    (kind, of), *_ = write.items()
    item = of.get("Item", {})
    is_indexed = kind == "Update" or "reference_id" in item
    return math.ceil(len(json.dumps(item)) / 1024) * (2 if is_indexed else 1)


def load(project: Path, function: str) -> Handler:
    """A handler, under a module name of its own; handlers share the process, and so the clients that wiring creates."""
    path = project / "functions" / function / "handler.py"
    spec = importlib.util.spec_from_file_location(f"function_{function}", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = module.lambda_handler
    return handler


def series_of(log: str) -> tuple[list[str], int]:
    """The metrics that a log in CloudWatch's embedded format creates, and the number of calls to Terra."""
    series, terra_calls = set(), 0
    for line in log.splitlines():
        written = json.loads(line) if line.startswith("{") else {}
        for of in written.get("_aws", {}).get("CloudWatchMetrics", []):
            for name in (metric["Name"] for metric in of["Metrics"]):
                for dimensions in of["Dimensions"]:
                    series.add(" ".join([name, *(f"{each}={written[each]}" for each in sorted(dimensions))]))
                terra_calls += name == "TerraCalls"
    return sorted(series), terra_calls


def call(handler: Handler, event: Mapping[str, Any], consumption: Consumption, printed: io.StringIO) -> dict[str, Any]:
    """One call, and its consumption."""
    consumption.trips = []
    printed.seek(0)
    printed.truncate()
    cpu, began = time.process_time(), time.perf_counter()
    result = handler(event, None)
    took = {"ms": (time.perf_counter() - began) * 1000, "cpu_ms": (time.process_time() - cpu) * 1000}
    log = printed.getvalue()
    series, terra_calls = series_of(log)
    told = {"trips": consumption.trips, "log_bytes": len(log.encode()), "terra_calls": terra_calls, "series": series}
    return {"result": result, **took, **told}


def main() -> None:
    """Handle calls until the standard input closes."""
    project = Path(sys.argv[1])
    sys.path.insert(0, str(project / "layers" / "terra_connections"))
    answers = sys.stdout
    # Functions print their log. A logger keeps the stream that exists when it is loaded.
    printed = sys.stdout = io.StringIO()
    consumption, handlers = Consumption(), dict[str, Handler]()
    session = botocore.session.get_session()
    events = session.get_component("event_emitter")
    events.register("before-parameter-build.dynamodb", consumption.ask)
    events.register("after-call.dynamodb", consumption.told)
    botocore.session.get_session = lambda env_vars=None: session  # noqa: ARG005 - botocore's signature
    for line in sys.stdin:
        job = json.loads(line)
        function = job["function"]
        if function not in handlers:
            handlers[function] = load(project, function)
        answers.write(json.dumps(call(handlers[function], job["event"], consumption, printed)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
