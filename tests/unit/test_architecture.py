"""The allowed imports: from a package of the layer to a lower one, and between the parts of the project."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tools.environment import ROOT

LAYER = ROOT / "layers/terra_connections/terra_connections"
LEVELS = (
    {"data_types", "errors", "ids", "metrics", "queue_messages", "step_queue", "unknown_name"},
    {"auth", "dynamodb", "request_body", "secret"},
    {"api_gateway", "users"},
    {"connections", "etag", "problems"},
    {"change_events", "terra"},
    {"data", "disconnect", "sessions", "sync"},
    {"erasure", "redirects", "webhooks"},
    {"reconciliation", "settings"},
    {"handler", "wiring"},
)
"""From the lowest to the highest. A new module or package is added to the lowest level above everything it imports."""
MOST_MODULES = 20
PARTS = {
    "layers": {"terra_connections"},
    "functions": {"terra_connections"},
    "tools": {"terra_connections", "tools"},
    "simulator": {"terra_simulator"},
    "examples": {"daily_summaries"},
    "local": {"daily_summaries", "local", "terra_simulator", "tools"},
}
"""The project's packages that each part may import."""


def package_of(module: str) -> str:
    return module.partition(".")[0]


def level_of(package: str) -> int:
    return next(level for level, packages in enumerate(LEVELS) if package in packages)


def modules() -> Iterator[tuple[str, Path]]:
    for path in LAYER.rglob("*.py"):
        name = ".".join(path.relative_to(LAYER).with_suffix("").parts).removesuffix("__init__")
        if name and not name.endswith("."):
            yield name, path


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_of_layer(path: Path) -> set[str]:
    known = {name for name, _ in modules()}
    names = {
        name.removeprefix("terra_connections.") for name in imported(path) if name.startswith("terra_connections.")
    }
    return {name if name in known else name.rpartition(".")[0] for name in names}


def test_every_package_of_the_layer_has_one_level() -> None:
    listed = sorted(package for packages in LEVELS for package in packages)
    there = sorted({package_of(name) for name, _ in modules()})
    assert listed == there, "LEVELS, above, lists each module and package of the layer once: add or remove it there"


def test_the_layer_imports_downwards_only() -> None:
    upwards = [
        f"{name} imports {other}"
        for name, path in modules()
        for other in imported_of_layer(path)
        if (package := package_of(name)) != (imported_package := package_of(other))
        and level_of(package) <= level_of(imported_package)
    ]
    assert upwards == [], "move what both need to a lower module, or move the importing package up in LEVELS"


def test_the_layer_has_no_import_cycle() -> None:
    arrows = {name: imported_of_layer(path) for name, path in modules()}
    assert len(list(TopologicalSorter(arrows).static_order())) == len(arrows)


def test_packages_of_the_layer_are_small_and_export_nothing() -> None:
    for folder in {path.parent for _, path in modules()}:
        assert len(list(folder.glob("*.py"))) - 1 <= MOST_MODULES, f"{folder} is too large: group some as a package"
        exports = "" if folder == LAYER else (folder / "__init__.py").read_text()
        assert exports == "", f"{folder}/__init__.py must be empty: every cold start would load what it imports"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_project_imports_only_allowed_packages(part: str) -> None:
    own_packages = {
        "daily_summaries",
        "terra_connections",
        "terra_simulator",
        "tests",
        "benchmarks",
        "functions",
        *PARTS,
    }
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / part).rglob("*.py")
        for name in imported(path)
        if (first := name.partition(".")[0]) in own_packages and first not in PARTS[part]
    }
    assert wrong == set(), "PARTS, above, lists what each part of the project may import"
