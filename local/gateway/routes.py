"""Selects the route for a request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from local.gateway.template import DEFAULT_ROUTE, RouteSpec

_ANY: Final = "ANY"
_LITERAL, _PARAMETER, _GREEDY = range(3)


@dataclass(frozen=True, slots=True)
class Match:
    """A route and the values of its path parameters."""

    route: RouteSpec
    parameters: Mapping[str, str]


class Routes:
    """The routes of an API, most specific first.

    API Gateway prefers a full match over one with `{parameter}`, that one over `{proxy+}`, and all over `$default`;
    at equal paths the named method over `ANY`. A method that a matching route lacks falls through to the next route.
    """

    def __init__(self, routes: Iterable[RouteSpec]) -> None:
        self._routes = sorted(routes, key=_specificity)

    def find(self, method: str, path: str) -> Match | None:
        """The route for a decoded path."""
        for route in self._routes:
            if route.path == DEFAULT_ROUTE:
                return Match(route, {})
            if route.method in {method, _ANY}:
                parameters = _match(route.path, path)
                if parameters is not None:
                    return Match(route, parameters)
        return None


def _kind(segment: str) -> int:
    if segment.startswith("{") and segment.endswith("+}"):
        return _GREEDY
    return _PARAMETER if segment.startswith("{") and segment.endswith("}") else _LITERAL


def _specificity(route: RouteSpec) -> tuple[bool, tuple[int, ...], bool]:
    kinds = tuple(_kind(segment) for segment in route.path.split("/"))
    # A longer path precedes the shorter greedy one that covers it: segments are compared one by one.
    return route.path == DEFAULT_ROUTE, kinds, route.method == _ANY


def _match(pattern: str, path: str) -> dict[str, str] | None:
    parameters: dict[str, str] = {}
    segments = path.split("/")
    patterns = pattern.split("/")
    for index, part in enumerate(patterns):
        kind = _kind(part)
        if kind == _GREEDY:
            rest = "/".join(segments[index:])
            return {**parameters, part[1:-2]: rest} if rest else None
        if index >= len(segments):
            return None
        if kind == _PARAMETER and segments[index]:
            parameters[part[1:-1]] = segments[index]
        elif part != segments[index]:
            return None
    return parameters if len(segments) == len(patterns) else None
