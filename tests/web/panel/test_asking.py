"""What the panel asks is read strictly."""

import json
from typing import Any

import pytest

from lotus_guard.core.strict_json import Unreadable
from lotus_guard.web.panel.asking import MOST_BYTES, read_asking

TOKEN = {"access_token": "t", "matrix_server_name": "s", "expires_in": 3600}


def body(**fields: Any) -> bytes:
    return json.dumps({"room_id": "!r:s", "openid_token": TOKEN, **fields}).encode()


def test_a_room_and_a_token() -> None:
    asking = read_asking(body(device="PHONE"))
    assert (asking.room, asking.token.secret, asking.token.server) == ("!r:s", "t", "s")


@pytest.mark.parametrize(
    ("wrong", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b'{"room_id":"!a:s","room_id":"!b:s"}', "M_BAD_JSON"),
        (body(room_id="r"), "M_INVALID_PARAM"),
        (body(room_id="!r\x00:s"), "M_INVALID_PARAM"),
        (body(room_id="!" + "r" * 300), "M_INVALID_PARAM"),
        (body(room_id=1), "M_BAD_JSON"),
        (body(room_id=""), "M_BAD_JSON"),
        (body(openid_token="t"), "M_BAD_JSON"),
        (body(openid_token={"access_token": "t"}), "M_BAD_JSON"),
        (body(openid_token={**TOKEN, "access_token": 5}), "M_BAD_JSON"),
        (body(openid_token={**TOKEN, "matrix_server_name": "s" * 256}), "M_BAD_JSON"),
        (body(more="x" * MOST_BYTES), "M_TOO_LARGE"),
    ],
)
def test_all_else_is_refused(wrong: bytes, errcode: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read_asking(wrong)
    assert raised.value.errcode == errcode
