"""Twirp's two ways to write a message, and its errors."""

import json
from io import BytesIO
from typing import Any

import pytest
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from lotus_guard.sandbox.twirp import TwirpError, kind_of, read_message, write_message

JSON, PROTOBUF = "application/json", "application/protobuf"


class Asked:
    """As much of a request as Twirp reads and answers."""

    def __init__(self, kind: str, body: bytes = b"") -> None:
        self.content = BytesIO(body)
        self.headers = {"Content-Type": kind}

    def getHeader(self, name: str) -> str:
        return self.headers[name]

    def setHeader(self, name: str, value: str) -> None:
        self.headers[name] = value


def request(kind: str, body: bytes = b"") -> Any:
    return Asked(kind, body)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("application/json; charset=utf-8", JSON),
        (" Application/Protobuf", PROTOBUF),
        ("text/plain", None),
        ("", None),
    ],
)
def test_two_content_types_are_spoken(sent: str, kind: str | None) -> None:
    assert kind_of(request(sent)) == kind


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_a_message_that_was_written_is_read_again(kind: str) -> None:
    message = lk_models.Room(name="r", empty_timeout=5)
    body = write_message(request(kind), message)
    assert read_message(request(kind, body), lk_models.Room()) == message


def test_json_has_zero_values_and_the_names_of_the_protocol() -> None:
    fields = json.loads(write_message(request(JSON), lk_models.Room(name="r")))
    assert fields["num_participants"] == 0
    assert fields["empty_timeout"] == 0


def test_fields_of_later_releases_are_passed_over() -> None:
    body = b'{"names": ["r"], "later": 1}'
    assert list(read_message(request(JSON, body), lk_room.ListRoomsRequest()).names) == ["r"]


@pytest.mark.parametrize(("kind", "body"), [(JSON, b"{"), (JSON, b"\xff"), (PROTOBUF, b"\xff")])
def test_what_is_no_message_is_malformed(kind: str, body: bytes) -> None:
    with pytest.raises(TwirpError) as raised:
        read_message(request(kind, body), lk_room.ListRoomsRequest())
    assert (raised.value.status, raised.value.body["code"]) == (400, "malformed")
