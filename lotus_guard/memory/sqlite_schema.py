"""The tables of the state file, and what of them is kept.

    alias(alias, room, slot, grounds)     identity(identity, user, alias)  seat(room, person, until)
    decision(number, at, kind, rule, room, user, body)    guard(instance, pid, listen, beat)
    claim(alias, identity, body)

An alias is the name of a LiveKit room, its grounds are the evidence that it belongs to the Matrix
room. `until`, `at` and `beat` are in seconds since the epoch, `until` NULL for those who are there:
a clock that only this machine's uptime knows would mean nothing after a restart of the machine.
`body` is the decision as JSON (`lotus_guard.rules.decision`), or the claim (`core.claim_json`);
`guard` has a row for each guard that runs on this file, which must be one.
"""

import sqlite3

from lotus_guard.core.claim_json import MOST_CLAIM
from lotus_guard.core.ids import MOST_ID, MOST_NAME

SCHEMA = """
CREATE TABLE IF NOT EXISTS alias (
  alias TEXT PRIMARY KEY, room TEXT NOT NULL, slot TEXT NOT NULL, grounds TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS identity (
  identity TEXT PRIMARY KEY, user TEXT NOT NULL, alias TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS identity_alias ON identity (alias);
CREATE TABLE IF NOT EXISTS seat (
  room TEXT NOT NULL, person TEXT NOT NULL, until REAL, PRIMARY KEY (room, person));
CREATE TABLE IF NOT EXISTS decision (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
  rule TEXT NOT NULL, room TEXT, user TEXT, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS decision_room ON decision (room, number);
CREATE INDEX IF NOT EXISTS decision_kind ON decision (kind, rule, number);
CREATE TABLE IF NOT EXISTS claim (
  alias TEXT NOT NULL, identity TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (alias, identity));
CREATE TABLE IF NOT EXISTS guard (
  instance TEXT PRIMARY KEY, pid INTEGER NOT NULL, listen TEXT NOT NULL, beat REAL NOT NULL);
"""

ALIVE_SECONDS = 150.0
"""A guard that has not shown itself for so long does not run any more: two beats and a half."""
MOST_BODY = 16 * 1024
"""Bytes of a decision as JSON; what the guard writes is shorter."""
MOST_FREE = 8 * 1024 * 1024
"""Bytes of a file that may be free; a file with more of them is made smaller at the start."""


def newest_that_fit(table: str, most: int, **lengths: int) -> str:
    """An SQL condition: what is not too long, in bytes, and of that the newest rows, so many."""
    short = " AND ".join(f"length(CAST({c} AS BLOB)) <= {n}" for c, n in lengths.items())
    oldest = f"SELECT rowid FROM {table} WHERE {short} ORDER BY rowid DESC LIMIT 1 OFFSET {most}"  # noqa: S608
    return f"{short} AND rowid > COALESCE(({oldest}), 0)"


KEPT = {
    "alias": newest_that_fit("alias", 100_000, alias=MOST_NAME, room=MOST_ID, slot=MOST_ID),
    "identity": newest_that_fit(
        "identity", 400_000, identity=MOST_NAME, user=MOST_NAME, alias=MOST_NAME
    ),
    "seat": newest_that_fit("seat", 200_000, room=MOST_ID, person=MOST_NAME),
    "claim": newest_that_fit(
        "claim", 100_000, alias=MOST_NAME, identity=MOST_NAME, body=MOST_CLAIM
    ),
    "decision": newest_that_fit("decision", 100_000, body=MOST_BODY),
}
"""What is read of each table. A file from before these bounds may hold more, and longer things."""


def shrink(connection: sqlite3.Connection) -> None:
    """Delete what is not read, and give the space back where that is much. Blocks, for a second."""
    for table, condition in KEPT.items():
        connection.execute(f"DELETE FROM {table} WHERE NOT ({condition})")  # noqa: S608
    connection.commit()
    (free,), (size,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_size")
    )
    if free * size > MOST_FREE:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
