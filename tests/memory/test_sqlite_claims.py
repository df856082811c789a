"""The claims in the state file."""

import sqlite3
from pathlib import Path

import pytest
import pytest_twisted

from lotus_guard.core.claim import Claim, Issue
from lotus_guard.core.claim_json import write_claim
from lotus_guard.core.model import Grant, Identity, LiveKitRoom
from lotus_guard.enforce.claims import Key
from lotus_guard.memory.sqlite_claims import ClaimRows, select_claims
from lotus_guard.memory.sqlite_schema import SCHEMA
from tests.memory.kept import Kept, settled

CALL = LiveKitRoom("alias0")
KEY = (CALL, Identity("i0"))
CLAIM = Issue(Grant(True, ()), Grant(True, ("microphone",)), 1000.0, 1300.0).after(None)


def rows(path: Path) -> dict[Key, str]:
    with sqlite3.connect(path) as connection:
        return select_claims(connection)


@pytest_twisted.ensureDeferred
async def test_a_claim_is_written_soon_and_goes_with_its_livekit_room(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state.sqlite")
    kept.learn(0)
    kept.store.claims.keep(KEY, CLAIM)
    kept.store.claims.keep((LiveKitRoom("x"), Identity("i")), CLAIM)
    await settled(kept)
    assert rows(kept.path)[KEY] == write_claim(CLAIM)
    kept.directory.forget([CALL])
    await settled(kept)
    assert rows(kept.path).keys() == {(LiveKitRoom("x"), Identity("i"))}
    await kept.close()


@pytest_twisted.ensureDeferred
async def test_there_is_no_row_for_what_is_not_kept_any_more(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state.sqlite")
    kept.store.claims.claims.most = 1
    kept.store.claims.keep(KEY, CLAIM)
    await settled(kept)
    kept.store.claims.claims.on_dropped(*KEY)
    await settled(kept)
    assert rows(kept.path) == {}
    await kept.close()


@pytest_twisted.ensureDeferred
async def test_a_file_that_was_taken_away_gets_all_of_them_anew(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state.sqlite")
    kept.store.claims.claims.put(KEY, CLAIM)
    kept.path.unlink()
    kept.learn(1)
    await settled(kept)
    await settled(kept)
    assert rows(kept.path) == {KEY: write_claim(CLAIM)}
    await kept.close()


def test_they_are_taken_up_where_they_are_used() -> None:
    kept: list[tuple[Key, str | None]] = []
    claims = ClaimRows(lambda *what: kept.append(what))
    claims.take_up({KEY: write_claim(CLAIM)}, 1e6)
    assert len(claims.claims) == 0
    claims.is_used = True
    claims.take_up({KEY: write_claim(CLAIM)}, 1e6)
    found = claims.claims.get(KEY)
    assert isinstance(found, Claim)
    assert found.owes(1e6), "somebody may have come in meanwhile"
    assert kept == []
    assert claims.all().keys() == {KEY}


def test_a_file_of_before_that_nobody_may_write_has_none() -> None:
    connection = sqlite3.connect(":memory:")
    assert select_claims(connection) == {}
    connection.executescript(SCHEMA)
    assert select_claims(connection) == {}
    connection.execute("INSERT INTO claim VALUES (?, ?, ?)", ("a" * 1000, "i", "{}"))
    connection.execute("INSERT INTO claim VALUES (?, ?, ?)", ("a", "i", "{" + " " * 9000))
    assert select_claims(connection) == {}
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError):
        select_claims(connection)
