"""What lk-jwt-service in Go (up to 0.6) does in its own way."""

import base64
import json

import pytest

from lotus_guard.check.upstream_version import GO, PROBE, PROBE_PATH, generation_of
from tests.contract.authorization import (
    BAD_JSON,
    CLIENT_PATHS,
    NOT_JSON,
    OTHER,
    ROOM,
    TOKEN_PATHS,
    UNAUTHORIZED,
    AuthorizationContract,
    AuthorizationSubject,
    livekit_room,
    refusal,
)


class GoContract(AuthorizationContract):
    """The suite; each class that runs it has the fixture `subject`."""

    # Paths

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
    def test_a_token_has_few_fields(self, subject: AuthorizationSubject, path: str) -> None:
        answer = subject.post(path, subject.fields(path))
        claims = subject.claims(answer)
        assert answer.body.endswith(b"}\n")
        assert claims["sub"] == claims["identity"]
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

    @pytest.mark.parametrize(
        ("room", "slot"),
        [(ROOM, "other"), ("@a&b:example.com", "D<1>"), ("\u2028\u00e9\U0001f600\x00\x7f\b", "/")],
    )
    def test_alias(self, subject: AuthorizationSubject, room: str, slot: str) -> None:
        answer = subject.post("/get_token", subject.modern(room_id=room, slot_id=slot))
        assert subject.claims(answer)["video"]["room"] == livekit_room(room, slot)
        assert subject.room_of(subject.legacy(room=room)) == livekit_room(room)

    # Refusals

    def test_the_probe_of_the_check_tells_the_generation(
        self, subject: AuthorizationSubject
    ) -> None:
        assert generation_of(*refusal(subject.post(PROBE_PATH, PROBE))) == GO

    @pytest.mark.parametrize("path", CLIENT_PATHS)
    def test_an_array_is_no_request_and_null_is_an_empty_one(
        self, subject: AuthorizationSubject, path: str
    ) -> None:
        assert refusal(subject.post(path, "[]")) == NOT_JSON
        assert refusal(subject.post(path, "null")) == BAD_JSON
        fields = {**subject.fields(path), "openid_token": []}
        assert refusal(subject.post(path, fields)) == NOT_JSON

    @pytest.mark.parametrize("path", TOKEN_PATHS)
    def test_null_is_not_there(self, subject: AuthorizationSubject, path: str) -> None:
        fields = subject.fields(path)
        for name in fields.keys() - {"device_id"}:
            assert refusal(subject.post(path, {**fields, name: None})) == BAD_JSON, name

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
