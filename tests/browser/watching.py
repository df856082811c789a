"""What tests of the status page look for."""

from typing import Any

from playwright.sync_api import Page


def row(page: Page, name: str) -> Any:
    """The rows of rooms with such a name."""
    return page.locator("#room-list > li").filter(has_text=name)


def width(page: Page) -> int:
    """How wide the page is, with what sticks out of the screen."""
    found: int = page.evaluate("document.documentElement.scrollWidth")
    return found
