"""What Synapse's module tells the guard: changes of policies and members, and that it is there.

The wire, ours at both ends (`lotus_guard.synapse_module` sends, `web.operators` receives):

    POST /policy
    Lotus-Guard-Signature: <milliseconds since the epoch>.<hex HMAC-SHA256 of "ms.body">
    {"room_id": "!r:s", "events": {<type of a rule's event>: <its content> | null, ...}}
    {"room_id": "!r:s", "events": {...}, "power": true}   the room's power levels have changed
    {"covers": [<type of a rule's event>, ...]}   a heartbeat: what would be pushed
    {"covers": [...], "rooms": {"!r:s": {"@u:s": "join" | "leave" | ...}}}   one with memberships
    204                                       taken
    401                                       not signed with our secret, too old, or seen before

A push of the form before has the name of a rule with its event's content in place of `events` (of
the first one that reads the event);
both forms are written and read for one release, so that the module and the guard need not be
upgraded together. A heartbeat from before `covers` is `{}`, and stands for the two events that
there were then. What a sender does not cover is polled; memberships are covered by the name
`m.room.member`. They come with a heartbeat, so that a guard from before takes them for one. Power
levels are covered by the name `m.room.power_levels`: of them only that they changed is told, and a
guard from before reads no more than the policies that come with it.

The milliseconds make a recorded push useless after a minute, and order two pushes for one room.
"""

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any

from attrs import evolve, frozen

from lotus_guard.core.ids import fits, is_room_id
from lotus_guard.core.membership import MEMBER, Membership, membership_of
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.objects import as_object, json_object, part_of
from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.rules import Rules, by_event
from lotus_guard.rules.rule import Content, Reading

HEADER = "Lotus-Guard-Signature"

HEARTBEAT = 10.0
"""Seconds between two signs of life of Synapse's module."""

WINDOW = 60.0
"""Seconds a push may be old, and its clock ahead of ours."""


_COVERED_BEFORE = ("io.lotus.voice_limit", "io.lotus.room_quality")
"""What a module pushes whose heartbeat has no `covers`."""

MORE_COVERED = frozenset({MEMBER, POWER_LEVELS})
"""The types of events that a module may push besides the rules'."""

MOST_PUSH = 64 * 1024
"""Bytes of a push; the guard takes no longer one. An event's content may be as long, and there are
several: what does not fit is not pushed, and polled."""

MOST_MEMBERS = 500
"""So many memberships are read of one push, and written into one."""
_STAMP_DIGITS = 15


class Unsigned(ValueError):
    """A push that is not, or no longer, to be believed."""


class Untimely(Unsigned):
    """A push with our signature that is too old, or from the future, by our clock."""


@frozen
class Push:
    """A believed push; `room` is None for a heartbeat."""

    sent: float
    """Seconds since the epoch, by the sender's clock."""
    signature: str
    room: RoomId | None
    readings: Mapping[str, Reading[Any]]
    """What the rules read in it, by name; a rule that it says nothing of is missing."""
    is_complete: bool
    """Whether its sender pushes the events of all our rules."""
    members: tuple["Member", ...] = ()
    """Whose membership changed, each user of a room once."""
    changes_power: bool = False
    """Whether the room has other power levels than before."""
    covers: frozenset[str] = frozenset()
    """Which of MORE_COVERED its sender pushes, as it says, or shows."""

    @property
    def covers_members(self) -> bool:
        """Whether it says that its sender pushes memberships. One of policies never does."""
        return MEMBER in self.covers

    @property
    def covers_power(self) -> bool:
        """Whether it says, or shows, that its sender pushes changes of power levels."""
        return POWER_LEVELS in self.covers


@frozen
class Member:
    """How somebody stands to a room now."""

    room: RoomId
    user: UserId
    membership: Membership


def sign_push(body: bytes, secret: str, epoch: float) -> str:
    """Make the header's value for a body sent at `epoch` (seconds since the epoch)."""
    stamp = str(int(epoch * 1000))
    return f"{stamp}.{_digest(stamp, body, secret)}"


