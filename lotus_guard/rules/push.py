"""What Synapse's module tells the guard: changed policies, and that it is still there.

The wire, ours at both ends (`lotus_guard.synapse_module` sends, `web.operators` receives):

    POST /policy
    Lotus-Guard-Signature: <milliseconds since the epoch>.<hex HMAC-SHA256 of "ms.body">
    {"room_id": "!r:s", "events": {<type of a rule's event>: <its content> | null, ...}}
    {"covers": [<type of a rule's event>, ...]}   a heartbeat: what would be pushed
    204                                       taken
    401                                       not signed with our secret, too old, or seen before

A push of the form before has the name of each rule with its event's content in place of `events`;
both forms are written and read for one release, so that the module and the guard need not be
upgraded together. A heartbeat from before `covers` is `{}`, and stands for the two events that
there were then. What a sender does not cover is polled.

The milliseconds make a recorded push useless after a minute, and order two pushes for one room.
"""

import hmac
import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from attrs import evolve, frozen

from lotus_guard.core.model import RoomId
from lotus_guard.core.objects import as_object
from lotus_guard.rules import Rules
from lotus_guard.rules.rule import Content, Reading

HEADER = "Lotus-Guard-Signature"

HEARTBEAT = 10.0
"""Seconds between two signs of life of Synapse's module."""

WINDOW = 60.0
"""Seconds a push may be old, and its clock ahead of ours."""


_COVERED_BEFORE = ("io.lotus.voice_limit", "io.lotus.room_quality")
"""What a module pushes whose heartbeat has no `covers`."""

MOST_PUSH = 64 * 1024
"""Bytes of a push; the guard takes no longer one. An event's content may be as long, and there are
several: what does not fit is not pushed, and polled."""


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


def sign_push(body: bytes, secret: str, epoch: float) -> str:
    """Make the header's value for a body sent at `epoch` (seconds since the epoch)."""
    stamp = str(int(epoch * 1000))
    return f"{stamp}.{_digest(stamp, body, secret)}"


def write_push(room: RoomId, contents: Mapping[str, Content | None], rules: Rules) -> bytes:
    """Write the body of a push: the contents of the rules' events by type, None without one."""
    old = {rule.name: contents[rule.event] for rule in rules if rule.event in contents}
    return json.dumps({"room_id": room, **old, "events": dict(contents)}).encode()


def write_heartbeat(event_types: Iterable[str]) -> bytes:
    """Write the body of a heartbeat of a sender that pushes events of these types."""
    return json.dumps({"covers": list(event_types)}).encode()


def read_push(body: bytes, header: str, secret: str, epoch: float, rules: Rules) -> Push:
    """Verify and read a push that arrived at `epoch`; raises Unsigned.

    It is for the caller to know whether the signature has been seen before.
    """
    stamp, _, digest = header.partition(".")
    expected = _digest(stamp, body, secret)
    if not hmac.compare_digest(digest.encode(), expected.encode()):
        raise Unsigned("the signature is not of this body and our secret")
    sent = int(stamp) / 1000.0
    if abs(epoch - sent) > WINDOW:
        way = "ago" if epoch > sent else "from now"
        raise Untimely(f"sent {abs(epoch - sent):.0f} s {way} by its sender's clock")
    fields = json.loads(body)
    room = fields.get("room_id")
    readings = {
        rule.name: evolve(rule.read(as_object(content)), set_at=sent)
        for rule in rules
        for content in _told(fields, rule.name, rule.event)
    }
    if isinstance(room, str):
        return Push(sent, digest, RoomId(room), readings, len(readings) == len(rules))
    covered = fields.get("covers", _COVERED_BEFORE)
    return Push(sent, digest, None, readings, all(rule.event in covered for rule in rules))


def _told(fields: Mapping[str, Any], name: str, event: str) -> list[object]:
    """Find what a push says of a rule: nothing when its sender does not know the rule."""
    events = as_object(fields.get("events"))
    if events is not None:
        return [events[event]] if event in events else []
    return [fields[name]] if name in fields else []


def _digest(stamp: str, body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
