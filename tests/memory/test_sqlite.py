"""What one guard remembers over a restart, and what of it leaves the file again."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.task import deferLater
from twisted.logger import formatEvent

from lotus_guard.core.directory import Bounds
from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.memory.sqlite import Tenant
from tests.memory.kept import BINDING, ROOM, Kept, known, rows, settled
from tests.world import reactor


@pytest_twisted.ensureDeferred
async def test_what_is_learnt_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.sqlite"
    one = Kept(path)
    one.learn(1)
    await one.close()
    two = Kept(path)
    assert two.directory.binding_of(LiveKitRoom("alias1")) == BINDING
    assert two.directory.user_of(Identity("i1")) == "@u:s"
    assert list(two.seats.seated(ROOM)) == ["@u1:s"]
    two.directory.forget({LiveKitRoom("alias1")})
    await two.close()
    three = Kept(path)
    assert three.directory.binding_of(LiveKitRoom("alias1")) is None
    assert three.directory.user_of(Identity("i1")) is None
    await three.close()
    assert one.failures == two.failures == three.failures == []


@pytest_twisted.ensureDeferred
async def test_what_was_read_is_not_written_again(tmp_path: Path) -> None:
    one = Kept(tmp_path / "state.sqlite")
    one.learn(1)
    await one.close()
    assert one.writes
    two = Kept(tmp_path / "state.sqlite")
    await settled(two)
    assert two.writes == 0
    await two.close()


@pytest_twisted.ensureDeferred
async def test_what_is_learnt_in_one_moment_is_one_transaction(tmp_path: Path) -> None:
    one = Kept(tmp_path / "state.sqlite")
    for number in range(9):
        one.learn(number)
    one.directory.forget({LiveKitRoom("alias0")})
    await settled(one)
    assert (one.writes, known(one.path)) == (1, 8)
    await one.close()


@pytest_twisted.ensureDeferred
async def test_only_the_seats_that_change_are_written(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    memory = Kept(path)
    memory.learn(1)
    memory.learn(2)
    await settled(memory)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE seat SET until = 7.0 WHERE person = '@u1:s'")
    memory.learn(3)
    await settled(memory)
    assert rows(path)["@u1:s"] == 7.0, "a row that has not changed was written"
    assert sorted(rows(path)) == ["@u1:s", "@u2:s", "@u3:s"]
    await memory.close()


@pytest_twisted.ensureDeferred
async def test_a_seat_given_up_after_a_restart_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    one.learn(1)
    await one.close()
    two = Kept(path)
    two.seats.sweep(time.monotonic() + 61.0)
    await two.close()
    assert rows(path) == {}


@pytest_twisted.ensureDeferred
async def test_what_falls_out_of_the_bounds_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path, Bounds(rooms=3, identities=3))
    for number in range(8):
        one.learn(number)
        await settled(one)
    await one.close()
    with sqlite3.connect(path) as connection:
        kept = {a for (a,) in connection.execute("SELECT alias FROM alias")}
        whose = {i for (i,) in connection.execute("SELECT identity FROM identity")}
    assert kept == {"alias5", "alias6", "alias7"}
    assert whose == {"i5", "i6", "i7"}


@pytest_twisted.ensureDeferred
async def test_two_guards_on_one_file_are_told_once(tmp_path: Path, logged: list[Any]) -> None:
    path = tmp_path / "state.sqlite"
    memories = [Kept(path, tenant=Tenant(f"guard{number}")) for number in range(2)]
    for _ in range(2):
        for memory in memories:
            memory.store.beat()
            while memory.store._writing is not None:
                await deferLater(reactor, 0.01)
    for memory in memories:
        await memory.close()
    told = [formatEvent(event) for event in logged if "Other guards" in formatEvent(event)]
    assert len(told) == 2
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        assert connection.execute("SELECT * FROM guard").fetchall() == []
