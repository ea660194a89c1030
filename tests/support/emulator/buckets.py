"""Buckets and archives in stacks, with the properties that MiniStack's CloudFormation lacks."""

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from ministack.services import eventbridge, s3
from ministack.services.cloudformation import provisioners

from tests.support.emulator.handlers import Made, Properties, create_of, register, update_of
from tests.support.emulator.notifications import done

BUCKET, ARCHIVE = "AWS::S3::Bucket", "AWS::Events::Archive"


def install() -> None:
    """Register the handlers."""
    create, update = create_of(BUCKET), update_of(BUCKET)

    def create_whole(logical_id: str, properties: Properties, stack: str) -> Made:
        made = create(logical_id, properties, stack)
        configure(made[0], properties)
        return made

    def update_whole(name: str, old: Properties, new: Properties, *more: str) -> Made:
        made: Made = update(name, old, new, *more)
        configure(made[0], new)
        return made

    register(BUCKET, create=create_whole, update=update_whole)
    register(ARCHIVE, create=create_archive, update=update_archive, delete=delete_archive)


def configure(bucket: str, properties: Properties) -> None:
    """Put the encryption, the lifecycle and the ownership of objects, as CloudFormation does."""
    if encryption := properties.get("BucketEncryption"):
        rules = encryption["ServerSideEncryptionConfiguration"]
        names = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
        s3._put_bucket_encryption(bucket, xml("ServerSideEncryptionConfiguration", rules, names))
    if lifecycle := properties.get("LifecycleConfiguration"):
        rules = [
            {
                "ID": rule["Id"],
                "Filter": {"Prefix": rule.get("Prefix", "")},
                "Status": rule["Status"],
                "Expiration": {"Days": rule["ExpirationInDays"]},
                "AbortIncompleteMultipartUpload": rule["AbortIncompleteMultipartUpload"],
            }
            for rule in lifecycle["Rules"]
        ]
        s3._put_bucket_lifecycle(bucket, xml("LifecycleConfiguration", rules, {}))
    if controls := properties.get("OwnershipControls"):
        s3._put_bucket_ownership_controls(bucket, xml("OwnershipControls", controls["Rules"], {}))


def xml(name: str, rules: list[Mapping[str, Any]], names: Mapping[str, str]) -> bytes:
    """Return rules as the body of a request to S3."""
    root = ET.Element(name, xmlns=s3.S3_NS)

    def add(parent: ET.Element, tag: str, value: object) -> None:
        element = ET.SubElement(parent, names.get(tag, tag))
        if isinstance(value, Mapping):
            for inner, each in value.items():
                add(element, inner, each)
        else:
            element.text = str(value).lower() if isinstance(value, bool) else str(value)

    for rule in rules:
        add(root, "Rule", rule)
    return ET.tostring(root)


def create_archive(logical_id: str, properties: Properties, stack: str) -> Made:
    name = properties.get("ArchiveName") or provisioners._physical_name(stack, logical_id, max_len=48)
    made = done(eventbridge._create_archive({**archive(properties), "ArchiveName": name}))
    return name, {"Arn": made["ArchiveArn"], "ArchiveName": name}


def update_archive(name: str, _old: Properties, new: Properties, _stack: str, _logical_id: str) -> Made:
    given = {key: value for key, value in archive(new).items() if key != "EventSourceArn"}
    return name, {"Arn": done(eventbridge._update_archive({**given, "ArchiveName": name}))["ArchiveArn"]}


def delete_archive(name: str, _properties: Properties) -> None:
    done(eventbridge._delete_archive({"ArchiveName": name}))


def archive(properties: Properties) -> dict[str, Any]:
    """Return the parameters of a request to EventBridge."""
    given = {name: value for name, value in properties.items() if name in ("Description", "RetentionDays")}
    pattern = json.dumps(properties.get("EventPattern", {}))
    return {**given, "EventSourceArn": properties["SourceArn"], "EventPattern": pattern}
