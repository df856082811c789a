"""The status page in a real Chromium."""

import os
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lotus_guard.web.status.stream import MOST_VIEWERS
from tests.browser.conftest import Guard, Visitor
from tests.browser.state import SCREEN, decision, dependency, evening, people, room
from tests.real.processes import ROOT

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\"><svg onload=alert(1)>'`${alert(1)}",
    "&lt;b&gt;&#x202e;",
    "gnp.exe\u202etxt",
    "\u2066\u2067isolated\u2069\u200f",
    "\x1b[31mred\x1b]0;title\x07",
    "nul\x00 and \ud800 alone",
    "two\nlines\u2028three\ttab",
    "\u200b\u3164\u00a0",
    "javascript:alert(1)",
    "Z\u0351\u0343a\u0364" * 40,
    "W" * 10_000,
]
LUMINANCE = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const parts = channels(colour);
      if (parts.length === 3 || parts[3] === 1) return colour;
    }
  };
  const poor = [];
  let seen = 0;
  for (const node of document.querySelectorAll("body *")) {
    const says = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!says || !node.getClientRects().length) continue;
    seen += 1;
    const pair = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < 4.5) poor.push(`${node.className || node.tagName}: ${contrast.toFixed(2)}`);
  }
  return { seen, poor };
}"""


def row(page: Page, name: str) -> Any:
    return page.locator("#room-list > li").filter(has_text=name)


def width(page: Page) -> int:
    found: int = page.evaluate("document.documentElement.scrollWidth")
    return found


def test_it_shows_what_there_is(guard: Guard, visitor: Visitor) -> None:
    state = evening()
    state["rooms"].append(room(9, "Lobby", people=0, taken=2, max_users=3))
    guard.show(**state)
    page = visitor.open()
    expect(page.locator("#lead")).to_have_text(
        "50 people in 9 rooms. 1 room is full. Synapse is in trouble; calls go on."
    )
    expect(page.locator("#rules > li")).to_have_text(
        ["Seat limit enforced", "Camera and screen enforced", "Live calls observed only"]
    )
    expect(row(page, "Kitchen")).to_contain_text("5 of 5 seats")
    expect(row(page, "Choir rehearsal")).to_contain_text("no camera")
    expect(row(page, "Lounge")).to_contain_text("17 people")
    expect(page.locator("#dependencies > li").nth(1)).to_contain_text("in trouble, last well 2 min")
    expect(page.locator("#details")).to_contain_text("no answer within 1.0 s")
    row(page, "Lobby").locator("summary").click()
    expect(row(page, "Lobby").locator(".body")).to_contain_text("0; 2 seats are held")
    expect(page.locator("#decision-list > li")).to_have_count(5)
    expect(page.locator("#decision-list > li").nth(3)).to_contain_text("Would have stepped in on")


def test_a_change_is_shown_without_a_reload(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=[room(1, "Kitchen"), room(2, "Lounge"), room(3, "Attic")])
    page = visitor.open()
    page.evaluate("""() => {
      window.isSame = true;
      window.touched = [];
      for (const item of document.querySelectorAll("#room-list > li")) {
        new MutationObserver(() => window.touched.push(item.textContent))
          .observe(item, { subtree: true, childList: true, characterData: true, attributes: true });
      }
      const names = [...document.querySelectorAll("#room-list .name")];
      window.kitchen = names.find((name) => name.textContent === "Kitchen").firstChild;
    }""")
    guard.show(
        rooms=[room(1, "Kitchen", people=4), room(2, "Lounge"), room(4, "Cellar")],
        decisions=[decision(1)],
        dependencies=[dependency("livekit", "trouble", None, "reset")],
    )
    expect(row(page, "Kitchen")).to_contain_text("4 people")
    expect(row(page, "Cellar")).to_have_count(1)
    expect(row(page, "Attic")).to_have_count(0)
    expect(page.locator("#decision-list > li")).to_contain_text("Refused @carol:example.org")
    expect(page.locator("#decision-list > li")).to_contain_text("Kitchen")
    expect(page.locator("#dependencies")).to_contain_text("in trouble")
    assert page.evaluate("window.isSame")
    touched = page.evaluate("window.touched")
    assert touched
    assert [text for text in touched if "Kitchen" not in text] == []
    # What stayed the same in a row that changed is left alone too: a selection in it survives.
    assert page.evaluate("window.kitchen.isConnected")


@pytest.mark.parametrize("most", [2**53 - 1, 10**30, 10**400])
def test_a_senseless_limit_takes_no_room(guard: Guard, visitor: Visitor, most: int) -> None:
    """A moderator may set any whole number, of any length in rooms of an old version."""
    guard.show(rooms=[room(1, "Kitchen of the house", people=2, taken=2, max_users=most)])
    page = visitor.open(320, 640)
    found = row(page, "Kitchen")
    expect(found.locator(".seats")).to_have_text("2 of 999,999+ seats")
    assert width(page) == 320
    box = found.locator(".title").bounding_box()
    assert box is not None
    assert box["width"] > 90
    found.locator("summary").click()
    expect(found.locator(".body")).to_contain_text("at most 999,999+ people")


def test_hostile_names_are_text(guard: Guard, visitor: Visitor) -> None:
    rooms = [
        room(n, name, users=[name], people=1, max_users=9, taken=1)
        for n, name in enumerate(HOSTILE)
    ]
    rooms += [room(99, None, room="!" + name) for name in HOSTILE]
    told = [
        decision(
            n,
            id=f"id{n}",
            room="!" + name,
            user=name,
            why=name,
            verdict=name,
            rule=name,
            kind=("fail_open", name)[n % 2],
            inputs={name: name, "list": [name]},
            people=[name],
        )
        for n, name in enumerate(HOSTILE)
    ]
    guard.show(
        rooms=rooms,
        decisions=told,
        dependencies=[dependency(HOSTILE[0], HOSTILE[1], 1.0, HOSTILE[2])],
        guard={"instance": HOSTILE[0], "pid": 1, "started": 0, "rules": {HOSTILE[0]: HOSTILE[1]}},
    )
    page = visitor.open()
    expect(page.locator("#room-list > li")).to_have_count(2 * len(HOSTILE))
    for summary in page.locator("summary").all():
        summary.evaluate("node => node.click()")
    expect(page.locator(".body")).to_have_count(3 * len(HOSTILE))
    text = page.locator("body").text_content() or ""
    for name in HOSTILE[:4]:
        assert name in text
    for spelled in ("\\u202e", "\\x1b[31m", "\\x00", "\\ud800", "\\x0a", "\\u2028", "\\u2066"):
        assert spelled in text
    assert not set("\u202e\u2066\u2067\u2069\u200f\x1b\x07\x00\u2028\u200b") & set(text)
    assert "\\u200b\\u3164\\xa0" in text
    assert page.locator("img, svg, b, main script, iframe").count() == 0
    bounds = page.evaluate("""() => [...document.querySelectorAll("bdi")].every(
        (node) => getComputedStyle(node).unicodeBidi === "isolate")""")
    assert bounds
    assert width(page) <= 1280


def test_markup_is_refused_even_from_our_own_script(guard: Guard, visitor: Visitor) -> None:
    visitor.expected = ["Content Security Policy", "This document requires", "127.0.0.1:9/"]
    page = visitor.open()
    tried = page.evaluate("""async () => {
      const done = [];
      const attempt = async (name, work) => {
        try { await work(); done.push(name); } catch { /* as it should be */ }
      };
      await attempt("markup", () => { document.body.innerHTML = "<img src=x onerror=alert(1)>"; });
      // Not at once: a debugger's own scripts may evaluate, and we run as one.
      await attempt("code", () => new Promise((done, failed) =>
        setTimeout(() => { try { done(eval("1")); } catch (why) { failed(why); } })));
      await attempt("elsewhere", () => fetch("http://127.0.0.1:9/"));
      const style = document.createElement("style");
      style.textContent = "h1 { display: none }";
      document.head.append(style);
      if (getComputedStyle(document.querySelector("h1")).display === "none") done.push("style");
      return done;
    }""")
    assert tried == []
    refused = page.evaluate("window.violations.splice(0)")
    kinds = {each.split(":")[0] for each in refused}
    assert kinds == {"require-trusted-types-for", "connect-src", "style-src-elem"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_screen(guard: Guard, visitor: Visitor, scheme: Any) -> None:
    state = evening()
    state["rooms"] += [room(50 + n, name, max_users=5, taken=2) for n, name in enumerate(HOSTILE)]
    guard.show(**state)
    page = visitor.open(320, 640, color_scheme=scheme)
    assert width(page) == 320
    for summary in page.locator("summary").all():
        summary.evaluate("node => node.click()")
    expect(page.locator(".body").first).to_be_visible()
    assert width(page) == 320
    # What is clipped is lost as well: nothing may stick out of the screen.
    out = page.evaluate("""() => [...document.querySelectorAll("main *, header *")]
      .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
      .map((node) => `${node.tagName}.${node.className}`)""")
    assert out == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_dark(guard: Guard, visitor: Visitor, scheme: Any) -> None:
    state = evening()
    state["rooms"].append(room(77, "bidi \u202e"))
    guard.show(**state)
    page = visitor.open(color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 250, 247)", "dark": "rgb(22, 21, 20)"}[scheme]
    page.mouse.move(0, 0)
    found = page.evaluate(LUMINANCE)
    assert found["seen"] > 80
    assert found["poor"] == []


def test_fail_opens_are_red(guard: Guard, visitor: Visitor) -> None:
    page = visitor.open(color_scheme="light")
    assert page.title() == "lotus_guard"
    expect(page.locator("#alarm")).to_be_hidden()
    guard.show(
        rooms=[room(1, "Kitchen", failed_open=2), room(2, "Lounge")],
        decisions=[decision(1, kind="fail_open", why="timeout: 1.0 s")],
    )
    red = "rgb(179, 32, 27)"
    expect(page.locator("#alarm")).to_contain_text(
        "Let through unguarded: 1 of the last 1 decision"
    )
    expect(page.locator("#alarm")).to_have_css("color", red)
    expect(row(page, "Kitchen").locator(".tag.bad")).to_have_css("color", red)
    expect(page.locator(".decision.bad .kind")).to_have_css("color", red)
    expect(row(page, "Lounge").locator(".bad")).to_have_count(0)
    expect(page).to_have_title("(1) lotus_guard")


def test_calls_that_are_not_enforced_let_nobody_through(guard: Guard, visitor: Visitor) -> None:
    page = visitor.open(color_scheme="light")
    expect(page.locator("#unenforced")).to_be_hidden()
    why = "refused: LiveKit: Connection refused"
    told = decision(1, kind="unenforced", rule="limit", room=None, user=None, why=why)
    guard.show(decisions=[{**told, "id": "old", "at": told["at"] - 600}])
    expect(page.locator(".decision")).to_have_count(1)
    expect(page.locator("#unenforced")).to_be_hidden()
    guard.show(decisions=[told])
    text = "Rules are not being enforced in calls that run. Nobody is let through by this."
    expect(page.locator("#unenforced")).to_contain_text(text)
    expect(page.locator("#unenforced")).to_contain_text(f"({why})")
    expect(page.locator(".decision .kind").first).to_have_text("Not enforced in live calls")
    expect(page.locator("#alarm")).to_be_hidden()
    expect(page).to_have_title("lotus_guard")
    expect(page.locator(".decision.bad")).to_have_count(0)


def test_everything_is_reached_by_keyboard(guard: Guard, visitor: Visitor) -> None:
    guard.show(**evening())
    page = visitor.open()

    def focused() -> str:
        found: str = page.evaluate("document.activeElement.textContent.trim()")
        return found

    page.keyboard.press("Tab")
    assert focused() == "To the rooms"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.type("board")
    expect(page.locator("#room-list > li:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#room-list > li:visible")).to_have_count(8)
    page.keyboard.press("Tab")
    assert focused().startswith("Board, in private")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator(".body")).to_contain_text("at most 3 people, no screen share")
    expect(page.locator(".body")).to_contain_text("@carol:example.org")
    page.keyboard.press("Enter")
    expect(page.locator(".body")).to_have_count(0)
    for _ in range(8):
        page.keyboard.press("Tab")
    assert "Refused" in focused()
    page.keyboard.press("Space")
    expect(page.locator(".body")).to_contain_text("k3v9t041")


def test_it_has_landmarks_and_names(guard: Guard, visitor: Visitor) -> None:
    guard.show(**evening())
    page = visitor.open()
    for role, name in [("region", "Rooms"), ("region", "Last decisions"), ("region", "State")]:
        expect(page.get_by_role(role, name=name)).to_have_count(1)  # type: ignore[arg-type]
    for role in ("banner", "main", "contentinfo", "search", "status"):
        expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
    expect(page.get_by_role("searchbox", name="Filter")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_text("lotus_guard")


def test_the_filter_finds_rooms_people_and_states(guard: Guard, visitor: Visitor) -> None:
    guard.show(**evening())
    page = visitor.open()
    shown = page.locator("#room-list > li:visible")
    for typed, found in [
        ("kitch", ["Kitchen"]),
        ("!0007", ["Friday games"]),
        ("@DMITRI", ["Kitchen", "Reading circle"]),
        ("full", ["Kitchen"]),
        ("no camera", ["Choir rehearsal"]),
        ("let through", ["Board, in private"]),
        ("nobody has this", []),
    ]:
        page.locator("#filter").fill(typed)
        expect(shown.locator(".name")).to_have_text(found)
    expect(page.locator("#rooms-note")).to_have_text("0 of 8 rooms")
    page.locator("#filter").fill("kitch")
    expect(page.locator("#decision-list > li:visible")).to_have_count(2)
    guard.show(rooms=[room(1, "Kitchen"), room(2, "Kitchenette"), room(3, "Attic")])
    expect(shown.locator(".name")).to_have_text(["Kitchen", "Kitchenette"])
    page.locator("#filter").fill("")
    expect(shown).to_have_count(3)


def two_hundred() -> list[dict[str, Any]]:
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
        for n in range(200)
    ]


def test_two_hundred_rooms_change_each_second(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=two_hundred(), decisions=[decision(n) for n in range(50)], busy=True)
    page = visitor.open()
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
    rooms = two_hundred()
    guard.show(rooms=rooms)
    page = visitor.open()
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
    guard.show(rooms=two_hundred(), busy=True)
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
    assert page.evaluate("window.spoken") == ["1 call let through unguarded."]


def test_motion_is_only_for_who_wants_it(guard: Guard, visitor: Visitor) -> None:
    guard.show(**evening())
    moving = """() => [...document.querySelectorAll("*")].flatMap((node) =>
      ["", "::before"].map((part) => getComputedStyle(node, part)))
      .filter((style) => style.transitionDuration !== "0s" || style.animationName !== "none")
      .length"""
    assert visitor.open(reduced_motion="no-preference").evaluate(moving) > 0
    assert visitor.open(reduced_motion="reduce").evaluate(moving) == 0


def test_a_restart_is_seen_and_survived(guard: Guard, visitor: Visitor) -> None:
    visitor.expected = ["net::ERR"]
    guard.show(rooms=[room(1, "Kitchen"), room(2, "Lounge")])
    page = visitor.open()
    row(page, "Kitchen").locator("summary").click()
    page.evaluate("window.isSame = true")
    guard.process.kill()
    link = page.locator("#link")
    expect(link).to_have_attribute("data-state", "lost")
    expect(link).to_contain_text("Connection lost. This picture is")
    expect(link).to_contain_text("Trying again.")
    expect(page.locator("#announcer")).to_have_text("The connection to the guard is lost.")
    page.wait_for_timeout(3000)
    first = link.text_content()
    page.wait_for_timeout(1500)
    assert link.text_content() != first
    expect(row(page, "Kitchen")).to_have_count(1)
    guard.process.start()
    guard.show(rooms=[room(1, "Kitchen", people=6), room(3, "Cellar")])
    expect(link).to_have_text("Live", timeout=15_000)
    expect(row(page, "Kitchen")).to_contain_text("6 people")
    expect(row(page, "Lounge")).to_have_count(0)
    expect(row(page, "Kitchen").locator(".body")).to_be_visible()
    assert page.evaluate("window.isSame")


def test_a_guard_that_hangs_is_seen(guard: Guard, visitor: Visitor) -> None:
    """The connection stays open and nothing comes: only the missing heartbeat tells."""
    page = visitor.open()
    page.clock.install()
    page.reload()
    page.locator('#link[data-state="live"]').wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    guard.process.pause()
    page.clock.run_for(20_000)
    expect(page.locator("#link")).to_have_text("Live")
    assert asked == []
    page.clock.run_for(20_000)
    expect(page.locator("#link")).to_contain_text("Connection lost. This picture is 4")
    assert asked == [guard.url + "/status/events"]
    guard.process.go_on()
    page.clock.run_for(2_000)
    expect(page.locator("#link")).to_have_text("Live", timeout=15_000)


def test_who_finds_no_place_is_told_and_let_in_later(guard: Guard, visitor: Visitor) -> None:
    visitor.expected = ["503"]
    page = visitor.open()
    others = []
    for _ in range(MOST_VIEWERS - 1):
        connection = HTTPConnection("127.0.0.1", guard.process.port)
        connection.request("GET", "/status/events")
        assert connection.getresponse().status == 200
        others.append(connection)
    late = page.context.new_page()
    late.goto(guard.url)
    expect(late.locator("#link")).to_contain_text("Close one of them")
    others.pop().close()
    expect(late.locator("#link")).to_have_text("Live", timeout=15_000)
    for other in others:
        other.close()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("status-light-desktop", {"width": 1280, "height": 1000, "color_scheme": "light"}),
        ("status-dark-phone", {"width": 390, "height": 844, "color_scheme": "dark"}),
    ],
)
def test_screenshots(
    guard: Guard, visitor: Visitor, tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    guard.show(**evening())
    page = visitor.open(**how)
    if "desktop" in name:
        row(page, "Kitchen").locator("summary").click()
        page.evaluate("scrollTo(0, 0)")
        page.locator("#filter").focus()
        page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    directory = ROOT / "docs" / "screenshots" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    directory.mkdir(exist_ok=True)
    made = page.screenshot(path=directory / f"{name}.png", full_page="phone" in name)
    assert 10_000 < len(made) < 200_000
