"""What the real Element Call shows people who are refused, and how a client shows it well."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Response, Route, expect

from lotus_guard.core.sentence import Sentence
from lotus_guard.words.files import built_in
from tests.browser.panel import LIMIT, Room, Town, Visit
from tests.real.install import taken_as
from tests.real.processes import ROOT

GENERAL = {"en": "Something went wrong", "de": "Etwas ist schief gelaufen"}
DETAILS = "Technical details"
CLIENTS = (ROOT / "docs" / "clients.md").read_text()


@pytest.fixture
def room(town: Town) -> Room:
    """A room for two, with two in its call."""
    made = town.room()
    made.set(LIMIT, {"max_users": 2})
    town.control(join=[["alice", made.id], ["bob", made.id]])
    return made


def full(language: str, most: int = 2) -> str:
    people = Sentence("call_full_people", {"count": most})
    return built_in()[language].say(Sentence("call_full", {"people": people}))


@pytest.mark.parametrize(("language", "locale"), [("en", "en-GB"), ("de", "de-DE")])
def test_it_shows_a_general_error_and_the_sentence_under_technical_details(
    visit: Visit, room: Room, language: str, locale: str
) -> None:
    refusals: list[Response] = []
    page = visit.page(locale=locale)
    page.on("response", lambda got: refusals.append(got) if got.status == 403 else None)
    call = visit.call(page, room, language=language)
    expect(call.get_by_text(GENERAL[language])).to_be_visible(timeout=30_000)
    expect(call.get_by_text("OPEN_ID_ERROR")).to_be_visible()
    said = call.get_by_text(full(language))
    expect(said).to_be_hidden()
    call.get_by_text(DETAILS).click()
    expect(said).to_be_visible()
    (shown,) = re.findall(r"\((?:Reference|Referenz): (\w+)\)", said.inner_text())
    assert shown in [got.json()["io.lotus.decision"] for got in refusals]


def test_screenshot(visit: Visit, town: Town, room: Room, tmp_path: Path) -> None:
    """Its address is a server's: the test's own would be another in each picture."""
    host = "http://call.example.org"

    def answer(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(host, town.guard)))

    page = visit.page(width=840, height=520)
    page.route(f"{host}/**", answer)
    call = visit.call(page, room, guard=host)
    call.get_by_text(DETAILS).click(timeout=30_000)
    expect(call.get_by_text(full("en"))).to_be_visible()
    directory = ROOT / "docs" / "screenshots" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    directory.mkdir(exist_ok=True)
    made = page.screenshot(path=directory / "element-call-refused.png")
    assert 10_000 < len(made) < 300 * 1024


# ---- the lines of docs/clients.md


def shown_by_the_lines(page: Page, town: Town, ask: dict[str, Any]) -> Any:
    """Ask for a token as a browser's client does, and show the answer by the lines of the page."""
    (lines,) = re.findall(r"^```js\n(.*?)^```", CLIENTS, re.MULTILINE | re.DOTALL)
    page.goto(town.url + "/host.html")
    page.add_script_tag(content=lines.replace("export ", ""))
    return page.evaluate(
        """async ([url, body]) => {
          const headers = { "Content-Type": "application/json" };
          return refusal(await fetch(url, { method: "POST", headers, body: JSON.stringify(body) }));
        }""",
        [f"{town.guard}/sfu/get", ask],
    )


def asking(name: str, room: str) -> dict[str, Any]:
    token = {"access_token": f"openid-{name}", "matrix_server_name": "sandbox"}
    return {"room": room, "openid_token": token, "device_id": "LAPTOP"}


def test_the_lines_show_a_full_room_as_such(visit: Visit, town: Town, room: Room) -> None:
    shown = shown_by_the_lines(visit.page(), town, asking("carol", room.id))
    reference = shown["reference"]
    assert shown == {
        "title": "This call is full (2 people at most)",
        "text": f"{full('en')} (Reference: {reference})",
        "reference": reference,
    }
    assert re.fullmatch(r"[a-z2-7]{8}", reference)


def test_the_lines_show_any_other_refusal_by_its_sentence(visit: Visit, town: Town) -> None:
    room = town.room()
    shown = shown_by_the_lines(visit.page(), town, asking("erin", room.id))
    assert shown["title"] == "You cannot join this call"
    assert shown["text"].startswith("You are not a member of this room. (Reference: ")


def test_the_lines_leave_all_else_alone(visit: Visit, town: Town, room: Room) -> None:
    page = visit.page()
    assert shown_by_the_lines(page, town, asking("alice", room.id)) is None
    assert shown_by_the_lines(page, town, {}) is None
    strange = """async (body) => refusal(new Response(body, { status: 403 }))"""
    for body in ("", "no", "null", "[]", '{"io.lotus.limit": 5, "error": 7}'):
        assert page.evaluate(strange, body)["title"] == "You cannot join this call"


def test_a_file_or_a_folder_is_taken_of_a_package_and_no_source_maps() -> None:
    assert taken_as("package/dist/api.js", "dist/api.js") == "api.js"
    assert taken_as("package/dist/assets/x.js", "dist/") == "assets/x.js"
    for other in ("package/dist/assets/x.js.map", "package/README.md", "package/dist/other/api.js"):
        assert taken_as(other, "dist/api.js") == ""
    assert taken_as("package/dist/assets/x.js.map", "dist/") == ""
