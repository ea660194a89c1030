"""DynamoDB's attribute values, {"S": "text"} and the like, from and to what Python calls the same.

boto3's own serializer would bring all of boto3 with it: a tenth of a cold start, of which nothing else is used.
"""

from collections.abc import Mapping
from typing import Any

AttributeValue = dict[str, Any]


def serialize(value: object) -> AttributeValue:  # noqa: PLR0911 - one kind, one line
    """An attribute value. Numbers are integers, sets are sets of texts.

    Raises:
        TypeError: our items hold nothing of this kind.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(int(value))}
        case Mapping():
            return {"M": {name: serialize(each) for name, each in value.items()}}
        case list() | tuple():
            return {"L": [serialize(each) for each in value]}
        case set() | frozenset() if value:
            return {"SS": sorted(map(str, value))}
    message = f"{type(value).__name__} cannot be kept in DynamoDB."
    raise TypeError(message)


def deserialize(attribute: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever was kept
    """What an attribute value stands for.

    Raises:
        TypeError: our items hold nothing of this kind.
    """
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return int(value)
        case "M":
            return {name: deserialize(each) for name, each in value.items()}
        case "L":
            return [deserialize(each) for each in value]
        case "SS":
            return set(value)
        case "NULL":
            return None
    message = f"An attribute of type {kind} is none of ours."
    raise TypeError(message)
