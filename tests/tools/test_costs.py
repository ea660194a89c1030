"""docs/costs.md is computed from usage.json, from the template and from other pages; its arithmetic is right."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import costs
from benchmarks.costs import Fixed, Month, Usage, bill, fixed, page, stored_usage
from tests.support import cloudformation
from tools.environment import ROOT

NOTHING = Usage("terra_webhook", 0, 0, 0, {}, 0, 0, 0, ())
NO_FIXED = Fixed(secrets=0, alarm_metrics=0, detailed_routes=frozenset())


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return cloudformation.parsed()


@pytest.fixture(scope="module")
def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of every function, by its folder."""
    return {
        Path(resource["Properties"]["CodeUri"]).name: resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def computed() -> str:
    return (ROOT / "docs/costs.md").read_text().partition("by hand -->\n")[2].partition("\n<!-- costs: end -->")[0]


def test_the_page_is_what_the_program_computes() -> None:
    assert computed() == page(stored_usage(), fixed()), "run make costs"


def test_the_columns_of_the_page_add_up() -> None:
    _, _, table = computed().partition("### Costs per month, in USD\n\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.partition("\n\n")[0].splitlines()]
    _, _, *services, together = rows
    assert together[0] == "together"
    for column in range(1, len(together)):
        total = sum(float(row[column]) for row in services)
        # Every line is rounded to a cent.
        assert float(together[column]) == pytest.approx(total, abs=0.005 * (len(services) + 1))


def test_readme_has_the_costs_of_a_month() -> None:
    months = {
        "connections only": {"with_data": False},
        "if Terra also sends its data events here": {},
        "if they are kept, too (`DataDeliveries=keep`)": {"keeps_data": True},
    }
    readme = (ROOT / "README.md").read_text()
    for name, changes in months.items():
        bills = [bill(Month(users, **changes), stored_usage(), fixed()) for users in costs.USERS]
        row = " | ".join(f"{sum(each.values()):.0f}" for each in bills)
        assert f"| {name} | {row} |" in readme


def test_a_kept_delivery_costs_what_a_calculation_by_hand_gives() -> None:
    usage = dict.fromkeys(stored_usage(), NOTHING)
    usage["webhook: kept data"] = replace(NOTHING, writes=6)
    usage["publish kept data"] = replace(NOTHING, function="publish_data", reads=3)
    kept = bill(Month(1_000, keeps_data=True), usage, NO_FIXED)
    # 240,000 deliveries, each of which is one object of 4 kB and one event of 1 kB.
    assert kept["S3"] == pytest.approx(240_000 * (0.005 / 1000 + 4e-6 * 0.023))
    assert kept["EventBridge"] == pytest.approx(240_000 * (1e-6 + 1e-6 * 0.10) + 200e-6)
    assert kept["DynamoDB: writes"] == pytest.approx(240_000 * 6 * 0.625e-6)
    assert kept["DynamoDB: reads"] == pytest.approx(240_000 * 3 * 0.125e-6)


def test_a_month_of_data_costs_what_a_calculation_by_hand_gives() -> None:
    usage = dict.fromkeys(stored_usage(), NOTHING)
    usage["webhook: data"] = replace(NOTHING, writes=4, reads=2, cpu_ms=10, calls=1, log=670)
    with_data, without = (bill(Month(1_000, with_data=each), usage, NO_FIXED) for each in (True, False))
    # 1,000 users x 8 x 30 = 240,000 deliveries.
    assert with_data["API Gateway"] - without["API Gateway"] == pytest.approx(0.24)
    assert with_data["Lambda: invocations"] - without["Lambda: invocations"] == pytest.approx(0.048)
    assert with_data["DynamoDB: writes"] == pytest.approx(0.60)
    assert with_data["DynamoDB: reads"] == pytest.approx(0.06)
    # 10 ms x 1769 / 512 + 4 ms = 38.55 ms, billed as 39; each 1 ms of half a GB costs 0.0000000066667.
    assert usage["webhook: data"].milliseconds == 39
    others = {**usage, "webhook: data": NOTHING}
    longer = with_data["Lambda: duration"] - bill(Month(1_000), others, NO_FIXED)["Lambda: duration"]
    assert longer == pytest.approx(240_000 * 38 * 0.0000000066667, rel=1e-4)
    # 670 + 330 bytes of the function and 270 of the access log: 304.8 MB, and as stored 0.15 x 0.03 a GB.
    assert with_data["CloudWatch: logs"] - without["CloudWatch: logs"] == pytest.approx(
        240_000 * 1270e-9 * (0.5 + 0.15 * 0.03)
    )


def test_a_fixed_cost_is_of_the_template(template: dict[str, Any]) -> None:
    usage = stored_usage()
    costly = bill(Month(1_000), usage, fixed())
    optional = ("HasNotifyUrl", "KeepsData", "MakeNotifyKey")
    resources = [each for each in template["Resources"].values() if each.get("Condition") not in optional]
    secrets = sum(resource["Type"] == "AWS::SecretsManager::Secret" for resource in resources)
    assert costly["Secrets Manager"] > 0.40 * secrets
    alarms = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::CloudWatch::Alarm"]
    assert costly["CloudWatch: alarms"] == pytest.approx(0.10 * str(alarms).count("'MetricName'"))
    assert sum(resource["Type"] == "AWS::CloudWatch::Dashboard" for resource in resources) == 1


def test_routes_with_metrics_cost_six_metrics_each() -> None:
    usage = stored_usage()
    busy = Fixed(secrets=0, alarm_metrics=0, detailed_routes=frozenset({"terra_webhook", "list_connections"}))
    assert bill(Month(100_000), usage, busy)["CloudWatch: metrics of routes"] == pytest.approx(2 * 6 * 0.30, abs=0.01)


def test_a_rare_request_pays_its_init_each_time_and_a_frequent_one_in_a_hundred() -> None:
    usage = {**dict.fromkeys(stored_usage(), NOTHING), "list": replace(NOTHING, function="list_connections")}
    init = costs.init_ms()["list_connections"] / 1000
    one, many = (
        bill(Month(users, with_data=False), usage, NO_FIXED)["Lambda: init of cold starts"] for users in (1, 10**7)
    )
    assert one >= 30 * init * 0.5 * 0.0000133334 * 0.99
    assert many >= 10**7 * 30 * 0.01 * init * 0.5 * 0.0000133334


def test_the_assumptions_about_functions_are_those_of_the_template(
    template: dict[str, Any], functions: dict[str, dict[str, Any]]
) -> None:
    events = {
        name: [event["Properties"] for event in each.get("Events", {}).values() if event["Type"] == "HttpApi"]
        for name, each in functions.items()
    }
    assert {name for name, routes in events.items() if not routes} == costs.WITHOUT_A_ROUTE
    assert {name for name, routes in events.items() if any("Auth" in route for route in routes)} == costs.PUBLIC
    readers = {name for name, each in functions.items() if "secretsmanager:GetSecretValue" in str(each["Policies"])}
    assert readers == costs.READ_A_SECRET
    assert costs.LOADS_LIKE.keys() | costs.MEASURED_INIT == functions.keys()
    assert not costs.LOADS_LIKE.keys() & costs.MEASURED_INIT
    assert costs.init_ms().keys() == costs.MEASURED_INIT
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    assert defaults["SweepSchedule"] == f"rate({Month(1).sweep_every_hours} hours)"
    assert defaults["LogRetentionDays"] == Month(1).log_retention_days
    assert defaults["PayloadRetentionDays"] == costs.RETENTION_DAYS
    assert defaults["Architecture"] == "arm64"


def test_the_page_states_the_assumed_requests_of_a_user() -> None:
    text = " ".join((ROOT / "docs/costs.md").read_text().split())
    for kind, phrase in {
        "new session": "{} logins begun",
        "webhook: a new connection": "{:.2f} connect",
        "redirect: a failed login": "{} fail",
        "webhook: a known connection": "{:.2f} other auth events",
        "publish a change": "{:.2f} published changes",
        "list": "{} lists of connections",
        "sync": "{} syncs",
        "list providers": "{} lists of providers",
        "disconnect": "{} disconnects",
        "erase": "{} erasures",
    }.items():
        assert phrase.format(costs.PER_USER[kind]) in text, kind
    assert f"{costs.DATA_PER_DAY} data events a day" in text


def test_documents_state_aws_s_current_limit_of_an_event() -> None:
    # 1 MB since January 2026
    # (https://aws.amazon.com/blogs/compute/more-room-to-build-serverless-services-now-support-payloads-up-to-1-mb/).
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "template.yaml", ROOT / "README.md"]:
        assert not re.search(r"256 ?[kK]i?B", path.read_text()), path
