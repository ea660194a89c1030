"""Connections, API destinations and event schemas in stacks. MiniStack has the first two, but not in CloudFormation."""

import json
from typing import Any

from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

from tests.support.emulator.handlers import Made, Properties, register

CONNECTION, DESTINATION = "AWS::Events::Connection", "AWS::Events::ApiDestination"
REGISTRY, SCHEMA = "AWS::EventSchemas::Registry", "AWS::EventSchemas::Schema"


def install() -> None:
    """Register the handlers."""
    register(CONNECTION, create=create_connection, update=update_connection, delete=delete_connection)
    register(DESTINATION, create=create_destination, update=update_destination, delete=delete_destination)
    register(REGISTRY, create=create_registry, update=update_registry, delete=delete_nothing)
    register(SCHEMA, create=create_schema, update=update_schema, delete=delete_nothing)


def done(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - MiniStack's own type
    """Return the content of MiniStack's answer; an error fails the deployment."""
    status, _, body = answer
    content: dict[str, Any] = json.loads(body or b"{}")
    if status >= 400:
        raise ValueError(content)
    return content


def create_connection(logical_id: str, properties: Properties, stack: str) -> Made:
    name = provisioners._physical_name(stack, logical_id, max_len=64)
    return name, {"Arn": done(eventbridge._create_connection({**properties, "Name": name}))["ConnectionArn"]}


def update_connection(name: str, _old: Properties, new: Properties, _stack: str, _logical_id: str) -> Made:
    return name, {"Arn": done(eventbridge._update_connection({**new, "Name": name}))["ConnectionArn"]}


def delete_connection(name: str, _properties: Properties) -> None:
    done(eventbridge._delete_connection({"Name": name}))


def create_destination(logical_id: str, properties: Properties, stack: str) -> Made:
    name = provisioners._physical_name(stack, logical_id, max_len=64)
    return name, {"Arn": done(eventbridge._create_api_destination({**properties, "Name": name}))["ApiDestinationArn"]}


def update_destination(name: str, _old: Properties, new: Properties, _stack: str, _logical_id: str) -> Made:
    return name, {"Arn": done(eventbridge._update_api_destination({**new, "Name": name}))["ApiDestinationArn"]}


def delete_destination(name: str, _properties: Properties) -> None:
    done(eventbridge._delete_api_destination({"Name": name}))


def create_registry(_logical_id: str, properties: Properties, _stack: str) -> Made:
    """Create a registry, which has no contents here."""
    return properties["RegistryName"], {"RegistryName": properties["RegistryName"]}


def update_registry(_name: str, _old: Properties, new: Properties, stack: str, logical_id: str) -> Made:
    return create_registry(logical_id, new, stack)


def create_schema(_logical_id: str, properties: Properties, _stack: str) -> Made:
    """Check that a schema is JSON; nothing reads it here."""
    json.loads(properties["Content"])
    return f"{properties['RegistryName']}/{properties['SchemaName']}", {}


def update_schema(_name: str, _old: Properties, new: Properties, stack: str, logical_id: str) -> Made:
    return create_schema(logical_id, new, stack)


def delete_nothing(_name: str, _properties: Properties) -> None:
    """Delete a registry or a schema."""
