"""Names of LiveKit rooms, and identities, byte for byte as lk-jwt-service derives them.

| lk-jwt-service | LiveKit room of (room, slot) |
|---|---|
| from 0.7, in Rust | unpadded standard base64 of SHA-256 over plain compact JSON, `[room, slot]` |
| from 0.4.3, in Go | the same over Go's `json.Marshal([room, slot])` |
| 0.4.1, 0.4.2 | unpadded standard base64 of SHA-256 over `room|slot` |
| 0.4.0 | hex of SHA-256 over `room|slot` |
| up to 0.3 | the bare room id |

| asked at | identity |
|---|---|
| `/get_token` | unpadded base64 of SHA-256 over JSON, `[user, device, member]` |
| the homeserver | the same over `[user, member]`; at first `[user, device, member]` there too |
| `/sfu/get` | `@user:server:DEVICE`; the device id is the client's word and may contain `:` |

Plain JSON and Go's differ in `<`, `>`, `&`, U+2028 and U+2029 alone, which Go escapes: for nearly
all names the two are one.

A derivation that matches proves its inputs. One that does not match proves nothing (MSC4195 plans
random names). See docs/facts.md, lk-jwt-service: names of LiveKit rooms, and helper.go upstream.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId

ROOM_SLOT = "m.call#ROOM"
"""The slot of a room's ordinary call, and the one `/sfu/get` always means."""

USUAL_SLOTS = frozenset({ROOM_SLOT, "m.call#room"})
"""The slots of a room's ordinary call: as Element Call names it, and as MSC4143 does."""

LONGEST_KEPT = 512
"""Characters of a room and a slot whose name is kept; a room's id has 255 bytes at the most."""

# Go's json.Marshal escapes these for HTML's and JavaScript's sake and nothing else above ASCII.
_GO_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in ("<", ">", "&", "\u2028", "\u2029")}

_NOT_PLAIN = re.compile("[<>&\u2028\u2029]")

# @localpart:server, where server is a name, an IPv4 or a bracketed IPv6 address, with or without
# a port (Matrix specification, appendices, "Server name" and "User identifiers").
_USER = re.compile(r"(@[^:]*:(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?):(.*)", re.DOTALL)


def plain_json(strings: Sequence[str]) -> bytes:
    """Encode a list of strings exactly as Rust's serde_json does.

    Raises UnicodeEncodeError for a lone surrogate, which neither Go nor Rust could hold.
    """
    return json.dumps(list(strings), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def go_marshal(strings: Sequence[str]) -> bytes:
    """Encode a list of strings exactly as Go's `json.Marshal([]string{...})` does.

    Raises UnicodeEncodeError for a lone surrogate.
    """
    # Go writes \b and \f by name from Go 1.22 on, as Python does; DEL stays as it is in both.
    text = json.dumps(list(strings), ensure_ascii=False, separators=(",", ":"))
    return text.translate(_GO_ESCAPES).encode("utf-8")


def _hashes(strings: Sequence[str]) -> Iterator[str]:
    """The hash of a list of strings in each spelling of JSON."""
    yield _digest64(go_marshal(strings))
    if _NOT_PLAIN.search("".join(strings)):
        yield _digest64(plain_json(strings))


def _digest64(data: bytes) -> str:
    return b64encode(sha256(data).digest()).decode("ascii").rstrip("=")


def livekit_room_of(room: RoomId, slot: str) -> LiveKitRoom:
    """The LiveKit room of a Matrix room's slot, as lk-jwt-service 0.4.3 and later name it."""
    # The same few are asked for several times of each token. What is too long for any room's id
    # is not kept: it is the client's to choose.
    kept = len(room) + len(slot) <= LONGEST_KEPT
    return _livekit_room_of(room, slot) if kept else _livekit_room_of.__wrapped__(room, slot)


@lru_cache(maxsize=4096)
def _livekit_room_of(room: RoomId, slot: str) -> LiveKitRoom:
    return LiveKitRoom(_digest64(go_marshal([room, slot])))


def known_livekit_rooms(room: RoomId, slot: str) -> Iterator[LiveKitRoom]:
    """The name by each derivation that a released lk-jwt-service used, the usual one first."""
    joined = f"{room}|{slot}".encode()
    yield livekit_room_of(room, slot)
    if _NOT_PLAIN.search(f"{room}{slot}"):
        yield LiveKitRoom(_digest64(plain_json([room, slot])))
    yield LiveKitRoom(_digest64(joined))
    yield LiveKitRoom(sha256(joined).hexdigest())
    yield LiveKitRoom(room)


def identity_of(user: UserId, device: str, member: str) -> Identity:
    """The identity of the participant that `/get_token` lets in (MSC4195)."""
    return Identity(_digest64(go_marshal([user, device, member])))


def plain_identity_of(user: UserId, member: str) -> Identity:
    """The identity of the participant whose homeserver asks for them (MSC4195)."""
    return Identity(_digest64(plain_json([user, member])))


def known_identities(user: UserId, device: str, member: str) -> Iterator[Identity]:
    """A hashed identity by each derivation that a released lk-jwt-service used.

    That of two strings is for whoever asks by their homeserver, which names no device.
    """
    for strings in ((user, device, member), (user, member)):
        yield from map(Identity, _hashes(strings))


def legacy_identity_of(user: UserId, device: str) -> Identity:
    """The identity of the participant that `/sfu/get` lets in."""
    return Identity(f"{user}:{device}")


def user_of_legacy(identity: Identity, device: str) -> UserId | None:
    """Take the exact device off a legacy identity; None where it does not end with it."""
    suffix = f":{device}"
    if not identity.startswith("@") or not identity.endswith(suffix):
        return None
    user = identity[: -len(suffix)]
    return UserId(user) if ":" in user else None


def guess_legacy_user(identity: Identity) -> UserId | None:
    """Read the user off a legacy identity whose device nobody told us.

    Digits after the server name are taken for its port, so the guess can be wrong for a device
    id such as `8448:X`; it is used for counting only. None for a hashed identity.
    """
    match = _USER.fullmatch(identity)
    return UserId(match[1]) if match else None
