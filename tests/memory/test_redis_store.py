"""What a guard keeps in Redis: at the end all is written, and what is too much is cleared away."""

import pytest_twisted

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Bounds, Directory
from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.memory.redis_news import MOST_POLICIES
from lotus_guard.memory.redis_store import RedisStore
from tests.memory.sharing import Heard, Party
from tests.memory.test_redis_decisions import refusal

BELIEF = Binding(RoomId("!r:s"), "slot", Evidence.BELIEF)


@pytest_twisted.ensureDeferred
async def test_what_waits_is_written_at_the_end() -> None:
    party = Party()
    store = RedisStore(party.keys, party)
    directory = Directory(listener=store.learns, bounds=Bounds(rooms=1))
    store.open(directory, Seats(60.0, 10.0, directory))
    directory.learn_room(LiveKitRoom("a"), BELIEF)
    directory.learn_room(LiveKitRoom("b"), BELIEF)
    store.decided(refusal(1))
    await store.close()
    assert [each.id for each in await store.decisions()] == ["id1"]
    assert list(party.memory.keys["p:aliases"]) == ["b"]
    assert not party.reactor.getDelayedCalls()


def test_once_a_minute_what_is_too_much_goes() -> None:
    party = Party()
    store = RedisStore(party.keys, party)
    party.memory.keys["p:policies"] = dict.fromkeys(map(str, range(MOST_POLICIES + 1)), "")
    store.beat()
    assert "p:policies" not in party.memory.keys
    party.server.is_away = True
    store.beat()  # does not raise


def test_a_reader_takes_up_what_another_guard_has_learnt() -> None:
    one = Party()
    two = Party(one.memory, "two")
    stores = [RedisStore(each.keys, each) for each in (one, two)]
    known = [Directory(listener=store.learns) for store in stores]
    for store, directory in zip(stores, known, strict=True):
        store.open(directory, Seats(60.0, 10.0, directory))
    known[0].learn_room(LiveKitRoom("a"), BELIEF)
    late = stores[1].reader(Heard())
    assert late.channel == "p:news"
    late.listen()
    assert known[1].binding_of(LiveKitRoom("a")) == BELIEF
    assert [store.instance for store in stores] == ["one", "two"]
