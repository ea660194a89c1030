"""Function versions: Lambda publishes none if code and configuration are those of the latest version.

MiniStack compares revisions, and a function gets a new revision when the same code is uploaded to another key.
"""

from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

from tests.support.emulator.handlers import Made, Properties, register

VERSION = "AWS::Lambda::Version"
OF_A_VERSION = {"Description", "FunctionArn", "LastModified", "RevisionId", "Version"}


def install() -> None:
    """Register the check."""
    create = provisioners._lambda_version_create

    def create_if_changed(logical_id: str, properties: Properties, stack: str) -> Made:
        function = lambda_svc._functions.get(properties["FunctionName"].rpartition(":")[2])
        latest = max(function["versions"], key=int, default=None)
        if latest and content(function["versions"][latest]["config"]) == content(function["config"]):
            message = (
                f"A version for this Lambda function exists ( {latest} ). Modify the function to create a new version."
            )
            raise ValueError(message)
        made: Made = create(logical_id, properties, stack)
        return made

    provisioners._lambda_version_create = create_if_changed
    register(VERSION, create=create_if_changed)


def content(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return what makes two versions different: the hash of the code, and the configuration."""
    return {
        name: value
        for name, value in configuration.items()
        if name not in OF_A_VERSION and not name.startswith(("State", "LastUpdateStatus"))
    }
