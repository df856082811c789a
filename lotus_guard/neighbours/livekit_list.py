"""LiveKit's list of participants, record by record: whole, or as far as it was read.

    ListParticipantsResponse { repeated ParticipantInfo participants = 1; }
    ParticipantInfo { string sid = 1; string identity = 2; state = 3; tracks = 4; … }

LiveKit writes the fields in the order of their numbers, so the beginning of a record tells whose it
is, however long the rest. A record of a length that no honest participant reaches is not parsed,
and between records others have their turn: 8 MiB of them take a tenth of a second.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from livekit.protocol import models as lk_models
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lotus_guard.core.model import Identity

V = TypeVar("V")

_PARTICIPANT, _IDENTITY = 0x0A, 0x12
"""Field 1 and field 2, both length-delimited."""
_SID = 0x0A
AT_A_TIME = 256 * 1024
"""Bytes that are parsed before others have their turn."""


async def read_list(
    body: bytes, most: int, clock: IReactorTime, read: Callable[[Any], V | None]
) -> tuple[tuple[V, ...], tuple[Identity, ...]]:
    """Read each participant by `read`, and name those with records of over `most` bytes.

    What is cut off at the end is left out. Raises DecodeError for what is no such list.
    """
    found: list[V] = []
    loud: list[Identity] = []
    parsed = 0
    for length, record in _records(body):
        if length > most:
            loud += [identity for identity in [_identity_of(record)] if identity]
            continue
        if len(record) < length:
            break
        one = read(lk_models.ParticipantInfo.FromString(bytes(record)))
        if one is not None:
            found.append(one)
        parsed += length
        if parsed > AT_A_TIME:
            parsed = 0
            await deferLater(clock, 0, lambda: None)
    return tuple(found), tuple(loud)


def _records(body: bytes) -> Iterator[tuple[int, memoryview]]:
    """Each participant's record, perhaps cut off, and how long all of it is."""
    view, at = memoryview(body), 0
    while at < len(body):
        if body[at] != _PARTICIPANT:
            raise DecodeError("not a list of participants")
        length, at = _varint(view, at + 1)
        if at < 0:
            return
        yield length, view[at : at + length]
        at += length


def _identity_of(record: memoryview) -> Identity | None:
    """Read the identity off the beginning of a record; None where it does not begin so."""
    at = 0
    while at < len(record) and record[at] in (_SID, _IDENTITY):
        tag = record[at]
        length, at = _varint(record, at + 1)
        if at < 0 or at + length > len(record):
            return None
        if tag == _IDENTITY:
            return Identity(bytes(record[at : at + length]).decode("utf-8", "replace"))
        at += length
    return None


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """Read a number; gives it and where it ends, -1 where it is cut off."""
    value = 0
    for shift, byte in enumerate(view[at : at + 10]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    return 0, -1
