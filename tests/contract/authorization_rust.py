"""What lk-jwt-service in Rust (from 0.7 on) does in its own way."""

import base64
import json
from hashlib import sha256
from typing import Any

import pytest

from lotus_guard.check.upstream_version import PROBE, PROBE_PATH, RUST, generation_of
from lotus_guard.core.model import UserId
from lotus_guard.core.naming import identity_of
from tests.contract.authorization import (
    BAD_JSON,
    CLIENT_PATHS,
    NOT_JSON,
    OTHER,
    ROOM,
    TOKEN_PATHS,
    AuthorizationContract,
    AuthorizationSubject,
    refusal,
)

ODD = "<\u00e9&>\u2028\x7f"


def plain_name(*strings: str) -> str:
    """The hash of a list of strings in plain JSON."""
    text = json.dumps(strings, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(sha256(text).digest()).decode().rstrip("=")


def plain_token(token: str) -> tuple[bytes, bytes]:
    """The head and the payload of a token."""
    head, payload = (base64.urlsafe_b64decode(f"{part}==") for part in token.split(".")[:2])
    return head, payload


def has_every_field(token: str) -> None:
    """Hold that a token has what one in Rust has, in its order; `canPublish` may be either."""
    head, payload = plain_token(token)
    assert head == b'{"typ":"JWT","alg":"HS256"}'
    claims = json.loads(payload)
    assert list(claims) == [
        *("exp", "iss", "nbf", "sub", "name", "video", "sip"),
        *("sha256", "metadata", "attributes", "roomConfig"),
    ]
    assert claims["sha256"] == ""
    video = claims["video"]
    assert video.pop("room")
    assert isinstance(video.pop("canPublish"), bool)
    assert video == {
        **dict.fromkeys(("roomCreate", "roomList", "roomRecord", "roomAdmin"), False),
        **dict.fromkeys(("roomJoin", "canSubscribe", "canPublishData"), True),
        **dict.fromkeys(("canUpdateOwnMetadata", "ingressAdmin", "hidden", "recorder"), False),
        "destinationRoom": "",
        "canPublishSources": [],
    }


class RustContract(AuthorizationContract):
    """The suite; each class that runs it has the fixture `subject`."""

    # Paths

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/nope",
            "/sfu/get/",
            "/SFU/get",
            "/sfu%2Fget",
            "/sfu/g%65t",
            "//sfu/get",
            "/sfu/./get",
            "/x/../get_token",
        ],
    )
    def test_a_path_is_taken_as_it_is(self, subject: AuthorizationSubject, path: str) -> None:
        answer = subject.post(path, subject.legacy())
        assert (answer.status, answer.body) == (404, b"")
        assert "content-type" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers

    # The token

    @pytest.mark.parametrize("path", TOKEN_PATHS)
    def test_a_token_has_every_field(self, subject: AuthorizationSubject, path: str) -> None:
        answer = subject.post(path, subject.fields(path))
        assert subject.claims(answer)["video"]["canPublish"] is True
        assert answer.body.endswith(b'"}')
        has_every_field(answer.json()["jwt"])

    def test_what_go_escapes_is_plain(self, subject: AuthorizationSubject) -> None:
        answer = subject.post("/sfu/get", subject.legacy(device_id=ODD))
        assert ODD.encode() in plain_token(answer.json()["jwt"])[1]

    @pytest.mark.parametrize(
        ("room", "slot"),
        [(ROOM, "other"), ("@a&b:example.com", "D<1>"), ("\u2028\u00e9\U0001f600\x00\x7f\b", "/")],
    )
    def test_names_are_of_plain_json(
        self, subject: AuthorizationSubject, room: str, slot: str
    ) -> None:
        answer = subject.post("/get_token", subject.modern(room_id=room, slot_id=slot))
        assert subject.claims(answer)["video"]["room"] == plain_name(room, slot)
        member = {"id": "<", "claimed_user_id": subject.user, "claimed_device_id": "&"}
        answer = subject.post("/get_token", subject.modern(member=member))
        assert subject.claims(answer)["sub"] == plain_name(subject.user, "&", "<")

    # Refusals

    def test_the_probe_of_the_check_tells_the_generation(
        self, subject: AuthorizationSubject
    ) -> None:
        assert generation_of(*refusal(subject.post(PROBE_PATH, PROBE))) == RUST

    @pytest.mark.parametrize(
        "change",
        [
            lambda body: f"{body} x",
            lambda body: f"{body}{body}",
            lambda body: f'{body[:-1]},"room":"{OTHER}"}}',
            lambda body: f'{body[:-1]},"openid_token":{{}}}}',
            lambda body: f'{body[:-1]},"delay_id":null}}',
            lambda body: body.replace('"room"', '"ROOM"'),
            lambda body: body.replace("openid_token", "openid_to\u212aen"),
            lambda body: body.replace("!room", "!\\ud800"),
            lambda body: body.encode().replace(b"!room", b"!\xff"),
            lambda _body: "null",
        ],
    )
    def test_what_go_takes_is_refused(self, subject: AuthorizationSubject, change: Any) -> None:
        body = json.dumps(subject.legacy())
        assert refusal(subject.post("/sfu/get", change(body))) == NOT_JSON

    # Arrays: the guard refuses all of these

    @pytest.mark.parametrize("path", CLIENT_PATHS)
    def test_an_empty_array_is_an_empty_object(
        self, subject: AuthorizationSubject, path: str
    ) -> None:
        assert refusal(subject.post(path, "[]")) == BAD_JSON
        fields = {**subject.fields(path), "openid_token": []}
        assert refusal(subject.post(path, fields)) == BAD_JSON

    def test_an_array_is_taken_for_the_object(self, subject: AuthorizationSubject) -> None:
        fields = subject.modern()
        openid = [subject.openid.get(name) for name in _OPENID]
        who = identity_of(UserId(subject.user), "DEVICE", "member")
        member = list(fields["member"].values())
        for body in (
            {**fields, "member": member},
            {**fields, "openid_token": openid},
            list(fields.values()),
            [*list(fields.values())[:2], openid, member],
        ):
            assert subject.claims(subject.post("/get_token", body))["sub"] == who
        legacy = [ROOM, openid, "DEVICE"]
        answer = subject.post("/sfu/get", legacy)
        assert subject.claims(answer)["sub"] == f"{subject.user}:DEVICE"

    def test_an_array_that_is_too_long_is_not(self, subject: AuthorizationSubject) -> None:
        member = ["member", subject.user, "DEVICE", "more"]
        assert refusal(subject.post("/get_token", subject.modern(member=member))) == NOT_JSON


_OPENID = ("access_token", "token_type", "matrix_server_name", "expires_in")
