"""JSON objects in what others send, read leniently: what is no object counts as nothing."""

import json
from collections.abc import Mapping
from typing import Any


def as_object(value: object) -> dict[str, Any] | None:
    """The object that a JSON value is; None where it is none."""
    return value if isinstance(value, dict) else None


def json_object(body: bytes | str) -> dict[str, Any] | None:
    """Read the JSON object that a body is; None where it is none."""
    try:
        if isinstance(body, bytes) and body[:1] == b"{" and body[1:2] != b"\0":
            # In UTF-8, as `json` finds out too, in a function of its own with a look at each mark.
            body = body.decode("utf-8", "surrogatepass")
        return as_object(json.loads(body))
    except (ValueError, RecursionError):
        return None


def part_of(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take the object that a field holds; an empty one where it holds none."""
    return as_object(fields.get(name)) or {}


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """Take the text that a field holds; empty where it holds none."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""
