"""Checks of a stack's AWS resources: its deployment, secrets, dead-letter queues and alarms."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tools import put_secrets
from tools.doctor.finding import Finding, fine, inconclusive, wrong
from tools.doctor.stack import SECRETS, Stack
from tools.stages import AWS_ERRORS, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OWN_DELIVERY: Final = "healthcheck"
"""The event type of the doctor's delivery. Terra sends it, too, and it refers to no user."""
RECENT: Final = timedelta(days=1)
SHORTEST: Final = {"TerraSecret": 8, "SigningSecrets": 8, "ServiceKeys": 32}
"""Characters. Terra sets the length of its own secrets; a service key gives full access."""
_PLACEHOLDER: Final = re.compile(
    r"\W*|<.*>|x{3,}|api[ _-]?key|secret|password|(.*[ _-])?(change[ _-]?me|placeholder|your|todo|example)([ _-].*)?",
    re.IGNORECASE,
)

Secrets = dict[str, dict[str, str]]


def deployment(stack: Stack) -> Iterator[Finding]:
    """Check that the last deployment succeeded."""
    if stack.is_local:
        return
    if stack.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"}:
        yield fine("Deployment", f"{stack.name} is {stack.status}")
    elif stack.status.endswith("_IN_PROGRESS"):
        yield inconclusive("Deployment", f"{stack.name} is {stack.status}", "Run make doctor again when it is done.")
    else:
        remedy = f"See the events of the stack in CloudFormation. Then: make deploy STAGE={stack.stage}"
        yield wrong("Deployment", f"{stack.name} is {stack.status}: the last deployment failed", remedy)


def secrets(stack: Stack) -> tuple[Secrets, list[Finding]]:
    """Read every secret; return the usable ones, and a finding for each."""
    usable: Secrets = {}
    findings = []
    client = stack.client("secretsmanager")
    for name in SECRETS:
        arn = stack.outputs[f"{name}Arn"]
        try:
            text = client.get_secret_value(SecretId=arn)["SecretString"]
        except AWS_ERRORS as error:
            findings.append(_unread(name, arn, error))
            continue
        problem = problem_in(name, text)
        if problem is None:
            usable[name] = json.loads(text)
            findings.append(fine(name, f"contains {', '.join(sorted(usable[name]))}"))
        else:
            findings.append(wrong(name, problem, _remedy(stack, name, arn)))
    return usable, findings


def _remedy(stack: Stack, name: str, arn: str) -> str:
    """Return how to set a secret."""
    if stack.is_local:
        return "Restart make run: it stores its own."
    if name == "ServiceKeys":
        put = f"aws secretsmanager put-secret-value --secret-id {arn} --secret-string"
        return f'Store a random key of {SHORTEST[name]} characters or more: {put} \'{{"backend": "..."}}\''
    return f"Store the value from Terra's dashboard: make secrets STAGE={stack.stage}"


def _unread(name: str, arn: str, error: Exception) -> Finding:
    code = error.response["Error"].get("Code") if isinstance(error, ClientError) else type(error).__name__
    if code == "ResourceNotFoundException":
        return wrong(
            name, "does not exist", f"Deploy again, or restore it: aws secretsmanager restore-secret --secret-id {arn}"
        )
    if code == "InvalidRequestException":
        return wrong(name, "is being deleted", f"aws secretsmanager restore-secret --secret-id {arn}")
    if isinstance(error, ClientError):
        return inconclusive(name, f"cannot be read ({code})", f"You need secretsmanager:GetSecretValue on {arn}.")
    return inconclusive(name, f"cannot be read: {one_line(error)}")


def problem_in(name: str, text: str) -> str | None:  # noqa: PLR0911 - one return per rule
    """Return what is wrong with a secret's text, or None. The text is never quoted."""
    try:
        values = json.loads(text)
    except ValueError:
        return "is not JSON"
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        return "is not a JSON object of names and texts"
    if not any(values.values()):
        return "is empty"
    if name == "TerraSecret" and not values.get("api_key"):
        return "has no api_key"
    for key, value in values.items():
        if _PLACEHOLDER.fullmatch(value):
            return f"contains a placeholder for {key}"
        if len(value) < SHORTEST[name]:
            return f"contains only {len(value)} characters for {key}"
        if value != value.strip():
            return f"has white space around {key}"
        if problem := put_secrets.problem_in(value):
            return f"contains {key} with an invalid character: {problem}"
    return None


def deliveries(stack: Stack, clock: Callable[[], float]) -> Iterator[Finding]:
    """Check that Terra has delivered something lately. This command's own delivery does not count."""
    if stack.is_local:
        return
    what, now = "Terra's deliveries", datetime.fromtimestamp(clock(), UTC)
    own = {"Name": "type", "Value": OWN_DELIVERY}
    metric = {"Namespace": "TerraConnections", "MetricName": "Deliveries"}
    dimensions = [{"Name": "service", "Value": stack.name}]
    try:
        client = stack.client("cloudwatch")
        pages = client.get_paginator("list_metrics").paginate(**metric, Dimensions=dimensions)
        metrics = [metric for page in pages for metric in page["Metrics"] if own not in metric["Dimensions"]]
        count = _sum(stack, metrics, now)
    except AWS_ERRORS as error:
        yield inconclusive(what, f"cannot be read: {one_line(error)}")
        return
    if count:
        yield fine(what, f"{count:.0f} in the last day")
    else:
        address = stack.outputs["WebhookUrl"]
        remedy = (
            f"Check that Terra's dashboard has the destination {address}, enabled. Without users, none are expected."
        )
        yield inconclusive(what, "none in the last day", remedy)


