"""Resource types and properties that MiniStack's CloudFormation lacks, as far as template.yaml uses them."""

import re
import string
from typing import Any

from ministack.services import eventbridge, iam, secretsmanager
from ministack.services.cloudformation import provisioners

from tests.support.emulator.handlers import Made, Properties, create_of, delete_of, do_after, register, update_of

SECRET = "AWS::SecretsManager::Secret"
EVENT_BUS = "AWS::Events::EventBus"
SHIFTING = ("AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup")


def install() -> None:
    """Register the handlers."""
    accept_alarms_on_expressions()
    do_after("AWS::IAM::Role", set_boundary)
    refer_to_secrets_by_arn()
    honour_excluded_punctuation()
    keep_event_buses_with_rules()
    for type_ in SHIFTING:
        register(type_, create=nothing, update=nothing_new, delete=lambda _id, _properties: None)


def accept_alarms_on_expressions() -> None:
    """Create an alarm on an expression (`Metrics`) as one on the expression's first metric. MiniStack rejects them."""
    record = provisioners._cw_metric_alarm_record

    def accepting(name: str, properties: Properties) -> dict[str, Any]:
        if metrics := properties.get("Metrics"):
            statistic = next(metric["MetricStat"] for metric in metrics if "MetricStat" in metric)
            single = {**statistic["Metric"], "Period": statistic["Period"], "Statistic": statistic["Stat"]}
            properties = {name: value for name, value in properties.items() if name != "Metrics"} | single
        recorded: dict[str, Any] = record(name, properties)
        return recorded

    provisioners._cw_metric_alarm_record = accepting


def set_boundary(name: str, properties: Properties) -> None:
    """Give a role its permissions boundary, which MiniStack's CloudFormation drops."""
    role = iam._roles[name]
    role.pop("PermissionsBoundary", None)
    if boundary := properties.get("PermissionsBoundary"):
        role["PermissionsBoundary"] = boundary


def refer_to_secrets_by_arn() -> None:
    """Let `Ref` of a secret be its ARN, as in CloudFormation; MiniStack's is the name."""
    create, update, delete = create_of(SECRET), update_of(SECRET), delete_of(SECRET)

    def name_of(arn: str) -> str:
        names: list[str] = [name for name, secret in secretsmanager._secrets.items() if secret["ARN"] == arn]
        return names[0]

    def create_by_arn(logical_id: str, properties: Properties, stack: str) -> Made:
        _, attributes = create(logical_id, properties, stack)
        return attributes["Arn"], attributes

    def update_by_arn(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Made:
        _, attributes = update(name_of(physical_id), old, new, stack, logical_id)
        return attributes["Arn"], attributes

    def delete_by_arn(physical_id: str, properties: Properties) -> None:
        delete(name_of(physical_id), properties)

    register(SECRET, create=create_by_arn, update=update_by_arn, delete=delete_by_arn)


def honour_excluded_punctuation() -> None:
    """Generate secrets without punctuation if the template asks for it."""
    make = provisioners._sm_secret_string

    def without_punctuation(properties: Properties) -> str:
        generate = properties.get("GenerateSecretString", {})
        if generate.get("ExcludePunctuation"):
            properties = {**properties, "GenerateSecretString": {**generate, "ExcludeCharacters": string.punctuation}}
        return str(make(properties))

    provisioners._sm_secret_string = without_punctuation


def keep_event_buses_with_rules() -> None:
    """Refuse to delete an event bus that has rules, as EventBridge does."""
    delete = delete_of(EVENT_BUS)

    def delete_if_empty(physical_id: str, properties: Properties) -> None:
        if any(rule["EventBusName"] == physical_id for rule in eventbridge._rules.values()):
            message = "EventBus can't be deleted since it has rules."
            raise ValueError(message)
        delete(physical_id, properties)

    register(EVENT_BUS, delete=delete_if_empty)


def nothing(logical_id: str, _properties: Properties, stack: str) -> Made:
    """Create a resource that does nothing: CodeDeploy shifts no traffic here, aliases move at once."""
    return re.sub(r"[^A-Za-z0-9-]", "", f"{stack}-{logical_id}"), {}


def nothing_new(physical_id: str, _old: Properties, _new: Properties, _stack: str, _logical_id: str) -> Made:
    """Update such a resource."""
    return physical_id, {}
