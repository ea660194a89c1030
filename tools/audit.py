"""`make audit`: check every locked package for known vulnerabilities, and write the artefacts' bill of materials.

Exits with 0 if every package was looked up and none has a known vulnerability, with 1 if one has or the audit failed,
and with 3 if not every package could be looked up. A package that could not be looked up never counts as clean.

Runs in an environment of its own (requirements/audit.txt), started by `tools.setup audit`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tools import build
from tools.environment import ROOT
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NOT_AUDITED: Final = 3
SOURCES: Final = ("pypi", "osv")
SBOM: Final = ROOT / "build" / "sbom.cdx.json"

_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


class Package(NamedTuple):
    """One version of one package."""

    name: str
    version: str


class Found(NamedTuple):
    """A source's result: vulnerabilities by package, and the packages that it could not look up, with the reason."""

    vulnerable: Mapping[Package, Sequence[Mapping[str, Any]]]
    not_looked_up: Mapping[Package, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit, write the bill of materials and print the result."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("--lock", type=Path, nargs="+", help="locks to audit instead of all of this project")
    parser.add_argument("--osv-url", help="query only this OSV API")
    parser.add_argument("--sbom", type=Path, default=SBOM, help="file for the bill of materials (CycloneDX)")
    options = parser.parse_args(arguments)
    if options.lock is None:
        from tools import sbom  # noqa: PLC0415 - it needs libraries that only this program's own environment has

        try:
            say(sbom.write(options.sbom))
        except build.BuildError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    locks = options.lock or every_lock()
    pinned = packages_of(locks)
    sources = [("osv", options.osv_url)] if options.osv_url else [(name, None) for name in SOURCES]
    return report(pinned, len(locks), sources)


def every_lock() -> list[Path]:
    """Return the locks of the deployed packages and of every tool."""
    places = (ROOT / "layers", ROOT / "requirements", ROOT / "benchmarks")
    return sorted(path for place in places for path in place.rglob("*.txt") if "--hash=sha256:" in path.read_text())


def packages_of(locks: Iterable[Path]) -> dict[Package, list[Path]]:
    """Return every pinned package, with the locks that pin it."""
    pinned: dict[Package, list[Path]] = defaultdict(list)
    for lock in locks:
        for name, version in _PIN.findall(lock.read_text()):
            pinned[Package(re.sub(r"[-_.]+", "-", name).lower(), version)].append(lock)
    return dict(sorted(pinned.items()))


# --- vulnerabilities -------------------------------------------------------------------------------------------------


def report(pinned: Mapping[Package, Sequence[Path]], locks: int, sources: Sequence[tuple[str, str | None]]) -> int:
    """Query the first source that can be reached, and print its result."""
    reasons = []
    for source, url in sources:
        # Query one package first, so that an unreachable source is not queried for all of them.
        probe = next(iter(pinned))
        unreached = look_up([probe], source, url).not_looked_up
        if unreached:
            reasons.append(f"{source}: {unreached[probe]}")
            continue
        found = look_up(pinned, source, url)
        for package, vulnerabilities in found.vulnerable.items():
            where = ", ".join(_shown(lock) for lock in pinned[package])
            for each in vulnerabilities:
                fixed = ", ".join(each["fix_versions"]) or "no version yet"
                names = ", ".join([each["id"], *each.get("aliases", [])])
                say(f"{package.name} {package.version} ({where}): {names}; fixed in {fixed}")
        for package, reason in found.not_looked_up.items():
            say(f"NOT AUDITED: {package.name} {package.version}: {reason}")
        if found.vulnerable:
            say(f"{len(found.vulnerable)} of {len(pinned)} packages have known vulnerabilities.")
            return 1
        if found.not_looked_up:
            return NOT_AUDITED
        say(f"{len(pinned)} packages of {locks} locks were looked up ({source}): no known vulnerability.")
        return 0
    say(
        f"NOT AUDITED: no source of known vulnerabilities can be reached from here ({'; '.join(reasons)}). "
        f"The {len(pinned)} packages of {locks} locks were not checked."
    )
    return NOT_AUDITED


def look_up(packages: Iterable[Package], source: str, url: str | None) -> Found:
    """Query a source with pip-audit."""
    vulnerable: dict[Package, Sequence[Mapping[str, Any]]] = {}
    not_looked_up: dict[Package, str] = {}
    for some in with_distinct_names(packages):
        result = run(some, source, url)
        if isinstance(result, str):
            not_looked_up |= dict.fromkeys(some, result)
            continue
        entries = {entry["name"]: entry for entry in result["dependencies"]}
        for package in some:
            entry = entries.get(package.name, {})
            if "vulns" not in entry:
                not_looked_up[package] = entry.get("skip_reason", "pip-audit did not report on it")
            elif entry["vulns"]:
                vulnerable[package] = entry["vulns"]
    return Found(vulnerable, not_looked_up)


def with_distinct_names(packages: Iterable[Package]) -> Iterator[list[Package]]:
    """Split packages so that no part has two versions of one: pip-audit reads each part as a list of requirements."""
    by_name: dict[str, list[Package]] = defaultdict(list)
    for package in packages:
        by_name[package.name].append(package)
    for turn in range(max(map(len, by_name.values()), default=0)):
        yield [versions[turn] for versions in by_name.values() if turn < len(versions)]


def run(packages: Sequence[Package], source: str, url: str | None) -> dict[str, Any] | str:
    """Return pip-audit's report, or one line that states why it failed."""
    with tempfile.TemporaryDirectory() as scratch:
        pins, output = Path(scratch) / "pins.txt", Path(scratch) / "report.json"
        pins.write_text("".join(f"{package.name}=={package.version}\n" for package in packages))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps", "--disable-pip"]
        command += ["--vulnerability-service", source, *(["--osv-url", url] if url else []), "--aliases", "on"]
        command += ["--format", "json", "--output", str(output), "--progress-spinner", "off", "--timeout", "30"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command line
        try:
            result: dict[str, Any] = json.loads(output.read_text())
        except (OSError, ValueError):
            lines = done.stderr.strip().splitlines()
            return lines[-1] if lines else f"pip-audit ended with {done.returncode} without a message"
    return result


def _shown(lock: Path) -> str:
    return str(lock.relative_to(ROOT)) if lock.is_relative_to(ROOT) else str(lock)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
