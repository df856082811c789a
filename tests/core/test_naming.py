"""Names of LiveKit rooms and identities: known vectors, and what can be read off them."""

import pytest

from lotus_guard.core.model import Identity, RoomId, UserId
from lotus_guard.core.naming import (
    LONGEST_KEPT,
    go_marshal,
    guess_legacy_user,
    identity_of,
    known_livekit_rooms,
    livekit_room_of,
    user_of_legacy,
)


def test_the_vectors() -> None:
    room = RoomId("!roomid:example.com")
    assert livekit_room_of(room, "m.call#ROOM") == "F4oOprKFBq6JHqy2qYpq6UQQmR7hCvxkQQoUrd0+SbI"
    identity = identity_of(UserId("@a&b:example.com"), "D<1>", "m")
    assert identity == "hCe95ag/mXr+8ZU++QIIDUMPjGkoZUXjCeYpL1SDiSM"


def test_every_derivation_that_was_released_is_known() -> None:
    assert len(set(known_livekit_rooms(RoomId("!r:s"), "m.call#ROOM"))) == 4
    assert "!r:s" in list(known_livekit_rooms(RoomId("!r:s"), "x"))


def test_a_hash_is_nobodys_legacy_identity() -> None:
    assert guess_legacy_user(Identity("hCe95ag/mXr+8ZU++QIIDUMPjGkoZUXjCeYpL1SDiSM")) is None
    assert user_of_legacy(Identity("hash:D"), "D") is None
    assert user_of_legacy(Identity("@u:s:D"), "E") is None


def test_digits_behind_a_server_are_taken_for_its_port() -> None:
    assert guess_legacy_user(Identity("@u:s:D:E")) == "@u:s"
    assert guess_legacy_user(Identity("@u:s:8448:D")) == "@u:s:8448"
    assert guess_legacy_user(Identity("@u:[::1]:D")) == "@u:[::1]"
    assert guess_legacy_user(Identity("@u:s")) is None


def test_what_is_too_long_to_be_kept_is_named_all_the_same() -> None:
    room, slot = RoomId("!r:s"), "s" * LONGEST_KEPT
    assert livekit_room_of(room, slot) == livekit_room_of(room, slot)
    assert livekit_room_of(room, slot) != livekit_room_of(room, slot + "s")


def test_half_a_character_has_no_name_in_go() -> None:
    with pytest.raises(UnicodeEncodeError):
        go_marshal(["\ud800"])