def write_push(
    room: RoomId,
    contents: Mapping[str, Content | None],
    rules: Rules,
    *,
    changes_power: bool = False,
) -> bytes:
    """Write the body of a push: the contents of the rules' events by type, None without one.

    `changes_power`: whether the room has other power levels than before.
    """
    events = by_event(rules).items()
    old = {readers[0].name: contents[event] for event, readers in events if event in contents}
    power = {"power": True} if changes_power else {}
    return json.dumps({"room_id": room, **old, "events": dict(contents), **power}).encode()


def write_heartbeat(event_types: Iterable[str]) -> bytes:
    """Write the body of a heartbeat of a sender that pushes events of these types."""
    return json.dumps({"covers": list(event_types)}).encode()


def write_members(event_types: Iterable[str], members: Iterable[Member]) -> bytes:
    """Write the body of a heartbeat that tells of memberships."""
    rooms: dict[RoomId, dict[UserId, str]] = {}
    for each in members:
        rooms.setdefault(each.room, {})[each.user] = each.membership.value
    return json.dumps({"covers": list(event_types), "rooms": rooms}).encode()


def length_of(member: Member) -> int:
    """Bytes that a membership takes in a push at the most."""
    texts = (member.room, member.user, member.membership.value)
    return sum(len(json.dumps(text)) for text in texts) + len(": {: }, ")


def read_push(body: bytes, header: str, secret: str, epoch: float, rules: Rules) -> Push:
    """Verify and read a push that arrived at `epoch`; raises Unsigned.

    It is for the caller to know whether the signature has been seen before.
    """
    stamp, _, digest = header.partition(".")
    expected = _digest(stamp, body, secret)
    if not hmac.compare_digest(_bytes(digest), expected.encode()):
        raise Unsigned("its signature does not match the body and the secret")
    sent = _sent(stamp)
    if abs(epoch - sent) > WINDOW:
        way = "ago" if epoch > sent else "from now"
        raise Untimely(f"sent {abs(epoch - sent):.0f} s {way} by its sender's clock")
    fields = json_object(body)
    if fields is None:
        raise Unsigned("it cannot be read")
    return _push(sent, digest, fields, rules)


def _push(sent: float, digest: str, fields: Mapping[str, Any], rules: Rules) -> Push:
    room = fields.get("room_id")
    readings = {
        rule.name: evolve(rule.read(as_object(content)), set_at=sent)
        for event, readers in by_event(rules).items()
        for content in _told(fields, readers[0].name, event)
        for rule in readers
    }
    if isinstance(room, str):
        is_complete, power = len(readings) == len(rules), fields.get("power") is True
        covers = frozenset({POWER_LEVELS} if power else ())
        return Push(sent, digest, RoomId(room), readings, is_complete, (), power, covers)
    named = fields.get("covers", _COVERED_BEFORE)
    covered = named if isinstance(named, list | tuple) else ()
    return Push(
        sent,
        digest,
        None,
        readings,
        is_complete=all(rule.event in covered for rule in rules),
        members=tuple(islice(_members(part_of(fields, "rooms")), MOST_MEMBERS)),
        covers=frozenset(each for each in MORE_COVERED if each in covered),
    )


def _members(rooms: Mapping[str, Any]) -> Iterator[Member]:
    """Read memberships; what is no room, no user or no membership is passed over."""
    for room, users in rooms.items():
        for user, said in (as_object(users) or {}).items() if is_room_id(room) else ():
            membership = membership_of(said)
            if user.startswith("@") and fits(user) and membership is not Membership.UNHEARD:
                yield Member(RoomId(room), UserId(user), membership)


def _sent(stamp: str) -> float:
    """Read when a push was sent; raises Unsigned."""
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= _STAMP_DIGITS):
        raise Unsigned("it does not say when it was sent")
    return int(stamp) / 1000.0


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _told(fields: Mapping[str, Any], name: str, event: str) -> list[object]:
    """Find what a push says of a rule: nothing when its sender does not know the rule."""
    events = as_object(fields.get("events"))
    if events is not None:
        return [events[event]] if event in events else []
    return [fields[name]] if name in fields else []


def _digest(stamp: str, body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), _bytes(stamp) + b"." + body, sha256).hexdigest()
