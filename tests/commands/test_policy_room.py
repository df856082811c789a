"""A room's policy is read and set at the sandbox's Synapse, and refusals say what to change."""

import json
import time
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.web.resource import Resource
from twisted.web.server import Site

from lotus_guard.commands.common import Failed
from lotus_guard.commands.policy_room import (
    RefusedByHomeserver,
    clear_policy,
    clearing,
    find_room,
    read,
    read_with_lost,
    set_policy,
)
from lotus_guard.commands.policy_words import meaning
from lotus_guard.core.model import RoomId
from lotus_guard.neighbours.matrix import Matrix
from lotus_guard.rules import RULES
from lotus_guard.sandbox.stack import OPEN, TWO
from tests.commands.kitchen import (
    ALIAS,
    CAMERA,
    HOSTILE,
    HOSTILE_ROOM,
    MOD,
    PLAIN,
    ROOM,
    SCREEN,
    STRANGER,
    Answers,
    Kitchen,
    wish,
)
from tests.events import BOTH, LIMIT_EVENT, SOURCES_EVENT, UNSET
from tests.world import http_answer


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
        *UNSET,
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
        (
            "!nowhere:sandbox",
            RefusedByHomeserver,
            "Synapse does not know the room !nowhere:sandbox",
        ),
        (f"!{HOSTILE}", Failed, "is not a room"),
        (HOSTILE_ROOM, RefusedByHomeserver, r"the room !x\u202e[bold red]"),
        (f"#{HOSTILE}:s", RefusedByHomeserver, r"no room has the alias #x\x1b"),
        ("kitchen", Failed, "'kitchen' is not a room; expected a room ID such as"),
        ("#kitchen", Failed, "is not a room"),
        ("!", Failed, "is not a room"),
        ("", Failed, "is not a room"),
        ("!\udcff:s", Failed, "is not a room"),
        ("#\udcff:s", Failed, "is not a room"),
        ("!" + "x" * 255, Failed, "is not a room"),
    ):
        await kitchen.fails(wanted, sides, kind, text)


@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_not_repeated(kitchen: Kitchen) -> None:
    wrong = "wrong-token-0123456789"
    said = await kitchen.fails(
        f"{LIMIT_EVENT} was not set: Synapse rejects the user's access token "
        "(401 M_UNKNOWN_TOKEN: Invalid access token passed.); expected a valid access token",
        kitchen.sides(wrong),
        RefusedByHomeserver,
    )
    assert wrong not in said


@pytest_twisted.ensureDeferred
async def test_who_is_not_in_the_room_is_told_so(kitchen: Kitchen) -> None:
    wanted = "@stranger:sandbox is not in the room. Fix: let them join"
    await kitchen.fails(wanted, kitchen.sides(STRANGER), RefusedByHomeserver)
    kitchen.states.set_state(ROOM, "m.room.member", {"membership": "leave"}, "@plain:sandbox")
    wanted = "@plain:sandbox is not in the room"
    await kitchen.fails(wanted, kitchen.sides(PLAIN), RefusedByHomeserver)


@pytest_twisted.ensureDeferred
async def test_who_has_no_power_is_told_how_much_it_takes(kitchen: Kitchen) -> None:
    wanted = "this needs power level 50 in the room, and @plain:sandbox has 0. Fix: use a token of"
    await kitchen.fails(wanted, kitchen.sides(PLAIN), RefusedByHomeserver)
    levels = {"events": {LIMIT_EVENT: 75}, "users": {"@mod:sandbox": 50}}
    kitchen.states.set_state(ROOM, "m.room.power_levels", levels)
    wanted = "this needs power level 75 in the room, and @mod:sandbox has 50"
    await kitchen.fails(wanted, kitchen.sides(), RefusedByHomeserver)


@pytest_twisted.ensureDeferred
async def test_what_was_set_before_the_refusal_is_told(kitchen: Kitchen) -> None:
    levels = {"events": {SOURCES_EVENT: 75}, "users": {"@mod:sandbox": 50}}
    kitchen.states.set_state(ROOM, "m.room.power_levels", levels)
    wanted = f"{LIMIT_EVENT} is set. {SOURCES_EVENT} was not set: this needs power level 75"
    await kitchen.fails(wanted, kitchen.sides(), RefusedByHomeserver)
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 3}


