"""JSON of strangers, read so strictly that no two readers could read it differently.

Go's encoding/json matches keys without regard to case (simple Unicode folding: U+017F is an `s`,
U+212A a `k`), lets the last duplicate win, ignores what follows the first value, and makes U+FFFD
of broken UTF-8 and of lone surrogates. Rust's serde takes an array of an object's values for the
object. Python's json agrees with neither (docs/facts.md, lk-jwt-service: how it reads JSON). What
any of them could read differently is refused.

What a client names is kept, so it has a bound (`lotus_guard.core.ids`). A room id that no Matrix
room can have is refused too: there is no policy to keep and nobody to meet, but what is kept of it
would push out what is kept of others.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Never

from lotus_guard.core.ids import MOST_ID, fits, is_room_id
from lotus_guard.core.model import RoomId
from lotus_guard.core.sentence import Sentence

MAX_DEPTH = 32
"""How deep a request may be nested; upstream's own requests are two levels deep."""

_SPACE = " \t\r\n"
"""All that may stand around a value (RFC 8259, 2)."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class Unreadable(ValueError):
    """A request body that two JSON readers could read differently, or not at all."""

    def __init__(self, errcode: str, key: str, **fields: str | int) -> None:
        super().__init__(key)
        self.errcode = errcode
        self.sentence = Sentence(key, fields)
        """What its sender reads."""


def read_strictly(body: bytes) -> dict[str, Any]:
    """Parse one JSON object that Go and Python read alike; raises Unreadable otherwise."""
    try:
        text = body.decode("utf-8").strip(_SPACE)
        value, end = _DECODER.raw_decode(text)
    except Unreadable:
        raise
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Unreadable("M_NOT_JSON", "body_not_json") from None
    if end != len(text):
        raise Unreadable("M_NOT_JSON", "body_not_json")
    if not isinstance(value, dict):
        raise Unreadable("M_BAD_JSON", "body_no_object")
    if b"\\u" in body or body.count(b"{") + body.count(b"[") > MAX_DEPTH:  # else there is neither
        _refuse_depth_and_surrogates(value, MAX_DEPTH)
    return value


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    names = "".join(fields)
    # casefold() unites at least all that Go's simple folding unites; of plain names, none.
    is_plain = names.isascii() and names.islower()
    if len(fields if is_plain else {key.casefold() for key in fields}) != len(pairs):
        raise Unreadable("M_BAD_JSON", "body_field_twice")
    return fields


def _no_constant(name: str) -> Never:
    raise Unreadable("M_NOT_JSON", "body_no_number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unambiguous, parse_constant=_no_constant)


@lru_cache
def _folded(names: frozenset[str]) -> Mapping[str, str]:
    return {name.casefold(): name for name in names}


def refuse_other_spellings(fields: Mapping[str, Any], names: frozenset[str]) -> None:
    """Raise Unreadable for a field that Go would take for one of these, and Python would not."""
    if fields.keys() <= names:
        return
    folded = _folded(names)
    for key in fields:
        if folded.get(key.casefold(), key) != key:
            raise Unreadable("M_BAD_JSON", "body_spelling")


def _refuse_depth_and_surrogates(value: object, depth: int) -> None:
    if depth < 0:
        raise Unreadable("M_BAD_JSON", "body_too_deep", depth=MAX_DEPTH)
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise Unreadable("M_BAD_JSON", "body_half_character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_depth_and_surrogates(key, depth)
            _refuse_depth_and_surrogates(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _refuse_depth_and_surrogates(item, depth - 1)


def object_in(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Read an object, an empty one where there is none; raises Unreadable."""
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise Unreadable("M_BAD_JSON", "field_no_object", name=name)
    return value


def text_in(fields: Mapping[str, Any], name: str) -> str | None:
    """Read an id, None where there is none; raises Unreadable."""
    value = fields.get(name, "")
    if isinstance(value, str) and 0 < len(value) <= MOST_ID and value.isascii():
        return value  # as nearly all are
    if not isinstance(value, str):
        raise Unreadable("M_BAD_JSON", "field_no_string", name=name)
    if not fits(value):
        raise Unreadable("M_INVALID_PARAM", "field_too_long", name=name, bytes=MOST_ID)
    return value if name in fields else None


def room_in(fields: Mapping[str, Any], name: str) -> RoomId | None:
    """Read a room's id, None where there is none; raises Unreadable."""
    room = text_in(fields, name)
    if room and not is_room_id(room):
        raise Unreadable("M_INVALID_PARAM", "field_no_room", name=name)
    return RoomId(room) if room else None
