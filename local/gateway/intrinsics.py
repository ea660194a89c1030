"""CloudFormation's intrinsic functions, resolved with a template's parameters and the physical ids of its resources.

The translator's own resolver knows neither conditions nor most functions, because CloudFormation evaluates them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

from local.template_file import TemplateError

ACCOUNT_ID: Final = "000000000000"

_SUB_VARIABLE: Final = re.compile(r"\$\{(!?)([^}]*)\}")
_DROPPED: Final = object()  # the value of AWS::NoValue: the entry with it is removed


class Resolver:
    """CloudFormation's intrinsic functions for the given parameters and physical ids."""

    def __init__(
        self,
        document: Mapping[str, object],
        parameters: Mapping[str, object],
        physical_ids: Mapping[str, str],
        region: str,
    ) -> None:
        """Prepare for a template.

        Args:
            document: The template.
            parameters: Values of all its parameters, as from `parameter_values`.
            physical_ids: Values of `Ref` for a resource (`Connections`) and `GetAtt` for an attribute
                (`Connections.Arn`); may grow later.
            region: The value of `AWS::Region`.
        """
        self._conditions = as_mapping(document.get("Conditions", {}), "Conditions")
        self._mappings = as_mapping(document.get("Mappings", {}), "Mappings")
        self._parameters = parameters
        self._physical_ids = physical_ids
        self._pseudo: dict[str, object] = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::NoValue": _DROPPED,
            "AWS::Partition": "aws",
            "AWS::Region": region,
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{ACCOUNT_ID}:stack/local/local",
            "AWS::StackName": "local",
            "AWS::URLSuffix": "amazonaws.com",
        }
        self._functions: dict[str, Callable[[object, str], object]] = {
            "Ref": self._ref,
            "Condition": self._condition_reference,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::FindInMap": self._find_in_map,
            "Fn::If": self._if,
            "Fn::Equals": self._equals,
            "Fn::Not": self._not,
            "Fn::And": self._and,
            "Fn::Or": self._or,
        }

    def resolve(self, value: object, where: str) -> object:
        """The value with every intrinsic function resolved; absent entries are removed."""
        if isinstance(value, list):
            resolved = [self.resolve(item, f"{where}[{index}]") for index, item in enumerate(value)]
            return [item for item in resolved if item is not _DROPPED]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name in self._functions:
                return self._functions[name](argument, where)
            if isinstance(name, str) and name.startswith("Fn::"):
                message = f"{where}: {name} is not supported by the local gateway"
                raise TemplateError(message)
        entries = {key: self.resolve(item, f"{where}.{key}") for key, item in value.items()}
        return {key: item for key, item in entries.items() if item is not _DROPPED}

    def is_met(self, condition: object, where: str) -> bool:
        """Whether the named condition of the template is true."""
        if not isinstance(condition, str) or condition not in self._conditions:
            message = f"{where}: there is no condition {condition}"
            raise TemplateError(message)
        return self._truth(self._conditions[condition], f"Conditions.{condition}")

    def _truth(self, value: object, where: str) -> bool:
        resolved = self.resolve(value, where)
        if isinstance(resolved, bool):
            return resolved
        message = f"{where}: not a condition"
        raise TemplateError(message)

    def _ref(self, name: object, where: str) -> object:
        for known in (self._pseudo, self._parameters, self._physical_ids):
            if isinstance(name, str) and name in known:
                return known[name]
        message = f"{where}: Ref {name}: neither a parameter nor a resource whose physical id is known here"
        raise TemplateError(message)

    def _get_att(self, argument: object, where: str) -> object:
        name = ".".join(as_text(part, where) for part in as_list(argument, where))
        if name in self._physical_ids:
            return self._physical_ids[name]
        message = f"{where}: GetAtt {name}: this attribute is not known here"
        raise TemplateError(message)

    def _sub(self, argument: object, where: str) -> str:
        pattern, own = argument, {}
        if isinstance(argument, list):
            pattern, variables = _arguments(argument, 2, where)
            own = as_mapping(self.resolve(variables, where), where)

        def replace(match: re.Match[str]) -> str:
            literal, name = match.group(1), match.group(2).strip()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return as_text(own[name], where)
            value = self._get_att(name.split(".", 1), where) if "." in name else self._ref(name, where)
            return as_text(value, f"{where} (${{{name}}})")

        return _SUB_VARIABLE.sub(replace, as_text(pattern, where))

    def _join(self, argument: object, where: str) -> str:
        delimiter, parts = _arguments(argument, 2, where)
        values = as_list(self.resolve(parts, where), where)
        return as_text(delimiter, where).join(as_text(value, where) for value in values)

    def _select(self, argument: object, where: str) -> object:
        index, choices = _arguments(argument, 2, where)
        values = as_list(self.resolve(choices, where), where)
        position = int(as_text(self.resolve(index, where), where))
        if 0 <= position < len(values):
            return values[position]
        message = f"{where}: Select {position} of {len(values)} values"
        raise TemplateError(message)

    def _split(self, argument: object, where: str) -> list[object]:
        delimiter, text = _arguments(argument, 2, where)
        return list(as_text(self.resolve(text, where), where).split(as_text(delimiter, where)))

    def _find_in_map(self, argument: object, where: str) -> object:
        found: object = self._mappings
        for key in _arguments(self.resolve(argument, where), 3, where):
            found = as_mapping(found, where).get(as_text(key, where))
        if found is not None:
            return found
        message = f"{where}: FindInMap {argument}: no such entry"
        raise TemplateError(message)

    def _if(self, argument: object, where: str) -> object:
        condition, yes, no = _arguments(argument, 3, where)
        return self.resolve(yes if self.is_met(condition, where) else no, where)

    def _condition_reference(self, argument: object, where: str) -> bool:
        return self.is_met(argument, where)

    def _equals(self, argument: object, where: str) -> bool:
        left, right = _arguments(argument, 2, where)
        return as_text(self.resolve(left, where), where) == as_text(self.resolve(right, where), where)

    def _not(self, argument: object, where: str) -> bool:
        (condition,) = _arguments(argument, 1, where)
        return not self._truth(condition, where)

    def _and(self, argument: object, where: str) -> bool:
        return all(self._truth(condition, where) for condition in as_list(argument, where))

    def _or(self, argument: object, where: str) -> bool:
        return any(self._truth(condition, where) for condition in as_list(argument, where))


