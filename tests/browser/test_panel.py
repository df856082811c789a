"""The moderators' panel in a real Chromium: as a widget, and on its own."""

import os
import re
from math import inf
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from lotus_guard.core.power import read_power
from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from tests.browser.panel import (
    LEVELS,
    LIMIT,
    QUALITY,
    Room,
    Town,
    Visit,
    findings,
)
from tests.real.processes import ROOT

WANTED = [
    *(f"receive.state_event:{kind}#" for kind in (LIMIT, QUALITY, LEVELS, "m.room.create")),
    *(f"send.state_event:{kind}#" for kind in (LIMIT, QUALITY)),
]


LIFTED = "People already in the call have to rejoin to get it back."


@pytest.fixture
def room(town: Town) -> Room:
    return town.room()


def saved(at: Any, words: str = "It takes effect within seconds.") -> None:
    at.locator("#save").click()
    expect(at.locator("#status")).to_have_text(f"Saved. {words}")


# ---- as a widget


def test_a_moderator_sets_rules_in_their_client(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"max_users": 5, "io.example": [1], "note": "kept"})
    widget, client = visit.widget(room)
    expect(widget.locator("#people")).to_have_value("5")
    widget.get_by_role("button", name="One more person").click()
    widget.get_by_role("switch", name="Cameras", exact=True).click()
    widget.get_by_label("Who can start a call").select_option("level")
    widget.locator("#limitExempt").select_option("setters")
    widget.locator("#qualityExempt").select_option("level")
    widget.locator("#qualityExempt-level").fill("75")
    expect(widget.locator("#unsaved")).to_be_visible()
    saved(widget)
    assert room.state(LIMIT) == {
        "max_users": 6,
        "start_level": 50,
        "bypass": True,
        "io.example": [1],
        "note": "kept",
    }
    assert room.state(QUALITY) == {"allow_camera": False, "bypass_level": 75}
    requested = client.evaluate("client.requested")
    assert requested == [f"org.matrix.msc2762.{each}" for each in WANTED]


def test_what_is_taken_back_leaves_no_trace(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"max_users": 5, "start_level": 50, "bypass_level": 50})
    room.set(QUALITY, {"allow_camera": False, "max_cameras": 3, "bypass": True})
    widget, _ = visit.widget(room)
    expect(widget.locator("#cameras")).to_have_value("3")
    widget.get_by_role("switch", name="Limit the number of people").click()
    widget.get_by_label("Who can start a call").select_option("everybody")
    widget.get_by_role("switch", name="Cameras", exact=True).click()
    widget.get_by_role("switch", name="Limit the number of cameras").click()
    for name in ("limitExempt", "qualityExempt"):
        widget.locator(f"#{name}").select_option("nobody")
    saved(widget, LIFTED)
    assert (room.state(LIMIT), room.state(QUALITY)) == ({}, {})


def test_discarding_shows_what_is_there(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"max_users": 5})
    widget, _ = visit.widget(room)
    widget.locator("#people").fill("9")
    widget.get_by_role("button", name="Discard changes").click()
    expect(widget.locator("#people")).to_have_value("5")
    expect(widget.locator("#save")).to_be_disabled()


def test_what_another_moderator_sets_is_shown_at_once(visit: Visit, room: Room) -> None:
    widget, client = visit.widget(room)
    expect(widget.locator("#opened")).to_be_visible()
    expect(widget.locator("#people-on")).not_to_be_checked()
    room.set(LIMIT, {"max_users": 3})
    tell = """([room, type, content]) =>
      api.feedEvent({ type, state_key: "", room_id: room, content, sender: "@bob:sandbox",
                            event_id: "$1", origin_server_ts: 1, unsigned: {} })"""
    client.evaluate(tell, [room.id, LIMIT, {"max_users": 3}])
    expect(widget.locator("#people")).to_have_value("3")
    widget.locator("#people").fill("9")
    room.set(LIMIT, {"max_users": 4})
    client.evaluate(tell, [room.id, LIMIT, {"max_users": 4}])
    expect(widget.locator("#people")).to_have_value("9")


