"""What is read from the state file: all that was learnt, at the start; decisions, when asked."""

import json
import sqlite3
from typing import Any

from attrs import define, field

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import Person, Seats
from lotus_guard.memory.sqlite_batch import storable
from lotus_guard.memory.sqlite_claims import select_claims
from lotus_guard.memory.sqlite_schema import KEPT
from lotus_guard.rules.decision import Decision, from_json, id_in_json


@define
class Saved:
    """What a file holds."""

    bindings: dict[LiveKitRoom, Binding] = field(factory=dict)
    users: dict[Identity, tuple[UserId, LiveKitRoom]] = field(factory=dict)
    seats: dict[RoomId, dict[Person, float | None]] = field(factory=dict)
    """Until when each is held, in seconds since the epoch; None for those who were there."""
    claims: dict[tuple[LiveKitRoom, Identity], str] = field(factory=dict)
    """As JSON (`lotus_guard.core.claim_json`)."""

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> "Saved":
        """Read a file, all of it."""
        saved = cls()
        for livekit_room, room, slot, evidence in connection.execute(
            f"SELECT alias, room, slot, grounds FROM alias WHERE {KEPT['alias']}"  # noqa: S608
        ):
            saved.bindings[LiveKitRoom(livekit_room)] = Binding(
                RoomId(room), str(slot), Evidence(evidence)
            )
        for identity, user, livekit_room in connection.execute(
            f"SELECT identity, user, alias FROM identity WHERE {KEPT['identity']}"  # noqa: S608
        ):
            saved.users[Identity(identity)] = (UserId(user), LiveKitRoom(livekit_room))
        for room, person, until in connection.execute(
            f"SELECT room, person, until FROM seat WHERE {KEPT['seat']}"  # noqa: S608
        ):
            seats = saved.seats.setdefault(RoomId(room), {})
            seats[person] = None if until is None else float(until)
        saved.claims = select_claims(connection)
        return saved

    def take_up(self, directory: Directory, seats: Seats, now: float, epoch: float) -> None:
        """Learn it; `now` is the time by the seats' clock, `epoch` the same since 1970."""
        for livekit_room, binding in self.bindings.items():
            directory.learn_room(livekit_room, binding)
        for identity, (user, livekit_room) in self.users.items():
            directory.learn_identity(identity, user, livekit_room)
        for room, held in self.seats.items():
            moved = {p: u if u is None else u - (epoch - now) for p, u in held.items()}
            seats.restore(room, moved, now)


def select_decisions(cursor: Any, room: str | None, user: str | None, most: int) -> list[Decision]:
    """Read the newest decisions on a room and a user, where these are given; newest first.

    What a later release has written and this one cannot read is left out.
    """
    found = cursor.execute(
        "SELECT kind, body FROM decision WHERE (? IS NULL OR room = ?) AND (? IS NULL OR user = ?) "
        "ORDER BY number DESC LIMIT ?",
        (storable(room), storable(room), storable(user), storable(user), most),
    )
    read = (_decision(kind, body) for kind, body in found.fetchall())
    return [decision for decision in read if decision]


def find_decision(cursor: Any, reference: str) -> Decision | None:
    """Find the decision with this id.

    Looks through all of them: operators ask for one now and then, and an index would be work for
    each decision that is written. Their beginnings are looked at, which is a fifth of the work.
    """
    begins = id_in_json(reference)
    found = cursor.execute(
        "SELECT kind, body FROM decision WHERE substr(body, 1, ?) = ? ORDER BY number DESC",
        (len(begins), begins),
    )
    read = (_decision(kind, body) for kind, body in found)
    return next((each for each in read if each and each.id == reference), None)


def _decision(kind: str, body: str) -> Decision | None:
    try:
        return from_json({**json.loads(body), "kind": kind})
    except (ValueError, KeyError, TypeError):
        return None
