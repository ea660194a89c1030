"""NotifyUrl: the template's own resources for it, without the functions, send events to an HTTPS endpoint."""

import json
import re
from typing import Any
from uuid import uuid4

import trustme

from local.notifications import KEY_HEADER
from tests.support import cloudformation
from tests.support.account import Account
from tests.support.documents import blocks, section
from tests.support.https_endpoint import https_endpoint
from tests.support.waiting import eventually

PARAMETERS = ("NotifyUrl", "NotifyKeyArn", "RegisterEventSchema", "AlarmTopicArn")
CONDITIONS = ("HasNotifyUrl", "MakeNotifyKey", "RegistersEventSchema", "HasAlarmTopic")


def part_of_the_template() -> dict[str, Any]:
    whole = cloudformation.parsed()
    kept = {
        name: resource
        for name, resource in whole["Resources"].items()
        if name == "EventBus" or resource.get("Condition") in ("HasNotifyUrl", "MakeNotifyKey", "RegistersEventSchema")
    }
    del kept["NotifyRole"]["Properties"]["PermissionsBoundary"]  # which names all other resources
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {name: whole["Parameters"][name] for name in PARAMETERS},
        "Conditions": {name: whole["Conditions"][name] for name in CONDITIONS},
        "Resources": kept,
        "Outputs": {"NotifyKeyArn": whole["Outputs"]["NotifyKeyArn"]},
    }


class Stack:
    """A stack of this part."""

    def __init__(self, account: Account) -> None:
        self.name = f"notify-{uuid4().hex[:8]}"
        self._account = account
        self._client = account.client("cloudformation")

    def deploy(self, *, is_new: bool = False, **parameters: str) -> None:
        act = self._client.create_stack if is_new else self._client.update_stack
        act(
            StackName=self.name,
            TemplateBody=json.dumps(part_of_the_template()),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        expected = "CREATE_COMPLETE" if is_new else "UPDATE_COMPLETE"
        assert eventually(self._status) == expected, self._client.describe_stack_events(StackName=self.name)

    def _status(self) -> str:
        status = str(self._stack()["StackStatus"])
        return "" if status.endswith("_IN_PROGRESS") else status

    def _stack(self) -> dict[str, Any]:
        stack: dict[str, Any] = self._client.describe_stacks(StackName=self.name)["Stacks"][0]
        return stack

    def types(self) -> set[str]:
        resources = self._client.describe_stack_resources(StackName=self.name)["StackResources"]
        return {each["ResourceType"] for each in resources if each["ResourceStatus"] != "DELETE_COMPLETE"}

    def key(self) -> str:
        [output] = self._stack()["Outputs"]
        stored = self._account.client("secretsmanager").get_secret_value(SecretId=output["OutputValue"])
        return str(json.loads(stored["SecretString"])["key"])

    def publish(self, detail: dict[str, Any]) -> None:
        entry = {"EventBusName": self.name, "Source": "terra-connections", "DetailType": detail["type"]}
        answer = self._account.client("events").put_events(Entries=[{**entry, "Detail": json.dumps(detail)}])
        assert answer["FailedEntryCount"] == 0

    def delete(self) -> None:
        self._client.delete_stack(StackName=self.name)


def test_the_endpoint_gets_whole_events_with_the_key_until_the_url_is_removed(
    account: Account, authority: trustme.CA
) -> None:
    stack = Stack(account)
    first, second, third = [json.loads(text) for text in blocks(section("docs/events.md", "Samples"), "json")][:3]
    with https_endpoint(authority) as (url, received):
        stack.deploy(is_new=True, NotifyUrl=url)
        assert {"AWS::Events::ApiDestination", "AWS::SQS::QueuePolicy", "AWS::EventSchemas::Schema"} <= stack.types()
        stack.publish(first)
        [request] = eventually(lambda: received)
        assert (request["body"]["source"], request["body"]["detail-type"]) == ("terra-connections", "connected")
        assert request["body"]["detail"] == first
        key = stack.key()
        assert re.fullmatch(r"[A-Za-z0-9]{48}", key)
        assert request["headers"][KEY_HEADER.lower()] == key

        secrets = account.client("secretsmanager")
        new = secrets.create_secret(Name=f"NotifyKey-{uuid4().hex[:8]}", SecretString='{"key": "the-next-key"}')["ARN"]
        stack.deploy(NotifyUrl=url, NotifyKeyArn=new)
        stack.publish(second)
        [request] = eventually(lambda: received[1:])
        assert request["headers"][KEY_HEADER.lower()] == "the-next-key"

        stack.deploy(RegisterEventSchema="false")
        assert stack.types() == {"AWS::Events::EventBus"}
        stack.publish(third)
        stack.delete()
    assert len(received) == 2
