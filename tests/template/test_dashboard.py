"""The dashboard shows metrics that the code and the template's resources emit, and all of the project's own."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from terra_connections import metrics
from terra_connections.reconciliation.sweep import Drift, Outcome
from terra_connections.sessions.session import Reason, SessionStatus
from tools.environment import ROOT

Template = dict[str, Any]

STACK = "${AWS::StackName}"
OWN = "TerraConnections"
VALUES: dict[tuple[str, str], set[str]] = {
    # The other account of a repair is computed on reading, and not counted.
    ("Logins", "outcome"): {"begun", SessionStatus.CONNECTED, SessionStatus.NEEDS_APP, *Reason}
    - {Reason.OTHER_ACCOUNT},
    ("Deliveries", "outcome"): {"accepted", "duplicate"},
    ("Drift", "kind"): set(Drift),
    ("Sweeps", "outcome"): {Outcome.FINISHED, Outcome.REFUSED},
}
"""All values of the dimensions whose values the dashboard names. It searches for the values of the others."""
OF_AWS = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    "AWS/ApiGateway": {"4xx", "5xx", "Count", "IntegrationLatency", "Latency"},
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    "AWS/Lambda": {"Duration", "Errors", "IteratorAge", "Throttles"},
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible"},
}
SEARCH = re.compile(r"SEARCH\('\{([^{}]*)\} ([^']*)', '(Sum|p99)', (\d+)\)")
TERM = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Shown:
    """A metric of the dashboard; dimensions that it searches for have the value None."""

    namespace: str
    name: str
    dimensions: dict[str, str | None]


@pytest.fixture(scope="module")
def body(transformed: Template) -> dict[str, Any]:
    """The dashboard as CloudFormation gets it with all conditions, before it replaces the other `${...}`."""
    return body_with(transformed, every_condition=True)


def body_with(transformed: Template, *, every_condition: bool) -> dict[str, Any]:
    text, parts = transformed["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, part in parts.items():
        _, then, otherwise = part["Fn::If"]
        text = text.replace(f"${{{name}}}", then["Fn::Sub"] if every_condition else otherwise)
    found: dict[str, Any] = json.loads(text)
    return found


def shown(body: dict[str, Any]) -> Iterator[Shown]:
    for row in rows(body):
        if isinstance(row[0], dict):
            yield searched(row[0]["expression"])
        else:
            namespace, name, *rest = row[:-1] if isinstance(row[-1], dict) else row
            yield Shown(namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))


def rows(body: dict[str, Any]) -> Iterator[list[Any]]:
    for widget in body["widgets"]:
        yield from widget["properties"].get("metrics", [])


def searched(expression: str) -> Shown:
    inner = expression.removeprefix("SUM(")
    found = SEARCH.fullmatch(expression if inner == expression else inner.removesuffix(")"))
    assert found, expression
    namespace, *dimensions = found[1].split(",")
    terms = dict(TERM.findall(found[2]))
    assert TERM.sub("", found[2]).strip() == "", expression
    name = terms.pop("MetricName")
    assert terms.keys() <= set(dimensions), expression
    return Shown(namespace, name, {dimension: terms.get(dimension) for dimension in dimensions})


def of_type(template: Template, type_: str) -> set[str]:
    return {name for name, resource in template["Resources"].items() if resource["Type"] == type_}


# -- the project's own metrics -----------------------------------------------------------------------------------------


def test_every_metric_that_the_code_emits_is_shown_with_its_dimensions_and_no_other_one(body: dict[str, Any]) -> None:
    own = [each for each in shown(body) if each.namespace == OWN]
    assert {each.name: set(each.dimensions) for each in own} == {
        name: {*dimensions, "service"} for name, dimensions in metrics.BY.items()
    }
    # Another stack's metrics are not shown.
    assert {each.dimensions["service"] for each in own} == {STACK}


def test_every_listed_metric_is_emitted() -> None:
    calls = [node for node in ast.walk(ast.parse((ROOT / metrics.__file__).read_text())) if isinstance(node, ast.Call)]
    names = {
        node.args[0].value
        for node in calls
        if isinstance(node.func, ast.Name) and node.func.id == "_emit" and isinstance(node.args[0], ast.Constant)
    }
    assert names == metrics.BY.keys()


def test_every_value_of_a_named_dimension_is_shown_and_no_other_one(body: dict[str, Any]) -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for each in shown(body):
        for dimension, value in each.dimensions.items():
            if each.namespace == OWN and dimension != "service" and value is not None:
                found.setdefault((each.name, dimension), set()).add(value)
    assert found == VALUES


def test_the_runbook_lists_every_metric_with_its_dimensions() -> None:
    section = runbook_section()
    listed = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    assert {name: tuple(re.findall(r"`(\w+)`", dimensions)) for name, dimensions in listed} == metrics.BY


# -- metrics of AWS ----------------------------------------------------------------------------------------------------


def test_every_metric_of_aws_is_of_a_resource_of_the_template(body: dict[str, Any], template: Template) -> None:
    resources = {
        "AWS/Lambda": {f"${{{name}}}" for name in of_type(template, "AWS::Serverless::Function")},
        "AWS/SQS": {f"${{{name}.QueueName}}" for name in of_type(template, "AWS::SQS::Queue")},
        "AWS/ApiGateway": {"${HttpApi}"},
    }
    keys = {"AWS/Lambda": "FunctionName", "AWS/SQS": "QueueName", "AWS/ApiGateway": "ApiId"}
    routes = {
        f"{event['Properties']['Method']} {event['Properties']['Path']}"
        for function in of_type(template, "AWS::Serverless::Function")
        for event in template["Resources"][function]["Properties"].get("Events", {}).values()
        if event["Type"] == "HttpApi"
    }
    settings = template["Resources"]["HttpApi"]["Properties"]["RouteSettings"]
    for each in (each for each in shown(body) if each.namespace != OWN):
        assert each.name in OF_AWS[each.namespace], each
        dimensions = dict(each.dimensions)
        assert dimensions.pop(keys[each.namespace]) in resources[each.namespace], each
        if dimensions:
            route = f"{dimensions.pop('Method')} {dimensions.pop('Resource')}"
            assert route in routes, each
            assert settings[route]["DetailedMetricsEnabled"] is True, each
            assert dimensions == {"Stage": "$default"}, each


def test_every_function_and_every_queue_is_shown(body: dict[str, Any], template: Template) -> None:
    functions = {f"${{{name}}}" for name in of_type(template, "AWS::Serverless::Function")}
    for name in ("Duration", "Errors", "Throttles"):
        found = Counter(each.dimensions["FunctionName"] for each in shown(body) if each.name == name)
        assert found == Counter(functions), f"the dashboard in template.yaml shows {name} of each function once"
    queues = {each.dimensions["QueueName"] for each in shown(body) if each.namespace == "AWS/SQS"}
    declared = {f"${{{name}.QueueName}}" for name in of_type(template, "AWS::SQS::Queue")}
    assert queues == declared, "the dashboard in template.yaml shows each queue"


def test_the_state_of_every_alarm_is_shown(body: dict[str, Any], template: Template) -> None:
    [widget] = [widget for widget in body["widgets"] if widget["type"] == "alarm"]
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    assert Counter(widget["properties"]["alarms"]) == Counter(f"${{{name}.Arn}}" for name in alarms)


def test_without_conditions_no_conditional_resource_is_shown(transformed: Template, template: Template) -> None:
    conditional = {name for name, resource in template["Resources"].items() if "Condition" in resource}
    text = json.dumps(body_with(transformed, every_condition=False))
    assert [name for name in sorted(conditional) if f"${{{name}" in text] == []


# -- its form ----------------------------------------------------------------------------------------------------------


def test_widgets_fill_the_grid_without_overlap(body: dict[str, Any]) -> None:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
    cells = Counter(
        (x, y)
        for widget in body["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    )
    height = max(y for _, y in cells) + 1
    assert cells == Counter((x, y) for x in range(24) for y in range(height))
    for widget in body["widgets"]:
        if widget["type"] == "metric":
            assert widget["properties"]["region"] == "${AWS::Region}"


def test_a_metric_widget_has_a_period_and_every_metric_a_statistic(body: dict[str, Any]) -> None:
    for widget in body["widgets"]:
        properties = widget["properties"]
        assert widget["type"] == "alarm" or properties["period"] in (300, 3600), properties["title"]
        for row in properties.get("metrics", []):
            is_expression = isinstance(row[0], dict)
            stat = (row[-1] if isinstance(row[-1], dict) else {}).get("stat", properties.get("stat"))
            assert is_expression or stat in ("Sum", "Maximum", "p50", "p99"), properties["title"]


def test_the_runbook_explains_every_widget(body: dict[str, Any]) -> None:
    section = runbook_section()
    for widget in body["widgets"]:
        assert f"**{widget['properties']['title']}**" in section


def runbook_section() -> str:
    section = (ROOT / "docs/runbook.md").read_text().partition("\n## The dashboard\n")[2].partition("\n## ")[0]
    assert section
    return section


def test_the_output_is_the_address_of_the_dashboard(template: Template) -> None:
    assert template["Resources"]["Dashboard"]["Properties"]["DashboardName"] == {"Ref": "AWS::StackName"}
    address = template["Outputs"]["DashboardUrl"]["Value"]["Fn::Sub"]
    assert address.endswith("/cloudwatch/home?region=${AWS::Region}#dashboards/dashboard/${Dashboard}")
