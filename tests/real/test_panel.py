"""The panel over a real Synapse: who sees a call; rules are set with the user's own power."""

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from lotus_guard.core.power import POWER_LEVELS
from tests.browser.panel import WIDGET_API
from tests.real.homeserver import Synapse, User
from tests.real.processes import ROOT, Answer, http, until
from tests.real.stack import LIMIT, QUALITY, Stack


def ask(stack: Stack, token: dict[str, Any], room: str) -> Answer:
    body = json.dumps({"room_id": room, "openid_token": token}).encode()
    return http("POST", f"{stack.guard.url}/panel/room", body)


def promote(stack: Stack, room: str, user: User, level: int) -> None:
    levels = state(stack, room, POWER_LEVELS)
    levels["users"][user.user_id] = level
    stack.set_policy(room, POWER_LEVELS, levels)


def state(stack: Stack, room: str, kind: str, event: bool = False) -> Any:
    path = f"/_matrix/client/v3/rooms/{quote(room)}/state/{kind}/"
    path += "?format=event" if event else ""
    return stack.synapse.call("GET", path, stack.synapse.admin.access_token).json()


def members(stack: Stack, room: str) -> tuple[User, User]:
    """A moderator and a member."""
    moderator, member = stack.users(2)
    for user in (moderator, member):
        stack.enter(user, room)
    promote(stack, room, moderator, 50)
    return moderator, member


def test_a_moderator_sees_who_is_in_the_call(stack: Stack) -> None:
    room = stack.room({"max_users": 1})
    moderator, member = members(stack, room)
    token = stack.synapse.openid(moderator)
    assert ask(stack, token, room).json()["people"] == []
    client = stack.join(member, room)
    assert stack.ask(moderator, room).status == 403
    found = until("seen", lambda: (got := ask(stack, token, room).json())["people"] and got)
    assert found["user"] == moderator.user_id
    assert (found["people"], found["count"], found["limit"]) == ([member.user_id], 1, 1)
    assert [(each["kind"], each["user"]) for each in found["decisions"]] == [
        ("refused", moderator.user_id)
    ]
    client.disconnect()


def test_nobody_else_does(stack: Stack, tmp_path: Path) -> None:
    room = stack.room({"max_users": 1})
    moderator, member = members(stack, room)
    (outsider,) = stack.users(1)
    found = {}
    for name, user in (("moderator", moderator), ("member", member), ("outsider", outsider)):
        got = ask(stack, stack.synapse.openid(user), room)
        found[name] = (got.status, got.json().get("io.lotus.why"))
    assert found == {
        "moderator": (200, None),
        "member": (403, "powerless"),
        "outsider": (403, "outside"),
    }
    promote(stack, room, moderator, 0)
    token = stack.synapse.openid(moderator)
    assert ask(stack, token, room).json()["io.lotus.why"] == "powerless"
    stack.synapse.membership(moderator, room, "leave")
    assert ask(stack, token, room).json()["io.lotus.why"] == "outside"


def test_a_token_of_another_server_or_of_before_is_worth_nothing(
    stack: Stack, tmp_path: Path
) -> None:
    room = stack.room({"max_users": 1})
    moderator, _ = members(stack, room)
    other = Synapse(tmp_path / "other")
    other.start()
    try:
        foreign = other.openid(other.admin)
    finally:
        other.process.stop()
    forged = {**foreign, "matrix_server_name": stack.synapse.name}
    for token in (foreign, forged):
        got = ask(stack, token, room)
        assert (got.status, got.json()["io.lotus.why"]) == (403, "unvouched")
    token = stack.synapse.openid(moderator)
    database = sqlite3.connect(stack.synapse.directory / "homeserver.db", timeout=10.0)
    with database:
        query = "UPDATE open_id_tokens SET ts_valid_until_ms = 1 WHERE token = ?"
        assert database.execute(query, (token["access_token"],)).rowcount == 1
    database.close()
    got = ask(stack, token, room)
    assert (got.status, got.json()["io.lotus.why"]) == (403, "unvouched")
    assert token["access_token"] not in stack.guard.process.text()


@pytest.fixture
def client_page(tmp_path: Path) -> Iterator[str]:
    """The page of a Matrix client; gives its address."""
    if not WIDGET_API.exists():
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("the packages of npm are not there: run `make test`")
        pytest.skip("the packages of npm are not there: run `make test`")
    for file in (*(ROOT / "tests" / "browser").glob("host.*"), WIDGET_API):
        shutil.copy(file, tmp_path / file.name)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/host.html"
    server.shutdown()
    server.server_close()


def test_rules_are_set_as_a_widget_with_the_users_own_power(
    stack: Stack,
    browser: Browser,
    client_page: str,
) -> None:
    room = stack.room({"max_users": 3, "io.example": "kept"})
    moderator, _ = members(stack, room)
    page = browser.new_page()
    page.goto(client_page)
    who = {
        "homeserver": stack.synapse.url,
        "token": moderator.access_token,
        "user": moderator.user_id,
        "room": room,
    }
    page.evaluate("a => openWidget(...a)", [f"{stack.guard.url}/panel/", who])
    widget = page.frame_locator("#widget")
    expect(widget.locator("#call-count")).to_have_text("Nobody is in the call.", timeout=15_000)
    widget.get_by_role("button", name="One more person").click()
    widget.get_by_role("switch", name="Cameras", exact=True).click()
    widget.locator("#save").click()
    expect(widget.locator("#status")).to_contain_text("Saved.")
    limit = state(stack, room, LIMIT, event=True)
    assert limit["content"] == {"max_users": 4, "io.example": "kept"}
    assert limit["sender"] == moderator.user_id
    assert state(stack, room, QUALITY) == {"allow_camera": False}
    promote(stack, room, moderator, 0)
    widget.get_by_role("button", name="One more person").click()
    widget.locator("#save").click()
    expect(widget.locator("#trouble")).to_contain_text("does not allow this")
    assert state(stack, room, LIMIT)["max_users"] == 4
    page.close()


def test_rules_are_set_on_its_own_and_the_guard_enforces_them(
    stack: Stack,
    browser: Browser,
) -> None:
    room = stack.room()
    moderator, member = members(stack, room)
    page = browser.new_page()
    page.goto(f"{stack.guard.url}/panel/")
    page.fill("#homeserver", stack.synapse.url)
    page.fill("#token", moderator.access_token)
    page.fill("#room-id", room)
    page.click("#alone button")
    page.get_by_role("switch", name="Limit the number of people").click()
    page.fill("#people", "1")
    page.click("#save")
    expect(page.locator("#status")).to_contain_text("Saved.")
    client = stack.join(member, room)
    until("enforced", lambda: stack.ask(moderator, room).status == 403)
    page.close()
    page = browser.new_page()
    page.goto(f"{stack.guard.url}/panel/")
    page.fill("#homeserver", stack.synapse.url)
    page.fill("#token", member.access_token)
    page.fill("#room-id", room)
    page.click("#alone button")
    expect(page.locator("#limit-locked")).to_contain_text("it needs power level 50")
    expect(page.locator("#call-trouble")).to_contain_text("Only people who can set")
    client.disconnect()
    page.close()
