"""What a test can change in the sandbox's authorization service."""

import jwt

from lotus_guard.core.model import Identity, RoomId
from lotus_guard.core.naming import ROOM_SLOT, known_livekit_rooms
from lotus_guard.sandbox.authorization_state import Issuer
from tests.contract.authorization import (
    ROOM,
    UNAUTHORIZED,
    refusal,
)
from tests.sandbox.token_service import KEY, SECRET, Service


def test_a_homeserver_speaks_for_its_own_users_only() -> None:
    service = Service(user="@user:elsewhere.com")
    assert refusal(service.ask.post("/sfu/get", service.ask.legacy())) == UNAUTHORIZED
    assert service.made == []


def test_the_grant_can_be_chosen() -> None:
    service = Service()
    service.issuer.grant = {"canPublish": True, "canPublishSources": ["microphone"]}
    video = service.ask.claims(service.ask.post("/sfu/get", service.ask.legacy()))["video"]
    assert video["canPublishSources"] == ["microphone"]
    assert "canSubscribe" not in video


def test_the_alias_can_be_that_of_any_release() -> None:
    service = Service()
    for livekit_room in known_livekit_rooms(RoomId(ROOM), ROOM_SLOT):
        given = {(RoomId(ROOM), ROOM_SLOT): livekit_room}
        service.issuer.livekit_room = lambda room, slot, given=given: given[room, slot]
        assert service.ask.room_of(service.ask.legacy()) == livekit_room
        assert service.made[-1] == livekit_room


def test_tokens_are_signed_for_an_hour_by_the_clock_that_is_handed_in() -> None:
    issuer = Issuer(KEY, SECRET, "ws://sfu", lambda: 1_700_000_000.9)
    token = issuer.answer(ROOM, ROOM_SLOT, Identity("x"))["jwt"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["nbf"], claims["iat"], claims["exp"]) == (1_700_000_000,) * 2 + (1_700_003_600,)


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(Issuer(KEY, SECRET, "ws://sfu"))
