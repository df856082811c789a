"""Where the guard reads a request at all, it reads what upstream reads: Go is the oracle."""

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lotus_guard.core.ids import fits, is_room_id
from lotus_guard.core.naming import ROOM_SLOT
from lotus_guard.core.strict_json import Unreadable
from lotus_guard.core.wire import Endpoint, endpoint_of, read_token_request
from tests.properties.oracle import Oracle

oracle_settings = settings(
    max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

KEYS = st.sampled_from(
    [
        *("room", "Room", "ROOM", "room_id", "Room_ID", "\u017flot_id", "slot_id", "SLOT_ID"),
        *("device_id", "member", "Member", "openid_token", "id", "ID", "claimed_user_id"),
        *("claimed_device_id", "CLAIMED_DEVICE_ID", "acce\u017f\u017f_token", "to\u212aen_type"),
        *("access_token", "extra", "delay_id", ""),
    ]
)
TEXTS = st.sampled_from(
    ["!a:s", "!b:s", "\ud800", "\ud83d\ude00", "é", "\x7f", "@u:s", "D", "m", "\u2028", ""]
)
LEAVES = TEXTS | st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=True)


def pairs(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Write objects as text, so that keys may stand twice and spelling is free."""
    key = KEYS.map(lambda k: json.dumps(k, ensure_ascii=False)) | KEYS.map(json.dumps)
    return st.lists(st.tuples(key, inner), max_size=6).map(
        lambda items: "{" + ",".join(f"{k}:{v}" for k, v in items) + "}"
    )


LEAF_TEXT = LEAVES.map(json.dumps)
VALUES = st.recursive(LEAF_TEXT, pairs, max_leaves=12)
OBJECTS = pairs(VALUES)
TAILS = st.sampled_from(["", " ", "\n", "x", "{}", "\x00", ","])
BODIES = st.one_of(
    st.tuples(OBJECTS, TAILS).map(lambda p: (p[0] + p[1]).encode("utf-8", "surrogatepass")),
    st.binary(max_size=60),
    OBJECTS.map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.tuples(OBJECTS, st.integers(0, 80), st.binary(min_size=1, max_size=2)).map(
        lambda p: (
            p[0].encode("utf-8", "surrogatepass")[: p[1]]
            + p[2]
            + p[0].encode("utf-8", "surrogatepass")[p[1] :]
        )
    ),
)


@oracle_settings
@given(body=BODIES, endpoint=st.sampled_from([Endpoint.GET_TOKEN, Endpoint.LEGACY]))
@example(body=b'{"room":"!a:s","Room":"!b:s"}', endpoint=Endpoint.LEGACY)
@example(body='{"\u017flot_id":"x","room_id":"!a:s"}'.encode(), endpoint=Endpoint.GET_TOKEN)
@example(body=b'{"room":"!a:s"} {"room":"!b:s"}', endpoint=Endpoint.LEGACY)
@example(body=b'{"room":"\\ud800"}', endpoint=Endpoint.LEGACY)
@example(body=b'{"room":"\\ud83d\\ude00"}', endpoint=Endpoint.LEGACY)
@example(body=b'{"room":"!a:s","x":1e999}', endpoint=Endpoint.LEGACY)
@example(body=b'{"room":"!a:s","x":' + b"1" * 5000 + b"}", endpoint=Endpoint.LEGACY)
@example(body=b'{"member":null,"member":{"id":"x"}}', endpoint=Endpoint.GET_TOKEN)
@example(body=b"[" * 20000, endpoint=Endpoint.LEGACY)
def test_the_guard_reads_what_upstream_reads_or_nothing(
    oracle: Oracle, body: bytes, endpoint: Endpoint
) -> None:
    try:
        ours = read_token_request(endpoint, body)
    except Unreadable:
        return
    theirs = oracle.read(endpoint, body)
    if theirs is None:
        return  # upstream refuses it: no token will come
    assert (ours.room or "") == theirs["room"]
    assert (ours.device or "") == theirs["device"]
    if endpoint is Endpoint.GET_TOKEN:
        assert ours.slot == theirs["slot"]
        assert (ours.user or "") == theirs["user"]
        assert (ours.member or "") == theirs["member"]
    else:
        assert ours.slot == ROOM_SLOT


@given(room=st.text() | st.text().map("!{}".format), device=st.text())
def test_what_clients_really_send_is_read(room: str, device: str) -> None:
    fields = {"room": room, "device_id": device, "openid_token": {"access_token": "t"}}
    text = json.dumps(fields)
    try:
        request = read_token_request(Endpoint.LEGACY, text.encode())
    except Unreadable:
        assert not (fits(room) and fits(device)) or (room and not is_room_id(room))
        return
    assert (request.room or "", request.device) == (room, device)


PIECES = st.sampled_from(
    [
        *(b"/", b"//", b"/./", b"/../", b"sfu", b"get", b"get_token", b"%2F", b"%2e", b"g%65t"),
        *(b"x", b"%5Ftoken", b"?q=1", b"#f", b";p", b"SFU", b"%00", b"%", b"\\"),
    ]
)


@oracle_settings
@given(pieces=st.lists(PIECES, max_size=6), start=st.sampled_from([b"/", b"http://h/", b""]))
@example(pieces=[b"sfu", b"/", b"get"], start=b"/")
@example(pieces=[b"sfu", b"/", b"g%65t", b"?q=1"], start=b"/")
@example(pieces=[b"get_token"], start=b"http://h/")
def test_every_path_that_upstream_takes_for_a_token_endpoint_is_one(
    oracle: Oracle, pieces: list[bytes], start: bytes
) -> None:
    target = start + b"".join(pieces)
    served = oracle.route(target)
    if served:
        assert endpoint_of(target) == served
