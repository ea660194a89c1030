"""The documentation site: its links, its pages compared with their sources, llms.txt, and its requests."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from markdown_it import MarkdownIt
from playwright.sync_api import expect

from terra_connections import problems
from tests.support import site as documentation
from tests.support.chromium import DESKTOP, OpenPage
from tools.environment import ROOT

TIMEOUT = 30_000
OUTSIDE_DOCS = {
    "index": "README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "simulator": "simulator/README.md",
    "client-python": "clients/python/README.md",
    "client-typescript": "clients/typescript/README.md",
}
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href"}
"""The attributes whose URLs a browser requests by itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    documentation.build(place)
    return place


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, BeautifulSoup]:
    """The pages, by their paths without the suffix."""
    found = [path for path in site.rglob("*.html") if path.name not in ("404.html", "oauth2-redirect.html")]
    return {
        path.relative_to(site).as_posix().removesuffix(".html"): BeautifulSoup(path.read_text(), "html.parser")
        for path in found
        if not path.name.startswith("swagger-")
    }


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def source(name: str) -> str:
    return (ROOT / OUTSIDE_DOCS.get(name, f"docs/{name}.md")).read_text()


def urls(page: BeautifulSoup, kinds: dict[str, str]) -> list[str]:
    return [str(found[name]) for tag, name in kinds.items() for found in page.find_all(tag) if found.get(name)]


def test_every_document_has_a_page(pages: dict[str, BeautifulSoup]) -> None:
    documents = {
        path.relative_to(ROOT / "docs").as_posix().removesuffix(".md") for path in (ROOT / "docs").rglob("*.md")
    }
    assert documents | OUTSIDE_DOCS.keys() | {"decisions/index"} == pages.keys()


def test_every_link_leads_to_a_page_and_a_heading_of_the_site(site: Path, pages: dict[str, BeautifulSoup]) -> None:
    broken = []
    for name, page in pages.items():
        here = site / f"{name}.html"
        for url in urls(page, {"a": "href", **LOADED}):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
            if target.is_dir():
                target /= "index.html"
            there = (
                pages.get(target.relative_to(site).as_posix().removesuffix(".html"))
                if target.suffix == ".html"
                else None
            )
            if not target.is_file() or (parts.fragment and there and not there.find(id=unquote(parts.fragment))):
                broken.append((name, url))
    assert broken == []


def test_a_page_has_the_lists_tables_and_code_blocks_of_its_source(pages: dict[str, BeautifulSoup]) -> None:
    # MkDocs and GitHub read Markdown differently: a list needs a blank line before it, and four spaces inside of it.
    github = MarkdownIt("gfm-like", {"linkify": False})
    differs = {}
    for name in pages.keys() - {"decisions/index"}:
        article = pages[name].find("article")
        assert isinstance(article, Tag)
        expected = BeautifulSoup(github.render(source(name)), "html.parser")
        for tag in ("li", "table", "pre", "h2", "h3"):
            counted = (len(expected.find_all(tag)), len(article.find_all(tag)))
            if counted[0] != counted[1]:
                differs[name, tag] = counted
    assert differs == {}


def test_every_problem_has_a_heading_that_type_leads_to(pages: dict[str, BeautifulSoup]) -> None:
    # `type` is ProblemsUrl with the code as its fragment.
    for _, code, _ in problems.TABLE.values():
        heading = pages["problems"].find(id=code)
        assert heading is not None, code
        assert code in heading.get_text()


def test_llms_txt_lists_every_page_of_the_navigation(site: Path) -> None:
    class Loader(yaml.SafeLoader):
        """Reads mkdocs.yml."""

    text = (site / "llms.txt").read_text()
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", text, re.MULTILINE)
    navigation = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]  # noqa: S506  # a SafeLoader
    in_sections = [
        name
        for item in navigation
        for section in item.values()
        if isinstance(section, list)
        for page in section
        for name in page.values()
    ]
    assert listed == in_sections
    assert text.startswith("# Terra Connections\n\n> ")
    for name in listed:
        assert (site / name).read_text().startswith("# "), name


def test_the_site_loads_nothing_from_another_host(
    chromium: OpenPage, address: str, pages: dict[str, BeautifulSoup]
) -> None:
    elsewhere = {name: [url for url in urls(page, LOADED) if urlsplit(url).netloc] for name, page in pages.items()}
    # The canonical address and the like are absent, because the site has no address of its own.
    assert {name: found for name, found in elsewhere.items() if found} == {}
    page = chromium(**DESKTOP)
    requested: list[str] = []
    errors: list[str] = []
    page.context.on("request", lambda request: requested.append(request.url))
    page.context.on("weberror", lambda error: errors.append(str(error.error)))
    page.goto(f"{address}/index.html")
    expect(page.get_by_role("img", name=re.compile("^The demo app"))).to_be_visible()
    search = page.get_by_role("textbox", name="Search")
    search.click()
    search.press_sequentially("sdk_only_provider")
    expect(page.locator(".md-search-result__link").first).to_be_visible(timeout=TIMEOUT)
    page.goto(f"{address}/api.html")
    reference = page.frame_locator("iframe")
    expect(reference.get_by_text("Start connecting a wearable")).to_be_visible(timeout=TIMEOUT)
    reference.get_by_text("Start connecting a wearable").click()
    expect(reference.get_by_text("auth_url").first).to_be_visible(timeout=TIMEOUT)
    assert {url for url in requested if not url.startswith((f"{address}/", "data:", "blob:"))} == set()
    assert errors == []
