"""The site that `make docs` builds: each page has its place, each link leads somewhere, and nothing
is loaded from another host."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from attrs import define, field

from tests.real.processes import ROOT
from tools.site_pages import for_the_site, on_page_content

CONFIGURATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "object": "data"}
LINKED = {"stylesheet", "icon", "preconnect", "preload", "prefetch", "dns-prefetch", "manifest"}


@define(eq=False)
class Read(HTMLParser):
    """What a page of the site loads, links to and can be linked to by."""

    loads: list[str] = field(factory=list)
    links: list[str] = field(factory=list)
    ids: set[str] = field(factory=set)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in given}
        self.ids |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag in LOADED and LOADED[tag] in attributes:
            self.loads.append(attributes[LOADED[tag]])
        if tag == "link" and LINKED & set(attributes.get("rel", "").split()):
            self.loads.append(attributes["href"])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])


def read(path: Path) -> Read:
    found = Read()
    found.feed(path.read_text())
    return found


def in_navigation(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        for each in entries.values():
            yield from in_navigation(each)
    elif isinstance(entries, list):
        for each in entries:
            yield from in_navigation(each)


def test_each_page_has_its_place_in_the_navigation_once() -> None:
    assert sorted(in_navigation(CONFIGURATION["nav"])) == PAGES


def test_each_page_is_built(site: Path) -> None:
    assert len(PAGES) > 20
    assert [name for name in PAGES if not (site / name).with_suffix(".html").exists()] == []


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loaded = {(path.name, url) for path in site.glob("*.html") for url in read(path).loads}
    assert len(loaded) > 100
    assert [(page, url) for page, url in loaded if urlsplit(url).netloc] == []
    for sheet in site.rglob("*.css"):
        urls = re.findall(r"url\(\s*[\"']?([^)\"']+)", sheet.read_text())
        assert [url for url in urls if urlsplit(url).netloc] == [], sheet


def test_what_is_loaded_is_there(site: Path) -> None:
    for path in site.glob("*.html"):
        for url in read(path).loads:
            there = path.parent / unquote(urlsplit(url).path).lstrip("/")
            assert urlsplit(url).scheme == "data" or there.exists(), (path.name, url)


def test_each_link_leads_to_a_page_and_a_place_in_it(site: Path) -> None:
    pages = {path.name: read(path) for path in site.glob("*.html")}
    followed = 0
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or name == "404.html":
                continue
            followed += 1
            target = unquote(parts.path) or name
            assert (site / target).is_file(), (name, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, (name, link)
    assert followed > 500


def test_the_tables_of_pages_are_tables(site: Path) -> None:
    """GitHub is more lenient than the site: a table may follow a line of text there."""
    for path in site.glob("*.html"):
        assert not re.search(r"<p>[^<]*\| ?---", path.read_text()), path.name


def test_a_list_that_a_page_has_is_one(site: Path) -> None:
    """GitHub takes a list right behind a line of text; the site wants an empty line between."""
    for path in site.glob("*.html"):
        assert not re.search(r"<p>[^<]*\n[-*] ", path.read_text()), path.name


def test_no_escape_is_shown(site: Path) -> None:
    for path in site.glob("*.html"):
        shown = re.findall(r"<code>([^<]*)</code>", path.read_text())
        assert [code for code in shown if r"\|" in code] == [], path.name


def test_the_search_knows_each_page(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {each["location"].partition("#")[0] for each in index["docs"]}
    assert found == {name.replace(".md", ".html") for name in PAGES}


@pytest.mark.parametrize(
    ("written", "built"),
    [
        ("see [by hand](../README.md#running-it)", "see [by hand](index.md)"),
        ("[deploy/install](../deploy/install)", "deploy/install"),
        ("[a script](../deploy/revert) of", "a script (`deploy/revert` in the repository) of"),
        ("([facts.md](facts.md#twisted))", "([Facts](facts.md#twisted))"),
        ("[`hints.md`](hints.md)", "[Faster than polling](hints.md)"),
        ("| `room\\|slot` | a\\|b |", "| `room|slot` | a\\|b |"),
        ("`room\\|slot`", None),
        ("[a page](facts.md#a) and [out](https://matrix.org/../x)", None),
    ],
)
def test_pages_are_put_as_the_site_needs_them(written: str, built: str | None) -> None:
    assert for_the_site(written, CONFIGURATION) == (built or written)


def test_each_cell_of_a_table_knows_its_column() -> None:
    head = "<thead><tr><th></th><th>it <b>means</b></th><th>a &amp; &quot;b&quot;</th></tr></thead>"
    rows = '<tr><td>x</td><td style="text-align: right;">1</td><td>2</td></tr>'
    built = on_page_content(f"<p><td></p><table>{head}{rows}</table>")
    assert re.findall(r"<td[^>]*>", built) == [
        "<td>",
        "<td>",
        '<td data-of="it means" style="text-align: right;">',
        '<td data-of="a &amp; &quot;b&quot;">',
    ]
