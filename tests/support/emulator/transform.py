"""SAM's transform with the values of the stack's parameters, which MiniStack does not pass on."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from ministack.services.cloudformation import changesets, engine, handlers
from samtranslator.translator import transform

_VALUES: ContextVar[Mapping[str, str]] = ContextVar("values", default={})  # noqa: B039 - never modified


def install() -> None:
    """Replace the transform."""
    by_sam, apply = transform.transform, engine._apply_transforms

    def with_values(template: dict[str, Any], parameters: dict[str, Any], loader: object) -> dict[str, Any]:
        transformed: dict[str, Any] = by_sam(template, {**parameters, **_VALUES.get()}, loader)
        return transformed

    def apply_with_values(template: dict[str, Any], given: object = None, previous: object = None) -> dict[str, Any]:
        token = _VALUES.set(engine._transform_parameters(template, given, previous))
        try:
            applied: dict[str, Any] = apply(template, given, previous)
        finally:
            _VALUES.reset(token)
        return applied

    transform.transform = with_values
    for module in (engine, changesets, handlers):
        module._apply_transforms = apply_with_values
