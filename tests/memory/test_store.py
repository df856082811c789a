"""The same for every store: what one guard learns and decides is there for who starts later."""

from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.task import deferLater

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import Seats
from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_store import RedisStore
from lotus_guard.memory.sqlite import SqliteStore, Tenant
from lotus_guard.memory.store import Store
from lotus_guard.run.clocks import clocks_of
from tests.memory.sharing import Heard
from tests.memory.test_redis_decisions import refusal
from tests.model_redis import Memory, ModelRedis
from tests.world import reactor

BINDING = Binding(RoomId("!r:s"), "slot", Evidence.PROOF)
CALL = LiveKitRoom("call")
KEEP = 1e10
"""Seconds: the decisions here are from 1970."""


@define
class Faults:
    """What a state file complains of."""

    all: list[str] = field(factory=list)

    def failed(self, why: str) -> None:
        self.all.append(why)

    def written(self) -> None:
        pass


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Store]:
    """Makes a store of a guard of this name, in the same place each time."""
    memory, clocks = Memory(), clocks_of(reactor)

    def one(name: str) -> Store:
        if request.param == "redis":
            return RedisStore(Keyspace(ModelRedis(memory), "p:", name), clocks, KEEP)
        return SqliteStore(tmp_path / "state.sqlite", clocks, Faults(), Tenant(name), KEEP)

    return one


def begun(store: Store) -> Directory:
    """Begin as a guard does, and take up what is there."""
    directory = Directory(listener=store.learns)
    store.open(directory, Seats(60.0, 10.0, directory, store.seats_changed))
    if isinstance(store, RedisStore):
        store.reader(Heard()).listen()
    return directory


@pytest_twisted.ensureDeferred
async def test_what_one_guard_learns_and_decides_the_next_one_knows(
    make: Callable[[str], Store],
) -> None:
    first = make("one")
    assert first.instance == "one"
    directory = begun(first)
    directory.learn_room(CALL, BINDING)
    directory.learn_identity(Identity("i"), UserId("@u:s"), CALL)
    directory.learn_room(LiveKitRoom("over"), BINDING)
    for number in range(3):
        first.decided(refusal(number))
    first.beat()
    await deferLater(reactor, 0.2)
    directory.forget([LiveKitRoom("over")])
    await first.close()
    second = make("two")
    later = begun(second)
    assert dict(later.bindings()) == {CALL: BINDING}
    assert later.user_of(Identity("i")) == "@u:s"
    assert [each.id for each in await second.decisions(most=2)] == ["id2", "id1"]
    assert await second.decisions(user="@v:s") == []
    await second.close()
