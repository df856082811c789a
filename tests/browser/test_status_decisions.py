"""Decisions on the status page: those that are alike are one line, with a count."""

import time
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Guard, Visitor
from tests.browser.state import decision, room

WHY = "5 in the call or about to join, 5 allowed, this user not among them"


def refused(number: int, where: int = 1, **more: Any) -> dict[str, Any]:
    fields = {
        "id": f"r{number}",
        "at": time.time() - number,
        "room": f"!{where:04}:example.org",
        "user": f"@u{number}:example.org",
        "why": WHY.replace("5 in", f"{5 + number % 3} in"),
    }
    return decision(0, **{**fields, **more})


def lines(page: Page) -> Any:
    return page.locator("#decision-list > li")


def test_what_is_alike_in_one_room_is_one_line(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=[room(1, "Kitchen")], decisions=[refused(n) for n in range(1, 20)])
    page = visitor.open()
    expect(lines(page)).to_have_count(1)
    expect(lines(page)).to_contain_text("Refused 19 people")
    expect(lines(page)).to_contain_text("19 ×")
    expect(lines(page)).to_contain_text("Kitchen: 6 in the call")  # the newest one's words
    lines(page).locator("summary").click()
    body = lines(page).locator(".body")
    expect(body).to_contain_text("19 from ")
    expect(body.locator(".others > li")).to_have_count(12)
    expect(body.locator(".others > li").first).to_contain_text("r1@u1:example.org")
    guard.show(decisions=[refused(0), *(refused(n) for n in range(1, 20))])
    expect(lines(page)).to_contain_text("20 ×")
    expect(body.locator(".others > li").first).to_contain_text("r0@u0:example.org")
    expect(body).to_be_visible()


def test_what_differs_has_a_line_of_its_own(guard: Guard, visitor: Visitor) -> None:
    told = [
        refused(1),
        refused(2, where=2),
        refused(3, kind="fail_open", why="timeout: no answer", verdict="unguarded"),
        refused(4, kind="fail_open", why="reset: no answer", verdict="unguarded"),
        refused(5, observed=True),
        refused(6, rule="members"),
        refused(700),
    ]
    guard.show(decisions=told)
    page = visitor.open()
    expect(lines(page)).to_have_count(len(told))
    expect(page.locator(".times:visible")).to_have_count(0)


def test_numbers_do_not_tell_lines_apart(guard: Guard, visitor: Visitor) -> None:
    late = [f"no answer from Synapse within {left} s (timeout)" for left in ("1", "0.97", "1e-05")]
    guard.show(decisions=[refused(n, kind="fail_open", why=why) for n, why in enumerate(late)])
    page = visitor.open()
    expect(lines(page)).to_have_count(1)
    expect(lines(page)).to_contain_text("within 1 s")
    expect(lines(page)).not_to_contain_text("(timeout)")  # a word for programs


def test_one_person_is_named_however_often(guard: Guard, visitor: Visitor) -> None:
    guard.show(decisions=[refused(n, user="@carol:example.org") for n in range(4)])
    page = visitor.open()
    expect(lines(page)).to_contain_text("Refused @carol:example.org")
    expect(lines(page)).to_contain_text("4 ×")


def test_the_same_in_many_rooms_at_once_is_one_line(guard: Guard, visitor: Visitor) -> None:
    told = [
        refused(0, where=n % 60, id=f"o{n}", at=time.time() - n / 100, user=f"@u{n}:example.org")
        for n in range(200)
    ]
    out = {"kind": "fail_open", "why": "timeout: no answer from Synapse within 1 s"}
    guard.show(rooms=[], decisions=[{**each, **out} for each in told])
    page = visitor.open()
    expect(lines(page)).to_have_count(4)
    wide = lines(page).first
    expect(wide).to_contain_text("57 rooms: no answer from Synapse within 1 s")
    numbers = page.locator(".times").evaluate_all(
        "all => all.map((each) => parseInt(each.textContent))"
    )
    assert sum(numbers) == 200
    wide.locator("summary").click()
    expect(wide.locator(".others > li").first).to_contain_text(":example.org")


def test_lines_stay_where_they_are_while_they_count(guard: Guard, visitor: Visitor) -> None:
    first = [refused(2, where=1), refused(1, where=2)]
    guard.show(decisions=first)
    page = visitor.open()
    expect(lines(page)).to_have_count(2)
    page.evaluate('window.items = [...document.querySelectorAll("#decision-list > li")]')
    guard.show(decisions=[refused(0, where=1), *first])
    expect(lines(page).nth(1)).to_contain_text("2 ×")
    assert page.evaluate(
        """[...document.querySelectorAll("#decision-list > li")]
        .every((item, index) => item === window.items[index])"""
    )


def test_another_guard_begins_anew(guard: Guard, visitor: Visitor) -> None:
    """Its decisions are not those of the one before, and a count is not to mix them."""
    visitor.expected = ["net::ERR"]
    guard.show(decisions=[refused(1)])
    page = visitor.open()
    expect(lines(page)).to_have_count(1)
    guard.process.kill()
    guard.process.start()
    guard.show(decisions=[refused(1, id="other", where=2)])
    expect(lines(page)).to_contain_text("!0002:example.org", timeout=15_000)
    expect(lines(page)).to_have_count(1)


def test_refusals_in_one_room_after_the_other_do_not_hide_an_unguarded_join(
    guard: Guard, visitor: Visitor
) -> None:
    kinds = [f"reason {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(260)]
    flood = [refused(n, where=n, why=why) for n, why in enumerate(kinds)]
    open_ = refused(400, kind="fail_open", verdict="unguarded", why="no answer (timeout)")
    guard.show(decisions=[*flood[200:], open_])
    page = visitor.open()
    expect(lines(page).locator(".kind", has_text="Unguarded")).to_have_count(1)
    guard.show(decisions=[*flood, open_])
    expect(page.locator("#decisions-count")).to_have_text("200")
    expect(lines(page).locator(".kind", has_text="Unguarded")).to_have_count(1)
