"""The last hour on the status page: charts, and the same as a table."""

import time

from playwright.sync_api import expect

from tests.browser.conftest import Guard, Visitor
from tests.browser.state import evening, hour


def test_charts_say_in_words_what_they_show(guard: Guard, visitor: Visitor) -> None:
    guard.show(hour=hour(time.time()))
    page = visitor.open()
    told = hour(time.time())
    total = sum(each["refused"] for each in told)
    picture = page.get_by_role("img", name=f"Refused: {total} in the last hour, peak 8 a minute at")
    expect(picture).to_have_count(1)
    expect(page.get_by_role("img", name="Unguarded: 6 in the last hour")).to_have_count(1)
    expect(page.get_by_role("img", name=f"People: {told[-1]['people']} people now")).to_have_count(
        1
    )
    expect(page.locator(".chart.refused .number")).to_have_text(str(total))
    bars = page.locator(".chart.unguarded path").get_attribute("d") or ""
    assert bars.count("M") == 3


def test_the_table_has_every_minute(guard: Guard, visitor: Visitor) -> None:
    told = hour(time.time())
    guard.show(hour=told)
    page = visitor.open()
    expect(page.locator("table")).to_have_count(0)
    page.get_by_text("As a table").click()
    rows = page.locator("tbody tr")
    assert rows.count() in (59, 60), "a minute may have begun since"
    newest = [str(told[-1][name]) for name in ("refused", "changed", "unguarded", "people")]
    expect(rows.first.locator("td")).to_have_text(newest)
    page.get_by_text("As a table").click()
    expect(page.locator("table")).to_have_count(0)


def test_a_new_minute_moves_the_charts_on(guard: Guard, visitor: Visitor) -> None:
    last = int(time.time() // 60) * 60
    minute = {"at": last, "refused": 1, "changed": 0, "unguarded": 0, "observed": 0, "people": None}
    guard.show(hour=[minute])
    page = visitor.open()
    number = page.locator(".chart.refused .number")
    expect(number).to_have_text("1")
    expect(page.locator("#hour-note")).to_contain_text("Recorded since ")
    guard.show(hour=[{**minute, "refused": 5, "observed": 4}])
    expect(number).to_have_text("5")
    expect(page.locator("#hour-note")).to_contain_text("4 of these changed nothing")
    guard.show(hour=[{**minute, "at": last - 3600, "refused": 9}])
    page.reload()
    expect(number).to_have_text("0")


def test_an_alarm_counts_what_the_hour_counts(guard: Guard, visitor: Visitor) -> None:
    guard.show(**evening())
    page = visitor.open()
    expect(page.locator("#alarm")).to_contain_text(
        "Rules not enforced for 6 joins in the last hour"
    )
    expect(page).to_have_title("(6) lotus-guard")
