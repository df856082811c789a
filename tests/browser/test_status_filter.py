"""What the status page's filter finds: names, states, and what it suggests itself."""

import time

from playwright.sync_api import Page, expect

from tests.browser.conftest import Guard, Visitor
from tests.browser.state import evening, room
from tests.browser.watching import row


def names(page: Page) -> list[str]:
    return page.locator("#room-list > li .name").all_text_contents()


def test_the_filter_finds_rooms_people_and_states(guard: Guard, visitor: Visitor) -> None:
    guard.show(**evening())
    page = visitor.open()
    shown = page.locator("#room-list > li")
    for typed, found in [
        ("kitch", ["Kitchen"]),
        ("!0007", ["Friday games"]),
        ("@DMITRI", ["Kitchen", "Reading circle"]),
        ("full", ["Kitchen"]),
        ("refused", ["Kitchen"]),
        ("changed", ["Choir rehearsal"]),
        ("no camera", ["Choir rehearsal"]),
        ("unguarded", ["Board, in private"]),
        ("nobody has this", []),
    ]:
        page.locator("#filter").fill(typed)
        expect(shown.locator(".name")).to_have_text(found)
    expect(page.locator("#rooms-note")).to_have_text("0 of 8 rooms")
    page.locator("#filter").fill("kitch")
    expect(page.locator("#decision-list > li")).to_have_count(2)
    expect(page.locator("#decisions-note")).to_have_text("2 of 5 decisions")
    guard.show(rooms=[room(1, "Kitchen"), room(2, "Kitchenette"), room(3, "Attic")])
    expect(shown.locator(".name")).to_have_text(["Kitchen", "Kitchenette"])
    page.locator("#filter").fill("")
    expect(shown).to_have_count(3)


def test_each_state_that_is_suggested_is_found(guard: Guard, visitor: Visitor) -> None:
    state = evening()
    state["rooms"] += [
        room(21, "Upgraded", rules_lost_of="!old:example.org"),
        room(22, "Guests", strangers=2),
        room(23, "full of life"),  # its name is no state
    ]
    guard.show(**state)
    page = visitor.open()
    chips = page.locator("#chips > button:visible")
    expect(chips).to_have_count(6)
    found = {}
    for chip in chips.all():
        said = (chip.text_content() or "").rsplit(" ", 1)
        chip.click()
        expect(chip).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#rooms-note")).to_have_text(f"{said[1]} of 11 rooms")
        found[said[0]] = (names(page), page.locator("#decision-list > li").count())
        chip.click()
    assert found == {
        "unguarded": (["Board, in private"], 1),
        "full": (["Kitchen"], 2),
        "refused": (["Kitchen"], 2),
        "changed": (["Choir rehearsal"], 2),
        "rules lost": (["Upgraded"], 0),
        "not members": (["Guests"], 0),
    }
    expect(page.locator("#rooms-note")).to_be_hidden()


def test_states_and_words_are_all_to_fit(guard: Guard, visitor: Visitor) -> None:
    guard.show(rooms=[room(n, f"Hall {n}", refused=n % 2) for n in range(4)])
    page = visitor.open()
    page.locator("#chips").get_by_role("button", name="refused").click()
    assert names(page) == ["Hall 1", "Hall 3"]
    page.locator("#filter").fill("3")
    expect(page.locator("#room-list > li .name")).to_have_text(["Hall 3"])
    page.locator("#chips").get_by_role("button", name="full").click()
    expect(page.locator("#rooms-note")).to_have_text("0 of 4 rooms")
    page.locator("#chips").get_by_role("button", name="full").click()
    expect(page.locator("#rooms-note")).to_have_text("1 of 4 rooms")
    guard.show(rooms=[room(3, "Hall 3")])
    expect(page.locator("#rooms-note")).to_have_text("0 of 1 room")


def test_trouble_comes_first(guard: Guard, visitor: Visitor) -> None:
    now = time.time()
    guard.show(
        rooms=[
            room(1, "Attic"),
            room(2, "Bar", max_users=5, taken=1),
            room(3, "Cellar", max_users=5, taken=5, refused=2, refused_at=now - 5),
            room(4, "Den", failed_open=1, failed_open_at=now - 9),
            room(5, "Exit", failed_open=1, failed_open_at=now - 7200),
            room(6, "Foyer", rules_lost_of="!old:example.org"),
            room(7, "Gym", max_users=5, taken=1, refused=2, refused_at=now - 1800),
        ]
    )
    page = visitor.open()
    expect(page.locator("#room-list > li .name")).to_have_text(
        ["Den", "Foyer", "Cellar", "Bar", "Gym", "Attic", "Exit"]
    )
    sections = page.locator("#room-list > li[data-section]")
    assert sections.evaluate_all("all => all.map((each) => each.dataset.section)") == [
        "Needs attention",
        "Refusing people",
        "With rules",
        "Without rules",
    ]
    guard.show(rooms=[room(1, "Attic"), room(2, "Bar", max_users=5, taken=1)])
    expect(page.locator("#room-list > li .name")).to_have_text(["Bar", "Attic"])
    expect(sections).to_have_count(0)


def test_rooms_that_anybody_makes_do_not_hide_an_unguarded_one(
    guard: Guard, visitor: Visitor
) -> None:
    made_up = [room(n, f"!{n}", rules_lost_of="!old:example.org") for n in range(50)]
    hit = room(99, "Zoo", failed_open=1, failed_open_at=time.time() - 9)
    guard.show(rooms=[*made_up, hit])
    page = visitor.open()
    expect(page.locator("#room-list > li .name").first).to_have_text("Zoo")


def test_a_room_whose_trouble_is_over_is_not_first_for_ever(guard: Guard, visitor: Visitor) -> None:
    page = visitor.open()
    page.clock.install()
    page.reload()
    page.locator('#link[data-state="live"]').wait_for()
    guard.show(
        rooms=[
            room(1, "Attic"),
            room(4, "Den", failed_open=1, failed_open_at=time.time() - 3590),
        ]
    )
    order = page.locator("#room-list > li .name")
    page.clock.run_for(1100)
    expect(order).to_have_text(["Den", "Attic"])
    expect(row(page, "Den")).to_have_class("row room bad")
    page.clock.run_for(25_000)  # the connection counts as lost after 35 s
    expect(order).to_have_text(["Attic", "Den"])
    expect(row(page, "Den")).to_have_class("row room")


def test_full_since(guard: Guard, visitor: Visitor) -> None:
    noon = 1_790_000_000.0  # 14:13:20 UTC
    guard.show(rooms=[room(1, "Hall", max_users=2, taken=2, full_since=noon)])
    page = visitor.open()
    expect(row(page, "Hall").locator(".tag.full")).to_have_text("full since 21 Sept 14:13")
    guard.show(rooms=[room(1, "Hall", max_users=2, taken=2)])
    expect(row(page, "Hall").locator(".tag.full")).to_have_text("full")
