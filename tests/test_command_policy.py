"""`lotus-guard policy`, against the sandbox's Synapse: in this process, and as operators run it."""

import fcntl
import json
import math
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from queue import Queue
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from click.testing import CliRunner
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from lotus_guard.cli import main
from lotus_guard.commands.common import Failed
from lotus_guard.commands.policy_options import Wishes
from lotus_guard.commands.policy_room import (
    Changed,
    RefusedByHomeserver,
    Sides,
    clear_policy,
    find_room,
    read,
    set_policy,
)
from lotus_guard.commands.policy_words import Held, RoomPolicies, as_json, lines_of, meaning
from lotus_guard.core.model import RoomId
from lotus_guard.core.power import level_needed, level_of
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.matrix import Matrix
from lotus_guard.rules import RULES
from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from lotus_guard.rules.rule import Rule
from lotus_guard.sandbox.stack import ADMIN_TOKEN, TWO
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.test_docs import GOOD
from tests.test_explain import ROOT, run
from tests.world import World, http_answer, reactor

MOD, PLAIN, STRANGER = "mod-token-0123456789", "plain-token-012345", "stranger-token-01"
ROOM = "!kitchen"
"""Of room version 12: without a server."""
ALIAS = "#kitchen:sandbox"
HOSTILE = "x\x1b[2J\u202e\n[bold red]\x9b31m"
HOSTILE_ROOM = "!x\u202e[bold red]"
"""As hostile as a room id can be: Matrix has none with control characters."""


LIMIT, MEDIA = Limit(), Media()


def written(rule: Rule[Any], content: Any, wishes: Wishes) -> Any:
    for option in rule.options:
        if option in wishes:
            content = option.write(content, wishes[option])
    return content


def wish(**wanted: Any) -> Wishes:
    """Options of the command line, by their names in Python."""
    options = {
        option.flag.replace("-", "_"): option for rule in (LIMIT, MEDIA) for option in rule.options
    }
    return {options[name]: value for name, value in wanted.items()}


@define
class Kitchen:
    """A room with power levels: a moderator, somebody without power, and a stranger."""

    world: World
    http: Http
    states: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.states = states = self.world.sandbox.homeserver
        for name, token in (("mod", MOD), ("plain", PLAIN), ("stranger", STRANGER)):
            states.add_account(f"@{name}:sandbox", token)
        states.add_room(ROOM, "@admin:sandbox")
        states.set_state(ROOM, "m.room.power_levels", {"users": {"@mod:sandbox": 50}})
        for name in ("mod", "plain"):
            states.join(ROOM, f"@{name}:sandbox")
        states.aliases[ALIAS] = ROOM

    def sides(self, token: str = MOD, **more: Any) -> Sides:
        url = self.world.sandbox.addresses.synapse
        return Sides(Matrix(self.http, url, ADMIN_TOKEN), Matrix(self.http, url, token, **more))

    def has(self, event_type: str, content: Mapping[str, Any], sender: str = "@a:s") -> None:
        self.states.set_state(ROOM, event_type, content, sender=sender)

    def content(self, event_type: str) -> Any:
        event = self.states.rooms[ROOM].get((event_type, ""))
        return event and event["content"]

    async def set(self, token: str = MOD, **wanted: Any) -> Changed:
        return await set_policy(self.sides(token), RoomId(ROOM), RULES, wish(**wanted))

    async def fails(self, wanted: str, sides: Sides, kind: type[Failed], room: str = ROOM) -> str:
        wishes = wish(max_users=3, camera=False)
        with pytest.raises(Failed) as caught:
            await set_policy(sides, await find_room(sides, room), RULES, wishes)
        said = caught.value.message
        assert type(caught.value) is kind, said
        assert wanted in said
        assert not any(token in said for token in (MOD, PLAIN, STRANGER, ADMIN_TOKEN))
        assert said.isprintable()
        return said


@pytest.fixture
def kitchen(world: World) -> Iterator[Kitchen]:
    agents = pooled_agents(reactor)
    yield Kitchen(world, Http(agents.synapse, reactor))
    pytest_twisted.blockon(ensureDeferred(agents.close()))


# The content that is written