@pytest_twisted.ensureDeferred
async def test_a_wrong_admin_token_is_the_environments_fault(kitchen: Kitchen) -> None:
    for token, wanted in (
        ("no-such-token-0123", "401 M_UNKNOWN_TOKEN: Invalid access token passed. to LOTUS_GUARD"),
        (
            PLAIN,
            "403 M_FORBIDDEN: You are not a server admin to LOTUS_GUARD_SYNAPSE_TOKEN; expected",
        ),
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
    wanted = "Synapse asks us to slow down (429); try again in 90 s"
    await kitchen.fails(wanted, sides, RefusedByHomeserver)
    assert len(waits) == 3


@pytest_twisted.ensureDeferred
async def test_waiting_ends_when_the_patience_does(kitchen: Kitchen) -> None:
    waits: list[float] = []
    kitchen.states.waits = [1] * 9
    sides = kitchen.sides(on_wait=waits.append, patience=1.1)
    await kitchen.fails("try again later", sides, RefusedByHomeserver)
    assert waits == [0.5, 0.5]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("status", "body", "kind", "wanted"),
    [
        (400, {"errcode": "M_BAD_JSON", "error": HOSTILE}, RefusedByHomeserver, r": x\x1b[2J"),
        (403, {"errcode": "M_USER_SUSPENDED", "error": ""}, RefusedByHomeserver, "SUSPENDED"),
        (403, {"errcode": "M_FORBIDDEN", "error": f"No, {MOD}"}, RefusedByHomeserver, "No, ***"),
        (404, {"errcode": "M_UNRECOGNIZED", "error": "?"}, Failed, "LOTUS_GUARD_SYNAPSE_URL"),
        (404, b"<html>", Failed, "answers, but not as Synapse does: 404"),
        (200, b"<html>", Failed, "answers, but not as Synapse does: 200"),
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
    await kitchen.fails(f"{LIMIT_EVENT} was not set: no answer from", sides, Failed)
    await kitchen.fails("connection refused; expected Synapse's address", sides, Failed, ALIAS)
    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(Answers(200, None)))}"
    sides.user.url, sides.user.seconds = url, 0.2
    await kitchen.fails("may or may not have been set: no answer from", sides, Failed)
    sides.admin.url = "http://127.0.0.1:1"
    await kitchen.fails("connection refused; expected Synapse's address", sides, Failed)


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
    await set_policy(sides, await find_room(sides, "#a/../b?c:s"), BOTH, wish(max_users=3))
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
    await kitchen.fails("not as Synapse does: 200; expected", sides, Failed, ALIAS)


@pytest_twisted.ensureDeferred
async def test_rules_that_an_upgrade_has_lost_are_found(kitchen: Kitchen) -> None:
    sides, room, old = kitchen.sides(), RoomId(ROOM), TWO
    assert (await read_with_lost(sides, room, RULES)).lost is None, "it replaced none"
    kitchen.has("m.room.create", {"predecessor": {"room_id": old}})
    found = await read_with_lost(sides, room, RULES)
    assert found.lost is not None
    assert found.lost.room == old
    kitchen.has(LIMIT_EVENT, {})
    assert (await read_with_lost(sides, room, RULES)).lost is None, "it is to have none"


@pytest.mark.parametrize("before", ["!nowhere:sandbox", OPEN, 7])
@pytest_twisted.ensureDeferred
async def test_a_room_that_replaced_one_without_rules_has_lost_none(
    kitchen: Kitchen, before: Any
) -> None:
    kitchen.has("m.room.create", {"predecessor": {"room_id": before}})
    assert (await read_with_lost(kitchen.sides(), RoomId(ROOM), RULES)).lost is None


@pytest_twisted.ensureDeferred
async def test_an_event_of_several_rules_is_written_once_with_what_both_want(
    kitchen: Kitchen,
) -> None:
    before = kitchen.states.set_count
    changed = await kitchen.set(screenshare=False, max_cameras=4)
    assert changed.written == (SOURCES_EVENT,)
    assert kitchen.states.set_count == before + 1
    assert kitchen.content(SOURCES_EVENT) == {SCREEN: False, "max_cameras": 4}
    told = meaning(changed.policies)
    assert "Nobody may share a screen." in told
    assert "At most 4 cameras may be on at once." in told
    assert (await kitchen.set(max_cameras=None)).written == (SOURCES_EVENT,)
    assert kitchen.content(SOURCES_EVENT) == {SCREEN: False}


@pytest_twisted.ensureDeferred
async def test_clearing_one_of_two_rules_of_an_event(kitchen: Kitchen) -> None:
    sides, room = kitchen.sides(), RoomId(ROOM)
    media, cameras = (next(r for r in RULES if r.name == name) for name in ("sources", "cameras"))
    content = {CAMERA: False, "max_cameras": 4, "bypass": True, "note": "x"}
    kitchen.has(SOURCES_EVENT, content)
    changed = await clear_policy(sides, room, RULES, [cameras])
    assert changed.written == (SOURCES_EVENT,)
    assert kitchen.content(SOURCES_EVENT) == {CAMERA: False, "bypass": True, "note": "x"}
    assert (await clear_policy(sides, room, RULES, [cameras])).written == ()
    for chosen in ([media], [media, cameras], RULES):
        kitchen.has(SOURCES_EVENT, content)
        assert (await clear_policy(sides, room, RULES, chosen)).written == (SOURCES_EVENT,)
        assert kitchen.content(SOURCES_EVENT) == {}


def test_what_clearing_does_is_told_before_it_is_done() -> None:
    limit, media, cameras = (
        next(r for r in RULES if r.name == name) for name in ("limit", "sources", "cameras")
    )
    assert clearing(RULES, RULES) == f"Empty {LIMIT_EVENT} and {SOURCES_EVENT}"
    assert clearing(RULES, [media]) == f"Empty {SOURCES_EVENT}"
    taken = f"Take max_cameras out of {SOURCES_EVENT}"
    assert clearing(RULES, [cameras]) == taken
    assert clearing(RULES, [limit, cameras]) == f"Empty {LIMIT_EVENT} and {taken}"
