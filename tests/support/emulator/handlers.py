"""MiniStack's handlers of CloudFormation resource types, and how to wrap them."""

from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]
"""The physical id of a resource (its Ref) and its attributes (for GetAtt)."""
Create = Callable[[str, Properties, str], Made]
"""Takes the logical id, the properties and the name of the stack."""
Update = Callable[[str, Properties, Properties, str, str], Made]
"""Takes the physical id, the old and the new properties, the name of the stack and the logical id."""
Delete = Callable[[str, Properties], None]

_BY_TYPE: dict[str, dict[str, Any]] = provisioners._RESOURCE_HANDLERS


def create_of(type_: str) -> Create:
    create: Create = _BY_TYPE[type_]["create"]
    return create


def update_of(type_: str) -> Update:
    update: Update = _BY_TYPE[type_]["update"]
    return update


def delete_of(type_: str) -> Delete:
    delete: Delete = _BY_TYPE[type_]["delete"]
    return delete


def register(
    type_: str, *, create: Create | None = None, update: Update | None = None, delete: Delete | None = None
) -> None:
    """Add or replace handlers of a resource type."""
    given = {"create": create, "update": update, "delete": delete}
    handlers = _BY_TYPE.setdefault(type_, {"update_with_logical_id": True})
    handlers |= {name: handler for name, handler in given.items() if handler is not None}


def check_before(type_: str, check: Callable[[Properties], None]) -> None:
    """Run a check of the properties before a resource is created or updated; an exception fails the deployment."""
    create, update = create_of(type_), update_of(type_)

    def checked_create(logical_id: str, properties: Properties, stack: str) -> Made:
        check(properties)
        return create(logical_id, properties, stack)

    def checked_update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Made:
        check(new)
        return update(physical_id, old, new, stack, logical_id)

    register(type_, create=checked_create, update=checked_update)


def do_after(type_: str, act: Callable[[str, Properties], None]) -> None:
    """Call `act` with the physical id and the properties after a resource was created or updated."""
    create, update = create_of(type_), update_of(type_)

    def create_and_act(logical_id: str, properties: Properties, stack: str) -> Made:
        made = create(logical_id, properties, stack)
        act(made[0], properties)
        return made

    def update_and_act(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Made:
        made = update(physical_id, old, new, stack, logical_id)
        act(made[0], new)
        return made

    register(type_, create=create_and_act, update=update_and_act)