@pytest.mark.parametrize(
    ("content", "wishes", "wanted"),
    [
        ({}, wish(max_users=5), {"max_users": 5}),
        ({"max_users": 2, "note": "x"}, wish(max_users=5), {"max_users": 5, "note": "x"}),
        ({"max_users": 2, "note": "x"}, wish(max_users=None), {"note": "x"}),
        ({"max_users": 2}, wish(camera=False), {"max_users": 2}),
        ({}, wish(max_users=None), {}),
    ],
)
def test_the_limit_that_is_written(content: Any, wishes: Wishes, wanted: Any) -> None:
    before = dict(content)
    assert written(LIMIT, content, wishes) == wanted
    assert content == before


CAMERA, SCREEN = "allow_camera", "allow_screenshare"


@pytest.mark.parametrize(
    ("content", "wishes", "wanted"),
    [
        ({}, wish(camera=False), {CAMERA: False}),
        ({}, wish(camera=True, screenshare=True), {}),
        ({CAMERA: False, "bitrate": 5}, wish(camera=True), {CAMERA: True, "bitrate": 5}),
        ({CAMERA: False}, wish(screenshare=False), {CAMERA: False, SCREEN: False}),
        ({CAMERA: "no", SCREEN: "no"}, wish(camera=True), {CAMERA: True, SCREEN: "no"}),
        ({CAMERA: 0}, wish(camera=False), {CAMERA: False}),
        ({CAMERA: False}, wish(max_users=1), {CAMERA: False}),
    ],
)
def test_the_sources_that_are_written(content: Any, wishes: Wishes, wanted: Any) -> None:
    assert written(MEDIA, content, wishes) == wanted


# Power levels


@pytest.mark.parametrize(
    ("levels", "needed", "has"),
    [
        (None, 0, 0),
        ({}, 50, 0),
        ({"state_default": 20, "users_default": 5}, 20, 5),
        ({"events": {LIMIT_EVENT: 30}, "users": {"@u:s": 100}}, 30, 100),
        ({"events": {LIMIT_EVENT: "30"}, "users": {"@u:s": " 7 "}}, 30, 7),
        ({"events": {LIMIT_EVENT: True}, "users": {"@u:s": None}}, 50, 0),
        ({"events": [], "users": "all", "state_default": "x" * 50}, 50, 0),
        ({"state_default": -1}, -1, 0),
    ],
)
def test_power_levels(levels: Any, needed: int, has: int) -> None:
    assert level_needed(levels, LIMIT_EVENT) == needed
    assert level_of("@u:s", levels, {"sender": "@other:s", "content": {}}) == has


def test_creators_stand_above_from_room_version_12_on() -> None:
    def create(version: object, **more: Any) -> Any:
        return {"sender": "@c:s", "content": {"room_version": version, **more}}

    assert level_of("@c:s", {}, create("12")) == math.inf
    assert level_of("@d:s", {}, create("12", additional_creators=["@d:s"])) == math.inf
    assert level_of("@d:s", {}, create("12", additional_creators="@d:s")) == 0
    assert level_of("@c:s", {}, create("11")) == 0
    assert level_of("@c:s", None, create("11")) == 100
    assert level_of("@c:s", None, create("\u0661\u0662")) == 100
    assert level_of("@c:s", {}, None) == 0


# Setting


@pytest_twisted.ensureDeferred
async def test_what_is_set_is_there_and_in_words(kitchen: Kitchen) -> None:
    changed = await kitchen.set(max_users=5, screenshare=False, camera=True)
    assert changed.written == (LIMIT_EVENT, SOURCES_EVENT)
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 5}
    assert kitchen.content(SOURCES_EVENT) == {SCREEN: False}
    assert meaning(changed.policies) == [
        "At most 5 different people may be in the room's calls.",
        "Cameras are allowed.",
        "Nobody may share a screen.",
    ]
    found = await read(kitchen.sides(), RoomId(ROOM), RULES)
    assert meaning(found) == meaning(changed.policies)
    assert found.held[0].sender == "@mod:sandbox"


