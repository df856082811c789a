"""The status page in a real headless Chromium (`tests/chromium.py`)."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.panel import AXE, ELEMENT_CALL, WIDGET_API, Town, Visit, demand
from tests.browser.watching import EYES
from tests.real.processes import ROOT, Process, free_port, http

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


@define(eq=False)
class Guard:
    """The server of the page, with a state that the test sets."""

    directory: Path
    process: Process = field(init=False)

    def __attrs_post_init__(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "tests.browser.server", str(port)]
        self.process = Process("status", command, self.directory, port, {"PYTHONPATH": str(ROOT)})
        self.process.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    def show(self, **state: Any) -> None:
        assert http("POST", self.url + "/control", json.dumps(state).encode()).status == 200


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    running = Guard(tmp_path)
    yield running
    running.process.kill()


@define(eq=False, slots=False)  # playwright sets an attribute on the owner of a handler
class Visitor:
    """Opens the page and notes whatever it should not do."""

    browser: Browser
    guard: Guard
    expected: list[str] = field(factory=list)
    """Parts of what is no fault in this test."""
    faults: list[str] = field(factory=list)
    _contexts: list[BrowserContext] = field(factory=list)

    def open(self, width: int = 1280, height: int = 900, **how: Any) -> Page:
        """Open the page and wait until it is live."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            locale="en-GB",
            timezone_id="UTC",
            **how,
        )
        self._contexts.append(context)
        context.add_init_script(EYES)
        page = context.new_page()
        page.on("dialog", self._interrupted)
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("console", self._heard)
        page.on("request", lambda request: self._asked(request.url))
        page.goto(self.guard.url)
        page.locator('#link[data-state="live"]').wait_for()
        return page

    def _interrupted(self, dialog: Any) -> None:
        self.faults.append("dialog")
        dialog.dismiss()

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._note(f"{message.type}: {message.text}")

    def _asked(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.guard.url).netloc:
            self._note(f"request to {url}")

    def _note(self, fault: str) -> None:
        if not any(part in fault for part in self.expected):
            self.faults.append(fault)

    def leave(self) -> None:
        for context in self._contexts:
            for page in context.pages:
                self.faults += page.evaluate("window.violations")
            context.close()


@pytest.fixture
def visitor(browser: Browser, guard: Guard) -> Iterator[Visitor]:
    visiting = Visitor(browser, guard)
    yield visiting
    visiting.leave()
    assert visiting.faults == []


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    demand(AXE, ELEMENT_CALL, WIDGET_API)
    made = Town(tmp_path_factory.mktemp("town"))
    yield made
    made.process.kill()


@pytest.fixture
def visit(browser: Browser, town: Town) -> Iterator[Visit]:
    visiting = Visit(browser, town)
    yield visiting
    visiting.leave()
    assert visiting.faults == []
