"""Decisions in Redis: a stream for each kind and rule, read newest first by any guard."""

import pytest_twisted
from attrs import evolve

from lotus_guard.core.model import RoomId
from lotus_guard.memory.redis_decisions import SOON_SECONDS, RedisDecisions
from lotus_guard.memory.redis_keys import PIECE
from lotus_guard.rules.decision import Decision
from lotus_guard.rules.rulings import not_enforced, request_refused
from tests.memory.sharing import Party
from tests.rulings import seat_refused

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")


def refusal(number: int, room: RoomId = ROOM) -> Decision:
    return Decision(f"id{number}", 1000.0 + number, False, seat_refused(room, "@u:s", 2, 2, []))


@pytest_twisted.ensureDeferred
async def test_what_one_decides_another_reads_half_a_second_later() -> None:
    one = Party()
    two = Party(one.memory, "two")
    writes, reads = (RedisDecisions(each.keys, each, 60.0) for each in (one, two))
    writes.decided(refusal(1))
    writes.decided(Decision("f", 1002.0, False, request_refused(400, "M_BAD_JSON", "twice")))
    writes.decided(Decision("u", 1003.0, False, not_enforced("limit", "timeout", "late")))
    assert await reads.read(None, None, 9) == []
    one.reactor.advance(SOON_SECONDS)
    assert [each.id for each in await reads.read(None, None, 9)] == ["u", "f", "id1"]
    assert sorted(one.memory.keys) == [
        "p:decisions:refused:limit",
        "p:decisions:refused:request",
        "p:decisions:unenforced:limit",
    ]


@pytest_twisted.ensureDeferred
async def test_those_on_a_room_and_a_user_are_found_among_many() -> None:
    party = Party()
    decisions = RedisDecisions(party.keys, party, 60.0)
    for number in range(2 * PIECE):
        decisions.decided(refusal(number, OTHER if number else ROOM))
        decisions.close()
    assert [each.id for each in await decisions.read(ROOM, None, 9)] == ["id0"]
    assert [each.id for each in await decisions.read(ROOM, "@u:s", 9)] == ["id0"]
    assert await decisions.read(ROOM, "@v:s", 9) == []
    assert len(await decisions.read(OTHER, None, 9)) == 9
    everything = [each.id for each in await decisions.read(None, None, 3 * PIECE)]
    assert everything == [f"id{number}" for number in reversed(range(2 * PIECE))]


@pytest_twisted.ensureDeferred
async def test_where_redis_is_away_there_are_none() -> None:
    party = Party()
    decisions = RedisDecisions(party.keys, party, 60.0)
    decisions.decided(refusal(1))
    decisions.close()
    party.server.is_away = True
    decisions.decided(refusal(2))
    decisions.close()
    assert await decisions.read(None, None, 9) == []
    party.server.is_away = False
    assert [each.id for each in await decisions.read(None, None, 9)] == ["id1"]


@pytest_twisted.ensureDeferred
async def test_what_is_too_old_goes() -> None:
    party = Party()
    decisions = RedisDecisions(party.keys, party, 60.0)
    decisions.decided(refusal(1))
    decisions.close()
    oldest = int((party.epoch() - 60.0) * 1000)
    party.memory.keys["p:decisions:refused:limit"][0][0] = f"{oldest - 1}-0"
    await decisions.trim()
    assert party.memory.keys["p:decisions:refused:limit"] == []


@pytest_twisted.ensureDeferred
async def test_one_is_found_by_its_id_among_many() -> None:
    party = Party()
    decisions = RedisDecisions(party.keys, party, 60.0)
    for number in range(PIECE + 2):
        decisions.decided(refusal(number))
        decisions.close()
    ruling = evolve(seat_refused(ROOM, "@u:s", 2, 2, []), inputs={"id": "id0"})
    decisions.decided(Decision("later", 9000.0, False, ruling))
    decisions.close()
    assert await decisions.find("id0") == refusal(0)
    assert await decisions.find("id") is None
    party.server.is_away = True
    assert await decisions.find("id0") is None
