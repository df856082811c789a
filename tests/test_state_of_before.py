"""What a guard keeps is, byte for byte, what the release before kept; each reads the other's.

`recorded/redis.json` and `recorded/state.sql` were written by the tree at commit 2973315, the last
one with all modules in the package root: the very scene below was played with that tree's classes
(`Knowledge` for `Directory`, `RedisBook` for `RedisSeats`, `learn_alias` for `learn_room`), and
what was then in the model of Redis and in the SQLite file was written down. Two guards of different
releases may share a Redis, so what is written may change only with a release that reads both.

Seats in Redis have changed: they are taken over from what the release before wrote, which in its
turn does not read them (docs/several.md).
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, legacy_identity_of, livekit_room_of
from lotus_guard.core.seats import Look, Seats
from lotus_guard.enforce.transactions import Changes
from lotus_guard.memory.redis_address import PREFIX
from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_lease import Lease
from lotus_guard.memory.redis_scripts import BIND, LEAD, STEP_DOWN, Script
from lotus_guard.memory.redis_seats import RedisSeats
from lotus_guard.memory.redis_store import RedisStore
from lotus_guard.memory.sqlite import SOON_SECONDS, SqliteStore, Tenant
from lotus_guard.rules.decision import Decision, from_json
from tests.model_redis import Memory, ModelRedis, Words, text

RECORDED = Path(__file__).with_name("recorded")
NOW, EPOCH = 1000.0, 1_790_000_000.0
AHEAD = EPOCH - NOW + 0.25
"""How far the clock of Redis is ahead of the guard's."""
ROOM, OTHER = RoomId("!räum:s"), RoomId("!room-of-version-12")
CALL, SIDE = livekit_room_of(ROOM, ROOM_SLOT), LiveKitRoom("an alias as MSC4195 plans them")
FORGOTTEN, OVER = LiveKitRoom("a call that was forgotten"), LiveKitRoom("a call that is over")
ANN, BOB, CARL, DORA, EVE = (UserId(f"@{name}:s") for name in ("ann", "bob", "carl", "dora", "eve"))
ANN_1 = identity_of(ANN, "PHONE", "member")
ANN_2, BOB_1, CARL_1, DORA_1 = (
    legacy_identity_of(user, device)
    for user, device in ((ANN, "LAPTOP"), (BOB, "D"), (CARL, "D"), (DORA, "8448:D"))
)
SHARED = Identity("@x:evil:8448:D")
HASH = Identity("an identity that nobody has told us of")
SEATS = ("seats", "table", "replace", "change")
"""Keys and scripts of seats: of the release before, and of this one."""
SINCE = (*SEATS, "name")
"""Scripts that differ: what `name` does, the release before did with three commands."""
PUSH_BODY = '{"room_id":"!räum:s","voice_limit":{"max_users":2}}'.encode()
PUSH = (PUSH_BODY, "1790000000000.signature")
HOOK = (b'{"event":"room_finished","id":"EV_\xff"}', "a.token.of-livekit")


def decision(number: int, kind: str, rule: str, **fields: Any) -> Decision:
    return from_json(
        {
            "id": f"id{number}",
            "at": EPOCH + number + 0.1234,
            "kind": kind,
            "rule": rule,
            "observed": False,
            "room": ROOM,
            "user": ANN,
            "verdict": "refused",
            "why": "a sentence, with an ü",
            "inputs": {},
            "people": [],
            **fields,
        }
    )


DECISIONS = (
    decision(
        1,
        "refused",
        "limit",
        inputs={"max_users": 2, "taken": 2, "is_seated": False},
        people=[BOB, CARL],
    ),
    decision(
        2,
        "changed",
        "sources",
        verdict="may publish microphone, valid for 600 s",
        inputs={
            "grant": {"can_publish": True, "sources": []},
            "forbidden": ["camera"],
            "seconds": 3600.0,
            "life": 600,
        },
    ),
    decision(
        3,
        "step",
        "limit",
        observed=True,
        verdict="put out of the call",
        inputs={
            "grant": {"can_publish": True, "sources": ["microphone"]},
            "tracks": [["audio", "microphone"]],
            "forbidden": [],
            "is_standing": True,
            "is_loud": False,
        },
    ),
    decision(4, "fail_open", "sources", user=None, verdict="let through"),
    decision(5, "unenforced", "limit", room=None, user=None, verdict="not enforced"),
    decision(6, "refused", "request", room="!half\ud800:s", user=None),
)


