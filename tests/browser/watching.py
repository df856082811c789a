"""What tests of pages look for."""

from typing import Any

from playwright.sync_api import Page

EYES = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`));
"""
"""Notes what the page's Content-Security-Policy forbids."""


def row(page: Page, name: str) -> Any:
    """The rows of rooms with such a name."""
    return page.locator("#room-list > li").filter(has_text=name)


def width(page: Page) -> int:
    """How wide the page is, with what sticks out of the screen."""
    found: int = page.evaluate("document.documentElement.scrollWidth")
    return found
