"""Requests that a homeserver hands on: who asks is its word, the rest is read strictly."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.homeserver_wire import (
    CLIENT_PATHS,
    FEDERATION_PATHS,
    Sender,
    read_handed_on,
    server_sender,
    user_sender,
)
from lotus_guard.core.ids import MOST_ID
from lotus_guard.core.model import UserId
from lotus_guard.core.strict_json import Unreadable
from lotus_guard.core.wire import Endpoint, TokenRequest

ALICE = Sender(UserId("@alice:s"), "s")
OTHER = Sender(server="o:8448")
FIELDS = {"url": "wss://sfu", "room_id": "!r:s", "slot_id": "m.call#ROOM", "member_id": "m"}


def read(sender: Sender, **more: object) -> TokenRequest:
    return read_handed_on(sender, json.dumps({**FIELDS, **more}).encode())


def test_the_paths() -> None:
    assert CLIENT_PATHS == (
        "/_matrix/client/v1/rtc/livekit/get_token",
        "/_matrix/client/unstable/io.element.msc4195/rtc/livekit/get_token",
    )
    assert [path.replace("federation", "client") for path in FEDERATION_PATHS] == [*CLIENT_PATHS]


def test_the_user_is_the_homeservers_word_whatever_the_body_claims() -> None:
    request = read(ALICE, user_id="@bob:s", member={"claimed_user_id": "@carol:s"})
    assert (request.endpoint, request.user) == (Endpoint.HOMESERVER, "@alice:s")
    assert (request.room, request.slot, request.member) == ("!r:s", "m.call#ROOM", "m")
    assert request.is_whole
    assert not read_handed_on(ALICE, b"{}").is_whole


def test_a_remote_user_must_be_one_of_the_homeserver_that_asks() -> None:
    request = read(OTHER, user_id="@eve:o:8448")
    assert (request.endpoint, request.user) == (Endpoint.FEDERATION, "@eve:o:8448")
    assert not read(OTHER).is_whole
    for user in ("@eve:s", "@eve:o", "eve:o:8448", "@eve:x:o:8448"):
        with pytest.raises(Unreadable):
            read(OTHER, user_id=user)


def test_the_first_form_of_the_body_names_the_device_as_well() -> None:
    fields = {k: v for k, v in FIELDS.items() if k != "member_id"}
    member = {"id": "m", "claimed_user_id": "@x:s", "claimed_device_id": "D"}
    request = read_handed_on(ALICE, json.dumps({**fields, "member": member}).encode())
    assert (request.member, request.device) == ("m", "D")


@pytest.mark.parametrize(
    ("sender", "named", "elsewhere"),
    [
        (ALICE, None, False),
        (ALICE, "", False),
        (ALICE, "s", False),
        (ALICE, "other", True),
        (OTHER, "other", False),
    ],
)
def test_only_another_homeservers_service_is_elsewhere(
    sender: Sender, named: str | None, elsewhere: bool
) -> None:
    more = {} if named is None else {"server_name": named}
    assert read(sender, user_id="@eve:o:8448", **more).elsewhere is elsewhere


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'["wss://sfu","!r:s","m.call#ROOM","m"]',
        b'{"room_id":"!r:s","room_id":"!x:s"}',
        b'{"Room_id":"!r:s"}',
        b'{"member_id":null}',
        b'{"member":["m"]}',
        b'{"member":{"ID":"m"}}',
        b'{"url":1}',
        b'{"server_name":{}}',
    ],
)
def test_what_two_readers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_handed_on(ALICE, body)


@given(st.text(max_size=400))
def test_whoever_is_named_is_a_user_with_a_bound_or_nobody(said: str) -> None:
    try:
        sender = user_sender(said)
    except Unreadable:
        return
    assert sender.user == said
    assert said.startswith("@")
    assert said.endswith(f":{sender.server}")
    assert len(said.encode()) <= MOST_ID
    assert said.isprintable()


@pytest.mark.parametrize("said", ["", "\n", "x" * (MOST_ID + 1)])
def test_a_homeserver_has_a_name(said: str) -> None:
    with pytest.raises(Unreadable):
        server_sender(said)
    assert server_sender("other:8448") == Sender(server="other:8448")