def learn(directory: Directory) -> None:
    """Learn rooms and identities, in each way there is."""
    directory.learn_room(CALL, Binding(ROOM, ROOM_SLOT, Evidence.PROOF))
    directory.learn_room(SIDE, Binding(ROOM, "m.call#SIDE", Evidence.BELIEF))
    directory.learn_room(FORGOTTEN, Binding(OTHER, "", Evidence.BELIEF))
    directory.learn_room(OVER, Binding(OTHER, ROOM_SLOT, Evidence.PROOF))
    for identity, user in ((ANN_1, ANN), (ANN_2, ANN), (BOB_1, BOB), (CARL_1, CARL)):
        directory.learn_identity(identity, user, CALL)
    directory.learn_identity(ANN_1, ANN, SIDE)
    directory.learn_identity(DORA_1, DORA, SIDE)
    directory.learn_identity(SHARED, UserId("@x:evil"), SIDE)
    directory.learn_identity(SHARED, UserId("@x:evil:8448"), SIDE)
    directory.learn_identity(legacy_identity_of(EVE, "D"), EVE, FORGOTTEN)
    directory.learn_identity(legacy_identity_of(EVE, "E"), EVE, OVER)
    directory.archive({OVER})


Work = Callable[[Seats], Any]


def look(at: float, *identities: Identity) -> Look:
    return Look(at, frozenset(identities))


SEATED: Sequence[Work] = (
    lambda seats: seats.saw(ROOM, {CALL: look(NOW)}),
    lambda seats: seats.reassess(ROOM, 3),
    lambda seats: seats.admit(ROOM, ANN, ANN_1, 3, NOW, NOW + 0.5),
    lambda seats: seats.admit(ROOM, BOB, BOB_1, 3, NOW, NOW + 0.75),
    lambda seats: seats.admit(ROOM, DORA, DORA_1, 3, NOW, NOW + 0.8),
    lambda seats: seats.saw(ROOM, {CALL: look(NOW + 2, ANN_1, BOB_1, HASH)}),
    lambda seats: seats.reassess(ROOM, 3),
    lambda seats: seats.admit(ROOM, ANN, ANN_2, 3, NOW + 2, NOW + 5),
    lambda seats: seats.saw(ROOM, {CALL: look(NOW + 6, ANN_1, HASH, CARL_1), SIDE: look(NOW + 6)}),
    lambda seats: seats.reassess(ROOM, 3),
    lambda seats: seats.put_out(ROOM, Identity("@frank:s:D"), NOW + 7),
    lambda seats: seats.lost_sight(ROOM, NOW + 8),
)


@define(eq=False)
class Recording(ModelRedis):
    """Remembers the scripts that were run."""

    ran: list[list[Any]] = field(factory=list)

    async def script(self, script: Script, keys: Words, arguments: Words) -> Any:
        self.ran.append([script.name, list(map(text, keys)), list(map(text, arguments))])
        return await super().script(script, keys, arguments)


@define
class Heard:
    """What the others told."""

    all: list[object] = field(factory=list)

    def on_push(self, body: bytes, header: str) -> None:
        self.all.append(("push", body, header))

    def on_old_push(self, body: bytes, header: str) -> None:
        self.all.append(("old push", body, header))

    def on_webhook(self, body: bytes, authorization: str) -> None:
        self.all.append(("webhook", body, authorization))

    def on_issued(self, room: RoomId) -> None:
        self.all.append(("issued", room))

    def on_changes(self, changes: Changes) -> None:
        self.all.append(("changes", changes))


@define(eq=False)
class Life:
    """A guard's memory in Redis, on a clock turned by hand."""

    instance: str = "one"
    reactor: Clock = field(factory=Clock)
    memory: Memory = field(init=False)
    server: Recording = field(init=False)
    store: RedisStore = field(init=False)
    directory: Directory = field(init=False)
    seats: Seats = field(init=False)
    book: RedisSeats = field(init=False)
    lease: Lease = field(init=False)
    news: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.memory = Memory(self.now)
        self.server = Recording(self.memory, AHEAD)
        keys = Keyspace(self.server, "p:", self.instance)
        self.store = RedisStore(keys, self)
        self.directory = Directory(listener=self.store.learns)
        self.seats = Seats(60.0, 10.0, self.directory)
        lineage = f"lineage-of-{self.instance}"
        self.book = RedisSeats(keys, self.seats, lambda: lineage, self.now)
        self.lease = Lease(keys, self.now)
        self.memory.ears[keys.channel] = [self.news.append]
        self.store.open(self.directory, self.seats)

    def now(self) -> float:
        return NOW + self.reactor.seconds()

    def epoch(self) -> float:
        return EPOCH

    async def play(self) -> None:
        """Do all that is recorded."""
        learn(self.directory)
        self.directory.forget({FORGOTTEN})
        for work in SEATED:
            await self.book.change(ROOM, work)
        self.store.teller.pushed(ROOM, *PUSH)
        self.store.teller.pushed(None, *PUSH)
        self.store.teller.hooked(*HOOK)
        self.store.teller.issued(ROOM)
        self.store.teller.issued(ROOM)
        for each in DECISIONS:
            self.store.decided(each)
        self.reactor.advance(1.0)
        await self.lease.renew()

    def record(self) -> dict[str, Any]:
        """Return all that is in Redis, how long it is kept, and what was said and run."""
        return {
            "keys": self.memory.keys,
            "milliseconds": {
                key: round((end - self.now()) * 1000) for key, end in self.memory.ends.items()
            },
            "news": self.news,
            "ran": self.server.ran,
            "scripts": {each.name: each.lua for each in (LEAD, STEP_DOWN, BIND)},
        }


