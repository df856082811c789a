"""The status page under load: many rooms that change, many decisions; work stays bounded."""

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Guard, Visitor
from tests.browser.state import SCREEN, decision, people, room
from tests.browser.watching import row


def many(number: int = 200) -> list[dict[str, Any]]:
    return [
        room(
            n,
            f"Room {n:03}",
            people=n % 9,
            users=people(f"user{n}", f"guest{n}"),
            taken=1,
            max_users=2 + n % 7,
            forbidden=SCREEN if n % 3 else [],
        )
        for n in range(number)
    ]


def show_all(page: Page, number: int) -> None:
    page.locator("#rooms-more").click()
    expect(page.locator("#room-list > li")).to_have_count(number)


WORK = """() => {
  window.work = { records: 0, batches: 0, rows: new Set(), slow: [] };
  new MutationObserver((records) => {
    window.work.records += records.length;
    window.work.batches += 1;
    for (const { target } of records) {
      const item = (target.nodeType === 1 ? target : target.parentElement)?.closest("li.row");
      if (item) window.work.rows.add(item);
    }
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  new PerformanceObserver((list) =>
    window.work.slow.push(...list.getEntries().map((each) => Math.round(each.duration))))
    .observe({ type: "longtask", buffered: false });
}"""
LOOKS = 3


def work_of(guard: Guard, visitor: Visitor, rooms: int, storm: int) -> dict[str, Any]:
    """What the page changes in so many seconds while every room changes in each."""
    guard.show(rooms=many(rooms), busy=True, storm=storm, decisions=[])
    page = visitor.open()
    page.wait_for_timeout(1300)
    page.evaluate(WORK)
    page.wait_for_timeout(LOOKS * 1000)
    found: dict[str, Any] = page.evaluate("({ ...window.work, rows: window.work.rows.size })")
    found["items"] = page.locator("li.row").count()
    page.close()
    return found


def test_three_hundred_rooms_cost_no_more_than_fifty(guard: Guard, visitor: Visitor) -> None:
    """Only what is shown is written: so the work is bounded, whatever there is."""
    few, lots = (work_of(guard, visitor, number, 0) for number in (50, 300))
    print(f"50 rooms: {few}; 300 rooms: {lots}")
    assert few["items"] == lots["items"] == 40
    assert lots["rows"] <= 40
    assert lots["records"] < 1.5 * few["records"]
    assert lots["batches"] <= LOOKS + 3
    assert max(lots["slow"], default=0) < 500


def test_fifty_decisions_a_second_are_a_few_lines(guard: Guard, visitor: Visitor) -> None:
    found = work_of(guard, visitor, 300, 50)
    print(f"300 rooms and 50 decisions a second: {found}")
    assert found["items"] < 40 + 10
    assert found["batches"] <= LOOKS + 3
    assert max(found["slow"], default=0) < 500


@pytest.mark.parametrize("is_hidden", [False, True])
def test_what_is_asked_for_often_is_drawn_once_a_frame(visitor: Visitor, is_hidden: bool) -> None:
    """A page in the background gets no frames, and its title is to change all the same."""
    page = visitor.open()
    drawn = page.evaluate(
        """async (isHidden) => {
          Object.defineProperty(document, "hidden", { value: isHidden });
          const frame = requestAnimationFrame;
          if (isHidden) window.requestAnimationFrame = () => 0;
          const { soon } = await import("/status/frames.js");
          const drawn = [];
          let number = 0;
          const work = () => (number += 1) < 3; // two frames more are wanted
          for (let asked = 0; asked < 100; asked += 1) soon(work);
          drawn.push(number);
          await new Promise((done) => setTimeout(() => frame(() => setTimeout(done)), 100));
          drawn.push(number);
          return drawn;
        }""",
        is_hidden,
    )
    assert drawn == [0, 3]


def test_an_idle_page_changes_nothing_but_its_ages(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=many(300), decisions=[decision(n) for n in range(50)])
    page = visitor.open()
    page.wait_for_timeout(1500)
    page.evaluate(WORK)
    page.wait_for_timeout(LOOKS * 1000)
    assert page.evaluate("window.work.records") == 0


def test_the_rest_is_a_button_away(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=many(300))
    page = visitor.open()
    shown, button = page.locator("#room-list > li"), page.locator("#rooms-more")
    expect(shown).to_have_count(40)
    expect(button).to_have_text("Show 260 more rooms")
    shown.last.locator("summary").click()
    more = [room(1000 + n, f"A {n}", max_users=3, taken=1) for n in range(9)]
    guard.show(rooms=[*more, *many(300)])
    expect(button).to_have_text("Show 269 more rooms")
    expect(page.locator(".body")).to_be_visible()  # what somebody has opened stays
    expect(shown).to_have_count(41)
    button.click()
    expect(shown).to_have_count(309)
    expect(button).to_have_attribute("aria-expanded", "true")
    button.click()
    expect(shown).to_have_count(41)
    page.locator("#filter").fill("room 29")
    expect(shown).to_have_count(13)  # 029, 129, 229, and 290 to 299
    expect(button).to_be_hidden()


