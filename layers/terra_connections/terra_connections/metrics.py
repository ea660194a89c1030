"""What is counted and measured, in CloudWatch's embedded metric format: one line of log each, no call of an API.

The namespace is POWERTOOLS_METRICS_NAMESPACE. Every metric has the dimension `service`, too (POWERTOOLS_SERVICE_NAME).
The alarms of template.yaml stand on these names; a test keeps them equal.
"""

from http import HTTPStatus

from aws_lambda_powertools.metrics import MetricUnit, single_metric

BY: dict[str, tuple[str, ...]] = {
    # of a signed webhook; outcome is accepted or duplicate
    "Deliveries": ("type", "outcome"),
    # seconds since Terra signed
    "DeliveryAge": (),
    # the name of the signing secret that matched
    "Signatures": ("secret",),
    # problem details that were returned
    "Problems": ("function", "code"),
    # outcome is 2xx, 4xx, 5xx or none
    "TerraCalls": ("call", "outcome"),
    # outcome is accepted, or why a token was refused (PyJWT's name of the error)
    "UserTokens": ("outcome",),
    # milliseconds
    "TerraLatency": ("call", "outcome"),
    # calls that Terra did not answer, failed, or refused for what only the operator can mend
    "TerraFailures": (),
    # connections in which the table and Terra had come apart, once a sweep has made them agree; see sweep.Drift
    "Drift": ("kind",),
    # sweeps at their end; outcome is finished, or refused where too many connections were missing at Terra
    "Sweeps": ("outcome",),
}
"""Every metric, by its dimensions."""

_ACCOUNT_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN}
"""Of the credentials, of the environment's user limit, and of what the account includes."""


def webhook_received(*, type_: str, is_new: bool, age_seconds: float, secret_name: str) -> None:
    """A webhook was verified, and stored or recognised as a duplicate."""
    outcome = "accepted" if is_new else "duplicate"
    _emit("Deliveries", 1, type=type_, outcome=outcome)
    _emit("DeliveryAge", age_seconds, MetricUnit.Seconds)
    _emit("Signatures", 1, secret=secret_name)


def problem_returned(*, function: str, code: str) -> None:
    """A function returned problem details."""
    _emit("Problems", 1, function=function, code=code)


def user_token_checked(outcome: str) -> None:
    """The authorizer checked a user token."""
    _emit("UserTokens", 1, outcome=outcome)


def terra_called(call: str, status: int | None, milliseconds: float) -> None:
    """Terra was called; no status means that it did not respond in time."""
    outcome = "none" if status is None else f"{status // 100}xx"
    _emit("TerraCalls", 1, call=call, outcome=outcome)
    _emit("TerraLatency", milliseconds, MetricUnit.Milliseconds, call=call, outcome=outcome)
    if status is None or status in _ACCOUNT_REFUSED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _emit("TerraFailures", 1)


def drift_repaired(kind: str, count: int) -> None:
    """A sweep repaired differences between the table and Terra."""
    _emit("Drift", count, kind=kind)


def sweep_ended(outcome: str) -> None:
    """A sweep has ended."""
    _emit("Sweeps", 1, outcome=outcome)


def _emit(name: str, value: float, unit: MetricUnit = MetricUnit.Count, **dimensions: str) -> None:
    if set(dimensions) != set(BY[name]):
        message = f"{name} has the dimensions {BY[name]}"
        raise ValueError(message)
    with single_metric(name=name, unit=unit, value=value) as metric:
        for dimension, of in dimensions.items():
            metric.add_dimension(dimension, of)