@pytest_twisted.ensureDeferred
async def test_other_fields_stay_and_only_what_changes_is_sent(kitchen: Kitchen) -> None:
    kitchen.has(LIMIT_EVENT, {"max_users": 5, "note": ["\ud800", 1]})
    kitchen.has(SOURCES_EVENT, {CAMERA: False, "max_bitrate": 9})
    before = kitchen.states.set_count
    assert (await kitchen.set(max_users=5, camera=False)).written == ()
    assert kitchen.states.set_count == before
    assert (await kitchen.set(camera=True)).written == (SOURCES_EVENT,)
    assert kitchen.content(SOURCES_EVENT) == {CAMERA: True, "max_bitrate": 9}
    assert kitchen.states.set_count == before + 1
    assert (await kitchen.set(max_users=4)).written == (LIMIT_EVENT,)
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 4, "note": ["\ud800", 1]}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("senseless", [True, 1.0, "1"])
async def test_a_value_that_only_looks_equal_is_replaced(kitchen: Kitchen, senseless: Any) -> None:
    kitchen.has(LIMIT_EVENT, {"max_users": senseless})
    assert (await kitchen.set(max_users=1)).written == (LIMIT_EVENT,)
    assert type(kitchen.content(LIMIT_EVENT)["max_users"]) is int


@pytest_twisted.ensureDeferred
async def test_clearing_empties_what_is_there(kitchen: Kitchen) -> None:
    kitchen.has(LIMIT_EVENT, {"max_users": 5, "note": "x"})
    sides, room = kitchen.sides(), RoomId(ROOM)
    assert (await clear_policy(sides, room, RULES, RULES[1:])).written == ()
    assert kitchen.content(SOURCES_EVENT) is None
    changed = await clear_policy(sides, room, RULES, RULES)
    assert changed.written == (LIMIT_EVENT,)
    assert kitchen.content(LIMIT_EVENT) == {}
    assert meaning(changed.policies)[0] == "Any number of people may be in the room's calls."


# Finding the room


@pytest_twisted.ensureDeferred
async def test_a_room_is_found_by_alias_and_id(kitchen: Kitchen) -> None:
    sides = kitchen.sides("")
    for text, wanted in ((ALIAS, ROOM), (ROOM, ROOM), (TWO, TWO)):
        assert await find_room(sides, text) == wanted
        assert (await read(sides, RoomId(wanted), RULES)).room == wanted


@pytest_twisted.ensureDeferred
async def test_rooms_that_there_are_not(kitchen: Kitchen) -> None:
    sides = kitchen.sides()
    for text, kind, wanted in (
        ("#nowhere:sandbox", RefusedByHomeserver, "no room has the alias #nowhere:sandbox"),
        ("!nowhere:sandbox", RefusedByHomeserver, "Synapse knows no room !nowhere:sandbox"),
        (f"!{HOSTILE}", Failed, "is no room"),
        (HOSTILE_ROOM, RefusedByHomeserver, r"no room !x\u202e[bold red]"),
        (f"#{HOSTILE}:s", RefusedByHomeserver, r"no room has the alias #x\x1b"),
        ("kitchen", Failed, "'kitchen' is no room; wanted: a room id such as"),
        ("#kitchen", Failed, "is no room"),
        ("!", Failed, "is no room"),
        ("", Failed, "is no room"),
        ("!\udcff:s", Failed, "is no room"),
        ("#\udcff:s", Failed, "is no room"),
        ("!" + "x" * 255, Failed, "is no room"),
    ):
        await kitchen.fails(wanted, sides, kind, text)


# Refusals


@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_not_repeated(kitchen: Kitchen) -> None:
    wrong = "wrong-token-0123456789"
    said = await kitchen.fails(
        f"{LIMIT_EVENT} was not set: Synapse does not take the user's access token "
        "(401 M_UNKNOWN_TOKEN: Invalid access token passed.); wanted: a valid access token",
        kitchen.sides(wrong),
        RefusedByHomeserver,
    )
    assert wrong not in said


@pytest_twisted.ensureDeferred
async def test_who_is_not_in_the_room_is_told_so(kitchen: Kitchen) -> None:
    wanted = "@stranger:sandbox is not in the room; wanted: that he joins it"
    await kitchen.fails(wanted, kitchen.sides(STRANGER), RefusedByHomeserver)
    kitchen.states.set_state(ROOM, "m.room.member", {"membership": "leave"}, "@plain:sandbox")
    wanted = "@plain:sandbox is not in the room"
    await kitchen.fails(wanted, kitchen.sides(PLAIN), RefusedByHomeserver)


