"""The claims of a guard that shares them with nobody, and their rows in the state file."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from lotus_guard.core.claim import Claim
from lotus_guard.core.claim_json import read_claim, write_claim
from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.enforce.claims import Claims, Key
from lotus_guard.memory.sqlite_schema import KEPT

Rows = Mapping[Key, str]
"""Claims as JSON (`lotus_guard.core.claim_json`)."""


@define(eq=False)
class ClaimRows:
    """Claims in memory, each change of which is written down soon."""

    write: Callable[[Key, str | None], None]
    """Writes one; None deletes it."""
    is_used: bool = field(default=False, init=False)
    """Whether anything is given back; else nothing is taken up, and nobody keeps anything."""
    claims: Claims = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.claims = Claims(lambda *key: self.write(key, None))

    def take_up(self, rows: Rows, epoch: float) -> None:
        """Take up what a file says."""
        for key, body in rows.items() if self.is_used else ():
            self.claims.put(key, read_claim(str(body)).awaited(epoch))

    def keep(self, key: Key, claim: Claim) -> None:
        """Write down a claim."""
        self.write(key, write_claim(claim))

    def all(self) -> dict[Key, str | None]:
        """All of them, for an empty file."""
        return {key: write_claim(claim) for key, claim in self.claims.items()}


def select_claims(connection: sqlite3.Connection) -> dict[Key, str]:
    """Read a file's claims; none from one of before, which nobody may write to."""
    try:
        found: Any = connection.execute(
            f"SELECT alias, identity, body FROM claim WHERE {KEPT['claim']}"  # noqa: S608
        )
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return {}
        raise
    return {(LiveKitRoom(alias), Identity(identity)): body for alias, identity, body in found}
