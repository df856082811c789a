"""Names of keys below a prefix, news on one channel, and long hashes in pieces."""

import pytest
import pytest_twisted

from lotus_guard.enforce.ports import Outage
from lotus_guard.memory.redis_keys import PIECE, in_background
from lotus_guard.memory.redis_scripts import LEAD
from tests.memory.sharing import Party


@pytest_twisted.ensureDeferred
async def test_every_key_is_below_the_prefix() -> None:
    party = Party()
    await party.keys.command("HSET", "policies", "a", "1")
    assert await party.keys.script(LEAD, ["leader", "term"], ["one", 1000]) == 1
    assert party.memory.keys == {"p:policies": {"a": "1"}, "p:leader": "one:1", "p:term": "1"}
    assert party.keys.channel == "p:news"


@pytest_twisted.ensureDeferred
async def test_news_says_who_tells_it() -> None:
    party = Party()
    await party.keys.tell("issued", room="!ü:s")
    assert party.told == [{"from": "one", "kind": "issued", "room": "!ü:s"}]


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
@pytest_twisted.ensureDeferred
async def test_a_hash_is_read_whole_in_pieces(count: int) -> None:
    party = Party()
    party.memory.keys["p:aliases"] = {f"name{n}": f"{n}" for n in range(count)}
    calls = party.server.calls
    found = [pair async for pair in party.keys.pairs("aliases")]
    assert dict(found) == party.memory.keys["p:aliases"]
    assert len(found) == count
    assert party.server.calls - calls == max(1, -(-count // PIECE))


@pytest_twisted.ensureDeferred
async def test_an_outage_is_nobodys_business_in_the_background() -> None:
    party = Party()
    party.server.is_away = True
    in_background(party.keys.tell("issued", room="!r:s"))
    with pytest.raises(Outage):
        await party.keys.tell("issued", room="!r:s")
