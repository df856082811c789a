"""What we rest on in Redis; the same for the model and for a real redis-server."""

import json
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from lotus_guard.core.claim import Issue
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Grant, Identity, LiveKitRoom, RoomId
from lotus_guard.core.seats import Look, Seats
from lotus_guard.memory.redis_claims import RedisClaims
from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_scripts import BIND, CHANGE, CLAIM, LEAD, STEP_DOWN
from lotus_guard.memory.redis_seats import RedisSeats

ROOM, CALL = RoomId("!room:s"), LiveKitRoom("call")

Connect = Callable[[], Awaitable[Any]]


def seats_of() -> Seats:
    return Seats(60.0, 10.0, Directory())


class Guard:
    """What one guard has of the seats."""

    def __init__(self, server: Any, name: str) -> None:
        self.server = server
        self.seats = seats_of()
        self.lineages = 0
        self.again = 0
        self.now = 0.0
        keys = Keyspace(server, "t:", name)
        self.store = RedisSeats(keys, self.seats, self._lineage, lambda: self.now, self._again)
        self.name = name

    def _lineage(self) -> str:
        self.lineages += 1
        return f"{self.name}{self.lineages}"

    def _again(self) -> None:
        self.again += 1

    async def admit(self, user: str, limit: int, at: float = 100.0) -> bool:
        person, identity = f"@{user}:s", Identity(f"@{user}:s:D")
        seating = await self.store.change(
            ROOM,
            lambda seats: seats.admit(ROOM, person, identity, limit, at, at),
            lambda seating: seating.slack,
        )
        return seating.admitted

    async def saw(self, at: float, *users: str) -> None:
        look = Look(at, frozenset(Identity(f"@{user}:s:D") for user in users))
        await self.store.change(ROOM, lambda seats: seats.saw(ROOM, {CALL: look}), lambda _: inf)

    async def taken(self, at: float = 100.0) -> list[str]:
        return await self.store.change(ROOM, lambda seats: seats.taken(ROOM, at))


async def change(
    server: Any,
    known: str,
    new: str,
    written: str,
    *,
    slack: int = -1,
    seats: int = -1,
    whole: str = "",
) -> Any:
    arguments = [known, new, slack, seats, written, whole, 60_000]
    return await server.script(CHANGE, ["k", "old"], arguments)


