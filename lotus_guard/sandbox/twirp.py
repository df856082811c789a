"""Twirp as LiveKit speaks it: messages in protobuf or JSON, and errors.

In its JSON, zero values are written.
"""

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from lotus_guard.overload.http_limits import BoundedRequest


class TwirpError(Exception):
    """A Twirp error to answer with."""

    def __init__(self, status: int, code: str, msg: str) -> None:
        super().__init__(msg)
        self.status = status
        self.body: dict[str, Any] = {"code": code, "msg": msg}


def kind_of(request: BoundedRequest) -> str | None:
    """The content type of a call; None for one that Twirp does not speak."""
    kind = str(request.getHeader("Content-Type") or "").partition(";")[0].strip().lower()
    return kind if kind in ("application/json", "application/protobuf") else None


def read_message(request: BoundedRequest, message: Any) -> Any:
    """Read a call's body into a message; raises TwirpError."""
    body = request.content.read()
    try:
        if kind_of(request) == "application/json":
            return json_format.Parse(body, message, ignore_unknown_fields=True)
        message.ParseFromString(body)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError):
        raise TwirpError(400, "malformed", "the request could not be decoded") from None
    return message


def write_message(request: BoundedRequest, message: Message) -> bytes:
    """Write an answer in the content type of its call."""
    kind = kind_of(request) or ""
    request.setHeader("Content-Type", kind)
    if kind == "application/protobuf":
        return message.SerializeToString()
    fields = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
