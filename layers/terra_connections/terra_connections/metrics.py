"""What is counted and measured, in CloudWatch's embedded metric format: one line of log each, no call to anybody.

| metric | unit | by |
|---|---|---|
| Deliveries, DeliveryAge | count, seconds since Terra signed | type, outcome (taken, duplicate) |
| Signatures | count | secret: the name of the one that matched |
| Problems | count | door, code |
| TerraLatency, TerraCalls | milliseconds, count | call, outcome (2xx, 4xx, 5xx, none) |

The namespace is POWERTOOLS_METRICS_NAMESPACE. Every metric has the dimension `service`, too (POWERTOOLS_SERVICE_NAME).
The alarms of template.yaml stand on these names; a test keeps them equal.
"""

from aws_lambda_powertools.metrics import MetricUnit, single_metric


def delivery_taken(*, type_: str, is_new: bool, age_seconds: float, secret_name: str) -> None:
    """A webhook was proven, and kept or known already."""
    outcome = "taken" if is_new else "duplicate"
    _emit("Deliveries", 1, type=type_, outcome=outcome)
    _emit("DeliveryAge", age_seconds, MetricUnit.Seconds, type=type_, outcome=outcome)
    _emit("Signatures", 1, secret=secret_name)


def problem_answered(*, door: str, code: str) -> None:
    """A door answered with an error."""
    _emit("Problems", 1, door=door, code=code)


def terra_asked(call: str, status: int | None, milliseconds: float) -> None:
    """Terra was asked; no status means that it did not answer in time."""
    outcome = "none" if status is None else f"{status // 100}xx"
    _emit("TerraCalls", 1, call=call, outcome=outcome)
    _emit("TerraLatency", milliseconds, MetricUnit.Milliseconds, call=call, outcome=outcome)


def _emit(name: str, value: float, unit: MetricUnit = MetricUnit.Count, **dimensions: str) -> None:
    with single_metric(name=name, unit=unit, value=value) as metric:
        for dimension, of in dimensions.items():
            metric.add_dimension(dimension, of)