class ScriptsContract:
    """What we rest on in Redis itself; a subclass says how to connect."""

    connect: Connect

    @pytest_twisted.ensureDeferred
    async def test_a_change_is_made_by_whom_knows_the_last_version(self) -> None:
        one, two = await self.connect(), await self.connect()
        assert await change(one, "", "a:1:x", "C1", whole="T1") == [1, "a:1:x", ""]
        assert await change(two, "", "b:1:y", "D1", whole="U") == [0, "a:1:x", "T1"]
        assert await change(two, "a:1:x", "a:2:y", "C2") == [1, "a:2:y", ""]
        missed = "a:2:y -1 C2"
        assert await change(one, "a:1:x", "a:2:x", "D2") == [0, "a:2:y", "", missed]
        assert await change(one, "a:1:x", "", "") == [0, "a:2:y", "", missed]
        assert await change(one, "a:2:y", "", "") == [1, "a:2:y", ""]
        assert await change(one, "", "", "") == [0, "a:2:y", "T1", missed]
        assert await change(one, "a:1:z", "", "") == [0, "a:2:y", "T1", missed], "a fork"
        assert await change(one, "a:2:y", "c:1:x", "E", whole="V") == [1, "c:1:x", ""]
        assert await change(two, "a:2:y", "", "") == [0, "c:1:x", "V"], "nothing of before is left"

    @pytest_twisted.ensureDeferred
    async def test_a_change_with_slack_is_made_on_what_has_seated_no_more(self) -> None:
        one, two = await self.connect(), await self.connect()
        await change(one, "", "a:1:x", "C1", whole="T1")
        assert await change(one, "a:1:x", "a:2:x", "C2", seats=2) == [1, "a:2:x", ""]
        missed = ["a:2:x 2 C2"]
        found = await change(two, "a:1:x", "a:2:y", "C3", slack=1, seats=1)
        assert found == [0, "a:2:x", "", *missed]
        found = await change(two, "a:1:x", "a:2:y", "C3", slack=2, seats=1)
        assert found == [1, "a:3:y", "", *missed]
        found = await change(one, "a:2:x", "", "", slack=1)
        assert found == [1, "a:3:y", "", "a:3:y 1 C3"]
        await change(one, "a:3:y", "a:4:x", "C4", seats=-1)
        found = await change(two, "a:3:y", "a:4:y", "C5", slack=1_000_000_000, seats=1)
        assert found == [0, "a:4:x", "", "a:4:x -1 C4"], "what does more bears nothing on it"

    @pytest_twisted.ensureDeferred
    async def test_what_a_release_before_has_kept_is_taken_over_once(self) -> None:
        one = await self.connect()
        await one.command("HSET", "old", "v", "a:7:z", "d", "T7")
        assert await change(one, "", "", "") == [0, "a:7:z", "T7"]
        assert await change(one, "a:7:z", "a:8:x", "C8") == [1, "a:8:x", ""]
        await one.command("HSET", "old", "v", "a:9:z", "d", "T9")
        assert await change(one, "a:7:z", "", "") == [0, "a:8:x", "", "a:8:x -1 C8"]
        await one.command("DEL", "k")
        await one.command("HSET", "old", "v", "none of ours", "d", "T9")
        assert await change(one, "a:8:x", "", "") == [0, "", ""]

    @pytest_twisted.ensureDeferred
    async def test_changes_of_before_the_last_table_but_one_are_dropped(self) -> None:
        one, known = await self.connect(), ""
        for number in range(1, 10):
            whole = f"T{number}" if number in (1, 4, 7) else ""
            made = await change(one, known, f"a:{number}:x", f"C{number}", whole=whole)
            assert made == [1, f"a:{number}:x", ""]
            known = f"a:{number}:x"
        since = [f"a:{number}:x -1 C{number}" for number in range(5, 10)]
        assert await change(one, "a:4:x", "", "") == [0, known, "", *since]
        assert await change(one, "a:3:x", "", "") == [0, known, "T7", *since[3:]]
        kept = await one.command("HGETALL", "k")
        assert sorted(kept[::2]) == [*"456789", "b", "d", "o", "v"]

    @pytest_twisted.ensureDeferred
    async def test_one_leads_until_its_time_is_up(self) -> None:
        one = await self.connect()
        keys = ["leader", "term"]
        assert await one.script(LEAD, keys, ["a", 300]) == 1
        assert await one.script(LEAD, keys, ["b", 300]) == 0
        assert await one.script(LEAD, keys, ["a", 300]) == 1
        assert await one.script(LEAD, keys, ["a:1", 300]) == 0, "a name that begins alike"
        await deferLater(reactor, 0.4, lambda: None)
        assert await one.script(LEAD, keys, ["b", 300]) == 2
        await one.script(STEP_DOWN, ["leader"], ["a"])
        assert await one.script(LEAD, keys, ["a", 300]) == 0
        await one.script(STEP_DOWN, ["leader"], ["b"])
        assert await one.script(LEAD, keys, ["a", 300]) == 3

    @pytest_twisted.ensureDeferred
    async def test_an_alias_stays_bound_unless_a_proof_comes(self) -> None:
        one = await self.connect()

        async def bind(room: str, grounds: str) -> str:
            place = json.dumps([room, "", grounds])
            held = await one.script(BIND, ["as"], ["x", place, int(grounds == "proof")])
            return str(json.loads(held)[0])

        assert await bind("!a", "belief") == "!a"
        assert await bind("!b", "belief") == "!a"
        assert await bind("!c", "proof") == "!c"
        assert await bind("!d", "proof") == "!c"
        assert await bind("!e", "belief") == "!c"

    @pytest_twisted.ensureDeferred
    async def test_a_claim_is_replaced_by_whom_has_read_the_last_one(self) -> None:
        one, two = await self.connect(), await self.connect()
        assert await one.script(CLAIM, ["c"], ["i", "", "1", 60_000]) == []
        assert await two.script(CLAIM, ["c"], ["i", "", "2", 60_000]) == ["1"]
        assert await two.script(CLAIM, ["c"], ["i", "1", "2", 60_000]) == []
        assert await one.script(CLAIM, ["c"], ["j", "1", "2", 60_000]) == [""]
        assert await one.command("HGET", "c", "i") == "2"
        assert await one.command("HGET", "c", "j") is None

    @pytest_twisted.ensureDeferred
    async def test_the_commands_that_are_used(self) -> None:
        one = await self.connect()
        await one.command("HSET", "h", "a", "1", "b", "ü")
        assert sorted(await one.command("HGETALL", "h")) == ["1", "a", "b", "ü"]
        assert await one.command("HLEN", "h") == 2
        cursor, pairs = await one.command("HSCAN", "h", "0", "COUNT", "100")
        assert (cursor, sorted(pairs)) == ("0", ["1", "a", "b", "ü"])
        await one.command("HDEL", "h", "a")
        assert await one.command("HGETALL", "h") == ["b", "ü"]
        assert await one.command("PEXPIRE", "h", 60_000) == 1
        await one.command("DEL", "h")
        assert await one.command("HGETALL", "h") == []
        for number in range(3):
            await one.command("XADD", "s", "MAXLEN", "=", 2, "*", "d", f"{number}")
        entries = await one.command("XREVRANGE", "s", "+", "-", "COUNT", 10)
        assert [fields for _, fields in entries] == [["d", "2"], ["d", "1"]]
        assert await one.command("PUBLISH", "nobody", "x") == 0


