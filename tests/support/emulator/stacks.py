"""Stacks: states in which CloudFormation accepts no update, and names that are new for each stack."""

from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import handlers, helpers, provisioners

CREATE = "CreateChangeSet"
CANNOT_BE_UPDATED = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}


def install() -> None:
    """Replace what MiniStack does otherwise."""
    refuse_changes_after_a_rollback()
    generate_new_names_for_each_stack()


def refuse_changes_after_a_rollback() -> None:
    """Reject a change set for a stack whose creation was rolled back."""
    create = handlers._ACTION_HANDLERS[CREATE]

    def create_unless_rolled_back(parameters: Any) -> Any:  # noqa: ANN401 - MiniStack's own types
        stack = handlers._resolve_stack(helpers._p(parameters, "StackName"))
        if stack and stack["StackStatus"] in CANNOT_BE_UPDATED:
            message = f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be updated."
            return helpers._error("ValidationError", message)
        return create(parameters)

    handlers._ACTION_HANDLERS[CREATE] = create_unless_rolled_back


def generate_new_names_for_each_stack() -> None:
    """Derive the generated names of resources from the stack's id, too.

    MiniStack derives them from the stack's name alone: the table of a stack that is created again would have the name
    of the retained one, and would replace it.
    """
    generate = provisioners._physical_name

    def generate_for_stack(stack_name: str, logical_id: str, **options: Any) -> str:  # noqa: ANN401 - MiniStack's own
        stack = cloudformation._stacks.get(stack_name)
        seed = provisioners._NAME_SEED.get()
        token = provisioners._NAME_SEED.set(f"{seed}{stack['StackId']}" if stack else seed)
        try:
            return str(generate(stack_name, logical_id, **options))
        finally:
            provisioners._NAME_SEED.reset(token)

    provisioners._physical_name = generate_for_stack