def test_two_moderators_at_once_lose_nothing(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"max_users": 5})
    widget, _ = visit.widget(room)
    widget.locator("#people").fill("9")
    widget.get_by_role("switch", name="Screen sharing").click()
    room.set(LIMIT, {"max_users": 7, "start_level": 50, "io.other": 1})
    widget.locator("#save").click()
    warning = widget.locator("#trouble")
    expect(warning).to_contain_text("Somebody else has changed the rules in the meantime")
    expect(warning.locator("li")).to_have_text(
        [
            "Who can start a call: their new value is shown.",
            "Number of people: you both changed it. Your value is shown, and replaces theirs when "
            "you save.",
        ]
    )
    assert room.state(LIMIT)["max_users"] == 7, "nothing was saved yet"
    assert room.state(QUALITY) is None
    expect(widget.get_by_label("Who can start a call")).to_have_value("level")
    saved(widget)
    assert room.state(LIMIT) == {"max_users": 9, "start_level": 50, "io.other": 1}
    assert room.state(QUALITY) == {"allow_screenshare": False}


def test_another_ones_unknown_fields_are_kept_without_a_word(visit: Visit, room: Room) -> None:
    widget, _ = visit.widget(room)
    widget.get_by_role("switch", name="Limit the number of people").click()
    room.set(LIMIT, {"io.other": 1})
    saved(widget)
    assert room.state(LIMIT) == {"max_users": 5, "io.other": 1}


def test_who_may_not_set_a_rule_is_told_why(visit: Visit, town: Town) -> None:
    room = town.room(events={LIMIT: 75})
    widget, _ = visit.widget(room, "bob", url=town.panel + "#?userId=$matrix_user_id")
    expect(widget.locator("#limit-locked")).to_have_text(
        "You cannot change this: it needs power level 75 in this room, and yours is 50."
    )
    expect(widget.locator("#people-on")).to_be_disabled()
    expect(widget.locator("#quality-locked")).to_be_hidden()
    widget.get_by_role("switch", name="Screen sharing").click()
    saved(widget)
    assert room.state(QUALITY) == {"allow_screenshare": False}


@pytest.mark.parametrize("plain", [False, True])
def test_the_homeserver_has_the_last_word(visit: Visit, room: Room, plain: bool) -> None:
    widget, _ = visit.widget(room, client={"plainErrors": plain})
    widget.get_by_role("switch", name="Screen sharing").click()
    room.set(LEVELS, {"users": {}, "state_default": 50})
    widget.locator("#save").click()
    said = "That did not work." if plain else "Your homeserver does not allow this."
    expect(widget.locator("#trouble")).to_contain_text(said)
    expect(widget.locator("#screen")).not_to_be_checked()
    expect(widget.locator("#unsaved")).to_be_visible()
    assert room.state(QUALITY) is None


def test_a_homeserver_that_asks_to_wait_is_waited_for(visit: Visit, room: Room) -> None:
    widget, _ = visit.widget(room)
    widget.get_by_role("switch", name="Screen sharing").click()
    room.town.control(waits=[1500, 300])
    widget.locator("#save").click()
    expect(widget.locator("#status")).to_have_text("Waiting 2 seconds, as the homeserver asked…")
    expect(widget.locator("#status")).to_have_text("Saved. It takes effect within seconds.")
    assert room.state(QUALITY) == {"allow_screenshare": False}


def test_who_allows_nothing_is_told_so(visit: Visit, room: Room) -> None:
    widget, _ = visit.widget(room, client={"denies": ["receive"]})
    expect(widget.locator("#trouble")).to_contain_text("was not allowed to read or set")
    expect(widget.locator("#opened")).to_be_hidden()
    widget, _ = visit.widget(room, client={"denies": ["send"]})
    widget.get_by_role("switch", name="Screen sharing").click()
    widget.locator("#save").click()
    expect(widget.locator("#trouble")).to_contain_text("was not allowed to read or set")


def test_who_does_not_say_who_they_are_sets_rules_all_the_same(visit: Visit, room: Room) -> None:
    widget, client = visit.widget(room, client={"refusesOpenId": True})
    expect(widget.locator("#call-trouble")).to_contain_text("You did not allow this page")
    client.evaluate("client.refusesOpenId = false")
    widget.get_by_role("button", name="Try again").click()
    expect(widget.locator("#call-count")).to_have_text("Nobody is in the call.")
    widget.get_by_role("switch", name="Screen sharing").click()
    saved(widget)


