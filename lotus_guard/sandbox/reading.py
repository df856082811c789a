"""How lk-jwt-service reads a body into a request: up to 0.6 as Go does, from 0.7 on as Rust does.

Go's encoding/json matches keys without regard to case, reads a key met again on top of the first
one, lets null leave a field alone and ignores whatever follows the first value. Rust's serde is
strict in all of that, but takes an array of an object's values, in order, for the object
(docs/facts.md, lk-jwt-service: how it reads JSON).
"""

import codecs
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Shape = Mapping[str, Any]
"""What each field must be, in the order of an array; a mapping is an object with these fields."""
Reading = Callable[[bytes, Shape], dict[str, Any]]
"""Reads a body; raises ValueError or RecursionError for one that the service does not take."""

DELAY: Shape = {"delay_id": str, "delay_timeout": int, "delay_cs_api_url": str}
OPENID: Shape = {
    "access_token": str,
    "token_type": str,
    "matrix_server_name": str,
    "expires_in": int,
}
MEMBER: Shape = {"id": str, "claimed_user_id": str, "claimed_device_id": str}
LEGACY: Shape = {"room": str, "openid_token": OPENID, "device_id": str, **DELAY}
GET_TOKEN: Shape = {
    "room_id": str,
    "slot_id": str,
    "openid_token": OPENID,
    "member": MEMBER,
    **DELAY,
}
_ASKED: Shape = {"room_id": str, "slot_id": str, "member_id": str}
CLIENTS: Shape = {"server_name": str, "url": str, **_ASKED}
"""What a homeserver hands on for one of its users."""
SERVERS: Shape = {"url": str, "user_id": str, **_ASKED}
"""And for another homeserver."""
DELEGATION: Shape = {"url": str, **_ASKED, "delay_id": str}
"""A delayed leave that a homeserver hands on for one of its users."""
_INT64 = range(-(2**63), 2**63)
_SPACE = " \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")


def _replace_bytes(error: UnicodeError) -> tuple[str, int]:
    """Put one U+FFFD for each invalid byte, as Go does; Python's own way is one for several."""
    assert isinstance(error, UnicodeDecodeError), "only decoding uses this"
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("lotus_guard.go", _replace_bytes)


class _Pairs(list[tuple[str, Any]]):
    """An object of the body, each key as often as it came."""


def read_as_go(body: bytes, shape: Shape) -> dict[str, Any]:
    """Read a body as Go would read it into a struct of this shape."""
    text = body.decode("utf-8", "lotus_guard.go").lstrip(_SPACE)
    value, _ = json.JSONDecoder(object_pairs_hook=_Pairs).raw_decode(text)
    return _filled(value, shape, {})


def _filled(value: object, shape: Shape, found: dict[str, Any]) -> dict[str, Any]:
    """Read an object on top of what was read before; null changes nothing."""
    for name, wanted in shape.items():
        if isinstance(wanted, Mapping):
            found.setdefault(name, _filled(None, wanted, {}))
    if value is None:
        return found
    if not isinstance(value, _Pairs):
        raise ValueError("not an object")
    for key, inner in value:
        name = _folded(key)
        if name not in shape:
            raise ValueError("a field that is not known")
        if isinstance(shape[name], Mapping):
            _filled(inner, shape[name], found[name])
        elif inner is not None:
            found[name] = _scalar(inner, shape[name])
    return found


def _folded(key: str) -> str:
    # Beside their capitals, simple folding takes two letters for ASCII ones: the long s and the
    # Kelvin sign, of which lower() knows only the second. (casefold() would fold too much.)
    return key.replace("\u017f", "s").lower()


def _scalar(value: object, wanted: type) -> Any:
    if type(value) is not wanted or (wanted is int and value not in _INT64):
        raise ValueError("a field of another type")
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def read_as_rust(body: bytes, shape: Shape) -> dict[str, Any]:
    """Read a body as Rust's serde would read it into a struct of this shape."""
    value = json.loads(body.decode("utf-8"), object_pairs_hook=_Pairs)
    return _taken(value, shape)


def _taken(value: object, shape: Shape) -> dict[str, Any]:
    """Take an object for what it says, and an array for the object's values in order."""
    if isinstance(value, _Pairs):
        pairs = list(value)
    elif isinstance(value, list) and len(value) <= len(shape):
        pairs = list(zip(shape, value, strict=False))
    else:
        raise ValueError("not an object")
    found: dict[str, Any] = {n: {} for n, wanted in shape.items() if isinstance(wanted, Mapping)}
    for name, inner in pairs:
        if name not in shape or found.get(name):
            raise ValueError("a field that is not known, or one twice")
        wanted = shape[name]
        if isinstance(wanted, Mapping):
            found[name] = _taken(inner, wanted)
        elif isinstance(inner, str) and _SURROGATE.search(inner):
            raise ValueError("half a character")
        else:
            found[name] = _scalar(inner, wanted)
    return found
