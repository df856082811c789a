"""The sandbox's authorization service: what only the sandbox's has, or only its environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, known_livekit_rooms
from lotus_guard.sandbox.authorization import (
    AuthorizationApp,
    Issuer,
    _full_access,
    _key_and_secret,
    federation_base,
)
from tests.contract.authorization import (
    BAD_JSON,
    ROOM,
    UNAUTHORIZED,
    AuthorizationSubject,
    refusal,
)
from tests.contract.subject import InMemory

KEY, SECRET = "key", "a-secret-for-tests-of-32-bytes-or-more"
USER, SERVER = "@user:example.com", "example.com"
DELAY = {"delay_id": "d", "delay_timeout": 1000}


class Service:
    """The service in memory, and what it asked of the others."""

    def __init__(self, full_access: tuple[str, ...] = ("*",), user: str = USER) -> None:
        self.made: list[str] = []
        self.hooks: list[tuple[bytes, str]] = []
        self.broken = False

        async def userinfo(_server: str, _token: str) -> str:
            return user

        async def create_room(name: str) -> None:
            if self.broken:
                raise RuntimeError("no SFU")
            self.made.append(name)

        self.issuer = Issuer(KEY, SECRET, "ws://sfu")
        app = AuthorizationApp(
            self.issuer,
            userinfo,
            create_room,
            lambda body, token: self.hooks.append((body, token)),
            full_access,
        )
        openid: Mapping[str, Any] = {"access_token": "t", "matrix_server_name": SERVER}
        server = InMemory(app.resource())
        self.ask = AuthorizationSubject(server, KEY, SECRET, "ws://sfu", USER, openid)


def test_a_room_is_made_for_each_token() -> None:
    service = Service()
    room = service.ask.room_of(service.ask.legacy())
    service.ask.claims(service.ask.post("/get_token", service.ask.modern()))
    assert service.made == [room, room]


def test_no_room_no_token() -> None:
    service = Service()
    service.broken = True
    answer = service.ask.post("/sfu/get", service.ask.legacy())
    assert refusal(answer) == (500, "M_UNKNOWN")


def test_guests_make_no_room_and_delegate_nothing() -> None:
    service = Service(full_access=("home.example.com",))
    ask = service.ask
    assert ask.room_of(ask.legacy())
    assert service.made == []
    for path, fields in (("/sfu/get", ask.legacy(**DELAY)), ("/get_token", ask.modern(**DELAY))):
        assert refusal(ask.post(path, fields)) == BAD_JSON
    delegated = ask.post("/delegate_delayed_leave", ask.modern(**DELAY))
    assert refusal(delegated) == (403, "M_FORBIDDEN")


def test_full_access_delegates_without_a_room() -> None:
    service = Service(full_access=("other.example.com", SERVER))
    answer = service.ask.post("/delegate_delayed_leave", service.ask.modern(**DELAY))
    assert (answer.status, answer.body) == (200, b"{}\n")
    assert service.made == []


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
        service.issuer.livekit_room = lambda room, slot, given=given: given[room, slot]  # type: ignore[misc]
        assert service.ask.room_of(service.ask.legacy()) == livekit_room
        assert service.made[-1] == livekit_room


def test_webhooks_arrive_as_they_were_sent() -> None:
    service = Service()
    headers = {"Authorization": "token"}
    service.ask.server.request("POST", "/sfu_webhook", headers, b'{"a": 1}\xff')
    assert service.hooks == [(b'{"a": 1}\xff', "token")]


@pytest.mark.parametrize(
    ("server", "base"),
    [
        ("example.com", "https://example.com:8448"),
        ("localhost:34583", "https://localhost:34583"),
        ("[::1]", "https://[::1]:8448"),
        ("[::1]:80", "https://[::1]:80"),
    ],
)
def test_where_a_homeserver_is_asked(server: str, base: str) -> None:
    assert federation_base(server) == base


def test_key_and_secret_come_from_where_the_real_one_reads_them(tmp_path: Path) -> None:
    both, key, secret = (tmp_path / name for name in ("both", "key", "secret"))
    both.write_text("k1: s1\n")
    key.write_text("k2\n")
    secret.write_text(" s2\r\n")
    plain = {"LIVEKIT_KEY": "k3", "LIVEKIT_SECRET": "s3"}
    files = {"LIVEKIT_KEY_FROM_FILE": str(key), "LIVEKIT_SECRET_FROM_FILE": str(secret)}
    assert _key_and_secret(plain) == ("k3", "s3")
    assert _key_and_secret({**plain, **files}) == ("k2", "s2")
    assert _key_and_secret({**plain, **files, "LIVEKIT_KEY_FILE": str(both)}) == ("k1", "s1")


@pytest.mark.parametrize("text", ["k", "k: s: t"])
def test_a_key_file_that_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "both"
    path.write_text(text)
    with pytest.raises(SystemExit, match="LIVEKIT_KEY_FILE"):
        _key_and_secret({"LIVEKIT_KEY_FILE": str(path)})


def test_what_must_be_in_the_environment() -> None:
    with pytest.raises(SystemExit, match="LIVEKIT_SECRET"):
        _key_and_secret({"LIVEKIT_KEY": "k"})
    with pytest.raises(SystemExit, match="LIVEKIT_FULL_ACCESS_HOMESERVERS"):
        _full_access({"LIVEKIT_FULL_ACCESS_HOMESERVERS": " , "})
    assert _full_access({"LIVEKIT_FULL_ACCESS_HOMESERVERS": "a, b c"}) == ["a", "b", "c"]
