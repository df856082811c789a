"""The site of `docs/` in a real Chromium, from disk and from a server, without a network."""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.real.processes import ROOT

DESKTOP = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "has_touch": True,
    "is_mobile": True,
}
WIDTHS = """() => ({
  page: document.documentElement.scrollWidth,
  cut: [...document.querySelectorAll(".md-typeset__table")].filter((table) => {
    const frame = table.parentElement;
    return frame.scrollWidth > frame.clientWidth && getComputedStyle(frame).overflowX !== "auto";
  }).length,
  scrolled: [...document.querySelectorAll(".md-typeset__scrollwrap")].filter(
    (frame) => frame.scrollWidth > frame.clientWidth).length,
})"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@define(eq=False, slots=False)  # playwright sets an attribute on the owner of a handler
class Reader:
    """Opens pages of the site, and notes what should not happen."""

    browser: Browser
    home: str
    faults: list[str] = field(factory=list)
    _contexts: list[BrowserContext] = field(factory=list)

    def open(self, name: str, **how: Any) -> Page:
        context = self.browser.new_context(locale="en-GB", **(how or DESKTOP))
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._heard)
        page.on("request", lambda request: self._asked(request.url))
        page.goto(f"{self.home}/{name}")
        return page

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.home, "data:", "blob:", "about:")):
            self.faults.append(f"request to {url}")

    def leave(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture(params=["from disk", "from a server"])
def reader(request: pytest.FixtureRequest, browser: Browser, site: Path) -> Iterator[Reader]:
    is_served = request.param == "from a server"
    home = request.getfixturevalue("served") if is_served else f"file://{site}"
    reading = Reader(browser, home)
    yield reading
    reading.leave()
    assert reading.faults == []


@pytest.fixture
def disk(browser: Browser, site: Path) -> Iterator[Reader]:
    reading = Reader(browser, f"file://{site}")
    yield reading
    reading.leave()
    assert reading.faults == []


def found(page: Page, words: str) -> Any:
    page.locator(".md-search__input").click()
    page.keyboard.type(words)
    return page.locator(".md-search-result__link")


def test_the_search_finds_a_word_without_a_network(reader: Reader) -> None:
    page = reader.open("index.html")
    results = found(page, "max_users")
    expect(results.first).to_be_visible()
    pages = {link.get_attribute("href").partition("?")[0] for link in results.all()}
    assert any(each.endswith("moderators.html") for each in pages)
    results.first.click()
    expect(page.locator("mark").first).to_contain_text("max_users")


@pytest.mark.parametrize(
    ("question", "page"),
    [
        ("how do I raise the limit?", "moderators.html"),
        ("what does reason may_not_look mean", "troubleshooting.html"),
        ("Redis", "several.html"),
    ],
)
def test_a_question_finds_the_page_that_answers_it(disk: Reader, question: str, page: str) -> None:
    results = found(disk.open("index.html"), question)
    expect(results.first).to_be_visible()
    pages = [link.get_attribute("href").partition("?")[0] for link in results.all()]
    assert any(each.partition("#")[0].endswith(page) for each in pages[:6]), pages


def test_what_is_nowhere_is_not_found(disk: Reader) -> None:
    page = disk.open("index.html")
    assert found(page, "zxqvnothing").count() == 0
    expect(page.locator(".md-search-result__meta")).to_have_text("No matching documents")


@pytest.mark.parametrize("name", ["index", "settings", "messages", "facts", "architecture"])
def test_nothing_is_wider_than_a_phone(disk: Reader, name: str) -> None:
    page = disk.open(f"{name}.html", **PHONE)
    page.wait_for_timeout(200)
    assert page.evaluate(WIDTHS) == {"page": 390, "cut": 0, "scrolled": 0}


def test_a_row_is_a_block_on_a_phone_and_names_its_columns(disk: Reader) -> None:
    page = disk.open("troubleshooting.html", **PHONE)
    cells = page.locator("tr", has_text="may_not_look").first.locator("td")
    boxes = [cell.bounding_box() for cell in cells.all()]
    tops = [box["y"] for box in boxes if box is not None]
    assert len(tops) == 3
    assert tops == sorted(set(tops))
    label = "cell => getComputedStyle(cell, '::before').content"
    assert cells.nth(2).evaluate(label) in ('"do: "', '"do" ": "')


def test_the_menu_of_a_phone_leads_to_a_page(disk: Reader) -> None:
    page = disk.open("index.html", **PHONE)
    page.locator("label.md-header__button[for=__drawer]").tap()
    page.locator(".md-nav--primary label.md-nav__link", has_text="Reference").tap()
    page.locator(".md-nav--primary a", has_text="Settings").tap()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Settings")


def test_colours_are_the_systems_until_somebody_chooses(disk: Reader) -> None:
    scheme = "document.body.dataset.mdColorScheme"
    page = disk.open("index.html", **PHONE)
    assert page.evaluate(scheme) == "slate"
    page.locator("label.md-header__button:visible[title*=Colours]").tap()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "default")
    assert disk.open("index.html").evaluate(scheme) == "default"


def test_a_block_of_code_can_be_copied(disk: Reader) -> None:
    page = disk.open("index.html")
    page.evaluate("addEventListener('copy', () => { window.copied = String(getSelection()); })")
    block = page.locator(".highlight", has_text="make run")
    block.hover()
    block.get_by_title("Copy to clipboard").click()
    page.wait_for_function("window.copied !== undefined")
    assert page.evaluate("window.copied").strip() == "make run"


@pytest.mark.parametrize(
    ("name", "page_name", "how"),
    [("site-light-desktop", "index", DESKTOP), ("site-dark-phone", "settings", PHONE)],
)
def test_screenshots(
    disk: Reader, tmp_path: Path, name: str, page_name: str, how: dict[str, Any]
) -> None:
    page = disk.open(f"{page_name}.html", **how)
    page.wait_for_timeout(300)
    directory = ROOT / "docs" / "screenshots" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    directory.mkdir(exist_ok=True)
    made = page.screenshot(path=directory / f"{name}.png")
    assert 10_000 < len(made) < 200_000
