"""Runs the functions, warm and in one process, and reports the duration and the DynamoDB calls of each invocation.

Run by path under the functions' interpreter, which has none of this project's packages. Argument: the project's folder.
Each input line is JSON (`function`, `event`), and so is each output line: `result`, `ms`, `cpu_ms`, `calls`, `others`,
`log`. A call is a DynamoDB call's operation, the units that it consumed by table and index, and what DynamoDB Local
reports in another way than DynamoDB bills it: the units of reads that found nothing, and the writes of a transaction.
`others` is the number of calls of other services, by service.
"""

import importlib.util
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import botocore.session

OTHERS = ("eventbridge", "s3", "sqs")
"""The other services that are called for each request; secrets are read every two minutes at most."""
Handler = Callable[[Mapping[str, Any], object], Any]


class Consumption:
    """Requests and records the consumption of each DynamoDB call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, float], float, list[tuple[str, int, bool]]]] = []
        self.others: Counter[str] = Counter()
        self._params: dict[str, Any] = {}

    def request(self, params: dict[str, Any], **_more: object) -> None:
        """Handle botocore's `before-parameter-build`. Every call of the functions accepts this parameter."""
        params["ReturnConsumedCapacity"] = "INDEXES"
        self._params = params

    def record(self, parsed: Mapping[str, Any], event_name: str, **_more: object) -> None:
        """Handle botocore's `after-call`."""
        consumed = parsed.get("ConsumedCapacity", [])
        units: dict[str, float] = {}
        for table in consumed if isinstance(consumed, list) else [consumed]:
            # Table names end with their number of connections; everything else must be equal.
            name = table["TableName"].rstrip("0123456789")
            units[name] = table["Table"]["CapacityUnits"]
            for index, of_index in table.get("GlobalSecondaryIndexes", {}).items():
                units[f"{name}/{index}"] = of_index["CapacityUnits"]
        writes = [_write(*write.popitem()) for write in map(dict, self._params.get("TransactItems", []))]
        self.calls.append((event_name.rpartition(".")[2], units, self._unreported(parsed), writes))

    def count(self, event_name: str, **_more: object) -> None:
        """Handle botocore's `after-call` of another service."""
        self.others[event_name.split(".")[1]] += 1

    def _unreported(self, parsed: Mapping[str, Any]) -> float:
        """Return the units of reads that found nothing, which DynamoDB bills like those of small items."""
        if "Responses" in parsed:  # BatchGetItem; all of them are consistent
            requested = sum(len(of_table["Keys"]) for of_table in self._params["RequestItems"].values())
            return requested - sum(map(len, parsed["Responses"].values()))
        if parsed.get("Count") == 0:  # Query; all of them are eventually consistent
            return 0.5
        return 0


def _write(action: str, write: Mapping[str, Any]) -> tuple[str, int, bool]:
    """Return the table of a transaction's write, its kilobytes, and whether it changes an index, too.

    An update, a deletion or a condition counts as one kilobyte: these items are small.
    """
    item = write.get("Item", write.get("Key", {}))
    table = write["TableName"].rstrip("0123456789")
    kilobytes = -(-sum(len(name) + _size(value) for name, value in item.items()) // 1024)
    # Other items than connections and sessions have a prefix, and are in no index.
    key = next((item[name]["S"] for name in ("user_id", "session_id") if name in item), ":")
    is_indexed = ":" not in key and (action != "Put" or "reference_id" in item) and action != "ConditionCheck"
    return table, kilobytes, is_indexed


def _size(value: Mapping[str, Any]) -> int:
    """Return the size of an attribute value in bytes, by DynamoDB's rules; a number counts as its digits."""
    [(kind, content)] = value.items()
    if kind == "M":
        return 3 + sum(1 + len(name) + _size(each) for name, each in content.items())
    if kind == "L":
        return 3 + sum(1 + _size(each) for each in content)
    if kind in ("SS", "NS"):
        return sum(map(len, content))
    return len(content.encode()) if isinstance(content, str) else 1


def load(project: Path, function: str) -> Handler:
    """Load a handler, under a module name of its own; all handlers share the clients that wiring creates."""
    path = project / "functions" / function / "handler.py"
    spec = importlib.util.spec_from_file_location(f"function_{function}", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = module.lambda_handler
    return handler


def main() -> None:
    """Handle events until the standard input closes."""
    project = Path(sys.argv[1])
    sys.path.insert(0, str(project / "layers" / "terra_connections"))
    output = sys.stdout
    # Functions print their log. A logger keeps the stream that exists when it is loaded.
    log = sys.stdout = io.StringIO()
    consumption, handlers = Consumption(), dict[str, Handler]()
    session = botocore.session.get_session()
    events = session.get_component("event_emitter")
    events.register("before-parameter-build.dynamodb", consumption.request)
    events.register("after-call.dynamodb", consumption.record)
    for service in OTHERS:
        events.register(f"after-call.{service}", consumption.count)
    botocore.session.get_session = lambda env_vars=None: session  # noqa: ARG005 - botocore's signature
    for line in sys.stdin:
        job = json.loads(line)
        function = job["function"]
        if function not in handlers:
            handlers[function] = load(project, function)
        consumption.calls, consumption.others = [], Counter()
        log.seek(0)
        log.truncate()
        cpu, began = time.process_time(), time.perf_counter()
        result = handlers[function](job["event"], None)
        took = {"ms": (time.perf_counter() - began) * 1000, "cpu_ms": (time.process_time() - cpu) * 1000}
        used = {"calls": consumption.calls, "others": consumption.others}
        output.write(json.dumps({"result": result, **took, **used, "log": log.getvalue()}) + "\n")
        output.flush()


if __name__ == "__main__":
    main()