def test_only_the_client_is_heard(visit: Visit, room: Room) -> None:
    widget, client = visit.widget(room)
    expect(widget.locator("#opened")).to_be_visible()
    frame = client.frames[-1]
    message = {
        "api": "toWidget",
        "widgetId": "widget1",
        "requestId": "r1",
        "action": "theme_change",
        "data": {"name": "dark"},
    }
    frame.evaluate("message => window.postMessage(message, '*')", message)
    client.evaluate(
        """message => new Promise((done) => {
          const other = document.createElement("iframe");
          other.srcdoc = "<p>";
          other.onload = () => {
            const widget = "parent.document.getElementById('widget').contentWindow";
            const text = JSON.stringify(message);
            other.contentWindow.eval(`${widget}.postMessage(${text}, "*")`);
            done();
          };
          document.body.append(other);
        })""",
        message,
    )
    client.evaluate(
        """message => document.getElementById("widget").contentWindow
             .postMessage({ ...message, widgetId: "another" }, "*")""",
        message,
    )
    client.wait_for_timeout(300)
    assert frame.evaluate("document.documentElement.dataset.theme") is None
    client.evaluate("api.updateTheme({ name: 'dark' })")
    expect(widget.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_frame_without_a_client_takes_no_token(visit: Visit, town: Town) -> None:
    page = visit.page()
    page.goto(town.url + "/host.html")
    page.clock.install()
    page.evaluate("url => { document.getElementById('widget').src = url }", town.panel)
    widget = page.frame_locator("#widget")
    expect(widget.locator("#status")).to_contain_text("Waiting for your Matrix client")
    page.clock.run_for(21_000)
    expect(widget.locator("#trouble")).to_contain_text("No Matrix client is answering.")
    expect(widget.locator("#alone")).to_be_hidden()


# ---- who is in the call


def test_a_moderator_sees_who_is_in_the_call_and_what_was_done(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"max_users": 2})
    room.town.control(join=[["alice", room.id], ["bob", room.id]], ask=[["carol", room.id]])
    widget, _ = visit.widget(room)
    expect(widget.locator("#call-count")).to_have_text("2 people are in the call (limit: 2).")
    people = widget.locator("#call-people li")
    expect(people).to_have_text(["@alice:sandbox", "@bob:sandbox"])
    done = widget.locator("#decisions li")
    expect(done).to_have_count(1)
    expect(done).to_contain_text("@carol:sandbox was not let in: the call was full")
    british = re.compile(r"\d{1,2} \w+ \d{4}, \d\d:\d\d")
    expect(done.locator("time")).to_have_text(british)


def test_a_member_without_power_sees_rules_and_no_people(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"max_users": 2})
    widget, _ = visit.widget(room, "carol")
    expect(widget.locator("#call-trouble")).to_contain_text(
        "Only people who can set this room's rules"
    )
    expect(widget.locator("#done")).to_be_hidden()
    # Who they are was learnt from the guard: the client's address did not say it.
    expect(widget.locator("#limit-locked")).to_contain_text("yours is 0.")


# ---- on its own


def test_a_typed_token_sets_rules_and_is_kept_nowhere(visit: Visit, room: Room) -> None:
    room.set("m.room.name", {"name": "Kitchen"})
    page = visit.alone(room, "bob")
    expect(page.locator("#room")).to_have_text("Kitchen")
    page.get_by_role("switch", name="Limit the number of people").click()
    saved(page)
    assert room.state(LIMIT) == {"max_users": 5}
    expect(page.locator("#call-count")).to_have_text("Nobody is in the call.")
    assert page.evaluate("document.getElementById('token').value") == ""
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
        0,
        0,
        "",
    ]
    page.get_by_role("button", name="Close this room").click()
    expect(page.locator("#alone")).to_be_visible()
    expect(page.locator("#opened")).to_be_hidden()


