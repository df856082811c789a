"""What a homeserver hands on: read as upstream reads it, for whom it alone says it is asked."""

import json
from typing import Any

from attrs import define
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS, Sender, read_handed_on
from lotus_guard.core.model import UserId
from lotus_guard.core.strict_json import Unreadable
from lotus_guard.enforce.credentials import Credential
from lotus_guard.neighbours.upstream import OF_HOMESERVERS, prepare_headers
from lotus_guard.sandbox.reading import CLIENTS, SERVERS, Shape, read_as_rust
from lotus_guard.web.homeserver_request import Homeservers
from lotus_guard.web.problems import Objections, Problem
from tests.web.standing import Recorded

# --- bodies

KEYS = st.sampled_from([*CLIENTS, *SERVERS, "ROOM_ID", "slot-id", "\u017flot_id", "member", "x"])
LEAVES: st.SearchStrategy[object] = st.sampled_from(
    ["!a:s", "!b:s", "m.call#ROOM", "a<b", "", "@u:s", "@v:other", "s", "é", "\ud800", 1, None, []]
)
PAIRS = st.lists(st.tuples(KEYS, LEAVES), max_size=8)
WHOLE = st.fixed_dictionaries(
    {"url": LEAVES, "room_id": LEAVES, "slot_id": LEAVES, "member_id": LEAVES},
    optional={"server_name": LEAVES, "user_id": LEAVES, "x": LEAVES},
)
TAILS = st.sampled_from(["", "", " ", "x", "{}", ","])


def written(pairs: list[tuple[str, object]]) -> str:
    """Write an object as text: keys may stand twice."""
    return "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs) + "}"


OBJECTS = PAIRS.map(written) | WHOLE.map(json.dumps)
ARRAYS = st.lists(LEAVES, max_size=6).map(json.dumps)
BODIES = st.tuples(OBJECTS | ARRAYS, TAILS).map("".join).map(str.encode) | st.binary(max_size=40)
SENDERS = st.sampled_from([Sender(UserId("@u:s"), "s"), Sender(server="other")])
GOOD = '{"url":"u","room_id":"!a:s","slot_id":"x","member_id":"m"'


@given(BODIES, SENDERS)
@example(b'["s","u","!a:s","x","m"]', Sender(UserId("@u:s"), "s"))
@example(f'{GOOD},"room_id":"!b:s"}}'.encode(), Sender(UserId("@u:s"), "s"))
@example(f'{GOOD},"user_id":"@v:other"}}'.encode(), Sender(server="other"))
def test_the_guard_reads_what_upstream_reads_or_nothing(body: bytes, sender: Sender) -> None:
    shape: Shape = CLIENTS if sender.user else SERVERS
    try:
        ours = read_handed_on(sender, body)
    except Unreadable:
        return
    try:
        theirs = read_as_rust(body, shape)
    except (ValueError, RecursionError):
        return  # upstream refuses it: no token will come
    assert (ours.room or "") == theirs.get("room_id", "")
    assert ours.slot == theirs.get("slot_id", "")
    assert (ours.member or "") == theirs.get("member_id", "")
    assert ours.user == (sender.user or theirs.get("user_id"))
    named = theirs.get("server_name", "")
    assert ours.elsewhere == bool(sender.user and named and named != sender.server)


# --- headers

USER, ORIGIN = b"X-Matrix-User-Identifier", b"X-Matrix-Origin"
SPELLINGS = (bytes.lower, bytes.upper, lambda n: n.replace(b"-", b"_"), lambda n: n)
NAMES = st.tuples(st.sampled_from([USER, ORIGIN]), st.sampled_from(SPELLINGS)).map(
    lambda pair: pair[1](pair[0])
)
VALUES = st.sampled_from([b"@u:s", b"@v:s", b"other", b"s", b"", b"u", b"\xff"])
SAID = st.lists(st.tuples(NAMES, VALUES), max_size=3)


@define(eq=False)
class Asked:
    """A request, as far as it is looked at."""

    uri: bytes
    requestHeaders: Headers
    sender: Any = None


def headers_of(said: list[tuple[bytes, bytes]]) -> Headers:
    headers = Headers({b"Authorization": [b"Bearer t"]})
    for name, value in said:
        headers.addRawHeader(name, value)
    return headers


def is_clear(said: list[tuple[bytes, bytes]], path: str) -> bool:
    wanted, known = (USER, b"@u:s @v:s") if path in CLIENT_PATHS else (ORIGIN, b"other s u")
    found = [(name.lower().replace(b"_", b"-"), value) for name, value in said]
    return len(found) == 1 and found[0][0] == wanted.lower() and found[0][1] in known.split()


@given(SAID, st.sampled_from([*CLIENT_PATHS, *FEDERATION_PATHS]))
@example([(ORIGIN, b"\xff")], FEDERATION_PATHS[0])
@example([(USER, b"@u\xff:s")], CLIENT_PATHS[0])
@example([(USER, b"@u:s"), (b"X_Matrix_User_Identifier", b"@v:s")], CLIENT_PATHS[0])
def test_whoever_is_asked_for_is_the_one_that_one_header_names(
    said: list[tuple[bytes, bytes]], path: str
) -> None:
    records: Any = Recorded()
    known = Homeservers(Credential("HS_TOKEN", "t"), Objections(records), lambda: 0.0)
    asked: Any = Asked(path.encode(), headers_of(said))
    try:
        origin = known.of(asked)
    except Problem:
        assert not is_clear(said, path)
        return
    ((name, value),) = said
    plain = name.lower().replace(b"_", b"-")
    assert plain == (USER if path in CLIENT_PATHS else ORIGIN).lower()
    assert origin.address == value.decode()
    assert asked.sender.user == (value.decode() if path in CLIENT_PATHS else None)


@given(SAID)
@example([(b"x_matrix_origin", b"s")])
def test_at_the_public_port_no_homeservers_word_goes_through(
    said: list[tuple[bytes, bytes]],
) -> None:
    headers = headers_of(said)
    prepare_headers(headers, "192.0.2.1", b"h")
    left = {name.lower().replace(b"_", b"-") for name, _ in headers.getAllRawHeaders()}
    assert not left & OF_HOMESERVERS
