"""LiveKit's webhooks: what is signed is read or left alone, and told the others in short."""

import json
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.core.webhook import (
    Event,
    EventKind,
    Forged,
    announced,
    is_announced,
    read_event,
    write_event,
)

KEY, SECRET = "key", "a-secret-of-32-characters-or-more"


EVENTS = st.builds(
    Event,
    st.text(max_size=20),
    st.sampled_from(EventKind),
    st.text(max_size=20).map(LiveKitRoom),
    st.text(max_size=20).map(Identity),
    st.text(max_size=20),
    st.booleans(),
)


@given(EVENTS)
def test_an_event_is_read_as_it_was_written_anew(event: Event) -> None:
    assert read_event(*write_event(event, KEY, SECRET), KEY, SECRET) == event
    with pytest.raises(Forged):
        read_event(*write_event(event, KEY, "another" * 8), KEY, SECRET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(st.dictionaries(st.sampled_from(["event", "id", "room", "participant"]), JSON) | JSON)
def test_whatever_is_signed_is_read_or_left_alone(value: Any) -> None:
    for body in (json.dumps(value).encode(), b"[" * 100_000, b"\xff"):
        digest = sign_bytes(body)
        assert read_event(body, digest, KEY, SECRET) is None or isinstance(value, dict)


def sign_bytes(body: bytes) -> str:
    digest = b64encode(sha256(body).digest()).decode()
    token = mint(KeyPair(KEY, SECRET), sha256=digest)
    assert announced(token, KEY, SECRET) == digest
    return token


def signed(**fields: Any) -> tuple[bytes, str]:
    body = json.dumps(fields).encode()
    return body, sign_bytes(body)


def test_what_is_told_the_other_guards_is_short_and_has_no_secret() -> None:
    participant = {"identity": "@a:s:D", "sid": "PA_1", "metadata": "m" * 500_000}
    room = {"name": "call", "turnPassword": "secret"}
    body, token = signed(event="participant_left", id="EV_1", room=room, participant=participant)
    event = read_event(body, token, KEY, SECRET)
    assert event is not None
    short, _ = write_event(event, KEY, SECRET)
    assert len(short) < 1000
    assert b"metadata" not in short
    assert b"turnPassword" not in short


@pytest.mark.parametrize("reason", ["CLIENT_INITIATED", 1, "SERVER_SHUTDOWN", None])
@pytest.mark.parametrize("name", ["disconnectReason", "disconnect_reason"])
def test_who_hung_up_did_so_on_purpose(reason: object, name: str) -> None:
    body, token = signed(event="participant_left", participant={name: reason})
    event = read_event(body, token, KEY, SECRET)
    assert event is not None
    assert event.on_purpose is (reason in ("CLIENT_INITIATED", 1))


def test_a_clients_token_announces_nothing() -> None:
    client = {"sub": "i", "video": {"roomJoin": True}}
    for token in (mint(KeyPair(KEY, SECRET), **client, sha256=empty) for empty in ("", None, 7)):
        assert not is_announced(token, KEY, SECRET)
    assert is_announced(sign_bytes(b"{}"), KEY, SECRET)
    assert not is_announced(sign_bytes(b"{}"), "another", SECRET)
    assert not is_announced("a.b.c", KEY, SECRET)


def test_an_event_that_is_not_worth_a_look_is_left_alone() -> None:
    assert read_event(*signed(event="egress_started"), KEY, SECRET) is None
    with pytest.raises(Forged, match="not the one"):
        read_event(b"{}", sign_bytes(b"[]"), KEY, SECRET)
