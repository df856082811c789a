"""The status page in a real Chromium."""

import re
import time
from http.client import HTTPConnection
from typing import Any

import pytest
from playwright.sync_api import expect

from lotus_guard.web.status.stream import MOST_VIEWERS
from tests.browser.conftest import Guard, Visitor
from tests.browser.state import decision, dependency, evening, room
from tests.browser.watching import row, width

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


def test_it_shows_what_there_is(guard: Guard, visitor: Visitor) -> None:
    state = evening()
    state["rooms"].append(room(9, "Lobby", people=0, taken=2, max_users=3))
    guard.show(**state)
    page = visitor.open()
    expect(page.locator("#lead")).to_have_text(
        "50 people in 8 rooms. 1 room is full. Synapse is down; calls continue."
    )
    expect(page.locator("#rules > li")).to_have_text(
        ["Seat limit enforced", "Camera and screen enforced", "Live calls observed only"]
    )
    expect(row(page, "Kitchen")).to_contain_text("5 of 5 seats")
    expect(row(page, "Choir rehearsal")).to_contain_text("no camera")
    expect(row(page, "Lounge")).to_contain_text("17 people")
    expect(page.locator("#dependencies > li").nth(1)).to_have_text("Synapsedown")
    told = page.locator("#troubles > li:visible")
    expect(told).to_have_count(1)
    moment = r"(\d+ \w+ )?\d\d:\d\d"
    sentence = rf"Synapse: down since {moment}, last OK {moment}: no answer within 1.0 s"
    expect(told.locator("strong")).to_have_text(re.compile(f"^{sentence}$"))
    expect(told).to_contain_text("LOTUS_GUARD_SYNAPSE_URL")
    expect(told.locator("code")).to_have_text("docs/troubleshooting.md#synapse")
    expect(page.locator("#details")).to_contain_text("LOTUS_GUARD_PUSH_SECRET is not set")
    expect(page.locator("#process")).to_contain_text("lotus-guard 0.2.0. Guard k3v9t2xq")
    row(page, "Lobby").locator("summary").click()
    expect(row(page, "Lobby").locator(".body")).to_contain_text("0; 2 seats are held")
    expect(page.locator("#decision-list > li")).to_have_count(5)
    expect(page.locator("#decision-list > li").nth(3)).to_contain_text("Would have changed live:")


@pytest.mark.parametrize(
    ("down", "sentence"),
    [
        (["store"], "State file is failing; calls continue."),
        (["upstream"], "lk-jwt-service is down; nobody can join a call."),
        (
            ["upstream", "synapse"],
            "lk-jwt-service is down, Synapse is down; nobody can join a call.",
        ),
        (["livekit", "loop"], "LiveKit is down, Live loop is failing."),
    ],
)
def test_it_promises_that_calls_continue_only_where_they_do(
    guard: Guard, visitor: Visitor, down: list[str], sentence: str
) -> None:
    guard.show(dependencies=[dependency(name, "trouble", None, "reset") for name in down])
    expect(visitor.open().locator("#lead")).to_have_text(f"No calls at the moment. {sentence}")


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
    expect(page.locator("#dependencies")).to_contain_text("down")
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
    for summary in page.locator(".row summary").all():
        summary.evaluate("node => node.click()")
    expect(page.locator(".body")).to_have_count(3 * len(HOSTILE))
    text = page.locator("body").text_content() or ""
    for name in HOSTILE[:4]:
        assert name in text
    for spelled in ("\\u202e", "\\x1b[31m", "\\x00", "\\ud800", "\\x0a", "\\u2028", "\\u2066"):
        assert spelled in text
    assert not set("\u202e\u2066\u2067\u2069\u200f\x1b\x07\x00\u2028\u200b") & set(text)
    assert "\\u200b\\u3164\\xa0" in text
    assert page.locator("img, svg:not(.chart > svg), b, main script, iframe").count() == 0
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
    assert page.title() == "lotus-guard"
    expect(page.locator("#alarm")).to_be_hidden()
    guard.show(
        rooms=[
            room(1, "Kitchen", failed_open=2, failed_open_at=time.time()),
            room(2, "Lounge"),
            room(3, "Attic", failed_open=1, failed_open_at=time.time() - 7200),
        ],
        decisions=[decision(1, kind="fail_open", why="timeout: 1.0 s")],
    )
    red = "rgb(179, 32, 27)"
    expect(page.locator("#alarm")).to_contain_text("Rules not enforced for 1 join in the last hour")
    expect(page.locator("#alarm")).to_contain_text("in Kitchen: 1.0 s.")
    expect(page.locator("#alarm")).to_have_css("color", red)
    expect(row(page, "Kitchen").locator(".tag.bad")).to_have_css("color", red)
    expect(page.locator(".decision.bad .kind")).to_have_css("color", red)
    expect(row(page, "Lounge").locator(".bad")).to_have_count(0)
    expect(row(page, "Attic")).not_to_have_class(re.compile(r"\bbad\b"))
    expect(page).to_have_title("(1) lotus-guard")


def test_calls_that_are_not_enforced_let_nobody_through(guard: Guard, visitor: Visitor) -> None:
    page = visitor.open(color_scheme="light")
    expect(page.locator("#unenforced")).to_be_hidden()
    why = "refused: LiveKit: Connection refused"
    told = decision(1, kind="unenforced", rule="limit", room=None, user=None, why=why)
    guard.show(decisions=[{**told, "id": "old", "at": told["at"] - 600}])
    expect(page.locator(".decision")).to_have_count(1)
    expect(page.locator("#unenforced")).to_be_hidden()
    guard.show(decisions=[told])
    text = "Rules are not enforced in running calls. This alone lets nobody in."
    expect(page.locator("#unenforced")).to_contain_text(text)
    expect(page.locator("#unenforced")).to_contain_text(why.removeprefix("refused: "))
    expect(page.locator(".decision .kind").first).to_have_text(
        "Rules not enforced in running calls"
    )
    expect(page.locator("#alarm")).to_be_hidden()
    expect(page).to_have_title("lotus-guard")
    expect(page.locator(".decision.bad")).to_have_count(0)


def test_everything_is_reached_by_keyboard(guard: Guard, visitor: Visitor) -> None:
    guard.show(**evening())
    page = visitor.open()

    def focused() -> str:
        found: str = page.evaluate("document.activeElement.textContent.trim()")
        return found

    page.keyboard.press("Tab")
    assert focused() == "Skip to the rooms"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.type("board")
    expect(page.locator("#room-list > li:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#room-list > li:visible")).to_have_count(8)
    for state in ("unguarded", "full", "refused", "changed"):
        page.keyboard.press("Tab")
        assert focused().startswith(state)
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
    for role, name in [
        ("region", "Rooms"),
        ("region", "Decisions"),
        ("region", "Last hour"),
        ("region", "State"),
    ]:
        expect(page.get_by_role(role, name=name)).to_have_count(1)  # type: ignore[arg-type]
    for role in ("banner", "main", "contentinfo", "search", "status"):
        expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
    expect(page.get_by_role("searchbox", name="Filter")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_text("lotus-guard")


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
    expect(link).to_contain_text("Connection lost. Last update")
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
    expect(page.locator("#link")).to_contain_text("Connection lost. Last update 4")
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
