"""The metrics that a run of a handler has logged."""

import json
from typing import Any

from tests.support.handlers import Run


def metrics(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Return the emitted metrics by name: dimensions and value."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in run.log.splitlines():
        record = json.loads(line)
        if "_aws" not in record:
            continue
        [directive] = record["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "TerraConnections"
        [metric] = directive["Metrics"]
        dimensions = {name: record[name] for name in directive["Dimensions"][0] if name != "service"}
        found.setdefault(metric["Name"], []).append({**dimensions, "value": record[metric["Name"]][0]})
    return found
