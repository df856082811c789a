"""LiveKit's RoomService as the guard calls it; tests/contract/livekit.py asks a real one."""

import json
from typing import Any

import jwt
import pytest
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room
from twisted.internet.task import Clock

from lotus_guard.core.clock import ServerClock
from lotus_guard.core.model import Grant, Identity, LiveKitRoom, Participant
from lotus_guard.core.token import KeyPair
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.ports import NO_LIVEKIT_ROOM, Allowance, Outage, Reason
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.livekit import LiveKit
from lotus_guard.neighbours.signing import Signer
from tests.neighbours.answering import Answer, Answering, answering, result_of

ROOM = LiveKitRoom("room")
PAIR = KeyPair("key", "s" * 32)
NOW = 1_790_000_000.0


def livekit(agent: Answering, **more: Any) -> LiveKit:
    clock = Clock()
    signer = Signer(Credential("KEY", PAIR), ServerClock("LiveKit", lambda: NOW), clock.seconds)
    return LiveKit(Http(agent, clock), "http://l", signer, lambda: 7.0, 1.0, **more)


def said(message: Any) -> Answer:
    return Answer(body=message.SerializeToString())


def info(identity: str, **more: Any) -> Any:
    return lk_models.ParticipantInfo(sid="PA_1", identity=identity, **more)


def people(*identities: str, **more: Any) -> Any:
    infos = [info(identity, **more) for identity in identities]
    return lk_room.ListParticipantsResponse(participants=infos)


def someone() -> Participant:
    permission = lk_models.ParticipantPermission(can_publish=True, can_subscribe=True)
    return Participant(Identity("i"), "PA_1", Grant(True, ()), (), permission, True)


def video_grant(agent: Answering) -> Any:
    (token,) = agent.asked[-1].headers.getRawHeaders(b"Authorization", [])
    encoded = token.removeprefix(b"Bearer ").decode()
    claims = jwt.decode(
        encoded, PAIR.secret, ["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )
    return claims["video"]


def test_who_is_there_is_asked_with_the_right_to_that_room_alone() -> None:
    agent, calls, ends = answering(said(people("alice", "bob"))), list[str](), list[Any]()
    client = livekit(agent, on_call=calls.append, on_end=ends.append)
    seen = result_of(client.attendance(ROOM))
    assert [each.identity for each in seen.participants] == ["alice", "bob"]
    assert (seen.at, seen.is_whole) == (7.0, True)
    (asked,) = agent.asked
    assert (asked.method, asked.uri) == (
        b"POST",
        b"http://l/twirp/livekit.RoomService/ListParticipants",
    )
    assert asked.headers.getRawHeaders(b"Content-Type") == [b"application/protobuf"]
    assert lk_room.ListParticipantsRequest.FromString(asked.body).room == ROOM
    assert video_grant(agent) == {"roomAdmin": True, "room": ROOM}
    assert (calls, ends) == (["ListParticipants"], [None])


def test_a_list_that_is_too_long_is_read_as_far_as_it_goes() -> None:
    whole = people("alice", "bob").SerializeToString()
    answer = Answer(body=whole, ends=False)
    seen = result_of(livekit(answering(answer)).attendance(ROOM, Allowance(len(whole) - 1)))
    assert [each.identity for each in seen.participants] == ["alice"]
    assert not seen.is_whole
    assert answer.is_closed


def test_one_participant_is_there_or_not() -> None:
    gone = Answer(404, json.dumps({"code": "not_found"}).encode())
    ends: list[Any] = []
    client = livekit(answering(said(info("alice")), gone), on_end=ends.append)
    found = result_of(client.participant(ROOM, Identity("alice"), Allowance(1000)))
    assert found.identity == "alice"
    assert result_of(client.participant(ROOM, Identity("bob"), Allowance(1000))) is None
    assert ends == [None, None], "both are answers"


def test_rooms_are_listed_with_the_right_to_list_them() -> None:
    rooms = [lk_models.Room(name="a", num_participants=3), lk_models.Room(name="b")]
    agent = answering(said(lk_room.ListRoomsResponse(rooms=rooms)))
    assert result_of(livekit(agent).existing([ROOM])) == {"a": 3, "b": 0}
    assert list(lk_room.ListRoomsRequest.FromString(agent.asked[0].body).names) == [ROOM]
    assert video_grant(agent) == {"roomList": True}


def test_all_rooms_are_asked_for_by_an_empty_body() -> None:
    agent = answering(said(lk_room.ListRoomsResponse()))
    assert result_of(livekit(agent).existing()) == {}
    assert agent.asked[0].body == b""


def test_a_ping_asks_for_a_room_that_nobody_can_have_made() -> None:
    agent = answering(said(people()))
    result_of(livekit(agent).ping())
    assert lk_room.ListParticipantsRequest.FromString(agent.asked[0].body).room == NO_LIVEKIT_ROOM


def test_changes_say_what_they_mean() -> None:
    agent = answering(*(said(info("i", metadata="m" * 10_000)) for _ in range(3)))
    client = livekit(agent)
    result_of(client.permit(ROOM, someone(), Grant(True, ("microphone",))))
    wanted = lk_room.UpdateParticipantRequest.FromString(agent.asked[0].body)
    assert wanted.permission.can_subscribe, "what was there is sent back"
    assert list(wanted.permission.can_publish_sources) == [lk_models.TrackSource.MICROPHONE]
    result_of(client.curb(ROOM, Identity("i")))
    wanted = lk_room.UpdateParticipantRequest.FromString(agent.asked[1].body)
    assert wanted.metadata == "{}"
    assert wanted.permission == lk_models.ParticipantPermission(can_subscribe=True)
    result_of(client.remove(ROOM, someone(), 99))
    removed = lk_room.RoomParticipantIdentity.FromString(agent.asked[2].body)
    assert (removed.identity, removed.revoke_token_ts) == ("i", 99)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(401, b""), Reason.UNAUTHORIZED),
        (Answer(403, b""), Reason.UNAUTHORIZED),
        (Answer(404, b""), Reason.NOT_FOUND),
        (Answer(500, b""), Reason.SERVER_ERROR),
        (Answer(302, b""), Reason.GARBAGE),
        (Answer(200, b"\xff"), Reason.GARBAGE),
    ],
)
def test_whatever_else_it_answers_is_an_outage(answer: Answer, reason: Reason) -> None:
    with pytest.raises(Outage) as raised:
        result_of(livekit(answering(answer)).attendance(ROOM))
    assert raised.value.reason is reason


def test_its_clock_is_the_one_that_tokens_go_by() -> None:
    client = livekit(answering())
    client.signer.clock.followed = 60.0
    assert client.epoch() == NOW + 60.0