@pytest.mark.parametrize(
    ("homeserver", "token", "room_id", "words"),
    [
        ("", "expired", "!x:sandbox", "does not know this access token"),
        ("", "alice", "kitchen", "neither a room address"),
        ("", "alice", "#nothing:sandbox", "does not know that room"),
        ("", "erin", "!panel1:sandbox", "does not allow this. It says: “User @erin:sandbox"),
        ("http://example.org", "alice", "!x:s", "must start with https://"),
        ("https://user:pw@example.org", "alice", "!x:s", "not the address of a homeserver"),
        ("http://127.0.0.1:9", "alice", "!x:s", "The server cannot be reached."),
        ("the guard", "alice", "!x:s", "This is not a homeserver."),
    ],
)
def test_what_goes_wrong_is_said_in_words(
    visit: Visit, room: Room, homeserver: str, token: str, room_id: str, words: str
) -> None:
    page = visit.page()
    page.goto(room.town.panel)
    known = {"": room.town.homeserver, "the guard": room.town.guard}
    page.fill("#homeserver", known.get(homeserver, homeserver))
    page.fill("#token", token)
    page.fill("#room-id", room_id)
    page.click("#alone button")
    expect(page.locator("#trouble")).to_contain_text(words)
    expect(page.locator("#alone")).to_be_visible()
    assert page.input_value("#token") == token, "nothing has to be typed twice"


def test_a_value_that_means_nothing_is_named(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"max_users": "five", "bypass": "yes"})
    page = visit.alone(room)
    expect(page.locator("#limit-typo")).to_contain_text("max_users, bypass")
    page.get_by_role("switch", name="Limit the number of people").click()
    saved(page)
    assert room.state(LIMIT) == {"max_users": 5, "bypass": "yes"}
    expect(page.locator("#limit-typo")).to_contain_text("invalid value: bypass.")


def test_a_level_that_everybody_has_is_not_saved(visit: Visit, town: Town) -> None:
    room = town.room(users_default=10)
    page = visit.alone(room)
    page.locator("#limitExempt").select_option("level")
    page.locator("#limitExempt-level").fill("10")
    hint = page.locator("#limitExempt-hint")
    expect(hint).to_have_text("Everyone here has level 10. Enter a higher one.")
    page.locator("#save").click()
    expect(page.locator("#limitExempt-level")).to_be_focused()
    for wrong in ("", "1.5", "-"):
        page.locator("#limitExempt-level").fill("")
        page.locator("#limitExempt-level").press_sequentially(wrong)
        expect(hint).to_have_text("Enter a whole number.")
    page.locator("#limitExempt-level").fill("11")
    saved(page)
    assert room.state(LIMIT) == {"bypass_level": 11}


def test_nor_is_such_a_level_for_starting_a_call(visit: Visit, room: Room) -> None:
    room.set(LIMIT, {"start_level": 0})
    page = visit.alone(room)
    expect(page.locator("#start-hint")).to_have_text(
        "Everyone here has level 0. Enter a higher one."
    )
    page.locator("#start-level").fill("1")
    saved(page)
    assert room.state(LIMIT) == {"start_level": 1}


def test_a_wrong_value_of_a_rule_that_is_locked_keeps_nobody_from_the_other(
    visit: Visit, town: Town
) -> None:
    room = town.room(events={LIMIT: 75})
    room.set(LIMIT, {"start_level": 0})
    page = visit.alone(room, "bob")
    page.get_by_role("switch", name="Screen sharing").click()
    saved(page)


@pytest.mark.parametrize(("level", "said"), [(40, 40), (60, 50), (0, 50)])
def test_of_two_ways_to_be_exempt_the_wider_one_is_told_and_both_are_kept(
    visit: Visit, room: Room, level: int, said: int
) -> None:
    room.set(LIMIT, {"max_users": 5, "bypass": True, "bypass_level": level})
    page = visit.alone(room)
    expect(page.locator("#limitExempt-hint")).to_contain_text(f"People with level {said} or higher")
    page.locator("#people").fill("6")
    saved(page)
    assert room.state(LIMIT) == {"max_users": 6, "bypass": True, "bypass_level": level}
    page.locator("#limitExempt").select_option("nobody")
    saved(page)
    assert room.state(LIMIT) == {"max_users": 6}


