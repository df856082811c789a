"""The two generations of lk-jwt-service, where the contract does not ask a real one."""

from typing import Any

import jwt
import pytest

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, known_identities, known_livekit_rooms
from lotus_guard.sandbox.generation import GO, RUST, Claims, Generation

SECRET = "a-secret-for-tests-of-32-bytes-or-more"
BOTH = pytest.mark.parametrize("generation", [GO, RUST])


def claims_of(generation: Generation, **more: Any) -> dict[str, Any]:
    said = Claims("key", Identity("who"), LiveKitRoom("where"), 1_700_000_000, **more)
    token = generation.sign(said, SECRET)
    read: dict[str, Any] = jwt.decode(
        token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )
    return read


@BOTH
def test_a_token_lasts_an_hour_and_names_whom_it_is_for(generation: Generation) -> None:
    claims = claims_of(generation)
    assert (claims["iss"], claims["sub"]) == ("key", "who")
    assert (claims["nbf"], claims["exp"]) == (1_700_000_000, 1_700_003_600)
    video = claims["video"]
    assert (video["room"], video["roomJoin"], video["canPublish"]) == ("where", True, True)


@BOTH
def test_the_guard_knows_the_names_of_each(generation: Generation) -> None:
    user = UserId("@a<b:s")
    for slot in (ROOM_SLOT, "a<b", "x&\u2028"):
        named = generation.livekit_room(RoomId("!r:s"), slot)
        assert named in set(known_livekit_rooms(RoomId("!r:s"), slot))
    assert generation.identity(user, "D", "m") in set(known_identities(user, "D", "m"))


def test_they_name_the_same_alike_but_for_what_go_escapes() -> None:
    room = RoomId("!r:s")
    assert GO.livekit_room(room, ROOM_SLOT) == RUST.livekit_room(room, ROOM_SLOT)
    assert GO.livekit_room(room, "a<b") != RUST.livekit_room(room, "a<b")


def test_in_rust_who_may_only_listen_has_no_grant_to_publish() -> None:
    video = claims_of(RUST, publishes=False)["video"]
    assert (video["canPublish"], video["canSubscribe"]) == (False, True)


def test_another_grant_can_be_chosen() -> None:
    for generation in (GO, RUST):
        video = claims_of(generation, grant={"canPublishSources": ["camera"]})["video"]
        assert video["canPublishSources"] == ["camera"]


def test_the_body_ends_with_a_line_in_go() -> None:
    assert (GO.write({"a": "<"}), RUST.write({"a": "<"})) == (
        b'{"a":"\\u003c"}\n',
        b'{"a":"<"}',
    )