def data_deliveries(stack: Stack, clock: Callable[[], float]) -> Iterator[Finding]:
    """Report whether data deliveries are kept; if they are discarded, whether any arrived lately."""
    what = "Data deliveries"
    if stack.keeps_data:
        yield fine(what, "are kept (DataDeliveries=keep)")
        return
    if stack.is_local:
        yield fine(what, "are acknowledged, and their content is discarded (DATA_DELIVERIES=ignore)")
        return
    metric = {
        "Namespace": "TerraConnections",
        "MetricName": "DataDiscarded",
        "Dimensions": [{"Name": "service", "Value": stack.name}],
    }
    try:
        count = _sum(stack, [metric], datetime.fromtimestamp(clock(), UTC))
    except AWS_ERRORS as error:
        yield inconclusive(what, f"cannot be read: {one_line(error)}")
        return
    if count:
        limit = f"limit the destination to auth events: make terra STAGE={stack.stage}"
        remedy = f"Deploy with DataDeliveries=keep, or {limit}"
        yield wrong(what, f"{count:.0f} were discarded in the last day (DataDeliveries=ignore)", remedy)
    else:
        yield fine(what, "none in the last day; their content would be discarded (DataDeliveries=ignore)")


def _sum(stack: Stack, metrics: list[Any], now: datetime) -> float:
    """Return the sum of metrics in the last day."""
    queries = [
        {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Sum"}}
        for number, metric in enumerate(metrics)
    ]
    if not queries:
        return 0
    client = stack.client("cloudwatch")
    found = client.get_metric_data(MetricDataQueries=queries, StartTime=now - RECENT, EndTime=now)["MetricDataResults"]
    return sum(sum(each["Values"]) for each in found)


def queues(stack: Stack) -> Iterator[Finding]:
    """Check that the dead-letter queues are empty: the queues that have no dead-letter queue themselves."""
    client = stack.client("sqs")
    names = ["RedrivePolicy", "ApproximateNumberOfMessages"]
    for name, url in sorted(stack.queues.items()):
        try:
            found: Mapping[str, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        except AWS_ERRORS as error:
            yield inconclusive(name, f"cannot be read: {one_line(error)}")
            continue
        if "RedrivePolicy" in found:
            continue
        waiting = int(found["ApproximateNumberOfMessages"])
        if waiting:
            yield wrong(name, f"contains {waiting} dead messages", f"See docs/runbook.md; the queue is {url}")
        else:
            yield fine(name, "is empty")


def alarms(stack: Stack) -> Iterator[Finding]:
    """Check that alarms have subscribers and that none is firing."""
    if stack.is_local:
        return
    yield _subscribers(stack)
    ids = {name: logical_id for logical_id, name in stack.alarms.items()}
    try:
        pages = stack.client("cloudwatch").get_paginator("describe_alarms").paginate(StateValue="ALARM")
        firing = [ids[each["AlarmName"]] for page in pages for each in page["MetricAlarms"] if each["AlarmName"] in ids]
    except AWS_ERRORS as error:
        yield inconclusive("Alarms", f"cannot be read: {one_line(error)}")
        return
    for name in sorted(firing):
        yield wrong("Alarms", f"{name} is firing", f"See docs/runbook.md#{name.lower()}.")
    if not firing:
        yield fine("Alarms", f"none of {len(ids)} is firing")


def _subscribers(stack: Stack) -> Finding:  # noqa: PLR0911 - as above
    """Check that the alarms have subscribers."""
    what, topic = "Alarm topic", stack.parameters.get("AlarmTopicArn", "")
    remedy = (
        f"aws sns subscribe --topic-arn {topic or '...'} --protocol email --notification-endpoint ..., and confirm."
    )
    if not topic:
        return wrong(
            what,
            "is not set: the alarms have no subscribers",
            f"Deploy with AlarmTopicArn set to a topic of SNS; {remedy}",
        )
    try:
        found = stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    except ClientError as error:
        if error.response["Error"].get("Code") in {"NotFound", "NotFoundException"}:
            return wrong(
                what,
                f"{topic} does not exist: the alarms have no subscribers",
                "Set AlarmTopicArn to an existing topic.",
            )
        return inconclusive(what, f"cannot be read: {one_line(error)}")
    except AWS_ERRORS as error:
        return inconclusive(what, f"cannot be read: {one_line(error)}")
    confirmed, pending = int(found["SubscriptionsConfirmed"]), int(found["SubscriptionsPending"])
    if confirmed:
        return fine(what, f"{confirmed} subscriptions")
    if pending:
        return wrong(
            what, f"{pending} subscriptions, none confirmed", "Open the link in the message that SNS has sent."
        )
    return wrong(what, "has no subscribers", remedy)
