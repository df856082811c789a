"""The strict reading: paths, requests and answers, as upstream has them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.ids import MOST_ID
from lotus_guard.core.strict_json import MAX_DEPTH, Unreadable
from lotus_guard.core.wire import (
    Endpoint,
    endpoint_of,
    is_webhook,
    read_answer,
    read_any,
    read_token_request,
    replace_token,
    without_slashes,
)


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_is_read_of_a_request_is_bounded(room: str, device: str) -> None:
    for endpoint, name in ((Endpoint.LEGACY, "room"), (Endpoint.GET_TOKEN, "room_id")):
        fields = {name: room, "slot_id": device, "device_id": device, "member": {"id": device}}
        try:
            request = read_token_request(endpoint, json.dumps(fields).encode())
        except Unreadable:
            continue
        for text in (request.room, request.slot, request.device, request.member):
            assert text is None or len(text.encode()) <= MOST_ID


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        (b"/get_token", Endpoint.GET_TOKEN),
        (b"//get_token?x=1", Endpoint.GET_TOKEN),
        (b"/sfu/./get", Endpoint.LEGACY),
        (b"/sfu%2Fget", Endpoint.LEGACY),
        (b"http://h/sfu/get", Endpoint.LEGACY),
        (b"/SFU/get", None),
        (b"/sfu/get/x", None),
        (b"/\xff", None),
    ],
)
def test_which_endpoint_upstream_could_take_a_target_for(
    target: bytes, endpoint: Endpoint | None
) -> None:
    assert endpoint_of(target) is endpoint


def test_a_webhook_is_known_by_its_path() -> None:
    assert is_webhook(b"/sfu_webhook?x")
    assert is_webhook(b"//sfu_webhook")
    assert not is_webhook(b"/sfu_webhook/x")


def test_slashes_before_upstreams_own_paths_are_one() -> None:
    assert without_slashes(b"//get_token?a=//b") == b"/get_token?a=//b"
    for other in (b"/get_token", b"/get_token/", b"//elsewhere", b"//", b""):
        assert without_slashes(other) == other


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"[1]", "M_BAD_JSON"),
        (b'{"room": "!a:s", "room": "!b:s"}', "M_BAD_JSON"),
        (b'{"Room": "!a:s"}', "M_BAD_JSON"),
        (b'{"room": NaN}', "M_NOT_JSON"),
        (b'{"room": "\\ud800"}', "M_BAD_JSON"),
        (b'{"room": 7}', "M_BAD_JSON"),
        (b'{"room": "no room"}', "M_INVALID_PARAM"),
        (b'{"openid_token": []}', "M_BAD_JSON"),
        (nested(MAX_DEPTH + 2), "M_BAD_JSON"),
    ],
)
def test_what_two_could_read_differently_is_refused_with_its_code(
    body: bytes, errcode: str
) -> None:
    with pytest.raises(Unreadable) as raised:
        read_token_request(Endpoint.LEGACY, body)
    assert raised.value.errcode == errcode


def test_what_names_no_room_or_no_user_is_not_whole() -> None:
    def is_whole(endpoint: Endpoint, **fields: object) -> bool:
        return read_token_request(endpoint, json.dumps(fields).encode()).is_whole

    member = {"claimed_user_id": "@u:s"}
    assert is_whole(Endpoint.LEGACY, room="!r:s")
    assert not is_whole(Endpoint.LEGACY)
    assert is_whole(Endpoint.GET_TOKEN, room_id="!r:s", member=member)
    assert not is_whole(Endpoint.GET_TOKEN, room_id="!r:s")
    assert not is_whole(Endpoint.GET_TOKEN, member=member)


def test_a_body_on_an_unknown_path_is_read_by_its_fields() -> None:
    assert read_any(b"") is None
    assert read_any(b"{}") is None
    modern, legacy = read_any(b'{"room_id": "!r:s"}'), read_any(b'{"room": "!r:s"}')
    assert modern
    assert modern.endpoint is Endpoint.GET_TOKEN
    assert legacy
    assert legacy.endpoint is Endpoint.LEGACY
    with pytest.raises(Unreadable):
        read_any(b"no JSON")


def test_the_token_is_taken_out_of_an_answer_and_put_back() -> None:
    answer = b'{"url": "wss://s",  "jwt": "a.b.c"}\n'
    assert read_answer(answer) == "a.b.c"
    assert replace_token(answer, "a.b.c", "d.e.f") == answer.replace(b"a.b.c", b"d.e.f")
    for twice in (b'{"jwt": "a.b.c", "also": "a.b.c"}', b'{"also": "a.b.c", "jwt": "a.b.c"}'):
        assert json.loads(replace_token(twice, "a.b.c", "d")) == {"jwt": "d", "also": "a.b.c"}
    for other in (b"", b"{}", b'{"jwt": ""}', b'{"jwt": 1}', b'["jwt"]', b'"jwt"', b'{"jwt": "a'):
        assert read_answer(other) is None