class ClaimsContract:
    """Claims of several guards; a subclass says how to connect."""

    connect: Connect

    async def two(self) -> tuple[RedisClaims, RedisClaims]:
        servers = [await self.connect(), await self.connect()]
        one, two = (
            RedisClaims(Keyspace(server, "t:", name), lambda: 1000.0)
            for server, name in zip(servers, "ab", strict=True)
        )
        return one, two

    @pytest_twisted.ensureDeferred
    async def test_a_change_rests_on_what_the_other_guard_did(self) -> None:
        one, two = await self.two()
        key = (CALL, Identity("i"))
        everything, sound = Grant(True, ()), Grant(True, ("microphone",))
        await one.change(key, Issue(everything, everything, 1000.0, None).after)
        found = await two.change(key, Issue(sound, sound, 1000.0, None).after)
        assert found is not None
        assert found.granted == sound, "what both tokens grant"
        seen = await one.change(key, lambda c: c and c.seen("S", 1000.0, sound, 1000.0))
        assert seen is not None
        assert not seen.is_over, "the token that the other gave out is known"
        await two.load([CALL], again=True)
        assert two.claims.get(key) == seen

    @pytest_twisted.ensureDeferred
    async def test_no_change_of_many_at_once_is_lost(self) -> None:
        one, two = await self.two()
        key = (CALL, Identity("i"))
        tokens = [Grant(True, (name,)) for name in ("camera", "microphone", "screen_share")]
        everything = Grant(True, ())
        issues = [
            ensureDeferred(store.change(key, Issue(everything, token, 1000.0, None).after))
            for token in tokens
            for store in (one, two)
        ]
        await gatherResults(issues)
        found = await one.find(key, "S")
        await one.load([CALL], again=True)
        found = one.claims.get(key)
        assert found is not None
        assert {each.grant for each in found.carried} == set(tokens)


