"""What the guard relies on in lk-jwt-service, of either generation, at the endpoints for clients.

What each generation does in its own way is in `authorization_go.py` and `authorization_rust.py`,
and the way behind a homeserver in `authorization_behind.py`.
"""

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

    @pytest.mark.parametrize("path", TOKEN_PATHS)
    def test_a_query_changes_nothing(self, subject: AuthorizationSubject, path: str) -> None:
        subject.claims(subject.post(f"{path}?room=x", subject.fields(path)))

    # The token

    @pytest.mark.parametrize("path", TOKEN_PATHS)
    def test_token(self, subject: AuthorizationSubject, path: str) -> None:
        answer = subject.post(path, subject.fields(path))
        claims = subject.claims(answer)
        assert answer.json()["url"] == subject.livekit_url
        assert claims["iss"] == subject.key
        assert abs(claims["nbf"] - time.time()) < 60
        assert claims["exp"] - claims["nbf"] == 3600
        for name in ("roomJoin", "canPublish", "canSubscribe"):
            assert claims["video"][name] is True
        assert claims["video"]["room"] == livekit_room(ROOM)
        assert not any(claims["video"].get(name) for name in ("roomAdmin", "hidden", "recorder"))

    def test_identities(self, subject: AuthorizationSubject) -> None:
        user = UserId(subject.user)
        for device in ("DEVICE", "with:colon", ""):
            answer = subject.post("/sfu/get", subject.legacy(device_id=device))
            assert subject.claims(answer)["sub"] == legacy_identity_of(user, device)
        answer = subject.post("/get_token", subject.modern())
        assert subject.claims(answer)["sub"] == identity_of(user, "DEVICE", "member")

    # Refusals

    @pytest.mark.parametrize("path", CLIENT_PATHS)
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("", NOT_JSON),
            ("{", NOT_JSON),
            ('"text"', NOT_JSON),
            ("\ufeff{}", NOT_JSON),
            ("\u00a0{}", NOT_JSON),
            ("\x0b{}", NOT_JSON),
            ('{"":1}', NOT_JSON),
            ('{"room_id":"r",}', NOT_JSON),
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
