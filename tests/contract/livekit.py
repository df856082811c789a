"""What the guard relies on in LiveKit's RoomService, as far as it shows without a client."""

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from attrs import frozen
from google.protobuf.message import Message
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from lotus_guard.core.clock import seconds_ahead
from lotus_guard.core.token import KeyPair, mint
from tests.contract.subject import Response, Server

JSON, PROTOBUF = "application/json", "application/protobuf"
PLAIN = "text/plain; charset=utf-8"
_numbers = itertools.count(1)


@frozen
class LiveKitSubject:
    """An SFU with `auto_create` off."""

    server: Server
    key: str
    secret: str

    def token(self, video: Mapping[str, Any], **claims: Any) -> str:
        """Sign a token; a claim that is None is left out."""
        now = int(time.time())
        all_claims = {"exp": now + 60, "video": dict(video), **claims}
        kept = {name: value for name, value in all_claims.items() if value is not None}
        return mint(KeyPair(self.key, self.secret), **kept)

    def raw(
        self, method: str, body: bytes, kind: str = JSON, verb: str = "POST", **headers: str
    ) -> Response:
        path = f"/twirp/livekit.RoomService/{method}"
        return self.server.request(verb, path, {"Content-Type": kind, **headers}, body)

    def call(self, method: str, video: Mapping[str, Any], request: Mapping[str, Any]) -> Response:
        headers = {"Authorization": f"Bearer {self.token(video)}"}
        return self.raw(method, json.dumps(request).encode(), **headers)

    def create(self, **more: Any) -> str:
        """Make a room of its own for a test."""
        name = f"contract-{next(_numbers)}"
        answer = self.call("CreateRoom", {"roomCreate": True}, {"name": name, **more})
        assert answer.status == 200, answer.body
        return name


def admin(room: str) -> dict[str, Any]:
    return {"roomAdmin": True, "room": room}


def refusal(answer: Response) -> tuple[int, Any]:
    """The status and Twirp's code."""
    assert answer.headers["content-type"] == JSON
    assert isinstance(answer.json()["msg"], str)
    return answer.status, answer.json()["code"]


DENIED = (401, "unauthenticated")
MISSING = (404, "not_found")


