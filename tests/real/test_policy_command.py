"""`lotus-guard policy` and `rooms` as an operator runs them, on the real stack."""

import json
import subprocess
import sys
import time
from urllib.parse import quote

import pytest

from tests.real.homeserver import User
from tests.real.processes import until
from tests.real.stack import LIMIT, QUALITY, Stack


def lotus_guard(stack: Stack, *arguments: str, user: User | None = None) -> tuple[int, str, str]:
    """Run the command in the guard's environment; returns exit code and what it printed."""
    token = {"POLICY_USER_TOKEN": user.access_token} if user else {}
    done = subprocess.run(
        [sys.executable, "-m", "lotus_guard.cli", *arguments],
        cwd=stack.directory,  # which has no package of its own beside PYTHONPATH's
        env={"PATH": "/usr/bin:/bin", **stack.guard.process.env, **token},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
        check=False,
    )
    print(f"\n$ lotus-guard {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    assert "Traceback" not in done.stderr
    assert not user or user.access_token not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def content(stack: Stack, member: User, room: str, event_type: str) -> object:
    path = f"/_matrix/client/v3/rooms/{quote(room)}/state/{event_type}/"
    return stack.synapse.call("GET", path, member.access_token).json()


@pytest.mark.parametrize("version", ["10", "12"])
def test_a_policy_is_set_shown_and_cleared(stack: Stack, version: str) -> None:
    moderator, plain, stranger = stack.users(3)
    wanted = {"preset": "public_chat", "room_version": version, "room_alias_name": f"v{version}"}
    made = stack.synapse.call(
        "POST", "/_matrix/client/v3/createRoom", moderator.access_token, wanted
    )
    room, alias = made.json()["room_id"], f"#v{version}:{stack.synapse.name}"
    assert (":" in room) == (version == "10")
    stack.synapse.join(plain, room)

    options = ("--max-users", "5", "--no-screenshare")
    code, out, err = lotus_guard(stack, "policy", "set", alias, *options, user=moderator)
    assert (code, err) == (0, "")
    assert "At most 5 different people may be in the room's calls." in out
    assert content(stack, moderator, room, LIMIT) == {"max_users": 5}
    assert content(stack, moderator, room, QUALITY) == {"allow_screenshare": False}

    code, out, _ = lotus_guard(stack, "policy", "show", room)
    assert code == 0
    assert f"{LIMIT}, set by {moderator.user_id} on {time.strftime('%Y-%m-')}" in out
    assert "Cameras are allowed. Nobody may share a screen." in out
    told = json.loads(lotus_guard(stack, "policy", "show", alias, "--json")[1])
    assert (told["room"], told["limit"]["sender"]) == (room, moderator.user_id)
    assert abs(told["limit"]["at"] - time.time()) < 60.0

    code, _, err = lotus_guard(stack, "policy", "set", room, "--no-limit", user=plain)
    told_why = f"this needs power level 50 in the room, and {plain.user_id} has 0" in err
    assert (code, told_why) == (1, True)
    code, _, err = lotus_guard(stack, "policy", "set", room, "--no-limit", user=stranger)
    assert (code, f"{stranger.user_id} is not in the room" in err) == (1, True)

    code, out, _ = lotus_guard(stack, "policy", "clear", room, "--yes", user=moderator)
    assert (code, "Any number of people" in out) == (0, True)
    assert content(stack, moderator, room, LIMIT) == content(stack, moderator, room, QUALITY) == {}


def test_what_synapse_refuses_is_told(stack: Stack) -> None:
    room, (user,) = stack.room(), stack.users(1)
    nobody = User(user.user_id, "a-token-that-nobody-has")
    code, _, err = lotus_guard(stack, "policy", "set", room, "--no-camera", user=nobody)
    assert (code, "rejects the user's access token (401 M_UNKNOWN_TOKEN" in err) == (1, True)
    for missing, said in (
        (f"#nowhere:{stack.synapse.name}", "no room has the alias"),
        ("!nowhere", "Synapse does not know the room"),
    ):
        code, _, err = lotus_guard(stack, "policy", "show", missing)
        assert (code, said in err) == (1, True)


def test_too_many_requests_are_waited_for(stack: Stack) -> None:
    (user,) = stack.users(1)
    room = stack.synapse.create_room(user)
    stack.synapse.slow_down(user, 1)
    options = ("--max-users", "5", "--no-camera")
    code, _, err = lotus_guard(stack, "policy", "set", room, *options, user=user)
    assert (code, "asks us to slow down; waiting" in err) == (0, True)
    assert content(stack, user, room, QUALITY) == {"allow_camera": False}


def test_what_the_module_refuses_is_told_with_a_way_out(pushing: Stack) -> None:
    room = pushing.room(limit={"max_users": 3, "note": "of another client"})
    admin = pushing.synapse.admin
    code, _, err = lotus_guard(pushing, "policy", "set", room, "--no-limit", user=admin)
    assert (code, "400 M_BAD_JSON: io.lotus.voice_limit: max_users is missing" in err) == (1, True)
    assert "`lotus-guard policy clear --limit` empties" in err
    code, _, err = lotus_guard(pushing, "policy", "clear", room, "--limit", "--yes", user=admin)
    assert (code, err) == (0, "")
    assert content(pushing, admin, room, LIMIT) == {}


def test_live_rooms_are_listed_with_what_was_enforced(stack: Stack) -> None:
    room = stack.room(limit={"max_users": 1})
    alice, carol = stack.users(2)
    client = stack.join(alice, room)
    until("they are seen", lambda: len(stack.identities(room)) == 1)
    assert stack.ask(carol, room).status == 403

    def is_listed() -> bool:
        told = json.loads(lotus_guard(stack, "rooms", "--json", "--room", room)[1])["rooms"]
        return [(each["people"], each["refused"]) for each in told] == [(1, 1)]

    until("the room is listed", is_listed)
    code, out, err = lotus_guard(stack, "rooms", "--room", room)
    client.disconnect()
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if room in line]
    for words in (" 1/1 ", " at most 1 ", " 1 refused", alice.user_id):
        assert words in line
