"""Checks whether return targets that are web pages open the app on a phone that has it.

They do if their host serves a file that names the app: one for iOS (universal links), one for Android (App Links). A
page for the browser needs neither, so a missing file is fine. On Android, the app's manifest decides which paths it
opens; this check cannot see it.

Sources: Apple, "Supporting associated domains" and "applinks"; Google, "Creating a Statement List" and "Statement List
Syntax" of Digital Asset Links.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from tools.doctor.finding import Finding, fine, inconclusive, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

TIMEOUT: Final = timedelta(seconds=5)
APPLE: Final = "/.well-known/apple-app-site-association"
ANDROID: Final = "/.well-known/assetlinks.json"
OPENS_LINKS: Final = "delegate_permission/common.handle_all_urls"

AppId = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{10}\..+$")]
Fingerprint = Annotated[str, StringConstraints(pattern="^([0-9A-F]{2}:){31}[0-9A-F]{2}$")]
_Content = TypeVar("_Content")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Rule(_Part):
    """One entry of `components`: a pattern of addresses."""

    path: str = Field(default="*", alias="/")
    query: str | dict[str, str] = Field(default="*", alias="?")
    fragment: str = Field(default="*", alias="#")
    exclude: bool = False
    is_case_sensitive: bool = Field(default=True, alias="caseSensitive")

    def fits(self, path: str) -> bool | None:
        """Return whether a path without fragment matches; None if the path alone does not decide it."""
        if "%" in path + self.path or "$(" in self.path:
            return None
        pattern = re.escape(self.path).replace(r"\*", ".*").replace(r"\?", ".")
        if self.fragment.strip("*") or not re.fullmatch(pattern, path, 0 if self.is_case_sensitive else re.IGNORECASE):
            return False
        return True if self.query == "*" else None


class Details(_Part):
    """Apps, and the paths they open: `components`, or `paths` for iOS 12 and before."""

    apps: Annotated[list[AppId], BeforeValidator(lambda ids: [ids] if isinstance(ids, str) else ids)] = Field(
        validation_alias=AliasChoices("appIDs", "appID"), min_length=1
    )
    components: list[Rule] | None = None
    paths: list[str] | None = None
    defaults: dict[str, Any] = {}

    def opens(self, path: str) -> bool | None:
        """Return whether the apps open a path, by the first rule that matches; None if it cannot be determined."""
        rules = self.components
        if rules is None and self.paths is not None:
            old = [{"/": each.removeprefix("NOT "), "exclude": each.startswith("NOT ")} for each in self.paths]
            rules = [Rule.model_validate(each) for each in old]
        if rules is None or self.defaults:
            return None
        for rule in rules:
            fits = rule.fits(path)
            if fits is not False:
                return fits and not rule.exclude
        return False


class Universal(_Part):
    """The content of `applinks`."""

    details: list[Details] = []
    defaults: dict[str, Any] = {}

    def opens(self, path: str) -> bool | None:
        """Return whether an app opens a path; None if it cannot be determined."""
        results = {None if self.defaults else each.opens(path) for each in self.details}
        return True if True in results else None if None in results else False


class Association(_Part):
    """The links part of an apple-app-site-association."""

    applinks: Universal = Universal()


class Target(_Part):
    """The app or site that a statement applies to."""

    namespace: str
    package_name: str = ""
    sha256_cert_fingerprints: list[Fingerprint] = []

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.namespace == "android_app" and not (self.package_name and self.sha256_cert_fingerprints):
            message = "an android_app has a package_name and sha256_cert_fingerprints"
            raise ValueError(message)
        return self


class Statement(_Part):
    """One statement of assetlinks.json; `include` names a further list, which is not read."""

    relation: list[str] = []
    target: Target = Target(namespace="")
    include: str | None = None


def check(http: httpx.Client, pages: Sequence[str], packages: AbstractSet[str]) -> Iterator[Finding]:
    """Check the app link files of the pages' hosts.

    Args:
        http: the client to use.
        pages: the return targets' addresses, of hosts that respond.
        packages: the Android apps that other return targets name.
    """
    paths: dict[str, list[str]] = {}
    for parts in map(urlsplit, pages):
        paths.setdefault(f"{parts.scheme}://{parts.netloc}", []).append(parts.path or "/")
    for site, its_paths in paths.items():
        host = urlsplit(site).netloc
        ios = _universal_links(http, f"Universal links of {host}", site + APPLE, its_paths)
        android = _app_links(http, f"App Links of {host}", site + ANDROID, packages)
        if ios or android:
            yield ios or fine(f"Universal links of {host}", "none: iOS opens return targets there in the browser")
            yield android or fine(f"App Links of {host}", "none: Android opens return targets there in the browser")
        else:
            message = "none: phones open return targets there in the browser (requirements: docs/return-targets.md)"
            yield fine(f"Links into apps of {host}", message)


def _universal_links(http: httpx.Client, what: str, url: str, paths: Sequence[str]) -> Finding | None:
    """Return the state of iOS universal links; None if there are none."""
    found = _read(http, what, url, TypeAdapter(Association))
    if not isinstance(found, Association):
        return found
    links = found.applinks
    if not links.details:
        return None
    apps = ", ".join(sorted({app for each in links.details for app in each.apps}))
    opened = {path: links.opens(path) for path in paths}
    if closed := [path for path, opens in opened.items() if opens is False]:
        remedy = "Add the path if the app should open it. A page for the browser needs nothing."
        return inconclusive(what, f"{url} lets {apps} open other paths, not {', '.join(closed)}", remedy)
    if None in opened.values():
        return fine(what, f"{url} names {apps}; its paths can only be tested on a phone")
    return fine(what, f"{url} lets {apps} open {', '.join(opened)}")


def _app_links(http: httpx.Client, what: str, url: str, packages: AbstractSet[str]) -> Finding | None:
    """Return the state of Android App Links; None if there are none."""
    found = _read(http, what, url, TypeAdapter(list[Statement]))
    if not isinstance(found, list):
        return found
    targets = [each.target for each in found if OPENS_LINKS in each.relation]
    named = {each.package_name for each in targets if each.namespace == "android_app"}
    apps = ", ".join(sorted(named))
    if any(each.include for each in found):
        return fine(what, f"{url} names {apps or 'no app'}, and includes further lists, which were not checked")
    if named and (unnamed := packages - named):
        remedy = "Add the app if it should open return targets there. With its own scheme it needs no file."
        return inconclusive(what, f"{url} names {apps}, not the android_package {', '.join(sorted(unnamed))}", remedy)
    return fine(what, f"{url} names {apps}") if named else None


def _read(  # noqa: PLR0911 - one return per rule
    http: httpx.Client, what: str, url: str, shape: TypeAdapter[_Content]
) -> _Content | Finding | None:
    """Return a file's content, or a finding about it; None if there is no file."""
    try:
        response = http.get(url, timeout=TIMEOUT.total_seconds(), follow_redirects=False)
    except httpx.TransportError as error:
        return inconclusive(what, f"{url} cannot be reached: {error}")
    further = response.next_request
    if further and further.url.path.rstrip("/").endswith(url.rpartition("/")[2]):
        return wrong(
            what, f"{url} redirects to {further.url}", "Serve the file there itself: phones do not follow redirects."
        )
    if response.is_server_error:
        return inconclusive(what, f"{url} returns {response.status_code}")
    # For missing files, many sites redirect to a login or respond with their start page.
    if response.status_code != httpx.codes.OK or response.content.lstrip().startswith(b"<"):
        return None
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if url.endswith(ANDROID) and media_type != "application/json":
        return wrong(what, f"{url} has the content type {media_type!r}", "Android accepts application/json only.")
    try:
        return shape.validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        return wrong(what, f"{url}: {where}: {first['msg']}", "docs/return-targets.md shows its required content.")
