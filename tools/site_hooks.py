"""Hooks of MkDocs (mkdocs.yml): pages from outside docs/, links to files of the repository, and llms.txt.

The sources are written for the repository: their links are paths in it. On the site a link leads to the page of that
file, and a file that has no page is named instead. llms.txt (https://llmstxt.org) lists the pages as Markdown, by
relative links, because the address of the site is not known when it is built.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.nav import Navigation
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "simulator/README.md": "simulator.md",
    "clients/python/README.md": "client-python.md",
    "clients/typescript/README.md": "client-typescript.md",
    "openapi.yaml": "openapi.yaml",
    "docs/decisions": "decisions/index.md",
}
"""Files and folders outside docs/, or without a file of their own, and their places on the site."""
SOURCES: Final = {name: source for source, name in PAGES.items()}

_FENCED: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FIRST_SENTENCE: Final = re.compile(r"^(?![#|`<!>\-\[])(.+?[.:])(?:\s|$)", re.MULTILINE | re.DOTALL)

_texts: dict[str, str] = {}
_sections: list[tuple[str, list[Page]]] = []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of PAGES."""
    for source, name in PAGES.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, PAGES["docs/decisions"], content=decisions()))
    return files


def decisions() -> str:
    """Return a list of the decision records."""
    titles = {path.name: path.read_text().partition("\n")[0] for path in sorted((ROOT / "docs/decisions").glob("*.md"))}
    lines = [f"- [{title.removeprefix('# ')}]({name})" for name, title in titles.items()]
    return "\n".join(
        [
            "# Decisions",
            "",
            "Each record states the context of a decision, the decision, and its consequences.",
            "",
            *lines,
        ]
    )


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:  # noqa: ARG001  # MkDocs passes all
    """Keep the sections for llms.txt."""
    _sections[:] = [
        (item.title, [child for child in item.children if child.is_page]) for item in nav.items if item.is_section
    ]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # MkDocs passes all
    """Let the links of a page lead to pages of the site."""
    name = page.file.src_uri
    source = SOURCES.get(name, f"docs/{name}")
    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(lambda found: link(found, source, name), part) for part in parts[::2]]
    _texts[name] = "".join(parts)
    return _texts[name]


def link(found: re.Match[str], source: str, name: str) -> str:
    """Return a link of the file `source` as one of the page `name`."""
    label, target, fragment = found[1], found[2], found[3] or ""
    if name.startswith("decisions/index"):
        return found[0]
    path = normpath(join(dirname(source), target))
    place = PAGES.get(path)
    if place is None and path.startswith("docs/") and (ROOT / path).is_file():
        place = path.removeprefix("docs/")
    if place is not None:
        return f"[{label}]({relpath(place, dirname(name) or '.')}{fragment})"
    # MkDocs reports a path that does not exist.
    return f"{label} (`{path}`)" if (ROOT / path).exists() else found[0]


def on_post_build(config: MkDocsConfig) -> None:
    """Write each page's Markdown beside it, and llms.txt."""
    site = Path(config.site_dir)
    for name, text in _texts.items():
        (site / name).write_text(text)
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for title, pages in _sections:
        lines += ["", f"## {title}", ""]
        lines += [f"- [{page.title}]({page.file.src_uri}){summary(_texts[page.file.src_uri])}" for page in pages]
    (site / "llms.txt").write_text("\n".join(lines) + "\n")


def summary(text: str) -> str:
    """Return the first sentence of a page, without links."""
    found = _FIRST_SENTENCE.search(_FENCED.sub("", text))
    return ": " + " ".join(_LINK.sub(r"\1", found[1]).split()) if found else ""
