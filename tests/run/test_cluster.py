"""What ties a guard to others: nothing and a file of its own, or a Redis."""

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.seat_store import LocalSeats
from lotus_guard.enforce.transactions import Changes
from lotus_guard.memory.redis_seats import RedisSeats
from lotus_guard.memory.redis_store import RedisStore
from lotus_guard.memory.sqlite import SqliteStore
from lotus_guard.run.basics import Basics
from lotus_guard.run.cluster import Cluster, make_cluster, make_seat_store
from tests.model_redis import Memory, ModelRedis
from tests.run.parts import basics_on

ROOM = RoomId("!r:s")


def seats_of(basics: Basics, cluster: Cluster) -> Seats:
    directory = Directory(basics.clocks.now, cluster.store.learns)
    return Seats(60.0, 10.0, directory, cluster.store.seats_changed)


def test_alone_it_has_a_file_and_nobody_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    basics = basics_on(Clock(), LOTUS_GUARD_STATE=str(path))
    cluster = make_cluster(basics, None)
    assert isinstance(cluster.store, SqliteStore)
    assert (cluster.lease, cluster.redis, cluster.seconds) == (None, None, 0.0)
    cluster.tell_issued(ROOM)
    cluster.tell_push(ROOM, b"{}", "header")
    cluster.tell_webhook(b"{}", "token")
    assert isinstance(make_seat_store(basics, cluster, seats_of(basics, cluster)), LocalSeats)
    assert not path.exists(), "nothing is opened yet"


@pytest.fixture
def memory() -> Memory:
    return Memory(clock=Clock().seconds)


def shared(memory: Memory, clock: Clock, **settings: str) -> tuple[Basics, Cluster]:
    basics = basics_on(clock, LOTUS_GUARD_STATE="redis://model", **settings)
    return basics, make_cluster(basics, ModelRedis(memory))


def test_with_others_it_keeps_everything_where_they_see_it(memory: Memory) -> None:
    basics, cluster = shared(memory, Clock())
    assert isinstance(cluster.store, RedisStore)
    assert cluster.shared is cluster.store
    assert isinstance(make_seat_store(basics, cluster, seats_of(basics, cluster)), RedisSeats)


@pytest.mark.parametrize(("deadline", "seconds"), [("1.0", 0.25), ("60", 0.5)])
def test_a_change_of_seats_takes_a_part_of_the_deadline(
    memory: Memory, deadline: str, seconds: float
) -> None:
    _, cluster = shared(memory, Clock(), LOTUS_GUARD_DEADLINE=deadline)
    assert cluster.seconds == seconds


class Listener:
    """Writes down what the others tell."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_push(self, body: bytes, header: str) -> None:
        self.heard.append((body, header))

    def on_old_push(self, body: bytes, header: str) -> None:
        self.heard.append((body, header, "old"))

    def on_webhook(self, body: bytes, authorization: str) -> None:
        self.heard.append((body, authorization))

    def on_issued(self, room: RoomId) -> None:
        self.heard.append(room)

    def on_changes(self, changes: Changes) -> None:
        self.heard.append(changes)


def test_what_one_tells_the_others_hear(memory: Memory) -> None:
    _, mine = shared(memory, Clock())
    other = RedisStore
    listener = Listener()
    assert isinstance(mine.store, other)
    channel = mine.store.reader(listener).channel
    told: list[str] = []
    memory.ears[channel] = [told.append]
    mine.tell_issued(ROOM)
    mine.tell_push(ROOM, b"push", "header")
    mine.tell_webhook(b"hook", "token")
    kinds = {json.loads(message)["kind"]: json.loads(message) for message in told}
    assert kinds["issued"]["room"] == ROOM
    assert (kinds["push"]["body"], kinds["push"]["header"]) == ("push", "header")
    assert (kinds["webhook"]["body"], kinds["webhook"]["authorization"]) == ("hook", "token")


def test_who_ends_leads_no_longer(memory: Memory) -> None:
    clock = Clock()
    _, one = shared(memory, clock)
    assert one.lease is not None
    ensureDeferred(one.lease.renew())
    assert one.lease.leads()
    ensureDeferred(one.close())
    assert not one.lease.leads()


def test_it_is_logged_that_the_state_file_is_back(tmp_path: Path, logged: list[Any]) -> None:
    basics = basics_on(Clock(), LOTUS_GUARD_STATE=str(tmp_path / "state.sqlite"))
    store = make_cluster(basics, None).store
    assert isinstance(store, SqliteStore)
    store.listener.failed("disk full")
    store.listener.written()
    assert formatEvent(logged[-1]) == "The state file works again after 0.0 s"


def test_it_is_logged_that_redis_is_back(logged: list[Any]) -> None:
    redis = make_cluster(basics_on(Clock(), LOTUS_GUARD_STATE="redis://127.0.0.1"), None).redis
    assert redis is not None
    redis.listener.away(Outage(Reason.TIMEOUT, "late"))
    redis.listener.answered()
    assert formatEvent(logged[-1]) == "Redis is back after 0.0 s"
