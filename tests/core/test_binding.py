"""What an issued token tells: a hash that matches is proof, all else is believed or not."""

import json
from typing import Any

import pytest

from lotus_guard.core.binding import Binding, Evidence, binding_from, user_from
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import (
    ROOM_SLOT,
    identity_of,
    known_livekit_rooms,
    legacy_identity_of,
    livekit_room_of,
)
from lotus_guard.core.wire import Endpoint, TokenRequest, read_token_request

ROOM, USER = RoomId("!r:s"), UserId("@u:s")
RANDOM = LiveKitRoom("a name as MSC4195 plans them")
MEMBER = {"id": "m", "claimed_user_id": USER, "claimed_device_id": "D"}


def modern(**more: Any) -> TokenRequest:
    fields = {"room_id": ROOM, "slot_id": ROOM_SLOT, "member": MEMBER, **more}
    return read_token_request(Endpoint.GET_TOKEN, json.dumps(fields).encode())


def legacy(**more: Any) -> TokenRequest:
    fields = {"room": ROOM, "device_id": "D", **more}
    return read_token_request(Endpoint.LEGACY, json.dumps(fields).encode())


@pytest.mark.parametrize("livekit_room", list(known_livekit_rooms(ROOM, ROOM_SLOT)))
@pytest.mark.parametrize("believe", [True, False])
def test_a_name_that_matches_is_proof(livekit_room: LiveKitRoom, believe: bool) -> None:
    proof = Binding(ROOM, ROOM_SLOT, Evidence.PROOF)
    assert binding_from(livekit_room, modern(), believe) == proof
    assert binding_from(livekit_room, legacy(), believe) == proof


def test_a_name_that_does_not_match_is_believed_at_a_token_endpoint_only() -> None:
    assert binding_from(RANDOM, modern(), True) == Binding(ROOM, ROOM_SLOT, Evidence.BELIEF)
    assert binding_from(RANDOM, modern(), False) is None
    other = livekit_room_of(ROOM, "another slot")
    assert binding_from(other, modern(), False) is None
    nowhere = read_token_request(Endpoint.LEGACY, b"{}")
    assert binding_from(RANDOM, nowhere, True) is None


def test_an_identity_that_matches_proves_its_user() -> None:
    ours = identity_of(USER, "D", "m")
    assert user_from(ours, modern(), False) == USER
    assert user_from(Identity("another"), modern(), False) is None
    assert user_from(Identity("another"), modern(), True) == USER
    assert user_from(ours, modern(member={"id": "m"}), True) is None, "nobody is claimed"


def test_a_legacy_identity_has_its_user_before_the_very_device() -> None:
    assert user_from(legacy_identity_of(USER, "D"), legacy(), False) == USER
    assert user_from(legacy_identity_of(USER, "E"), legacy(), True) is None
    assert user_from(legacy_identity_of(USER, "8448:D"), legacy(device_id="8448:D"), True) == USER