@pytest.mark.parametrize("link", ["Rooms", "Decisions"])
def test_on_a_phone_each_part_is_one_tap_away(guard: Guard, visitor: Visitor, link: str) -> None:
    told = [decision(n, room=f"!{n:04}:example.org", at=time.time() - 60 * n) for n in range(80)]
    guard.show(rooms=many(300), decisions=told)
    page = visitor.open(390, 844, has_touch=True)
    expect(page.locator("#room-list > li")).to_have_count(20)
    expect(page.locator("#decision-list > li")).to_have_count(15)
    assert page.evaluate("document.documentElement.scrollHeight") < 5000
    page.get_by_role("navigation").get_by_role("link", name=link).tap()
    expect(page.get_by_role("heading", name=link)).to_be_in_viewport()
    expect(page.locator(f"#{link.lower()[:-1]}-list > li").first).to_be_in_viewport()
    expect(page.get_by_role("navigation")).to_be_in_viewport()  # and back


def test_two_hundred_rooms_change_each_second(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=many(), decisions=[decision(n) for n in range(50)], busy=True)
    page = visitor.open()
    show_all(page, 200)
    middle = row(page, "Room 100").locator("summary")
    middle.focus()
    page.keyboard.press("Enter")
    expect(row(page, "Room 100").locator(".body")).to_be_visible()
    page.wait_for_timeout(300)
    page.evaluate("""() => {
      window.place = document.activeElement;
      window.top0 = window.place.getBoundingClientRect().top;
      window.items = [...document.querySelectorAll("#room-list > li")];
      window.nodes = document.querySelectorAll("*").length;
      window.texts = window.items.map((item) => item.textContent);
      window.slow = [];
      new PerformanceObserver((list) =>
        window.slow.push(...list.getEntries().map((each) => Math.round(each.duration))))
        .observe({ type: "longtask", buffered: false });
    }""")
    waits = []
    for turn in range(8):
        page.wait_for_timeout(700)
        waits.append(
            page.evaluate(
                """async (turn) => {
                  const start = performance.now();
                  const item = window.items[turn * 20].querySelector("summary");
                  item.click();
                  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
                  const took = performance.now() - start;
                  item.click();
                  return took;
                }""",
                turn,
            )
        )
    after = page.evaluate("""() => {
      const items = [...document.querySelectorAll("#room-list > li")];
      return {
        same: items.every((item, index) => item === window.items[index]),
        changed: items.filter((item, index) => item.textContent !== window.texts[index]).length,
        nodes: document.querySelectorAll("*").length - window.nodes,
        moved: Math.abs(window.place.getBoundingClientRect().top - window.top0),
        focused: document.activeElement === window.place,
        open: window.place.parentElement.open,
        slow: window.slow,
      };
    }""")
    print(f"click to frame: {max(waits):.0f} ms at most; long tasks: {after['slow']} ms")
    assert max(waits) < 500
    assert max(after["slow"], default=0) < 500
    assert after["same"]
    assert after["changed"] > 150
    assert abs(after["nodes"]) < 450  # a tag more or less in each row, and no more
    assert after["moved"] < 2
    assert after["focused"]
    assert after["open"]


def test_rooms_that_come_and_go_do_not_move_the_reader(guard: Guard, visitor: Visitor) -> None:
    rooms = many()
    guard.show(rooms=rooms)
    page = visitor.open()
    show_all(page, 200)
    row(page, "Room 150").locator("summary").focus()
    page.wait_for_timeout(300)
    top = "document.activeElement.getBoundingClientRect().top"
    before = page.evaluate(top)
    more = [room(1000 + n, f"A room {n}", max_users=3, taken=1) for n in range(30)]
    guard.show(rooms=[*more, *rooms[20:]])
    expect(row(page, "A room")).to_have_count(30)
    assert abs(page.evaluate(top) - before) < 3
    renamed = [{**each, "name": "Zebra"} if each["name"] == "Room 150" else each for each in rooms]
    guard.show(rooms=renamed)
    expect(row(page, "Zebra").locator("summary")).to_be_focused()
    guard.show(rooms=[each for each in renamed if each["name"] != "Zebra"])
    expect(row(page, "Room 199").locator("summary")).to_be_focused()


def test_little_is_read_out(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=many(), busy=True)
    page = visitor.open()
    page.evaluate("""() => {
      window.spoken = [];
      const live = document.querySelectorAll("[aria-live], [role=status], [role=alert], output");
      for (const node of live) {
        new MutationObserver(() => window.spoken.push(node.textContent))
          .observe(node, { subtree: true, childList: true, characterData: true });
      }
    }""")
    page.wait_for_timeout(2500)
    assert page.evaluate("window.spoken") == []
    for number in (1, 3, 6):
        guard.show(decisions=[decision(n, kind="fail_open") for n in range(number)])
        page.wait_for_timeout(1100)
    assert page.evaluate("window.spoken") == ["Rules not enforced for 1 join."]