@pytest.mark.parametrize("gives_back", [False, True])
def test_who_lifts_a_ban_is_told_how_it_comes_back(
    visit: Visit, room: Room, gives_back: bool
) -> None:
    room.set(QUALITY, {"allow_screenshare": False, "max_cameras": 2})
    page = visit.page()

    def answer(route: Route) -> None:
        told = {"user": "@alice:sandbox", "people": [], "count": 0, "limit": None, "decisions": []}
        route.fulfill(json={**told, "gives_back": gives_back})

    page.route("**/panel/room", answer)
    visit.fill_in(page, room)
    expect(page.locator("#call-count")).to_have_text("Nobody is in the call.")
    words = "It takes effect within seconds." if gives_back else LIFTED
    page.get_by_role("switch", name="Screen sharing").click()
    saved(page, words)
    page.locator("#cameras").fill("3")
    saved(page, words)
    page.locator("#cameras").fill("2")
    saved(page)


def test_the_keyboard_is_enough(visit: Visit, room: Room) -> None:
    page = visit.page()
    page.goto(room.town.panel)
    page.locator("#alone").wait_for()
    for text in (room.town.homeserver, "alice", room.id):
        page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.locator("#opened")).to_be_visible()
    reached: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        if reached[-1] == "people-on":
            page.keyboard.press("Space")
        if reached[-1] == "people":
            page.keyboard.press("ArrowUp")
        if reached[-1] == "start":
            page.keyboard.press("ArrowDown")
        if reached[-1] == "save":
            break
    assert reached[-1] == "save"
    assert len(set(reached)) > 10
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Saved.")
    assert room.state(LIMIT) == {"max_users": 6, "start_level": 50}


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "gnp.exe\u202etxt", "W" * 3000, "a\nb\x00\u2066"]
)
def test_hostile_names_are_text(visit: Visit, room: Room, name: str) -> None:
    room.set("m.room.name", {"name": name})
    room.set(LIMIT, {"max_users": 2, name: name})
    page = visit.alone(room, width=320)
    expect(page.locator("#where")).to_be_visible()
    text = page.locator("#room").text_content() or ""
    assert text.startswith(name[:7].partition("\n")[0])
    assert not re.search("[\u202e\u2066\x00\n]", text)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert page.locator("img").count() == 0


# ---- how it looks and speaks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "language"), [(1100, "en-GB"), (360, "de-DE"), (320, "en-GB")])
def test_axe_finds_nothing(
    visit: Visit, town: Town, scheme: Any, width: int, language: str
) -> None:
    room = town.room(events={QUALITY: 100})
    room.set(LIMIT, {"max_users": 2, "start_level": "x"})
    town.control(join=[["alice", room.id]], ask=[["bob", room.id], ["carol", room.id]])
    how = {"color_scheme": scheme, "locale": language, "bypass_csp": True, "width": width}
    page = visit.page(**how)
    page.goto(town.panel)
    page.locator("#alone").wait_for()
    assert findings(page) == []
    page = visit.alone(room, "bob", **how)
    expect(page.locator("#decisions li")).not_to_have_count(0)
    assert findings(page) == []
    page.locator("#limitExempt").select_option("level")
    page.locator("#limitExempt-level").fill("0")
    room.set(LIMIT, {"max_users": 3})
    assert findings(page) == []
    page.locator("#limitExempt-level").fill("60")
    page.locator("#save").click()
    expect(page.locator("#trouble li")).not_to_have_count(0)
    assert findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_german_by_the_browser_or_by_the_client(visit: Visit, room: Room) -> None:
    page = visit.alone(room, locale="de-AT")
    expect(page.locator("h1")).to_have_text("Regeln für Anrufe")
    assert page.evaluate("document.documentElement.lang") == "de"
    url = room.town.panel + "#?lang=$org.matrix.msc2873.client_language"
    widget, _ = visit.widget(room, url=url, language="de")
    expect(widget.get_by_role("button", name="Speichern")).to_be_visible()
    page = visit.alone(room, locale="fr-FR")
    expect(page.locator("h1")).to_have_text("Call rules")


