"""Checks the properties that template.yaml must have."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from terra_connections import metrics
from terra_connections.connections.store import ERASED_FOR
from terra_connections.erasure.user import WORK_FOR
from terra_connections.reconciliation.store import PAGES_KEPT_FOR
from terra_connections.reconciliation.sweep import SEGMENTS
from terra_connections.users.store import TOMBSTONE_KEPT_FOR
from tests.support.environment import SETTINGS, loaded
from tests.support.iam import name_of
from tools.environment import ROOT

Template = dict[str, Any]
Functions = dict[str, dict[str, Any]]

FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
PUBLIC = {"GET /auth/success", "GET /auth/failure", "POST /auth/retry", "POST /webhooks/terra"}
# Read by boto3 and by Powertools themselves.
LIBRARY_SETTINGS = {
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SQS",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
}


def routes(functions: Functions) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, function in functions.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                route = event["Properties"]
                yield name, f"{route['Method']} {route['Path']}", route


def test_every_folder_is_a_function_and_every_function_a_folder(functions: Functions) -> None:
    folders = {f"functions/{path.parent.name}" for path in (ROOT / "functions").glob("*/handler.py")}
    there = {function["CodeUri"] for function in functions.values()}
    assert there == folders, "each folder of functions/ is one function of template.yaml, and the other way round"


def test_every_function_is_named_after_its_folder(functions: Functions) -> None:
    for name, function in functions.items():
        assert re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() == Path(function["CodeUri"]).name


def variables_of(function: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = function.get("Environment", {}).get("Variables", {})
    return found


def test_the_global_variables_are_those_of_boto3_and_powertools(template: Template) -> None:
    assert set(variables_of(template["Globals"]["Function"])) == LIBRARY_SETTINGS


def test_a_function_has_exactly_the_settings_that_its_code_reads(functions: Functions) -> None:
    steps = []
    for name, function in functions.items():
        read, given = loaded(Path(function["CodeUri"]).name).settings, variables_of(function).keys()
        where = f"Environment.Variables of {name} in template.yaml"
        steps += [f"{variable} is read: add it to the {where}" for variable in sorted(read - given)]
        steps += [f"{variable} is not read: remove it from the {where}" for variable in sorted(given - read)]
    assert steps == []


def test_a_setting_has_the_same_value_in_all_functions(functions: Functions) -> None:
    values = {name: value for function in functions.values() for name, value in variables_of(function).items()}
    assert values.keys() == SETTINGS.keys()
    for name, function in functions.items():
        assert variables_of(function).items() <= values.items(), name


def test_the_longest_settings_fit_into_lambda_s_limit_for_an_environment(template: Template) -> None:
    # The other variables of a function, with their names, need less than 1,600 of the 4,096 bytes.
    longest = sum(template["Parameters"][name]["MaxLength"] for name in ("ReturnTargets", "BrandName", "BrandLogo"))
    assert longest <= 4096 - 1700


def test_settings_and_parameters_have_the_same_names(template: Template) -> None:
    every = [template["Globals"]["Function"], *(each["Properties"] for each in of_type(template, FUNCTION).values())]
    variables = [found for each in every for found in variables_of(each).items()]
    for name, value in variables:
        if isinstance(value, dict) and value.get("Ref") in template["Parameters"]:
            assert "".join(word.capitalize() for word in name.split("_")) == value["Ref"]


def test_a_deployed_stack_uses_the_default_endpoints_of_aws(template: Template) -> None:
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    for name in LIBRARY_SETTINGS:
        if name.startswith("AWS_ENDPOINT_URL"):
            assert template["Parameters"][variables[name]["Ref"]]["Default"] == ""


def test_every_route_except_the_public_ones_has_the_authorizer(template: Template, functions: Functions) -> None:
    assert template["Resources"]["HttpApi"]["Properties"]["Auth"]["DefaultAuthorizer"] == "Callers"
    public = {path for _, path, route in routes(functions) if route.get("Auth") == {"Authorizer": "NONE"}}
    assert public == PUBLIC
    assert all(route.get("Auth") is None for _, path, route in routes(functions) if path not in PUBLIC)


def test_the_contract_and_the_template_have_the_same_routes(openapi: dict[str, Any], functions: Functions) -> None:
    promised = {f"{method.upper()} {path}" for path, item in openapi["paths"].items() for method in item}
    served = {path for _, path, _ in routes(functions)}
    assert promised == served, "describe in openapi.yaml exactly the routes of template.yaml"


def test_the_contract_has_no_security_exactly_on_the_public_routes(openapi: dict[str, Any]) -> None:
    public = {
        f"{method.upper()} {path}"
        for path, item in openapi["paths"].items()
        for method, operation in item.items()
        if operation.get("security") == []
    }
    assert public == PUBLIC


def test_an_operation_is_named_after_its_function(openapi: dict[str, Any], functions: Functions) -> None:
    for name, path, _ in routes(functions):
        method, _, address = path.partition(" ")
        # The function ErasePerson keeps its name: another one would be another function on AWS.
        expected = "eraseUser" if name == "ErasePerson" else name[0].lower() + name[1:]
        assert openapi["paths"][address][method.lower()]["operationId"] == expected


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == type_}


def test_tables_are_encrypted_and_connections_is_retained_and_backed_up(template: Template) -> None:
    tables = of_type(template, "AWS::DynamoDB::Table")
    for table in tables.values():
        assert "TableName" not in table["Properties"]
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
        assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}
        assert table["Properties"]["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    connections = tables["Connections"]
    # Not kept if its first deployment is rolled back: each attempt would leave an empty table behind.
    assert connections["DeletionPolicy"] == "RetainExceptOnCreate"
    assert connections["UpdateReplacePolicy"] == "Retain"
    assert connections["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert connections["Properties"]["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_every_stateful_resource_has_deletion_policies(template: Template) -> None:
    stateful = (
        "S3::Bucket",
        "DynamoDB::Table",
        "SQS::Queue",
        "Logs::LogGroup",
        "SecretsManager::Secret",
        "Events::EventBus",
    )
    for type_ in stateful:
        for name, resource in of_type(template, f"AWS::{type_}").items():
            is_retained = name in {"Connections", "Payloads", "PseudonymKey"}
            assert resource["DeletionPolicy"] == ("RetainExceptOnCreate" if is_retained else "Delete"), name
            assert resource["UpdateReplacePolicy"] == ("Retain" if is_retained else "Delete"), name


def test_a_parameter_protects_connections_from_deletion_and_is_off_by_default(
    template: Template,
) -> None:
    connections = template["Resources"]["Connections"]["Properties"]
    assert connections["DeletionProtectionEnabled"] == {"Fn::If": ["ProtectsConnections", True, False]}
    assert template["Conditions"]["ProtectsConnections"] == {"Fn::Equals": [{"Ref": "ProtectConnections"}, "true"]}
    assert template["Parameters"]["ProtectConnections"]["Default"] == "false"


def test_every_log_has_a_retention(template: Template) -> None:
    for name, group in of_type(template, "AWS::Logs::LogGroup").items():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name


def test_every_queue_is_encrypted_and_has_a_dead_letter_queue_with_an_alarm(template: Template) -> None:
    queues = of_type(template, "AWS::SQS::Queue")
    dead_letter_queues = {
        name_of(queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"])
        for queue in queues.values()
        if "RedrivePolicy" in queue["Properties"]
    }
    # Failed records of event sources and failed invocations go to one, too.
    dead_letter_queues |= {
        name_of(found)
        for found in re.findall(r'"OnFailure": \{[^{}]*"Destination": (\{[^{}]*\})', json.dumps(template["Resources"]))
        for found in [json.loads(found)]
    }
    # And events that a rule could not deliver.
    dead_letter_queues |= {
        name_of(target["DeadLetterConfig"]["Arn"])
        for rule in of_type(template, "AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
    }
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in alarms(template).values()
        for metric in metrics_of(alarm)
        for dimension in metric.get("Dimensions", [])
        if dimension["Name"] == "QueueName"
    }
    for name, queue in queues.items():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True, name
        assert name in dead_letter_queues or "RedrivePolicy" in queue["Properties"], name
    assert dead_letter_queues == watched


WITHOUT_USER_IDS = {"DeadBackfills", "UnpublishedData", "UnpublishedEvents"}
"""Queues whose messages contain no user_id: for a failed stream record, Lambda sends only its position. A step of a
backfill has the id of the backfill."""


def test_queues_keep_messages_with_user_ids_for_at_most_two_days(template: Template) -> None:
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        kept = timedelta(seconds=queue["Properties"]["MessageRetentionPeriod"])
        # SQS counts from the first send, even for a message that it has moved to a dead-letter queue.
        assert kept == timedelta(days=14) if name in WITHOUT_USER_IDS else kept <= timedelta(days=2), name
    assert timedelta(days=2) >= PAGES_KEPT_FOR


def test_tombstones_are_kept_longer_than_backups() -> None:
    assert min(ERASED_FOR, TOMBSTONE_KEPT_FOR) > timedelta(days=35)


def test_an_erasure_stops_before_the_timeout_of_its_function(functions: Functions) -> None:
    # The final write and a new read of a secret may take 5 s each.
    assert timedelta(seconds=functions["ErasePerson"]["Timeout"]) >= WORK_FOR + timedelta(seconds=10)


def test_a_new_deployment_has_random_keys_and_no_terra_credentials(template: Template) -> None:
    secrets = {
        n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::SecretsManager::Secret"
    }
    assert secrets["SigningSecrets"]["SecretString"] == secrets["TerraSecret"]["SecretString"] == "{}"
    assert "SecretString" not in secrets["ServiceKeys"]
    assert secrets["ServiceKeys"]["GenerateSecretString"]["PasswordLength"] >= 32
    assert secrets["PseudonymKey"]["GenerateSecretString"]["PasswordLength"] >= 32


def test_the_pseudonym_key_is_a_dynamic_reference_and_is_retained_with_the_tombstones(
    template: Template, functions: Functions
) -> None:
    key = template["Resources"]["PseudonymKey"]
    own_or_retained = {"Fn::If": ["MakePseudonymKey", {"Ref": "PseudonymKey"}, {"Ref": "PseudonymKeyArn"}]}
    assert template["Outputs"]["PseudonymKeyArn"]["Value"] == own_or_retained
    values = [found for each in functions.values() if (found := variables_of(each).get("PSEUDONYM_KEY"))]
    assert values
    for value in values:
        assert value == {"Fn::Sub": ["{{resolve:secretsmanager:${Key}:SecretString:key}}", {"Key": own_or_retained}]}
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        assert key[policy] == template["Resources"]["Connections"][policy]


def test_the_webhook_has_a_higher_throttle_and_other_public_routes_a_lower_one(
    template: Template, functions: Functions
) -> None:
    api = template["Resources"]["HttpApi"]["Properties"]
    limits = {route: settings["ThrottlingRateLimit"] for route, settings in api["RouteSettings"].items()}
    others = api["DefaultRouteSettings"]["ThrottlingRateLimit"]
    assert limits.pop("POST /webhooks/terra") > others
    assert limits.keys() <= {path for _, path, _ in routes(functions)}
    call_terra = {"POST /sessions", "POST /connections/sync", "POST /mobile-tokens", "POST /erasures"}
    assert limits.keys() == PUBLIC - {"POST /webhooks/terra"} | call_terra
    assert all(0 < limit < others for limit in limits.values())


def test_the_access_log_uses_the_unquoted_error_message(template: Template) -> None:
    log = template["Resources"]["HttpApi"]["Properties"]["AccessLogSettings"]["Format"]
    assert json.loads(log)["error"] == "$context.error.message"
    # AWS adds the quotation marks to this value.
    assert "messageString" not in log


def test_access_logs_contain_no_path_no_query_and_no_ip_address(template: Template) -> None:
    log = template["Resources"]["HttpApi"]["Properties"]["AccessLogSettings"]["Format"]
    logged = set(re.findall(r"\$context\.[A-Za-z.]+", log))
    assert "$context.routeKey" in logged
    assert not logged & {"$context.path", "$context.identity.sourceIp", "$context.identity.userAgent"}


def test_a_line_of_the_access_log_is_json_also_after_an_error(template: Template) -> None:
    log = template["Resources"]["HttpApi"]["Properties"]["AccessLogSettings"]["Format"]
    # "The quoted value of $context.error.message"
    # (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html).
    values = {"$context.error.messageString": '"Forbidden"', "$context.error.message": "Forbidden"}
    line = re.sub(r"\$context\.[A-Za-z.]+", lambda found: values.get(found[0], "-"), log)
    assert json.loads(line)["error"] == "Forbidden"


def test_the_access_log_needs_no_entry_in_the_account_s_log_policy(template: Template) -> None:
    group = template["Resources"]["HttpApiLog"]["Properties"]["LogGroupName"]
    assert group == {"Fn::Sub": "/aws/vendedlogs/apis/${AWS::StackName}"}


def test_layer_names_begin_with_the_stack_name_and_fit_lambda_s_limit(template: Template) -> None:
    names = [layer["Properties"]["LayerName"]["Fn::Sub"] for layer in of_type(template, LAYER).values()]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.startswith("${AWS::StackName}-")
        assert len(name.replace("${AWS::StackName}", "s" * 128)) <= 140


def test_with_a_domain_the_default_endpoint_of_the_api_is_disabled(transformed: Template) -> None:
    (api,) = of_type(transformed, "AWS::ApiGatewayV2::Api").values()
    (server,) = api["Properties"]["Body"]["servers"]
    is_disabled = server["x-amazon-apigateway-endpoint-configuration"]["disableExecuteApiEndpoint"]
    assert is_disabled == {"Fn::If": ["HasDomain", True, False]}


def test_warnings_of_the_import_do_not_fail_a_deployment(template: Template) -> None:
    # SAM writes path parameters without a schema, of which swagger-parser warns. AWS does not publish its version.
    assert "FailOnWarnings" not in template["Resources"]["HttpApi"]["Properties"]


def test_parameters_that_need_each_other_are_rejected_alone(template: Template) -> None:
    def named(condition: dict[str, Any]) -> str:
        return name_of(condition["Fn::Not"][0]["Fn::Equals"][0])

    rules = {name: template["Rules"][name] for name in ("DomainHasItsCertificate", "RecordBelongsToADomain")}
    needs = {
        (named(rule["RuleCondition"]), named(each["Assert"])) for rule in rules.values() for each in rule["Assertions"]
    }
    assert needs == {("DomainName", "CertificateArn"), ("HostedZoneId", "DomainName")}


def test_return_targets_that_are_not_a_json_object_are_rejected_at_deployment(template: Template) -> None:
    parameter = template["Parameters"]["ReturnTargets"]
    documented = re.findall(r"```json\n(.*?)```", (ROOT / "docs/return-targets.md").read_text(), re.DOTALL)[0]
    for value in ("{}", documented, json.dumps(json.loads(documented))):
        assert re.fullmatch(parameter["AllowedPattern"], value.strip()), value
        assert len(value) <= parameter["MaxLength"]
    for value in ("{", "", "web", "[]", '{"web": "https://app.example.com/"', "'{}'"):
        assert not re.fullmatch(parameter["AllowedPattern"], value), value


def test_the_exports_have_the_names_that_the_documents_import(template: Template) -> None:
    exported = {
        name: output["Export"]["Name"]["Fn::Sub"] for name, output in template["Outputs"].items() if "Export" in output
    }
    names = ("ApiUrl", "EventBusName", "PayloadsBucket", "ConnectionsTable")
    assert exported == {name: f"${{AWS::StackName}}-{name}" for name in names}
    assert "!ImportValue terra-connections-dev-EventBusName" in (ROOT / "docs/events.md").read_text()


def test_timeouts_fit_terra_and_api_gateway(functions: Functions) -> None:
    assert functions["CreateSession"]["Timeout"] < 30
    assert functions["TerraWebhook"]["Timeout"] <= 8


def test_no_function_depends_on_the_api_that_calls_it(transformed: Template) -> None:
    for name, resource in transformed["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Function":
            assert "HttpApi" not in json.dumps(resource["Properties"]), name


OF_THE_ACCESS_LOG = {"Fn::Sub": "TerraConnections/${AWS::StackName}"}
"""The namespace of the metric of a log filter, which cannot have the dimension `service`."""
AWS_METRICS = {
    ("AWS/ApiGateway", "4xx"): {"ApiId", "Stage", "Method", "Resource"},
    ("AWS/ApiGateway", "5xx"): {"ApiId", "Stage", "Method", "Resource"},
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/Lambda", "Errors"): {"FunctionName"},
    ("AWS/Lambda", "IteratorAge"): {"FunctionName"},
}


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    return {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::CloudWatch::Alarm"}


def metrics_of(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "MetricName" in alarm:
        yield alarm
    yield from (part["MetricStat"]["Metric"] for part in alarm.get("Metrics", []) if "MetricStat" in part)


def test_every_alarm_uses_an_existing_metric(template: Template) -> None:
    for name, alarm in alarms(template).items():
        for metric in metrics_of(alarm):
            dimensions = {dimension["Name"] for dimension in metric.get("Dimensions", [])}
            if metric["Namespace"] == OF_THE_ACCESS_LOG:
                (transformation,) = template["Resources"]["TooLargeDeliveries"]["Properties"]["MetricTransformations"]
                assert transformation["MetricNamespace"] == metric["Namespace"], name
                assert transformation["MetricName"] == metric["MetricName"], name
            elif metric["Namespace"] == "TerraConnections":
                assert metric["MetricName"] in metrics.BY, name
                assert dimensions == {*metrics.BY[metric["MetricName"]], "service"}, name
                # Another stack's metrics must not page this stack's operators.
                assert {"Name": "service", "Value": {"Ref": "AWS::StackName"}} in metric["Dimensions"], name
            else:
                assert dimensions <= AWS_METRICS[metric["Namespace"], metric["MetricName"]], name
                assert dimensions, name


def test_the_runbook_has_one_heading_per_alarm(template: Template) -> None:
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE))
    assert set(alarms(template)) == headings


def test_every_alarm_notifies_the_topic_and_ignores_missing_data(template: Template) -> None:
    for name, alarm in alarms(template).items():
        assert alarm["AlarmActions"]["Fn::If"][0] == "HasAlarmTopic", name
        # Unless missing data is the problem.
        expected = "breaching" if name == "SweepsUnfinished" else "notBreaching"
        assert alarm["TreatMissingData"] == expected, name


def test_a_sweep_s_message_is_redelivered_only_after_its_function_has_ended(template: Template) -> None:
    resources = template["Resources"]
    queue, function = resources["SweepQueue"]["Properties"], resources["SweepPage"]["Properties"]
    mapping = resources["SweepQueueToSweepPage"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadSweepPages", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == 1
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == SEGMENTS + 1


def test_an_expression_over_metrics_counts_missing_data_as_zero(template: Template) -> None:
    for name, alarm in alarms(template).items():
        parts = [part["Id"] for part in alarm.get("Metrics", []) if "MetricStat" in part]
        expressions = [part["Expression"] for part in alarm.get("Metrics", []) if "Expression" in part]
        for expression in expressions:
            assert all(f"FILL({part}, 0)" in expression for part in parts), name


def test_an_alarm_that_fills_missing_data_evaluates_several_periods(template: Template) -> None:
    # The newest period may have no data yet, and FILL's value would decide alone.
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    filling = {name: alarm for name, alarm in alarms(template).items() if "FILL(" in json.dumps(alarm)}
    assert filling
    for name, alarm in filling.items():
        assert alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"], name


def test_an_alarm_on_a_difference_between_services_needs_two_data_points(template: Template) -> None:
    differences = 0
    for name, alarm in alarms(template).items():
        metrics = {
            part["Id"]: part["MetricStat"]["Metric"] for part in alarm.get("Metrics", []) if "MetricStat" in part
        }
        for expression in (part["Expression"] for part in alarm.get("Metrics", []) if "Expression" in part):
            first, *subtracted = re.findall(r"(?:^|- )FILL\((\w+), 0\)", expression)
            sources = {metrics[part]["Namespace"] for part in (first, *subtracted)}
            differences += bool(subtracted)
            # Metrics of one service arrive together, those of another service later.
            assert len(sources) == 1 or alarm["DatapointsToAlarm"] >= 2, name
    assert differences


def test_an_erasure_that_needs_another_call_does_not_roll_a_release_back(template: Template) -> None:
    resources = template["Resources"]
    for name in ("ApiFailing", "DeploymentFailing"):
        metrics = {part["Id"]: part for part in resources[name]["Properties"]["Metrics"]}
        assert "FILL(answers, 0) - FILL(erasures, 0) + FILL(erasing, 0)" in metrics["failing"]["Expression"]
        assert {"Name": "Resource", "Value": "/erasures"} in metrics["erasures"]["MetricStat"]["Metric"]["Dimensions"]
        # Errors without a response of the function are the release's fault, and count.
        failed = metrics["erasing"]["MetricStat"]["Metric"]
        assert (failed["MetricName"], failed["Dimensions"][0]["Value"]) == ("Errors", {"Ref": "ErasePerson"})


def test_detailed_metrics_are_enabled_exactly_for_the_routes_of_alarms(template: Template) -> None:
    # CloudWatch bills six metrics for each route that has them.
    watched = {
        f"{dimensions['Method']} {dimensions['Resource']}"
        for alarm in alarms(template).values()
        for metric in metrics_of(alarm)
        if "Resource" in (dimensions := {each["Name"]: each["Value"] for each in metric.get("Dimensions", [])})
    }
    api = template["Resources"]["HttpApi"]["Properties"]
    assert api["DefaultRouteSettings"]["DetailedMetricsEnabled"] is False
    enabled = {route for route, settings in api["RouteSettings"].items() if settings.get("DetailedMetricsEnabled")}
    assert enabled == watched
