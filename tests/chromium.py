"""One real headless Chromium for all tests of pages: playwright runs once in a process."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """Find Chromium; skip where there is none, or fail where there must be one."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("there is no chromium on PATH: run `make test`")
        pytest.skip("there is no chromium on PATH")
    return path


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    path = chromium()
    from playwright.sync_api import sync_playwright  # takes its time

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield running
        running.close()