def test_dark_by_the_browser_or_by_the_client(visit: Visit, room: Room) -> None:
    def ground(at: Page | Locator) -> str:
        colour: str = at.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return colour

    dark = ground(visit.alone(room, color_scheme="dark"))
    light = ground(visit.alone(room, color_scheme="light"))
    assert dark != light
    url = room.town.panel + "?theme=$org.matrix.msc2873.client_theme"
    _, client = visit.widget(room, url=url, theme="dark", color_scheme="light")
    client.frame_locator("#widget").locator("#opened").wait_for()
    frame = client.frames[-1]
    assert frame.evaluate("getComputedStyle(document.body).backgroundColor") == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["widget-desktop", "alone-phone"])
def test_screenshots(visit: Visit, town: Town, tmp_path: Path, scheme: Any, kind: str) -> None:
    room = town.room()
    room.set("m.room.name", {"name": "Kitchen"})
    room.set(LIMIT, {"max_users": 2, "bypass": True})
    room.set(QUALITY, {"max_cameras": 4})
    town.control(join=[["alice", room.id], ["bob", room.id]], ask=[["carol", room.id]])
    if kind == "alone-phone":
        page = visit.alone(room, width=390, height=844, color_scheme=scheme)
        expect(page.locator("#decisions li")).to_have_count(1)
    else:
        how = {"width": 840, "height": 520, "color_scheme": scheme}
        widget, page = visit.widget(room, theme=scheme, **how)
        expect(widget.locator("#decisions li")).to_have_count(1)
    directory = ROOT / "docs" / "screenshots" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    directory.mkdir(exist_ok=True)
    made = page.screenshot(path=directory / f"panel-{kind}-{scheme}.png")
    assert 10_000 < len(made) < 60 * 1024


# ---- that it means what the guard means


LEVELS_OF_ROOMS: list[Any] = [
    None,
    {},
    {"users": {"@a:s": 50, "@b:s": "75"}, "users_default": "-5", "state_default": 60.9},
    {"users": [], "events": {LIMIT: 20, "constructor": 3}, "state_default": "x"},
    {"users": {"@a:s": True, "@b:s": None}, "events": {LIMIT: "1 0"}, "users_default": 10},
]
CREATES: list[Any] = [
    None,
    {"sender": "@a:s", "content": {"creator": "@b:s"}},
    {"sender": "@a:s", "content": {"room_version": "11", "creator": "@b:s"}},
    {"sender": "@a:s", "content": {"room_version": "12", "additional_creators": ["@b:s", 5]}},
    {"sender": "@a:s", "content": {"room_version": "org.example.12"}},
]


def test_it_computes_power_as_the_guard_does(visit: Visit, town: Town) -> None:
    page = visit.page()
    page.goto(town.panel)
    users, types = ["@a:s", "@b:s", "@c:s", "toString"], [LIMIT, QUALITY, "constructor"]
    for levels in LEVELS_OF_ROOMS:
        for create in CREATES:
            seen = page.evaluate(
                """async ([levels, create, users, types]) => {
                  const { Power } = await import("./power.js");
                  const power = new Power(levels && { content: levels }, create);
                  return [
                    users.map((each) => String(power.of(each))),
                    types.map((each) => power.needed(each)), power.usersDefault];
                }""",
                [levels, create, users, types],
            )
            power = read_power(levels, create)
            of = ["Infinity" if power.of(u) == inf else f"{power.of(u):.0f}" for u in users]
            assert seen == [of, [power.needed(t) for t in types], power.users_default]


def test_it_reads_rules_as_the_guard_does(visit: Visit, town: Town) -> None:
    page = visit.page()
    page.goto(town.panel)
    odd: list[Any] = [5, 1, 0, -1, True, "5", None, 1.5, [5], {}]
    for value in odd:
        seen = page.evaluate(
            """async (value) => {
              const { valuesOf, LIMIT, QUALITY } = await import("./rules.js");
              const content = { max_users: value, allow_camera: value, allow_screenshare: value };
              const values = valuesOf({ [LIMIT]: content, [QUALITY]: content });
              return [values.people, values.camera, values.screen];
            }""",
            value,
        )
        limit = Limit().read({"max_users": value}).policy.max_users
        sources = {"allow_camera": value, "allow_screenshare": value}
        forbidden = Media().read(sources).policy.forbidden
        assert seen == [limit, "camera" not in forbidden, "screen_share" not in forbidden]
    for allows in (False, True):
        assert Media().read({"allow_camera": allows}).policy.restricts is not allows
