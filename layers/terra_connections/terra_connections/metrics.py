"""Metrics in CloudWatch's embedded metric format: one log line each, without an API call.

The namespace is POWERTOOLS_METRICS_NAMESPACE. Every metric also has the dimension `service` (POWERTOOLS_SERVICE_NAME).
The alarms and the dashboard of template.yaml use these names; tests compare them.
"""

from http import HTTPStatus

from aws_lambda_powertools.metrics import MetricUnit, single_metric

BY: dict[str, tuple[str, ...]] = {
    # begun, connected, needs_app, or the reason why a login failed, each once for a login
    "Logins": ("outcome",),
    # webhooks with a valid signature; outcome is accepted or duplicate
    "Deliveries": ("type", "outcome"),
    # data deliveries whose content was not kept, because DataDeliveries is ignore
    "DataDiscarded": (),
    # seconds since Terra signed the webhook
    "DeliveryAge": (),
    # the name of the signing secret that matched
    "Signatures": ("secret",),
    # returned problem details
    "Problems": ("function", "code"),
    # outcome is 2xx, 4xx, 5xx or none
    "TerraCalls": ("call", "outcome"),
    # outcome is accepted, or the reason of the rejection (the class name of PyJWT's error)
    "UserTokens": ("outcome",),
    # milliseconds
    "TerraLatency": ("call", "outcome"),
    # calls that timed out, failed, or were rejected for a reason that only the operator can fix
    "TerraFailures": (),
    # connections that differed between the table and Terra, and that a sweep has repaired; see sweep.Drift
    "Drift": ("kind",),
    # ended sweeps; outcome is finished, or refused if too many connections were missing at Terra
    "Sweeps": ("outcome",),
}
"""The dimensions of each metric."""

_ACCOUNT_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN}
"""Rejections because of the credentials, the environment's user limit, or what the account includes."""


def login_counted(outcome: str) -> None:
    """A login has begun, or its outcome has become known: a dimension's value of `Logins`."""
    _emit("Logins", 1, outcome=outcome)


def webhook_received(*, type_: str, is_new: bool, age_seconds: float, secret_name: str) -> None:
    """A webhook was verified, and stored or recognised as a duplicate."""
    outcome = "accepted" if is_new else "duplicate"
    _emit("Deliveries", 1, type=type_, outcome=outcome)
    _emit("DeliveryAge", age_seconds, MetricUnit.Seconds)
    _emit("Signatures", 1, secret=secret_name)


def data_discarded() -> None:
    """A new data delivery was acknowledged, and its content was not kept."""
    _emit("DataDiscarded", 1)


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