def recorded() -> Any:
    return json.loads((RECORDED / "redis.json").read_text())


def without_seats(record: dict[str, Any]) -> dict[str, Any]:
    """All of it but what has changed since."""

    def others(keys: dict[str, Any]) -> dict[str, Any]:
        return {key: each for key, each in keys.items() if key.split(":")[1] not in SEATS}

    return {
        **record,
        "keys": others(record["keys"]),
        "milliseconds": others(record["milliseconds"]),
        "ran": [each for each in record["ran"] if each[0] not in SINCE],
        "scripts": {name: lua for name, lua in record["scripts"].items() if name not in SEATS},
    }


def in_any_order(value: Any) -> Any:
    """Read what is JSON; the order in which an object's names stand is that of a set's, at times.

    How long it is as text says that it was written in the same way.
    """
    if isinstance(value, dict):
        return {name: in_any_order(each) for name, each in value.items()}
    if isinstance(value, list):
        return list(map(in_any_order, value))
    is_json = isinstance(value, str) and value.startswith("{")
    return (json.loads(value), len(value)) if is_json else value


def without_comments(lua: str) -> list[str]:
    return [line for line in lua.splitlines() if line and not line.startswith("--")]


@pytest_twisted.ensureDeferred
async def test_what_is_written_to_redis_is_what_the_release_before_wrote() -> None:
    life = Life()
    await life.play()
    found, before = without_seats(life.record()), without_seats(recorded())
    for what in ("keys", "milliseconds", "news", "ran"):
        assert in_any_order(found[what]) == in_any_order(before[what]), what
    for name, lua in before["scripts"].items():
        assert without_comments(found["scripts"][name]) == without_comments(lua)
    assert (PREFIX, life.store.keys.channel) == ("lotus_guard:", "p:news")


def after_the_other() -> Life:
    """A guard of this release, where one of the release before has been at work."""
    life, before = Life(instance="two"), recorded()
    life.memory.keys = before["keys"]
    life.reactor.advance(10.0)
    return life


@pytest_twisted.ensureDeferred
async def test_what_the_release_before_has_learnt_is_read_from_redis() -> None:
    played, life = Life(), after_the_other()
    await played.play()
    heard = Heard()
    life.store.reader(heard).listen()
    assert sorted(life.directory.bindings()) == sorted(played.directory.bindings())
    assert len(list(life.directory.bindings())) == 3
    assert sorted(life.directory.users()) == sorted(played.directory.users())
    assert life.directory.user_of(ANN_1) == ANN
    assert str(life.directory.user_of(SHARED)) == SHARED
    assert heard.all == [("old push", *PUSH)]
    assert await life.store.decisions() == [
        from_json({**each.as_json(), "at": round(each.at, 3)}) for each in reversed(DECISIONS)
    ]
    assert await life.lease.renew()
    assert not life.lease.leads(), "the other one does"


@pytest_twisted.ensureDeferred
async def test_no_seat_that_the_release_before_gave_is_lost_in_redis() -> None:
    played, life = Life(), after_the_other()
    await played.play()
    learn(life.directory)
    await life.book.change(ROOM, lambda _seats: None)
    assert life.seats.table(ROOM) == played.seats.table(ROOM)
    assert life.seats.taken(ROOM, NOW + 10) == sorted([ANN, BOB, CARL, DORA, HASH])
    assert list(life.seats.table(ROOM).unseated) == [CARL]
    full = await life.book.change(
        ROOM,
        lambda seats: seats.admit(ROOM, EVE, Identity("@eve:s:D"), 5, NOW + 10, NOW + 10).admitted,
    )
    assert not full
    assert await life.book.change(
        ROOM, lambda seats: seats.admit(ROOM, BOB, BOB_1, 5, NOW + 10, NOW + 10).admitted
    )
    version = life.memory.keys[f"p:table:{ROOM}"]["v"]
    assert version == "lineage-of-one:13:two", "it is written on top of the other's"