@pytest_twisted.ensureDeferred
async def test_who_has_no_power_is_told_how_much_it_takes(kitchen: Kitchen) -> None:
    wanted = "it takes power level 50 in the room, and @plain:sandbox has 0; wanted: a token of"
    await kitchen.fails(wanted, kitchen.sides(PLAIN), RefusedByHomeserver)
    levels = {"events": {LIMIT_EVENT: 75}, "users": {"@mod:sandbox": 50}}
    kitchen.states.set_state(ROOM, "m.room.power_levels", levels)
    wanted = "it takes power level 75 in the room, and @mod:sandbox has 50"
    await kitchen.fails(wanted, kitchen.sides(), RefusedByHomeserver)


@pytest_twisted.ensureDeferred
async def test_what_was_set_before_the_refusal_is_told(kitchen: Kitchen) -> None:
    levels = {"events": {SOURCES_EVENT: 75}, "users": {"@mod:sandbox": 50}}
    kitchen.states.set_state(ROOM, "m.room.power_levels", levels)
    wanted = f"{LIMIT_EVENT} is set. {SOURCES_EVENT} was not set: it takes power level 75"
    await kitchen.fails(wanted, kitchen.sides(), RefusedByHomeserver)
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 3}


@pytest_twisted.ensureDeferred
async def test_a_wrong_admin_token_is_the_environments_fault(kitchen: Kitchen) -> None:
    for token, wanted in (
        ("no-such-token-0123", "401 M_UNKNOWN_TOKEN: Invalid access token passed. to LOTUS_GUARD"),
        (PLAIN, "403 M_FORBIDDEN: You are not a server admin to LOTUS_GUARD_SYNAPSE_TOKEN; wanted"),
    ):
        sides = kitchen.sides()
        await kitchen.fails(wanted, evolve(sides, admin=_with_token(sides.admin, token)), Failed)


def _with_token(side: Matrix, token: str) -> Matrix:
    return Matrix(side.http, side.url, token)


@pytest_twisted.ensureDeferred
async def test_later_is_waited_for_within_bounds(kitchen: Kitchen) -> None:
    waits: list[float] = []
    kitchen.states.waits = [1, 600, 1]
    sides = kitchen.sides(on_wait=waits.append)
    started = time.monotonic()
    await set_policy(sides, RoomId(ROOM), RULES, wish(max_users=3))
    assert waits == [0.5, 0.6, 0.5]
    assert time.monotonic() - started >= 1.6
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 3}
    kitchen.states.waits = [90_000]
    kitchen.has(LIMIT_EVENT, {})
    wanted = "Synapse takes no more for now (429); wanted: try again in 90 s"
    await kitchen.fails(wanted, sides, RefusedByHomeserver)
    assert len(waits) == 3


@pytest_twisted.ensureDeferred
async def test_waiting_ends_when_the_patience_does(kitchen: Kitchen) -> None:
    waits: list[float] = []
    kitchen.states.waits = [1] * 9
    sides = kitchen.sides(on_wait=waits.append, patience=1.1)
    await kitchen.fails("try again in a while", sides, RefusedByHomeserver)
    assert waits == [0.5, 0.5]


