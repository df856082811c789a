"""What the guard relies on in lk-jwt-service."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from attrs import frozen

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, legacy_identity_of, livekit_room_of
from tests.contract.subject import Response, Server

CLIENT_PATHS = ("/get_token", "/sfu/get", "/delegate_delayed_leave")
TOKEN_PATHS = CLIENT_PATHS[:2]
ROOM, OTHER = "!room:example.com", "!other:example.com"
NOT_JSON, BAD_JSON = (400, "M_NOT_JSON"), (400, "M_BAD_JSON")
UNAUTHORIZED = (401, "M_UNAUTHORIZED")


@frozen
class AuthorizationSubject:
    """An authorization service in front of a running SFU; every homeserver has full access."""

    server: Server
    key: str
    secret: str
    livekit_url: str
    user: str
    openid: Mapping[str, Any]
    """An OpenID token of the user that is good for the whole test."""

    def legacy(self, **more: Any) -> dict[str, Any]:
        return {"room": ROOM, "openid_token": dict(self.openid), "device_id": "DEVICE", **more}

    def modern(self, **more: Any) -> dict[str, Any]:
        member = {"id": "member", "claimed_user_id": self.user, "claimed_device_id": "DEVICE"}
        return {
            "room_id": ROOM,
            "slot_id": ROOM_SLOT,
            "openid_token": dict(self.openid),
            "member": member,
            **more,
        }

    def fields(self, path: str) -> dict[str, Any]:
        return self.legacy() if path == "/sfu/get" else self.modern()

    def post(self, path: str, body: object) -> Response:
        """Post bytes and text as they are, anything else as JSON."""
        text = body if isinstance(body, bytes | str) else json.dumps(body)
        data = text.encode() if isinstance(text, str) else text
        return self.server.request("POST", path, {"Content-Type": "application/json"}, data)

    def claims(self, answer: Response) -> dict[str, Any]:
        """Verify the token of an answer and give its claims."""
        assert answer.status == 200, answer.body
        has_cors(answer)
        fields = answer.json()
        assert fields.keys() == {"url", "jwt"}
        claims: dict[str, Any] = jwt.decode(
            fields["jwt"], self.secret, algorithms=["HS256"], issuer=self.key
        )
        return claims

    def room_of(self, body: object) -> str:
        """The LiveKit room that `/sfu/get` names for a body."""
        room: str = self.claims(self.post("/sfu/get", body))["video"]["room"]
        return room


def has_cors(answer: Response) -> None:
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST"
    allowed = answer.headers["access-control-allow-headers"]
    assert allowed == "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"


def refusal(answer: Response) -> tuple[int, Any]:
    """The status and errcode of a refusal that a browser can read."""
    has_cors(answer)
    fields = answer.json()
    assert fields.keys() == {"errcode", "error"}
    assert isinstance(fields["error"], str)
    return answer.status, fields["errcode"]


def livekit_room(room: str, slot: str = ROOM_SLOT) -> str:
    return livekit_room_of(RoomId(room), slot)


class AuthorizationContract:
    """The suite; each class that runs it has the fixture `subject`."""

    # Methods and paths

    @pytest.mark.parametrize("path", CLIENT_PATHS)
    def test_options_and_other_methods(self, subject: AuthorizationSubject, path: str) -> None:
        for method, status in (("OPTIONS", 200), ("GET", 405), ("HEAD", 405), ("PUT", 405)):
            answer = subject.server.request(method, path)
            assert (answer.status, answer.body) == (status, b""), method
            has_cors(answer)

    def test_health(self, subject: AuthorizationSubject) -> None:
        for method, status in (("GET", 200), ("HEAD", 200), ("POST", 405), ("OPTIONS", 405)):
            answer = subject.server.request(method, "/healthz")
            assert (answer.status, answer.body) == (status, b""), method
            assert "access-control-allow-origin" not in answer.headers

    def test_webhook_takes_anything(self, subject: AuthorizationSubject) -> None:
        for method, headers in (("POST", {"Authorization": "forged"}), ("POST", {}), ("GET", {})):
            answer = subject.server.request(method, "/sfu_webhook", headers)
            assert (answer.status, answer.body) == (200, b"")

    @pytest.mark.parametrize("path", ["/", "/nope", "/sfu/get/", "/SFU/get", "/sfu%2Fget"])
    def test_unknown_path(self, subject: AuthorizationSubject, path: str) -> None:
        answer = subject.post(path, subject.legacy())
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"

    @pytest.mark.parametrize(
        ("path", "location"),
        [
            ("//sfu/get", "/sfu/get"),
            ("/sfu//get?a=b", "/sfu/get?a=b"),
            ("/sfu/./get", "/sfu/get"),
            ("/x/../get_token", "/get_token"),
            ("/get_token/.", "/get_token"),
            ("//nope", "/nope"),
            ("/.", "/"),
        ],
    )
    def test_unclean_path(self, subject: AuthorizationSubject, path: str, location: str) -> None:
        answer = subject.post(path, subject.legacy())
        assert (answer.status, answer.headers["location"]) == (307, location)

    @pytest.mark.parametrize("path", ["/sfu/g%65t", "/%73fu/get", "/sfu/get?room=x"])
    def test_other_spelling(self, subject: AuthorizationSubject, path: str) -> None:
        claims = subject.claims(subject.post(path, subject.legacy()))
        assert claims["video"]["room"] == livekit_room(ROOM)

    # The token

    @pytest.mark.parametrize("path", TOKEN_PATHS)
    def test_token(self, subject: AuthorizationSubject, path: str) -> None:
        answer = subject.post(path, subject.fields(path))
        claims = subject.claims(answer)
        now = time.time()
        assert answer.body.endswith(b"}\n")
        assert answer.json()["url"] == subject.livekit_url
        assert claims["iss"] == subject.key
        assert claims["sub"] == claims["identity"]
        assert abs(claims["nbf"] - now) < 60
        assert claims["exp"] - claims["nbf"] == 3600
        assert claims["video"] == {
            "roomJoin": True,
            "room": livekit_room(ROOM),
            "canPublish": True,
            "canSubscribe": True,
            "canUpdateOwnMetadata": True,
        }

    def test_token_bytes(self, subject: AuthorizationSubject) -> None:
        """Written as Go writes JSON: in this order, without a space, with these escapes."""
        fields = subject.legacy(device_id="<\u00e9&>\u2028\x7f")
        token = subject.post("/sfu/get", fields).json()["jwt"]
        head, payload = (base64.urlsafe_b64decode(f"{p}==") for p in token.split(".")[:2])
        assert head == b'{"alg":"HS256","typ":"JWT"}'
        assert rb"\u003c" + "\u00e9".encode() + rb"\u0026\u003e\u2028" + b"\x7f" in payload
        names = ["iss", "sub", "exp", "nbf", "iat", "identity", "video"]
        assert list(json.loads(payload)) == names
        assert b" " not in payload

    def test_identities(self, subject: AuthorizationSubject) -> None:
        user = UserId(subject.user)
        for device in ("DEVICE", "with:colon", ""):
            answer = subject.post("/sfu/get", subject.legacy(device_id=device))
            assert subject.claims(answer)["sub"] == legacy_identity_of(user, device)
        answer = subject.post("/get_token", subject.modern())
        assert subject.claims(answer)["sub"] == identity_of(user, "DEVICE", "member")

    @pytest.mark.parametrize(
        ("room", "slot"),
        [(ROOM, "other"), ("@a&b:example.com", "D<1>"), ("\u2028\u00e9\U0001f600\x00\x7f\b", "/")],
    )
    def test_alias(self, subject: AuthorizationSubject, room: str, slot: str) -> None:
        answer = subject.post("/get_token", subject.modern(room_id=room, slot_id=slot))
        assert subject.claims(answer)["video"]["room"] == livekit_room(room, slot)
        assert subject.room_of(subject.legacy(room=room)) == livekit_room(room)

    # Refusals

    @pytest.mark.parametrize("path", CLIENT_PATHS)
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("", NOT_JSON),
            ("{", NOT_JSON),
            ("[]", NOT_JSON),
            ('"text"', NOT_JSON),
            ("\ufeff{}", NOT_JSON),
            ("\u00a0{}", NOT_JSON),
            ("\x0b{}", NOT_JSON),
            ('{"":1}', NOT_JSON),
            ('{"room_id":"r",}', NOT_JSON),
            ("null", BAD_JSON),
            ("{}", BAD_JSON),
        ],
    )
    def test_no_request(
        self, subject: AuthorizationSubject, path: str, body: str, expected: tuple[int, str]
    ) -> None:
        assert refusal(subject.post(path, body)) == expected

    @pytest.mark.parametrize("path", TOKEN_PATHS)
    def test_a_field_that_is_not_known(self, subject: AuthorizationSubject, path: str) -> None:
        fields = subject.fields(path)
        assert refusal(subject.post(path, {**fields, "extra": 1})) == NOT_JSON
        fields["openid_token"]["extra"] = None
        assert refusal(subject.post(path, fields)) == NOT_JSON

    def test_one_endpoint_does_not_take_the_others_body(
        self, subject: AuthorizationSubject
    ) -> None:
        assert refusal(subject.post("/get_token", subject.legacy())) == NOT_JSON
        assert refusal(subject.post("/sfu/get", subject.modern())) == NOT_JSON

    @pytest.mark.parametrize("path", TOKEN_PATHS)
    def test_what_must_be_there(self, subject: AuthorizationSubject, path: str) -> None:
        fields = subject.fields(path)
        for name in fields.keys() - {"device_id"}:
            without = {key: value for key, value in fields.items() if key != name}
            assert refusal(subject.post(path, without)) == BAD_JSON, name
            assert refusal(subject.post(path, {**fields, name: None})) == BAD_JSON, name
        for part in ("openid_token", "member"):
            for name in fields.get(part, {}).keys() - {"token_type", "expires_in"}:
                partial = {key: value for key, value in fields[part].items() if key != name}
                assert refusal(subject.post(path, {**fields, part: partial})) == BAD_JSON, name

    @pytest.mark.parametrize(
        "value", ["1.5", "1e3", "3600.0", '"3600"', "true", "NaN", "9" * 20, "[]", "{}"]
    )
    def test_a_number_must_be_an_integer(self, subject: AuthorizationSubject, value: str) -> None:
        body = json.dumps(subject.legacy())[:-1]
        assert refusal(subject.post("/sfu/get", f'{body},"delay_timeout":{value}}}')) == NOT_JSON

    def test_text_must_be_text(self, subject: AuthorizationSubject) -> None:
        for value in (1, True, ["r"], {"r": 1}):
            assert refusal(subject.post("/sfu/get", subject.legacy(room=value))) == NOT_JSON
        assert refusal(subject.post("/sfu/get", subject.legacy(openid_token=[]))) == NOT_JSON

    def test_half_a_delayed_leave(self, subject: AuthorizationSubject) -> None:
        for path in CLIENT_PATHS:
            for half in ({"delay_id": "d"}, {"delay_timeout": 1000}):
                assert refusal(subject.post(path, {**subject.fields(path), **half})) == BAD_JSON
        path = "/delegate_delayed_leave"
        assert refusal(subject.post(path, subject.modern())) == BAD_JSON

    def test_a_token_that_the_homeserver_does_not_know(self, subject: AuthorizationSubject) -> None:
        openid = {**subject.openid, "access_token": "unknown"}
        delay = {"delay_id": "d", "delay_timeout": 1000}
        for path in TOKEN_PATHS:
            answer = subject.post(path, {**subject.fields(path), "openid_token": openid})
            assert refusal(answer) == UNAUTHORIZED
        answer = subject.post(
            "/delegate_delayed_leave", subject.modern(openid_token=openid, **delay)
        )
        assert refusal(answer) == UNAUTHORIZED

    def test_a_homeserver_that_is_not_there(self, subject: AuthorizationSubject) -> None:
        openid = {**subject.openid, "matrix_server_name": "localhost:1"}
        answer = subject.post("/sfu/get", subject.legacy(openid_token=openid))
        assert refusal(answer) == UNAUTHORIZED

    def test_a_user_who_claims_to_be_another(self, subject: AuthorizationSubject) -> None:
        member = {**subject.modern()["member"], "claimed_user_id": "@mallory:example.com"}
        answer = subject.post("/get_token", subject.modern(member=member))
        assert refusal(answer) == UNAUTHORIZED

    # How Go reads JSON; the guard refuses all of these

    def test_what_follows_the_first_value_is_ignored(self, subject: AuthorizationSubject) -> None:
        body = json.dumps(subject.legacy())
        for rest in ("}", "garbage", json.dumps(subject.legacy(room=OTHER))):
            assert subject.room_of(f" \t\r\n{body}{rest}") == livekit_room(ROOM)

    @pytest.mark.parametrize("key", ["room", "ROOM", "rOOm"])
    def test_the_last_of_two_keys_wins(self, subject: AuthorizationSubject, key: str) -> None:
        body = json.dumps(subject.legacy())
        assert subject.room_of(f'{body[:-1]},"{key}":"{OTHER}"}}') == livekit_room(OTHER)

    def test_null_leaves_what_was_there(self, subject: AuthorizationSubject) -> None:
        body = json.dumps(subject.legacy())
        assert subject.room_of(f'{body[:-1]},"room":null,"openid_token":null}}') == livekit_room(
            ROOM
        )

    def test_an_object_met_twice_is_read_on_top(self, subject: AuthorizationSubject) -> None:
        body = json.dumps(subject.legacy())
        assert subject.room_of(f'{body[:-1]},"openid_token":{{}}}}') == livekit_room(ROOM)
        answer = subject.post("/sfu/get", f'{body[:-1]},"openid_token":{{"access_token":"no"}}}}')
        assert refusal(answer) == UNAUTHORIZED

    def test_keys_fold_simply(self, subject: AuthorizationSubject) -> None:
        body = json.dumps(subject.legacy())
        for key in ("openid_to\u212aen", "OPENID_TOKEN"):  # the Kelvin sign is a k
            assert subject.room_of(body.replace("openid_token", key)) == livekit_room(ROOM)
        long_s = body.replace("access_token", "acce\u017fs_token")
        assert subject.room_of(long_s) == livekit_room(ROOM)
        for wrong in ("acce\u00df_token", "acce\ufb06s_token"):  # full folding would take the first
            answer = subject.post("/sfu/get", body.replace("access_token", wrong))
            assert refusal(answer) == NOT_JSON

    @pytest.mark.parametrize(
        ("raw", "count"),
        [
            (b"\xff", 1),
            (b"\xe2\x82", 2),
            (b"\xed\xa0\x80", 3),
            (b"\xf0\x9f\x98", 3),
            (b"\\ud800", 1),
            (b"\\ude00\\ud83d", 2),
            (b"\\ufffd", 1),
        ],
    )
    def test_what_is_no_text_becomes_replacements(
        self, subject: AuthorizationSubject, raw: bytes, count: int
    ) -> None:
        body = json.dumps(subject.legacy(room="!X:s")).encode().replace(b"!X:", b"!" + raw + b":")
        assert subject.room_of(body) == livekit_room(f"!{chr(0xFFFD) * count}:s")

    def test_a_pair_of_surrogates_is_a_character(self, subject: AuthorizationSubject) -> None:
        body = json.dumps(subject.legacy(room="!X:s")).replace("!X:", "!\\ud83d\\ude00:")
        assert subject.room_of(body) == livekit_room("!\U0001f600:s")

    @pytest.mark.parametrize("raw", ["\t", "\\x41", "\\u12"])
    def test_text_that_go_refuses_too(self, subject: AuthorizationSubject, raw: str) -> None:
        body = json.dumps(subject.legacy(room="!X:s")).replace("!X:", f"!{raw}:")
        assert refusal(subject.post("/sfu/get", body)) == NOT_JSON