class LiveKitContract:
    """The suite; each class that runs it has the fixture `subject`."""

    def test_a_room_is_made_once(self, subject: LiveKitSubject) -> None:
        request = {"name": "made-once", "empty_timeout": 77}
        first, again = (
            subject.call("CreateRoom", {"roomCreate": True}, request).json() for _ in range(2)
        )
        assert first["sid"] == again["sid"]
        assert first["sid"].startswith("RM_")
        assert first["name"] == "made-once"
        assert (first["empty_timeout"], first["departure_timeout"]) == (77, 20)

    def test_json_is_snake_case_with_zeros_and_int64_as_text(self, subject: LiveKitSubject) -> None:
        room = subject.call("CreateRoom", {"roomCreate": True}, {"name": "json"}).json()
        assert (room["max_participants"], room["num_participants"]) == (0, 0)
        assert abs(int(room["creation_time"]) - time.time()) < 600
        assert isinstance(room["creation_time"], str)
        assert "creationTime" not in room

    def test_camel_case_is_read_too(self, subject: LiveKitSubject) -> None:
        request = {"name": "camel", "emptyTimeout": 55, "noSuchField": 1}
        room = subject.call("CreateRoom", {"roomCreate": True}, request).json()
        assert room["empty_timeout"] == 55

    def test_rooms_are_listed_all_or_by_name(self, subject: LiveKitSubject) -> None:
        one, two = subject.create(), subject.create()

        def listed(**request: Any) -> list[str]:
            answer = subject.call("ListRooms", {"roomList": True}, request)
            return [room["name"] for room in answer.json()["rooms"]]

        assert set(listed()) >= {one, two}
        assert listed(names=[two, "no-such-room"]) == [two]
        assert listed(names=["no-such-room"]) == []

    def test_an_empty_room_and_an_unknown_one_have_nobody(self, subject: LiveKitSubject) -> None:
        for room in (subject.create(), "no-such-room"):
            answer = subject.call("ListParticipants", admin(room), {"room": room})
            assert (answer.status, answer.json()) == (200, {"participants": []})

    def test_an_answer_says_how_long_it_is(self, subject: LiveKitSubject) -> None:
        """So one that is too long need not be read to know it."""
        for _ in range(20):
            subject.create()
        answer = subject.call("ListRooms", {"roomList": True}, {})
        assert int(answer.headers["content-length"]) == len(answer.body) > 4096

    @pytest.mark.parametrize("method", ["GetParticipant", "RemoveParticipant", "UpdateParticipant"])
    def test_unknown_participant(self, subject: LiveKitSubject, method: str) -> None:
        for room in (subject.create(), "no-such-room"):
            request = {"room": room, "identity": "nobody"}
            assert refusal(subject.call(method, admin(room), request)) == MISSING

    def test_a_room_is_deleted_once(self, subject: LiveKitSubject) -> None:
        room = subject.create()
        answer = subject.call("DeleteRoom", {"roomCreate": True}, {"room": room})
        assert (answer.status, answer.json()) == (200, {})
        again = subject.call("DeleteRoom", {"roomCreate": True}, {"room": room})
        assert refusal(again) == MISSING
        listed = subject.call("ListRooms", {"roomList": True}, {"names": [room]})
        assert listed.json() == {"rooms": []}

    def test_each_method_takes_its_own_right(self, subject: LiveKitSubject) -> None:
        room = subject.create()
        rights = {
            "CreateRoom": ({"roomCreate": True}, {"name": room}),
            "DeleteRoom": ({"roomCreate": True}, {"room": room}),
            "ListRooms": ({"roomList": True}, {}),
            "ListParticipants": (admin(room), {"room": room}),
            "GetParticipant": (admin(room), {"room": room, "identity": "nobody"}),
            "RemoveParticipant": (admin(room), {"room": room, "identity": "nobody"}),
            "UpdateParticipant": (admin(room), {"room": room, "identity": "nobody"}),
        }
        for method, (right, request) in rights.items():
            others = {"roomCreate": True, "roomList": True, "room": room, "roomAdmin": True}
            without = {name: others[name] for name in others if name not in right}
            assert refusal(subject.call(method, without, request)) == DENIED, method

    def test_an_admin_of_one_room_is_none_of_another(self, subject: LiveKitSubject) -> None:
        mine, other = subject.create(), subject.create()
        for room in (other, "", mine.upper(), f"{mine} "):
            answer = subject.call("ListParticipants", admin(room), {"room": mine})
            assert refusal(answer) == DENIED

    def test_no_token_is_no_right(self, subject: LiveKitSubject) -> None:
        assert refusal(subject.raw("ListRooms", b"{}")) == DENIED

    @pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
    def test_a_token_that_does_not_verify_is_refused_in_plain_text(
        self, subject: LiveKitSubject
    ) -> None:
        video, now = {"roomList": True}, int(time.time())
        good = subject.token(video)
        head, payload, signature = good.split(".")
        flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
        claims = {"iss": subject.key, "exp": now + 60, "video": video}
        wrong = {
            "another secret": jwt.encode(claims, "another-secret-of-at-least-32-bytes"),
            "flipped": f"{head}.{payload}.{flipped}",
            "another key": subject.token(video, iss="another"),
            "expired": subject.token(video, exp=now - 90),
            "not yet": subject.token(video, nbf=now + 90),
            "HS512": jwt.encode(claims, subject.secret, algorithm="HS512"),
            "none": jwt.encode(claims, "", algorithm="none"),
            "garbage": "garbage",
        }
        headers = {name: f"Bearer {token}" for name, token in wrong.items()}
        headers |= {"bare": good, "lower case": f"bearer {good}"}
        for name, header in headers.items():
            answer = subject.raw("ListRooms", b"{}", Authorization=header)
            assert (answer.status, answer.headers["content-type"]) == (401, PLAIN), name

    def test_a_minute_of_leeway(self, subject: LiveKitSubject) -> None:
        now = int(time.time())
        moments: list[dict[str, int | None]] = [
            {"exp": now - 30},
            {"nbf": now + 30},
            {"exp": None},
        ]
        for claims in moments:
            header = f"Bearer {subject.token({'roomList': True}, **claims)}"
            assert subject.raw("ListRooms", b"{}", Authorization=header).status == 200, claims

    def test_each_answer_says_what_time_it_is(self, subject: LiveKitSubject) -> None:
        """Ours too, when they are refused: that is how a clock that is off is found out."""
        header = {"Authorization": f"Bearer {subject.token({'roomList': True})}"}
        for headers, status in ((header, 200), ({"Authorization": "Bearer garbage"}, 401)):
            answer = subject.raw("ListRooms", b"{}", **headers)
            assert answer.status == status
            bounds = seconds_ahead(answer.headers["date"], time.time() - 5.0, time.time())
            assert bounds is not None
            assert bounds[0] <= 5.0
            assert bounds[1] >= -5.0

    def test_protobuf_both_ways(self, subject: LiveKitSubject) -> None:
        def call(method: str, video: Mapping[str, Any], request: Message) -> bytes:
            header = f"Bearer {subject.token(video)}"
            body = request.SerializeToString()
            answer = subject.raw(method, body, PROTOBUF, Authorization=header)
            assert (answer.status, answer.headers["content-type"]) == (200, PROTOBUF)
            return answer.body

        wanted = lk_room.CreateRoomRequest(name="protobuf", empty_timeout=66)
        room = lk_models.Room.FromString(call("CreateRoom", {"roomCreate": True}, wanted))
        assert (room.name, room.empty_timeout) == ("protobuf", 66)
        people = lk_room.ListParticipantsRequest(room="protobuf")
        assert call("ListParticipants", admin("protobuf"), people) == b""

    def test_errors_are_json_also_for_protobuf(self, subject: LiveKitSubject) -> None:
        assert refusal(subject.raw("ListRooms", b"", PROTOBUF)) == DENIED
        request = lk_room.RoomParticipantIdentity(room="r", identity="nobody").SerializeToString()
        header = f"Bearer {subject.token(admin('r'))}"
        missing = subject.raw("GetParticipant", request, PROTOBUF, Authorization=header)
        assert refusal(missing) == MISSING

    def test_content_types(self, subject: LiveKitSubject) -> None:
        header = f"Bearer {subject.token({'roomList': True})}"

        def ask(kind: str) -> Response:
            return subject.raw("ListRooms", b"{}", kind, Authorization=header)

        assert ask("application/json; charset=utf-8").status == 200
        assert refusal(ask("text/plain")) == (404, "bad_route")

    def test_bad_routes(self, subject: LiveKitSubject) -> None:
        header = f"Bearer {subject.token({'roomList': True})}"
        bad_route = (404, "bad_route")
        assert refusal(subject.raw("NoSuchMethod", b"{}", Authorization=header)) == bad_route
        get = subject.raw("ListRooms", b"", verb="GET", Authorization=header)
        assert refusal(get) == bad_route

    @pytest.mark.parametrize(("kind", "body"), [(JSON, b"{"), (PROTOBUF, b"\xff\xff")])
    def test_malformed(self, subject: LiveKitSubject, kind: str, body: bytes) -> None:
        """The body is read before the right is looked at, and after the token."""
        malformed = (400, "malformed")
        assert refusal(subject.raw("ListRooms", body, kind)) == malformed
        header = f"Bearer {subject.token({'roomList': True})}"
        assert refusal(subject.raw("ListRooms", body, kind, Authorization=header)) == malformed
        assert subject.raw("ListRooms", body, kind, Authorization="Bearer no").status == 401

    def test_validate_says_what_a_join_would_do(self, subject: LiveKitSubject) -> None:
        there = subject.create()

        def ask(*, sub: str | None = "me", **video: Any) -> Response:
            header = f"Bearer {subject.token(video, sub=sub)}"
            return subject.server.request("GET", "/rtc/validate", {"Authorization": header})

        join = ask(roomJoin=True, room=there)
        assert (join.status, join.body) == (200, b"success")
        missing = ask(roomJoin=True, room="no-such-room")
        assert (missing.status, missing.headers["content-type"]) == (404, PLAIN)
        assert missing.body == b"requested room does not exist"
        assert ask(room=there).status == 401
        assert ask(sub=None, roomJoin=True, room=there).status == 400
        assert subject.server.request("GET", "/rtc/validate").status == 401
        listed = subject.call("ListRooms", {"roomList": True}, {"names": ["no-such-room"]})
        assert listed.json() == {"rooms": []}, "asking makes nothing"