class Answers(Resource):
    """Answers everything in one way, but the admin API as Synapse does; `None` hangs."""

    isLeaf = True

    def __init__(self, status: int, body: bytes | None) -> None:
        super().__init__()
        self.status, self.body = status, body
        self.asked: Queue[bytes] = Queue()

    def render(self, request: Any) -> Any:
        if b"/_synapse/admin/" in request.uri:
            return b'{"state": []}'
        request.setResponseCode(self.status)
        self.asked.put(request.uri)
        return NOT_DONE_YET if self.body is None else self.body


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("status", "body", "kind", "wanted"),
    [
        (400, {"errcode": "M_BAD_JSON", "error": HOSTILE}, RefusedByHomeserver, r": x\x1b[2J"),
        (403, {"errcode": "M_USER_SUSPENDED", "error": ""}, RefusedByHomeserver, "SUSPENDED"),
        (403, {"errcode": "M_FORBIDDEN", "error": f"No, {MOD}"}, RefusedByHomeserver, "No, ***"),
        (404, {"errcode": "M_UNRECOGNIZED", "error": "?"}, Failed, "LOTUS_GUARD_SYNAPSE_URL"),
        (404, b"<html>", Failed, "answers, and not as Synapse does: 404"),
        (200, b"<html>", Failed, "answers, and not as Synapse does: 200"),
        (301, b"", Failed, "not as Synapse does: 301"),
        (502, b"<html>", Failed, "may or may not have been set"),
        (502, {"errcode": "M_UNKNOWN", "error": "down"}, Failed, "502 M_UNKNOWN: down"),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1e400}, RefusedByHomeserver, "429"),
        (
            429,
            {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 9e9},
            RefusedByHomeserver,
            "in 9000000 s",
        ),
    ],
)
async def test_odd_answers(
    kitchen: Kitchen, status: int, body: Any, kind: Any, wanted: str
) -> None:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(Answers(status, text)))}"
    sides = kitchen.sides(patience=0.1)
    sides.user.url = url
    sides.admin.url = url
    await kitchen.fails(wanted, sides, kind)


@pytest_twisted.ensureDeferred
async def test_synapse_that_does_not_answer(kitchen: Kitchen) -> None:
    sides = kitchen.sides()
    sides.user.url = "http://127.0.0.1:1"
    await kitchen.fails(f"{LIMIT_EVENT} was not set: nothing answers at", sides, Failed)
    await kitchen.fails("the connection is refused; wanted: Synapse there", sides, Failed, ALIAS)
    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(Answers(200, None)))}"
    sides.user.url, sides.user.seconds = url, 0.2
    await kitchen.fails("may or may not have been set: nothing answers at", sides, Failed)
    sides.admin.url = "http://127.0.0.1:1"
    await kitchen.fails("the connection is refused; wanted: Synapse there", sides, Failed)


@pytest_twisted.ensureDeferred
async def test_a_room_cannot_lead_to_another_path(kitchen: Kitchen) -> None:
    """Whatever is in its name is one segment of the path; the sandbox's routes cannot tell."""
    seen: list[bytes] = []

    class Front(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            seen.append(request.uri)
            return b'{"state": [], "event_id": "$e", "room_id": "!a/../b?c#d%2f:s"}'

    sides = kitchen.sides()
    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(Front()))}"
    sides.user.url = sides.admin.url = url
    await set_policy(sides, await find_room(sides, "#a/../b?c:s"), RULES, wish(max_users=3))
    await sides.user.set_state(RoomId("!r"), "a/b?c", {})
    room = b"%21a%2F..%2Fb%3Fc%23d%252f%3As"
    assert seen == [
        b"/_matrix/client/v3/directory/room/%23a%2F..%2Fb%3Fc%3As",
        b"/_synapse/admin/v1/rooms/" + room + b"/state?type=io.lotus.voice_limit",
        b"/_synapse/admin/v1/rooms/" + room + b"/state?type=io.lotus.room_quality",
        b"/_matrix/client/v3/rooms/" + room + b"/state/io.lotus.voice_limit/",
        b"/_matrix/client/v3/rooms/%21r/state/a%2Fb%3Fc/",
    ]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("room", ["kitchen", "!\ud800", 3, None])
async def test_an_alias_of_no_room(kitchen: Kitchen, room: object) -> None:
    body = json.dumps({"room_id": room}).encode()
    sides = kitchen.sides()
    sides.user.url = kitchen.world.serve(http_answer(body))
    await kitchen.fails("not as Synapse does: 200; wanted", sides, Failed, ALIAS)


# What is shown


def policies_of(limit: Any = None, sources: Any = None, **more: Any) -> RoomPolicies:
    def held(rule: Rule[Any], content: Any) -> Held:
        if content is None:
            return Held(rule)
        event = {"sender": "@m:s", "origin_server_ts": 1_700_000_000_000, "content": content}
        return Held(rule, {**event, **more})

    return RoomPolicies(RoomId("!r:s"), (held(LIMIT, limit), held(MEDIA, sources)))


