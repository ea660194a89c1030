"""SAM's own parser of `parameter_overrides`, run in the Python that SAM is installed in.

SAM cuts a value at a space or a quote, and deploys the rest without a warning. This program rejects every value that
SAM would change, and prints the line that SAM reads unchanged. It reads a JSON list from stdin, and writes one to
stdout. Each item has `parameters` and `arguments` for SAM's command line, or `error`.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from samcli.cli.types import CfnParameterOverridesType, _flatten_list, _unquote_wrapped_quotes
from samcli.yamlhelper import yaml_parse

from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JSON_OBJECTS: Final = ("ReturnTargets",)
_ONE = re.compile(r"(?:ParameterKey=)?([A-Za-z0-9]+)(?:=|,ParameterValue=)(.*)", re.DOTALL)
_ANOTHER = re.compile(r"\s[A-Za-z0-9]+=")


class ChangedError(Exception):
    """SAM would change a value; the text is one line that states what to write instead."""


class Parser(CfnParameterOverridesType):  # type: ignore[misc]  # SAM is installed elsewhere
    """SAM's parser; it gets everything that SAM reads, files included, and checks it first."""

    def convert(
        self,
        values: Any,  # noqa: ANN401 - as in SAM
        param: click.Parameter | None,
        ctx: click.Context | None,
        seen_files: set[Path] | None = None,
        current_file: Path | None = None,
    ) -> dict[str, str]:
        """Return the parameters.

        Raises:
            ChangedError: SAM would change one.
            click.ClickException: SAM rejects them.
        """
        for value in _flatten_list([values]):
            if isinstance(value, str) and not value.startswith("file://"):
                self._whole(value)
            elif isinstance(value, dict):
                self._typed(value)
        parameters: dict[str, str] = super().convert(values, param, ctx, seen_files, current_file)
        return parameters

    def _whole(self, text: str) -> None:
        """Reject a text of which SAM would drop a part."""
        written = f" {text.strip()}"
        pattern = next((each for each in self.ordered_pattern_match if re.search(each, written)), None)
        left_out = re.sub(pattern, "", written).strip() if pattern else text.strip()
        if not left_out:
            return
        message = f"SAM would leave {left_out!r} out of {text.strip()!r}."
        one = _ONE.fullmatch(text.strip())
        if one and not _ANOTHER.search(one[2]):
            name, value = one[1], one[2]
            message += f" Write it as {toml(quoted(name, value))}, or in a table as {name} = {toml(value)}"
        else:
            message += " Give each parameter an entry of its own, with its value in single quotes."
        raise ChangedError(message)

    @staticmethod
    def _typed(table: Mapping[str, Any]) -> None:
        """Reject a value that SAM would write in Python's notation, or without its quotes and backslashes."""
        for name, value in table.items():
            if isinstance(value, bool):
                message = f'SAM would change {name} to {str(value)!r}. Write it as {name} = "{str(value).lower()}"'
            elif isinstance(value, dict):
                written = toml(json.dumps(value, ensure_ascii=False, default=str))
                message = f"SAM would not convert the table {name} to JSON. Write it as {name} = {written}"
            elif isinstance(value, str) and name != "$include" and _unquote_wrapped_quotes(value) != value:
                message = (
                    f"SAM would change {name} to {_unquote_wrapped_quotes(value)!r}: write it without these quotes."
                )
            else:
                continue
            raise ChangedError(message)


def quoted(name: str, value: str) -> str:
    """Return a text quoted so that SAM reads it unchanged."""
    if "'" not in value:
        return f"{name}='{value}'"
    return '{}="{}"'.format(name, value.replace('"', '\\"'))


def toml(text: str) -> str:
    """Return a text in TOML's notation; a JSON string is valid TOML, too."""
    return f"'{text}'" if "'" not in text and text.isprintable() else json.dumps(text, ensure_ascii=False)


def read(values: object, declared: Mapping[str, object]) -> dict[str, str]:
    """Return the parameters as CloudFormation will get them.

    Args:
        values: `parameter_overrides`, in any form that SAM accepts: a text, a list, a table, a file://.
        declared: the template's parameters.

    Raises:
        ChangedError: SAM would change one, or the template does not declare it, which SAM does not report.
        click.ClickException: SAM rejects them.
    """
    parameters = Parser().convert(values, None, None)
    for name, value in parameters.items():
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1)
            message = f"template.yaml has no parameter {name}." + (f" Did you mean {near[0]}?" if near else "")
            raise ChangedError(message)
        if name in JSON_OBJECTS and not _is_object(value):
            message = f"{name} is not a JSON object as parsed by SAM: {value!r}"
            raise ChangedError(message)
        if Parser().convert((quoted(name, value),), None, None) != {name: value}:
            message = f"SAM cannot pass {name}={value!r} unchanged: it has backslashes before quotes, or at its end."
            raise ChangedError(message)
    return parameters


def _is_object(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False


def parse(values: object, declared: Mapping[str, object]) -> dict[str, object]:
    """Return `parameters` and `arguments`, or `error`, for one `parameter_overrides`."""
    try:
        parameters = read(values, declared)
    except ChangedError as error:
        return {"error": str(error)}
    except click.ClickException as error:
        return {"error": error.format_message()}
    return {"parameters": parameters, "arguments": [quoted(name, value) for name, value in parameters.items()]}


def main() -> None:
    """Convert each item of the list."""
    declared = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]
    json.dump([parse(values, declared) for values in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