def test_news_of_the_release_before_is_heard() -> None:
    life = Life(instance="two")
    heard = Heard()
    for each in recorded()["news"]:
        life.store.reader(heard).hear(json.loads(each))
    assert heard.all == [("push", *PUSH), ("push", *PUSH), ("webhook", *HOOK), ("issued", ROOM)]
    bindings = dict(life.directory.bindings())
    assert bindings[CALL] == Binding(ROOM, ROOM_SLOT, Evidence.PROOF)
    assert bindings[SIDE] == Binding(ROOM, "m.call#SIDE", Evidence.BELIEF)
    assert FORGOTTEN not in bindings
    assert life.directory.user_of(DORA_1) == DORA
    assert life.news == [], "what was heard is not said again"


# --- SQLite --------------------------------------------------------------------------------------


@define(eq=False)
class Local:
    """A guard's memory in a file, on a clock turned by hand."""

    path: Path
    reactor: Clock = field(factory=Clock)
    store: SqliteStore = field(init=False)
    directory: Directory = field(init=False)
    seats: Seats = field(init=False)
    failures: list[str] = field(factory=list)
    _waiting: list[Deferred[None]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.store = SqliteStore(self.path, self, self, Tenant("one", "tcp:8080"))
        self.directory = Directory(listener=self.store)
        self.seats = Seats(60.0, 10.0, self.directory, self.store.seats_changed)
        self.store.open(self.directory, self.seats)

    def now(self) -> float:
        return NOW + self.reactor.seconds()

    def epoch(self) -> float:
        return EPOCH + self.reactor.seconds()

    def failed(self, why: str) -> None:
        self.failures.append(why)

    def written(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def play(self) -> None:
        """Do all that is recorded."""
        for each in DECISIONS:
            self.store.decided(each)
        for work in SEATED:
            work(self.seats)
        self.store.beat()
        await self.next_write()
        learn(self.directory)
        self.seats.hung_up(ROOM, BOB_1)
        await self.next_write(SOON_SECONDS)
        self.directory.forget({FORGOTTEN})
        await self.next_write(SOON_SECONDS)

    async def next_write(self, after: float = 0.0) -> None:
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        self.reactor.advance(after)
        await done


def tables(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    """Read all that is in a file; the process of a guard is another each time."""
    connection.execute("UPDATE guard SET pid = 4242")
    connection.commit()
    schema = sorted(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    names = [name for kind, name, _, _ in schema if kind == "table"]
    found = {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=str) for name in names}
    return {**found, "schema": schema}


def before() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript((RECORDED / "state.sql").read_text())
    return connection


@pytest_twisted.ensureDeferred
async def test_what_is_written_to_a_file_is_what_the_release_before_wrote(tmp_path: Path) -> None:
    local = Local(tmp_path / "state.sqlite")
    await local.play()
    connection = sqlite3.connect(local.path)
    found = tables(connection)
    connection.close()
    await local.store.close()
    assert local.failures == []
    recorded_tables = tables(before())
    assert found.pop("claim") == [], "a table more, empty where nothing is given back"
    found["schema"] = [row for row in found["schema"] if row[2] != "claim"]
    assert found.keys() == recorded_tables.keys()
    for name, rows in recorded_tables.items():
        assert found[name] == rows, name


@pytest_twisted.ensureDeferred
async def test_a_file_of_the_release_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with sqlite3.connect(path) as connection:
        before().backup(connection)
    connection.close()
    local = Local(path)
    assert local.failures == []
    assert dict(local.directory.bindings()) == {
        CALL: Binding(ROOM, ROOM_SLOT, Evidence.PROOF),
        SIDE: Binding(ROOM, "m.call#SIDE", Evidence.BELIEF),
        OVER: Binding(OTHER, ROOM_SLOT, Evidence.PROOF),
    }
    users = {identity: user for identity, (user, _) in local.directory.users()}
    assert users[ANN_1] == users[ANN_2] == ANN
    assert str(users[SHARED]) == SHARED
    assert users[legacy_identity_of(EVE, "E")] == EVE
    assert len(users) == 7
    there = [ANN, CARL, DORA, HASH]
    assert local.seats.taken(ROOM, NOW + 1) == sorted(there)
    assert not local.seats.admit(ROOM, EVE, Identity("x"), 4, NOW + 1, NOW + 1).admitted
    for user in (ANN, DORA):
        assert local.seats.admit(ROOM, user, Identity("x"), 1, NOW + 1, NOW + 1).admitted
    found = await local.store.decisions(most=10)
    assert [each.as_json() for each in reversed(found)] == [
        {**each.as_json(), "room": each.ruling.room} for each in DECISIONS
    ]
    await local.store.close()
