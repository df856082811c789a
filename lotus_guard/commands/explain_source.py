"""Where `lotus-guard explain` has decisions from: the running guard, or the state file."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from attrs import evolve, frozen

from lotus_guard.commands.common import Failed, check_own_host, some_settings
from lotus_guard.enforce.records import mask_of
from lotus_guard.memory.sqlite_read import find_decision, select_decisions
from lotus_guard.neighbours.http import Http
from lotus_guard.rules.decision import Decision, from_json

SECONDS = 15.0
"""The deadline of the question; many decisions in a Redis take a while to look through."""
MOST_BYTES = 8 * 1024 * 1024
NOT_RECORDED = (
    "users are not recorded (LOTUS_GUARD_LOG_USERS=no). Fix: give a reference or a room, or set "
    "that to yes or hash, which applies to new decisions"
)


@frozen
class Wanted:
    """Which decisions are wanted: the one with a reference, or those on a user and a room."""

    reference: str = ""
    user: str = ""
    room: str = ""
    limit: int = 20

    def in_room(self, room: str) -> "Wanted":
        """The same in this room only."""
        return evolve(self, room=room)

    @property
    def query(self) -> str:
        """What the guard is asked."""
        if self.reference:
            return urlencode({"id": self.reference})
        given = {"user": self.user, "room": self.room, "limit": str(self.limit)}
        return urlencode({name: value for name, value in given.items() if value})


@frozen
class Told:
    """Decisions, newest first, and who told us."""

    decisions: list[Decision]
    source: str


async def ask_guard(http: Http, address: str, wanted: Wanted) -> Told:
    """Ask a running guard; raises Outage, or Failed where it cannot tell or is none."""
    url = f"{address}/decisions?{wanted.query}".encode("ascii")
    answer = await http.exchange(b"GET", url, {}, None, seconds=SECONDS, most=MOST_BYTES)
    check_own_host(answer.status, address)
    try:
        fields = json.loads(answer.body)
        found = [from_json(each) for each in fields["decisions"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Failed(
            f"{address} answered {answer.status}, but not as a guard does; expected the running "
            "guard's operators' port in --guard or LOTUS_GUARD_ADMIN_LISTEN"
        ) from None
    if fields.get("users") == "not recorded":
        raise Failed(NOT_RECORDED)
    if wanted.reference:  # a guard of an older release does not know it, and tells of all
        found = [each for each in found if each.id == wanted.reference]
    return Told(found, f"asked the guard at {address}")


def read_state(wanted: Wanted, why: str) -> Told:
    """Read the state file; `why` says why no guard was asked. Raises Failed."""
    config = some_settings("state", "redis")
    if config["redis"] is not None:
        raise Failed(
            f"{why}. Several guards share their decisions in Redis. Fix: use --guard with the "
            "operators' port of one that is running"
        )
    path: Path = config["state"].absolute()
    user = _recorded(wanted.user)
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2.0)) as file:
            found = _select(file.cursor(), wanted, user)
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise Failed(
            f"{why}, and the state file {path} cannot be read ({error}). Fix: start the guard, "
            "or set LOTUS_GUARD_STATE as the guard has it and run this as a user who can read it"
        ) from None
    return Told(found, f"{why}; read {path}")


def _recorded(user: str) -> str | None:
    """How records show a user; raises Failed where they show nobody."""
    if not user:
        return None
    setting: str = some_settings("log_users")["log_users"]
    secret = ""
    if setting == "hash":  # its key is made of LiveKit's secret
        secret = some_settings("credentials")["credentials"].livekit.value.secret
    shown = mask_of(setting, secret)(user)
    if shown is None:
        raise Failed(NOT_RECORDED)
    return shown


def _select(cursor: Any, wanted: Wanted, user: str | None) -> list[Decision]:
    if wanted.reference:
        found = find_decision(cursor, wanted.reference)
        return [found] if found else []
    return select_decisions(cursor, wanted.room or None, user, wanted.limit)