def test_show_tells_who_when_and_what() -> None:
    text = "\n".join(lines_of(policies_of({"max_users": 1}, {CAMERA: False, SCREEN: False})))
    assert "At most 1 person may" in text
    assert f"{LIMIT_EVENT}, set by @m:s on 2023-11-1" in text
    assert "Nobody may publish a camera. Nobody may share a screen." in text
    assert "senseless" not in text
    empty = "\n".join(lines_of(policies_of(None, {})))
    assert f"{LIMIT_EVENT} was never set" in empty
    assert f"{SOURCES_EVENT} is empty, so it says nothing; sent by @m:s on" in empty


def test_show_complains_and_names_what_is_not_ours() -> None:
    found = policies_of({"max_users": "five", "note": "x"}, {CAMERA: 0, "max_bitrate": 9})
    text = "\n".join(lines_of(found))
    assert "Any number of people" in text
    assert f"senseless: {LIMIT_EVENT}: max_users is 'five'; a limit is an integer" in text
    assert f"senseless: {SOURCES_EVENT}: allow_camera is 0; only false forbids" in text
    assert 'not ours, and left alone: note = "x"' in text
    assert "not ours, and left alone: max_bitrate = 9" in text
    told = as_json(found)
    assert told["limit"]["unknown"] == ["note"]
    assert told["sources"]["content"] == {CAMERA: 0, "max_bitrate": 9}
    assert len(told["limit"]["complaints"]) == len(told["sources"]["complaints"]) == 1


def test_a_redaction_is_told_wherever_synapse_has_it() -> None:
    because = {"redacted_because": {"sender": "@admin:s"}}
    for place in (because, {"unsigned": because}):
        text = "\n".join(lines_of(policies_of({}, None, **place)))
        assert "redacted by @admin:s" in text
    assert "redacted" not in "\n".join(lines_of(policies_of({}, unsigned=[], redacted_because=1)))


def test_hostile_text_does_not_reach_the_terminal() -> None:
    found = policies_of(
        {"max_users": HOSTILE, HOSTILE: HOSTILE, **{f"f{n}": n for n in range(99)}},
        {HOSTILE: {HOSTILE: [HOSTILE]}, "long": "x" * 100_000},
        sender=f"@{HOSTILE}:s",
        origin_server_ts=2**60,
    )
    lines = lines_of(evolve(found, room=RoomId(f"!{HOSTILE}")))
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 2100
    assert "at a time unknown" in lines[2]
    assert "and 80 more" in "\n".join(lines)
    assert json.loads(json.dumps(as_json(found)))["limit"]["sender"] == f"@{HOSTILE}:s"


# As operators run it


@pytest_twisted.ensureDeferred
async def test_the_commands_from_set_to_clear(kitchen: Kitchen) -> None:
    world, token = kitchen.world, {"POLICY_USER_TOKEN": MOD}
    out, err, code = await run(
        world, "policy", "set", ALIAS, "--max-users", "5", "--no-screenshare", **token
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"Set {LIMIT_EVENT} and {SOURCES_EVENT}. Now holds in {ROOM}:",
        "  At most 5 different people may be in the room's calls.",
        "  Cameras are allowed.",
        "  Nobody may share a screen.",
    ]
    out, err, code = await run(world, "policy", "show", ROOM)
    assert (code, err) == (0, "")
    assert f"{LIMIT_EVENT}, set by @mod:sandbox on " in out
    assert "\x1b" not in out
    out, _, code = await run(world, "policy", "show", ALIAS, "--json")
    told = json.loads(out)
    assert (told["room"], told["limit"]["max_users"]) == (ROOM, 5)
    assert told["sources"]["forbidden"] == ["screen_share", "screen_share_audio"]
    out, err, code = await run(world, "policy", "clear", ROOM, "--media", "--yes", "--token", MOD)
    assert (code, err) == (0, "")
    assert kitchen.content(SOURCES_EVENT) == {}
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 5}
    out, err, code = await run(world, "policy", "clear", ROOM, "--yes", **token)
    assert (code, kitchen.content(LIMIT_EVENT)) == (0, {})
    out, _, code = await run(world, "policy", "clear", ROOM, "--yes", **token)
    assert (code, out.splitlines()[0]) == (0, f"Nothing to change. Now holds in {ROOM}:")


