"""How the status page looks, and whether axe-core finds anything wrong with it."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Guard, Visitor
from tests.browser.panel import AXE, findings
from tests.browser.state import calm, evening, room, town
from tests.browser.watching import row, width
from tests.real.processes import ROOT

DESKTOP = {"width": 1280, "height": 1000, "color_scheme": "light"}
PHONE = {"width": 390, "height": 844, "color_scheme": "dark", "device_scale_factor": 2}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("wide", [1280, 360])
def test_axe_finds_nothing(guard: Guard, visitor: Visitor, scheme: Any, wide: int) -> None:
    if not AXE.exists():
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("the packages of npm are not there: run `make test`")
        pytest.skip("the packages of npm are not there: run `make test`")
    state = town()
    state["rooms"].append(room(999, "Guests", strangers=2))
    guard.show(**state)
    page = visitor.open(wide, 800, color_scheme=scheme, bypass_csp=True)
    expect(page.locator(".row").first).to_be_visible()
    assert findings(page) == []
    for summary in page.locator("summary").all():
        summary.evaluate("node => node.click()")
    page.locator("#chips > button").first.click()
    page.mouse.move(0, 0)
    expect(page.locator("table")).to_be_visible()
    assert findings(page) == []
    assert width(page) == wide


@pytest.mark.parametrize(
    ("name", "state", "how"),
    [
        ("status-light-desktop", calm, DESKTOP),
        ("status-dark-phone", evening, PHONE),
        ("status-trouble-desktop", evening, DESKTOP),
        ("status-300-rooms", town, {**DESKTOP, "height": 1400}),
    ],
)
def test_screenshots(
    guard: Guard, visitor: Visitor, tmp_path: Path, name: str, state: Any, how: dict[str, Any]
) -> None:
    guard.show(**state())
    page = visitor.open(**how)
    expect(page.locator(".decision").first).to_be_attached()
    if "light" in name:
        row(page, "Kitchen").locator("summary").click()
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    directory = ROOT / "docs" / "screenshots" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    directory.mkdir(exist_ok=True)
    made = page.screenshot(path=directory / f"{name}.png")
    assert 10_000 < len(made) < 300_000
