"""What the guard relies on in lk-jwt-service behind a homeserver (MSC4195), from 0.8 on.

Most of it is asked of the service itself, as a homeserver would; the last tests go through one.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from attrs import frozen

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS
from lotus_guard.core.model import UserId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of, plain_identity_of
from tests.contract.authorization import has_cors
from tests.contract.authorization_rust import has_every_field, plain_name
from tests.contract.subject import Response, Server

CLIENT, FEDERATION = CLIENT_PATHS[1], FEDERATION_PATHS[1]
DELEGATE = CLIENT.replace("get_token", "delegate_delayed_leave")
PING = "/_matrix/app/v1/ping"
USER, ORIGIN = "X-Matrix-User-Identifier", "X-Matrix-Origin"
NO_TOKEN = (401, "M_MISSING_TOKEN", "Missing homeserver access token")
BAD_TOKEN = (401, "M_UNKNOWN_TOKEN", "Unrecognised homeserver access token")
NO_USER = (401, "M_UNAUTHORIZED", "Missing request authorization")
NO_ORIGIN = (401, "M_UNAUTHORIZED", "Missing request origin")
NOT_JSON, BAD_JSON = (400, "M_NOT_JSON"), (400, "M_BAD_JSON")
WRONG, FORBIDDEN = (400, "M_INVALID_PARAM"), (403, "M_FORBIDDEN")


@frozen
class BehindSubject:
    """An authorization service behind a homeserver, in front of a running SFU."""

    service: Server
    """The service itself."""
    homeserver: Server
    """The homeserver, which hands requests on to it."""
    hs_token: str
    server_name: str
    key: str
    secret: str
    livekit_url: str
    room: str
    user: str
    """A user of the homeserver, who is in the room."""
    access_token: str
    stranger: str
    """A user of the homeserver, who is not."""

    def fields(self, **more: Any) -> dict[str, Any]:
        return {
            "url": self.livekit_url,
            "room_id": self.room,
            "slot_id": ROOM_SLOT,
            "member_id": "member",
            **more,
        }

    def post(
        self, body: object, headers: Mapping[str, str] | None = None, path: str = CLIENT
    ) -> Response:
        """Ask as the homeserver does for the user; headers of None are left out."""
        text = body if isinstance(body, bytes | str) else json.dumps(body)
        sent: dict[str, Any] = {"Authorization": f"Bearer {self.hs_token}", USER: self.user}
        sent |= headers or {}
        kept = {name: value for name, value in sent.items() if value is not None}
        return self.service.request(
            "POST", path, kept, text.encode() if isinstance(text, str) else text
        )

    def federated(self, body: object, origin: str | None) -> Response:
        """Ask as the homeserver does for another one."""
        return self.post(body, {USER: None, ORIGIN: origin}, FEDERATION)  # type: ignore[dict-item]

    def claims(self, answer: Response) -> dict[str, Any]:
        """Verify the token of an answer and give its claims."""
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "application/json"
        assert answer.json().keys() == {"jwt"}
        claims: dict[str, Any] = jwt.decode(
            answer.json()["jwt"], self.secret, algorithms=["HS256"], issuer=self.key
        )
        return claims


def refusal(answer: Response) -> tuple[int, Any]:
    """The status and errcode of a refusal."""
    fields = answer.json()
    assert fields.keys() == {"errcode", "error"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status, fields["errcode"]


def in_words(answer: Response) -> tuple[int, Any, Any]:
    """A refusal with its text."""
    return *refusal(answer), answer.json()["error"]


def without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


class BehindContract:
    """The suite; each class that runs it has the fixture `subject`."""

    # Methods and paths

    @pytest.mark.parametrize("path", [CLIENT, DELEGATE])
    def test_options_and_other_methods(self, subject: BehindSubject, path: str) -> None:
        for method, status in (("OPTIONS", 200), ("GET", 405), ("HEAD", 405), ("PUT", 405)):
            answer = subject.service.request(method, path)
            assert (answer.status, answer.body) == (status, b""), method
            has_cors(answer)

    def test_homeservers_need_no_cors(self, subject: BehindSubject) -> None:
        for method, status in (("OPTIONS", 200), ("GET", 405), ("HEAD", 405)):
            answer = subject.service.request(method, FEDERATION)
            assert (answer.status, answer.body) == (status, b""), method
            assert "content-type" not in answer.headers
        answer = subject.federated({}, None)
        assert not [name for name in answer.headers if name.startswith("access-control")]

    @pytest.mark.parametrize(
        "path",
        [
            "/_matrix/client/v1/rtc/livekit/other",
            f"{CLIENT}/",
            f"/{CLIENT}",
            CLIENT.replace("/rtc/", "/./rtc/"),
            CLIENT.replace("_token", "%5ftoken"),
            CLIENT.upper(),
        ],
    )
    def test_a_path_is_taken_as_it_is(self, subject: BehindSubject, path: str) -> None:
        answer = subject.post(subject.fields(), path=path)
        assert (answer.status, answer.body) == (404, b"")
        assert "content-type" not in answer.headers

    def test_the_stable_paths_are_all_there_or_none_is(self, subject: BehindSubject) -> None:
        """The version that has them came after 0.8."""
        paths = [CLIENT_PATHS[0], FEDERATION_PATHS[0]]
        paths.append(paths[0].replace("get_token", "delegate_delayed_leave"))
        found = [subject.post("{", path=path) for path in paths]
        answers = {(each.status, each.body == b"") for each in found}
        assert answers in ({(404, True)}, {(400, False)})

    def test_ping(self, subject: BehindSubject) -> None:
        answer = subject.post("{}", path=PING)
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["content-type"] == "application/json"
        assert in_words(subject.post("{}", {"Authorization": "Bearer x"}, PING)) == BAD_TOKEN

    # Who asks

    @pytest.mark.parametrize("path", [CLIENT, FEDERATION, DELEGATE, PING])
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (None, NO_TOKEN),
            ("", NO_TOKEN),
            ("{}", NO_TOKEN),
            ("bearer {}", NO_TOKEN),
            ("Basic {}", NO_TOKEN),
            ("Bearer", NO_TOKEN),
            ("Bearer wrong", BAD_TOKEN),
            ("Bearer  {}", BAD_TOKEN),
            ("Bearer {}x", BAD_TOKEN),
        ],
    )
    def test_the_homeservers_token_comes_before_all_else(
        self, subject: BehindSubject, path: str, said: str | None, expected: tuple[int, str, str]
    ) -> None:
        headers: Any = {"Authorization": said and said.format(subject.hs_token)}
        for body in ("{", subject.fields()):
            assert in_words(subject.post(body, headers, path)) == expected

    def test_then_the_body_then_who_asks_then_the_address(self, subject: BehindSubject) -> None:
        nobody: Any = {USER: None}
        odd: Any = {USER: "alice"}
        other = subject.fields(url="wss://other")
        has_cors(subject.post(other))
        assert refusal(subject.post("{", nobody)) == NOT_JSON
        assert refusal(subject.post({}, nobody)) == BAD_JSON
        assert in_words(subject.post(other, nobody)) == NO_USER
        assert in_words(subject.post(other, {USER: ""})) == NO_USER
        assert refusal(subject.post(other, odd)) == WRONG
        assert "url" in subject.post(other, odd).json()["error"]
        assert "url" not in subject.post(subject.fields(), odd).json()["error"]
        assert refusal(subject.post(other, {USER: subject.stranger})) == WRONG

    @pytest.mark.parametrize("user", ["alice", "@alice", "@alice:", "alice:{}"])
    def test_who_asks_must_be_a_user(self, subject: BehindSubject, user: str) -> None:
        answer = subject.post(subject.fields(), {USER: user.format(subject.server_name)})
        assert refusal(answer) == WRONG

    def test_of_two_the_first_counts(self, subject: BehindSubject) -> None:
        """The guard wants exactly one."""
        two = {USER: subject.user, USER.lower(): subject.stranger}
        assert subject.post(subject.fields(), two).status == 200
        two = {USER: subject.stranger, USER.lower(): subject.user}
        assert refusal(subject.post(subject.fields(), two)) == FORBIDDEN

    def test_who_is_not_in_the_room_gets_no_token(self, subject: BehindSubject) -> None:
        assert refusal(subject.post(subject.fields(), {USER: subject.stranger})) == FORBIDDEN
        unknown = subject.fields(room_id=f"!none:{subject.server_name}")
        assert refusal(subject.post(unknown)) == FORBIDDEN

    # The token

    def test_token(self, subject: BehindSubject) -> None:
        answer = subject.post(subject.fields())
        claims = subject.claims(answer)
        has_cors(answer)
        has_every_field(answer.json()["jwt"])
        assert claims["sub"] == plain_identity_of(UserId(subject.user), "member")
        assert claims["video"]["room"] == livekit_room_of(subject.room, ROOM_SLOT)  # type: ignore[arg-type]
        assert claims["video"]["canPublish"] is True
        assert abs(claims["nbf"] - time.time()) < 60
        assert claims["exp"] - claims["nbf"] == 3600

    @pytest.mark.parametrize("odd", ["a<b", "m.call#room", "x&\u2028", "\u00e9\U0001f600"])
    def test_names_are_of_plain_json(self, subject: BehindSubject, odd: str) -> None:
        claims = subject.claims(subject.post(subject.fields(slot_id=odd, member_id=odd)))
        assert claims["video"]["room"] == plain_name(subject.room, odd)
        assert claims["sub"] == plain_name(subject.user, odd)

    # The body

    @pytest.mark.parametrize("name", ["url", "room_id", "slot_id", "member_id"])
    def test_what_must_be_there(self, subject: BehindSubject, name: str) -> None:
        assert refusal(subject.post(without(subject.fields(), name))) == BAD_JSON
        assert refusal(subject.post(subject.fields(**{name: ""}))) == BAD_JSON
        assert refusal(subject.post(subject.fields(**{name: None}))) == NOT_JSON
        assert refusal(subject.post(subject.fields(**{name: 1}))) == NOT_JSON

    @pytest.mark.parametrize(
        "rest",
        [
            ',"z":1}',
            ',"url":"x"}',
            ',"URL":"x"}',
            ',"server_name":"\\ud800"}',
            "} x",
            "",
        ],
    )
    def test_json_is_read_strictly(self, subject: BehindSubject, rest: str) -> None:
        body = json.dumps(subject.fields())[:-1]
        assert refusal(subject.post(body + rest)) == NOT_JSON
        assert subject.post(body + "} \t\r\n").status == 200

    def test_an_array_is_taken_for_the_object(self, subject: BehindSubject) -> None:
        """In the order of its fields; the guard refuses all of these."""
        url, room, slot, member = subject.fields().values()
        claims = subject.claims(subject.post(["", url, room, slot, member]))
        assert claims["sub"] == plain_identity_of(UserId(subject.user), "member")
        assert refusal(subject.post([url, room, slot, member])) == BAD_JSON
        assert refusal(subject.post(["", url, room, slot, member, ""])) == NOT_JSON
        assert refusal(subject.post("[]")) == BAD_JSON
        assert refusal(subject.post("null")) == NOT_JSON

    # Other homeservers

    def test_of_another_homeserver_the_room_is_looked_at_first(
        self, subject: BehindSubject
    ) -> None:
        claims = subject.claims(subject.post(subject.fields(server_name=subject.server_name)))
        assert claims["video"]["canPublish"] is True
        far = subject.fields(server_name="far.example", url="wss://other")
        assert refusal(subject.post(far)) == FORBIDDEN
        assert refusal(subject.post(far, {USER: subject.stranger})) == FORBIDDEN
        assert refusal(subject.post(without(far, "member_id"))) == BAD_JSON

    def test_what_another_homeserver_is_refused(self, subject: BehindSubject) -> None:
        good = subject.fields(user_id="@eve:far.example")
        assert refusal(subject.federated("{", None)) == NOT_JSON
        assert refusal(subject.federated({}, None)) == BAD_JSON
        assert refusal(subject.federated(without(good, "user_id"), "far.example")) == BAD_JSON
        assert refusal(subject.federated({**good, "server_name": ""}, "far.example")) == NOT_JSON
        assert in_words(subject.federated(good, None)) == NO_ORIGIN
        assert in_words(subject.federated(good, "")) == NO_ORIGIN
        assert refusal(subject.federated(good, "other.example")) == FORBIDDEN
        assert refusal(subject.federated(good, "far.example")) == FORBIDDEN, "not in the room"
        for user in ("eve", "@eve", "@eve:"):
            wrong = {**good, "user_id": user}
            assert refusal(subject.federated(wrong, "far.example")) == WRONG

    def test_a_user_of_the_homeserver_that_asks_gets_a_token(self, subject: BehindSubject) -> None:
        """There is no other homeserver here, so ours asks for its own."""
        fields = subject.fields(user_id=subject.user)
        answer = subject.federated(fields, subject.server_name)
        claims = subject.claims(answer)
        has_every_field(answer.json()["jwt"])
        assert "access-control-allow-origin" not in answer.headers
        assert claims["sub"] == plain_identity_of(UserId(subject.user), "member")
        array = [fields[name] for name in ("url", "user_id", "room_id", "slot_id", "member_id")]
        assert subject.claims(subject.federated(array, subject.server_name))["sub"] == claims["sub"]
        other = {**fields, "url": "wss://other"}
        assert refusal(subject.federated(other, subject.server_name)) == WRONG
        stranger = {**other, "user_id": subject.stranger}
        assert refusal(subject.federated(stranger, subject.server_name)) == FORBIDDEN

    # A delayed leave

    def test_what_a_delayed_leave_must_have(self, subject: BehindSubject) -> None:
        nobody: Any = {USER: None}
        good = subject.fields(delay_id="d")
        for name in good:
            assert refusal(subject.post(without(good, name), nobody, DELEGATE)) == BAD_JSON
        assert in_words(subject.post(good, nobody, DELEGATE)) == NO_USER
        for more in ({"server_name": ""}, {"delay_timeout": 1000}):
            assert refusal(subject.post({**good, **more}, path=DELEGATE)) == NOT_JSON
        assert refusal(subject.post({**good, "url": "wss://other"}, path=DELEGATE)) == WRONG
        has_cors(subject.post(good, nobody, DELEGATE))

    # Through the homeserver

    def through(self, subject: BehindSubject, body: object, token: str, **more: str) -> Response:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **more}
        return subject.homeserver.request("POST", CLIENT, headers, json.dumps(body).encode())

    def test_the_homeserver_says_who_asks_whatever_the_client_says(
        self, subject: BehindSubject
    ) -> None:
        forged = {USER: subject.stranger, ORIGIN: "far.example"}
        answer = self.through(subject, subject.fields(), subject.access_token, **forged)
        claims = subject.claims(answer)
        assert claims["sub"] == plain_identity_of(UserId(subject.user), "member")

    def test_an_answer_comes_back_as_it_is(self, subject: BehindSubject) -> None:
        for body in (subject.fields(url="wss://other"), {}, {**subject.fields(), "z": 1}):
            handed_on = self.through(subject, body, subject.access_token)
            direct = subject.post(body)
            assert (handed_on.status, handed_on.body) == (direct.status, direct.body)
            has_cors(handed_on)

    def test_a_stranger_to_the_homeserver_gets_no_further(self, subject: BehindSubject) -> None:
        answer = self.through(subject, subject.fields(), "unknown")
        assert (answer.status, answer.json()["errcode"]) == (401, "M_UNKNOWN_TOKEN")