@pytest_twisted.ensureDeferred
async def test_the_commands_print_a_hostile_room_escaped(kitchen: Kitchen) -> None:
    room = f"{HOSTILE_ROOM}:s"
    kitchen.states.add_room(room, "@mod:sandbox")
    for arguments in (
        ("set", room, "--max-users", "5", "--token", MOD),
        ("show", room),
        ("show", room, "--json"),
        ("clear", room, "--yes", "--token", MOD),
    ):
        out, err, code = await run(kitchen.world, "policy", *arguments)
        assert (code, err) == (0, "")
        assert "[bold red]" in out, "read as text, not as markup"
        assert all(line.isprintable() for line in out.splitlines()), arguments


@pytest_twisted.ensureDeferred
async def test_refusals_end_with_1_and_what_is_in_the_way_with_2(kitchen: Kitchen) -> None:
    nobody = {"LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:1"}
    one = ("set", ROOM, "--max-users", "1")
    for arguments, token, more, code, wanted in (
        (("show", "!nowhere:sandbox"), "", {}, 1, "Synapse knows no room"),
        (one, PLAIN, {}, 1, "it takes power level 50"),
        (one, "wrong-token-0123456789", {}, 1, "does not take the user's access token"),
        (one, MOD, nobody, 2, "nothing answers at http://127.0.0.1:1"),
        (("show", ALIAS, "--homeserver", "http://127.0.0.1:1"), "", {}, 2, "is refused"),
    ):
        variables = {"POLICY_USER_TOKEN": token, **more}
        out, err, got = await run(kitchen.world, "policy", *arguments, **variables)
        assert (got, out) == (code, ""), (arguments, out, err)
        assert wanted in err
        assert "Traceback" not in err
        assert not token or token not in err


LIMITED = ("set", ROOM, "--max-users", "1")