def parameter_values(document: Mapping[str, object], given: Mapping[str, str]) -> dict[str, object]:
    """Return the values of all parameters of a template: the given ones, and the defaults of the others.

    Raises:
        TemplateError: A given parameter is unknown, or one without a default is missing.
    """
    declared = as_mapping(document.get("Parameters", {}), "Parameters")
    unknown = sorted(set(given) - set(declared))
    if unknown:
        message = f"the template has no parameter {', '.join(unknown)}"
        raise TemplateError(message)
    values: dict[str, object] = {}
    missing: list[str] = []
    for name, value in declared.items():
        declaration = as_mapping(value, f"Parameters.{name}")
        if name in given:
            values[name] = given[name]
        elif "Default" in declaration:
            values[name] = as_text(declaration["Default"], f"Parameters.{name}.Default")
        else:
            missing.append(name)
            continue
        if str(declaration.get("Type", "String")).startswith(("CommaDelimitedList", "List<")):
            values[name] = [part.strip() for part in str(values[name]).split(",")]
    if missing:
        message = f"no value for the parameters {', '.join(sorted(missing))}"
        raise TemplateError(message)
    return values


def as_mapping(value: object, where: str) -> dict[str, object]:
    """The value, which must be a mapping."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    message = f"{where}: a mapping was expected"
    raise TemplateError(message)


def as_list(value: object, where: str) -> list[object]:
    """The value, which must be a list."""
    if isinstance(value, list):
        return value
    message = f"{where}: a list was expected"
    raise TemplateError(message)


def _arguments(value: object, count: int, where: str) -> list[object]:
    values = as_list(value, where)
    if len(values) == count:
        return values
    message = f"{where}: {count} arguments were expected, not {len(values)}"
    raise TemplateError(message)


def as_text(value: object, where: str) -> str:
    """A scalar as CloudFormation passes it on: always text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | date):  # YAML has dates, CloudFormation has not
        return str(value)
    message = f"{where}: a text was expected, not {'nothing' if value is None else value}"
    raise TemplateError(message)