class SeatsContract:
    """Seats that several guards share; a subclass says how to connect, and how to flush."""

    connect: Connect
    flush: Callable[[], Awaitable[Any]]

    @pytest_twisted.ensureDeferred
    async def test_three_guards_give_three_seats_to_fourteen_hundred(self) -> None:
        guards = [Guard(await self.connect(), name) for name in "abc"]
        asked = [
            ensureDeferred(guards[number % 3].admit(f"u{number}", 3)) for number in range(1400)
        ]
        assert sum(await gatherResults(asked)) == 3
        assert [len(await guard.taken()) for guard in guards] == [3, 3, 3]
        assert sum(guard.again for guard in guards) < 200, "guards contend, not requests"

    @pytest_twisted.ensureDeferred
    async def test_what_one_guard_saw_frees_and_fills_the_seats_of_another(self) -> None:
        one, two = [Guard(await self.connect(), name) for name in "ab"]
        assert await one.admit("ann", 1)
        assert not await two.admit("bob", 1)
        await two.saw(101.0, "ann")
        await two.saw(102.0)
        assert not await one.admit("bob", 1, 103.0), "they may come back"
        await one.saw(113.0)
        assert await one.admit("bob", 1, 113.0)
        assert not await two.admit("ann", 1, 113.0)

    @pytest_twisted.ensureDeferred
    async def test_a_flushed_redis_gets_the_seats_back(self) -> None:
        one, two = [Guard(await self.connect(), name) for name in "ab"]
        assert await one.admit("ann", 2)
        assert await two.admit("bob", 2)
        await self.flush()
        # Guard one has not heard of bob: what it writes anew lacks them until guard two comes.
        assert await one.admit("ann", 2)
        assert await two.taken() == ["@ann:s", "@bob:s"]
        assert not await one.admit("carl", 2)
        await self.flush()
        assert not await two.admit("carl", 2)

    @pytest_twisted.ensureDeferred
    async def test_after_a_loss_nobody_is_sure_of_all_seats_for_a_while(self) -> None:
        one = Guard(await self.connect(), "a")
        assert not one.store.is_certain(ROOM), "nothing is known yet"
        assert await one.admit("ann", 2)
        assert one.store.is_certain(ROOM)
        await self.flush()
        assert await one.admit("bob", 2)
        assert not one.store.is_certain(ROOM)
        one.now = 59.0
        assert not one.store.is_certain(ROOM), "another may have given a seat just before"
        one.now = 61.0
        assert one.store.is_certain(ROOM)

    @pytest_twisted.ensureDeferred
    async def test_a_table_that_is_none_of_ours_is_written_anew(self) -> None:
        one, two = [Guard(await self.connect(), name) for name in "ab"]
        for odd in ("", "{", "[]", '{"looks": 3}'):
            for v, key in (("what", "table"), ("what", "seats"), ("a:2:x", "seats")):
                await self.flush()
                await one.server.command("HSET", f"t:{key}:{ROOM}", "v", v, "d", odd)
                assert await one.admit("ann", 1)
                assert not await two.admit("bob", 1)

    @pytest_twisted.ensureDeferred
    async def test_after_changes_that_are_none_of_ours_the_table_is_written_anew(self) -> None:
        for odd in ("", "0", "0 [", "-1 {", '0 {"holds": 3}', "x {}"):
            one, two = [Guard(await self.connect(), name) for name in "ab"]
            await self.flush()
            assert await one.admit("ann", 9)
            version = str(one.store._entries.get(ROOM).version)  # type: ignore[union-attr]
            lineage = version.split(":")[0]
            there = f"{lineage}:2:x"
            await one.server.command("HSET", f"t:table:{ROOM}", "v", there, "2", f"{there} {odd}")
            assert await one.admit("bob", 9)
            assert await two.admit("carl", 9)
            assert await one.admit("dora", 9)
            assert await two.taken() == [f"@{user}:s" for user in ("ann", "bob", "carl", "dora")]

    @pytest_twisted.ensureDeferred
    async def test_guards_do_not_wait_for_each_other_where_there_is_room_for_all(self) -> None:
        guards = [Guard(await self.connect(), name) for name in "ab"]
        await guards[0].admit("u", 301)
        await guards[1].taken()
        for guard in guards:
            guard.again = 0
        for number in range(150):
            for guard in guards:
                assert await guard.admit(f"u{guard.name}{number}", 301)
        assert sum(guard.again for guard in guards) < 12, "once for each time all is written"
        assert [len(await guard.taken()) for guard in guards] == [301, 301]
        assert not await guards[0].admit("one more", 301)

    @pytest_twisted.ensureDeferred
    async def test_who_goes_away_while_they_wait_takes_no_seat(self) -> None:
        one = Guard(await self.connect(), "a")
        first: Deferred[bool] = ensureDeferred(one.admit("ann", 2))
        gone: Deferred[bool] = ensureDeferred(one.admit("bob", 2))
        if not gone.called:  # the model answers at once
            gone.addErrback(lambda _: None)
            gone.cancel()
            await first
            assert await one.taken() == ["@ann:s"]