@pytest.mark.parametrize(
    ("arguments", "more", "wanted"),
    [
        (("set", ROOM), {}, "nothing to set; wanted: --max-users N"),
        (("set", ROOM, "--max-users", "0"), {}, "--max-users"),
        (("set", ROOM, "--max-users", "five"), {}, "--max-users"),
        (("set", ROOM, "--max-users", str(2**53)), {}, "--max-users"),
        ((*LIMITED, "--no-limit"), {}, "wanted: one of them"),
        ((*LIMITED, "--homeserver", "matrix.example.org"), {}, "--homeserver"),
        ((*LIMITED, "--homeserver", "http://u:p@x"), {}, "--homeserver"),
        ((*LIMITED, "--homeserver", "https://caf\u00e9.example"), {}, "--homeserver"),
        (LIMITED, {"POLICY_USER_TOKEN": ""}, "neither --token nor $POLICY_USER_TOKEN"),
        (LIMITED, {"POLICY_USER_TOKEN": " "}, "the access token is empty"),
        (LIMITED, {"POLICY_USER_TOKEN": "caf\u00e9"}, "holds what no token holds"),
        (LIMITED, {"POLICY_USER_TOKEN": "two words"}, "holds what no token holds"),
        (("show", ROOM), {"LIVEKIT_SECRET": ""}, "LIVEKIT_SECRET: not set"),
        (("show", "kitchen"), {}, "'kitchen' is no room; wanted: a room id such as"),
        (("clear", ROOM), {}, "nothing was changed; without a question: --yes"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    arguments: tuple[str, ...], more: dict[str, str], wanted: str
) -> None:
    env = {**GOOD, "POLICY_USER_TOKEN": "a-token-that-must-not-be-shown", **more}
    done = CliRunner().invoke(main, ["policy", *arguments], env=env)
    assert (done.exit_code, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert "must-not-be-shown" not in done.stderr
    assert not env["POLICY_USER_TOKEN"].strip() or env["POLICY_USER_TOKEN"] not in done.stderr


class Typing:
    """Somebody at a terminal, with the command before him."""

    def __init__(self, world: World, *arguments: str) -> None:
        ours = ("LOTUS_GUARD_", "LIVEKIT_", "COLUMNS", "LINES", "POLICY_")
        neutral = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env = {**neutral, **world.sandbox.environment(), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
        self._terminal, theirs = pty.openpty()
        self.text = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lotus_guard.cli", "policy", *arguments],
            env=env,
            cwd=world.directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._timer = threading.Timer(15.0, self.process.kill)
        self._timer.start()

    def wait_for(self, wanted: bytes) -> None:
        """Wait until this is to be read."""
        while wanted not in self.text:
            self.text += os.read(self._terminal, 65536)

    def answer(self, asked: bytes, typed: bytes) -> None:
        """Wait for a question and type an answer."""
        self.wait_for(asked)
        time.sleep(0.1)  # a hidden prompt turns the echo off after it asks
        os.write(self._terminal, typed)

    def end(self) -> tuple[int, str]:
        """Read to the end; gives exit code and all that was to be seen."""
        try:
            while chunk := os.read(self._terminal, 65536):
                self.text += chunk
        except OSError:  # the other end is closed: that is how a terminal ends on Linux
            pass
        self._timer.cancel()
        os.close(self._terminal)
        return self.process.wait(15.0), self.text.decode()


@pytest_twisted.ensureDeferred
async def test_clearing_asks_and_the_token_is_typed_in_unseen(kitchen: Kitchen) -> None:
    kitchen.has(LIMIT_EVENT, {"max_users": 5})

    def converse(*answers: tuple[bytes, bytes]) -> tuple[int, str]:
        typing = Typing(kitchen.world, "clear", ROOM, "--limit")
        for asked, typed in answers:
            typing.answer(asked, typed)
        return typing.end()

    question, prompt = f"Empty {LIMIT_EVENT} of {ROOM}?".encode(), b"Access token: "
    code, text = await deferToThread(converse, (question, b"n\n"))
    assert (code, "nothing was changed" in text) == (2, True)
    code, text = await deferToThread(converse, (question, b"y\n"), (prompt, b"\x03"))
    assert (code, "no access token, nothing was changed" in text) == (2, True), text
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 5}
    code, text = await deferToThread(converse, (question, b"y\n"), (prompt, MOD.encode() + b"\n"))
    assert (code, kitchen.content(LIMIT_EVENT)) == (0, {}), text
    assert MOD not in text
    assert "Any number of people" in text


@pytest_twisted.ensureDeferred
async def test_ctrl_c_before_it_is_done_is_no_success(kitchen: Kitchen) -> None:
    hanging = Answers(200, None)
    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(hanging))}"
    kitchen.states.waits = [20_000]

    def interrupt(is_hung: bool) -> tuple[int, str]:
        arguments = ["set", ROOM, "--max-users", "3", "--token", MOD]
        typing = Typing(kitchen.world, *arguments, *(["--homeserver", url] if is_hung else []))
        if is_hung:
            hanging.asked.get(timeout=15.0)
        else:
            typing.wait_for(b"waiting 20.0 s")
        typing.process.send_signal(signal.SIGINT)
        return typing.end()

    code, text = await deferToThread(interrupt, False)
    assert (code, "lotus-guard: interrupted" in text) == (2, True), text
    code, text = await deferToThread(interrupt, True)
    assert (code, "may or may not have been set" in text) == (2, True), text
    assert kitchen.content(LIMIT_EVENT) is None


@pytest_twisted.ensureDeferred
async def test_the_admins_token_stays_at_its_synapse(kitchen: Kitchen) -> None:
    """`--homeserver` gets the user's token alone, and none where no user is needed."""
    seen: list[tuple[bytes, str | None]] = []

    class Front(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            seen.append((request.uri, request.getHeader("Authorization")))
            return b'{"event_id": "$e", "room_id": "%s"}' % ROOM.encode()

    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(Front()))}"
    arguments = ("set", ROOM, "--max-users", "4", "--homeserver", f"{url}/")
    _, err, code = await run(kitchen.world, "policy", *arguments, POLICY_USER_TOKEN=MOD)
    assert (code, err) == (0, "")
    path = b"/_matrix/client/v3/rooms/%21kitchen/state/io.lotus.voice_limit/"
    assert seen == [(path, f"Bearer {MOD}")]
    assert kitchen.content(LIMIT_EVENT) is None
    seen.clear()
    _, err, code = await run(kitchen.world, "policy", "show", ALIAS, "--homeserver", url)
    assert (code, err) == (0, "")
    assert seen == [(b"/_matrix/client/v3/directory/room/%23kitchen%3Asandbox", None)]
