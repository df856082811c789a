"""The lines that `make run` prints do what they say."""

import json
import re
import shlex
from urllib.parse import quote

import jwt
import pytest
from attrs import evolve

from lotus_guard.core.homeserver_wire import CLIENT_PATHS
from lotus_guard.rules import RULES
from lotus_guard.sandbox.stack import OPEN, SECRET, Addresses
from lotus_guard.sandbox.welcome import Entrances, welcome
from tests.events import LIMIT_EVENT
from tests.sandbox.test_stack import Stack

GUARD, OPERATORS = "http://127.0.0.1:8070", "http://127.0.0.1:8072"
ENTRANCES = Entrances(GUARD, OPERATORS, ".venv-run/bin/lotus-guard")


@pytest.fixture
def stack() -> Stack:
    return Stack()


def test_the_page_and_the_command_line_are_named() -> None:
    lines = welcome(ENTRANCES, Addresses()).splitlines()
    assert f"Status page: {OPERATORS}/" in lines
    called = [shlex.split(line) for line in lines if line.startswith("  .venv-run/")]
    assert called == [  # carol is who is refused, by the lines further down
        [ENTRANCES.command, "rooms", "--guard", OPERATORS],
        [ENTRANCES.command, "explain", "@carol:sandbox", "!two:sandbox", "--guard", OPERATORS],
        [ENTRANCES.command, "explain", "REFERENCE", "--guard", OPERATORS],
    ]


def test_neither_is_named_without_an_operators_port() -> None:
    text = welcome(evolve(ENTRANCES, operators=None), Addresses())
    assert "Status page" not in text
    assert "--guard" not in text


def test_where_people_come_and_go_their_full_room_is_what_there_is_to_explain() -> None:
    text = welcome(evolve(ENTRANCES, is_quiet=False), Addresses())
    assert f"explain '!kitchen:sandbox' --guard {OPERATORS}\n" in text


def test_people_who_come_and_go_are_announced_where_they_do() -> None:
    assert "--quiet-sandbox" not in welcome(ENTRANCES, Addresses())
    assert "--quiet-sandbox" in welcome(evolve(ENTRANCES, is_quiet=False), Addresses())


def curl_lines() -> list[list[str]]:
    """Take the welcome's lines to paste apart as a shell does."""
    lines = welcome(ENTRANCES, Addresses()).splitlines()
    return [shlex.split(line) for line in lines if line.strip().startswith("curl")]


def test_the_panel_is_named_with_whom_it_lets_set_rules(stack: Stack) -> None:
    text = welcome(ENTRANCES, Addresses())
    found = re.search(r"homeserver (\S+), access token (\S+), room (\S+)", text)
    assert found is not None
    homeserver, token, room = found.groups()
    assert f"{GUARD}/panel/\n" in text
    path = f"/_matrix/client/v3/rooms/{quote(room, safe='')}/state/{LIMIT_EVENT}/"
    headers = {"Authorization": f"Bearer {token}"}
    server = stack.servers[homeserver]
    assert server.request("PUT", path, headers, b'{"max_users": 3}').status == 200
    assert server.request("GET", path, headers).json() == {"max_users": 3}


def test_curl_lines_ask_for_what_they_say(stack: Stack) -> None:
    *lines, by_homeserver = curl_lines()
    assert [line[:4] for line in lines] == [["curl", "-s", f"{GUARD}/sfu/get", "-d"]] * len(lines)
    *good, ambiguous = [line[4] for line in lines]
    asked = [(json.loads(text)["room"], stack.ask(text)) for text in good]
    assert [room for room, _ in asked] == [
        OPEN,
        *(f"!{rule.trial.room}:sandbox" for rule in RULES for _ in rule.trial.askers),
    ]
    # The sandbox's clock stands still here, so the tokens ran out long ago.
    people = [
        jwt.decode(
            answer.json()["jwt"], SECRET, algorithms=["HS256"], options={"verify_exp": False}
        )["sub"]
        for _, answer in asked
    ]
    assert people[1:4] == [f"@{name}:sandbox:PHONE" for name in ("alice", "bob", "carol")]
    keys = [key for key, _ in json.loads(ambiguous, object_pairs_hook=list)]
    assert keys == ["room", "room"]
    assert by_homeserver[4].endswith(CLIENT_PATHS[1])
    assert json.loads(by_homeserver[6])["room_id"] == OPEN
