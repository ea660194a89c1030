"""The bill of materials of the artefacts: the packages of the built layers with their licences, as CycloneDX.

Runs in the environment of `tools.audit`.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Final

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tools import build
from tools.environment import ROOT

if TYPE_CHECKING:
    from importlib.metadata import Distribution
    from pathlib import Path

LAYERS: Final = ("DependenciesLayer", "AuthorizerDependenciesLayer")


def write(target: Path) -> str:
    """Write the bill of materials, and return a line that describes it.

    Raises:
        BuildError: Nothing has been built.
    """
    built = build.digest_of(build.contents())
    found: dict[tuple[str, str], tuple[Distribution, list[str]]] = {}
    for layer in LAYERS:
        for each in distributions(path=[str(build.BUILT / layer / "python")]):
            found.setdefault((each.metadata["Name"].lower(), each.version), (each, []))[1].append(layer)
    bom = Bom()
    bom.metadata.component = root = Component(
        name="terra-connections", type=ComponentType.APPLICATION, version=built[:16], bom_ref="terra-connections"
    )
    licences: Counter[str] = Counter()
    for (name, version), (distribution, layers) in sorted(found.items()):
        licence = licence_of(distribution)
        licences[licence] += 1
        bom.components.add(
            Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                purl=PackageURL("pypi", None, name, version),
                licenses=[LicenseFactory().make_from_string(licence)],
                properties=[Property(name="layer", value=layer) for layer in layers],
            )
        )
    bom.register_dependency(root, bom.components)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")
    counted = ", ".join(f"{licence} ({count})" for licence, count in licences.most_common())
    where = target.relative_to(ROOT) if target.is_relative_to(ROOT) else target
    return f"{len(found)} packages in the layers: {where} (CycloneDX). Licences: {counted}."


def licence_of(distribution: Distribution) -> str:
    """Return the licence that a package's metadata names."""
    metadata = distribution.metadata
    fields = [value for field in ("License-Expression", "License") for value in metadata.get_all(field, [])]
    named = [str(value) for value in fields if value and "\n" not in value]
    classifiers = [
        line for line in metadata.get_all("Classifier", []) if line.startswith("License :: OSI Approved :: ")
    ]
    named += [str(line).rpartition(" :: ")[2] for line in classifiers]
    return named[0] if named else "unknown"
