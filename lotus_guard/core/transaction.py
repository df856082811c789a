"""What a homeserver tells an application service: transactions of events.

The wire, as homeservers write it (Matrix specification, Application Service API, "Pushing events"):

    PUT /_matrix/app/v1/transactions/{txnId}     or, from older ones, /transactions/{txnId}
    Authorization: Bearer <hs_token>
    {"events": [{"event_id", "type", "room_id", "state_key"?, "content", "origin_server_ts",
                 "unsigned": {"age"?}}, ...], ...}
    200 {}

A transaction that is not taken comes again, and perhaps with more events under the same id
(docs/facts.md, Any homeserver: what it tells unasked): so each event counts once.
"""

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from attrs import frozen

from lotus_guard.core.ids import fits, is_room_id
from lotus_guard.core.membership import MEMBER, Membership, membership_of
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.objects import json_object, part_of, text_of

MOST_EVENTS = 2000
"""So many events of a transaction are looked at; homeservers put some hundred into one."""


@frozen
class Change:
    """A state event that matters here: of a policy, or of somebody's membership."""

    event_id: str
    room: RoomId
    age: float
    """Seconds since it was sent; by its sender's clock, where the homeserver does not say."""
    user: UserId | None = None
    """Whose membership it is; None for a policy, or the room's power levels."""
    membership: Membership = Membership.UNHEARD


def read_changes(body: bytes, types: Collection[str], epoch: float) -> list[Change] | None:
    """Read what of a transaction matters: events of these types, and memberships.

    None for what is no transaction. Never raises; an event that makes no sense is passed over.
    """
    events = (json_object(body) or {}).get("events")
    if not isinstance(events, list):
        return None
    found = (_change(each, types, epoch) for each in islice(events, MOST_EVENTS))
    return [each for each in found if each is not None]


def _change(event: object, types: Collection[str], epoch: float) -> Change | None:
    if not isinstance(event, dict):
        return None
    room, kind, key = (text_of(event, name) for name in ("room_id", "type", "state_key"))
    if not is_room_id(room) or not isinstance(event.get("state_key"), str):
        return None
    event_id, age = text_of(event, "event_id"), _age(event, epoch)
    if kind in types and key == "":
        return Change(event_id, RoomId(room), age)
    membership = membership_of(part_of(event, "content").get("membership"))
    is_member = kind == MEMBER and key.startswith("@") and fits(key)
    if not is_member or membership is Membership.UNHEARD:
        return None
    return Change(event_id, RoomId(room), age, UserId(key), membership)


def _age(event: Mapping[str, Any], epoch: float) -> float:
    age = _milliseconds(part_of(event, "unsigned").get("age"))
    sent = _milliseconds(event.get("origin_server_ts"))
    if age is not None:
        return age / 1000.0
    return 0.0 if sent is None else epoch - sent / 1000.0


def _milliseconds(said: object) -> int | None:
    """Read a time; None for what is none, or what no float can hold."""
    is_number = isinstance(said, int) and not isinstance(said, bool)
    return said if isinstance(said, int) and is_number and 0 <= said < 2**53 else None
