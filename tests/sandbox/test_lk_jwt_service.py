"""The environment of lk-jwt-service, as the sandbox's process reads it."""

from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.web.client import Agent

from lotus_guard.sandbox.generation import GO, RUST
from lotus_guard.sandbox.lk_jwt_service import (
    read_full_access,
    read_key_and_secret,
    read_service,
    read_state,
)
from tests.sandbox.token_service import KEY, SECRET


def test_key_and_secret_come_from_where_the_real_one_reads_them(tmp_path: Path) -> None:
    both, key, secret = (tmp_path / name for name in ("both", "key", "secret"))
    both.write_text("k1: s1\n")
    key.write_text("k2\n")
    secret.write_text(" s2\r\n")
    plain = {"LIVEKIT_KEY": "k3", "LIVEKIT_SECRET": "s3"}
    files = {"LIVEKIT_KEY_FROM_FILE": str(key), "LIVEKIT_SECRET_FROM_FILE": str(secret)}
    assert read_key_and_secret(plain) == ("k3", "s3")
    assert read_key_and_secret({**plain, **files}) == ("k2", "s2")
    assert read_key_and_secret({**plain, **files, "LIVEKIT_KEY_FILE": str(both)}) == ("k1", "s1")


@pytest.mark.parametrize("text", ["k", "k: s: t"])
def test_a_key_file_that_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "both"
    path.write_text(text)
    with pytest.raises(SystemExit, match="LIVEKIT_KEY_FILE"):
        read_key_and_secret({"LIVEKIT_KEY_FILE": str(path)})


def test_what_must_be_in_the_environment() -> None:
    with pytest.raises(SystemExit, match="LIVEKIT_SECRET"):
        read_key_and_secret({"LIVEKIT_KEY": "k"})
    with pytest.raises(SystemExit, match="LIVEKIT_FULL_ACCESS_HOMESERVERS"):
        read_full_access({"LIVEKIT_FULL_ACCESS_HOMESERVERS": " , "})
    assert read_full_access({"LIVEKIT_FULL_ACCESS_HOMESERVERS": "a, b c"}) == ["a", "b", "c"]


def test_a_whole_environment_makes_a_service() -> None:
    environment = {
        "LIVEKIT_KEY": KEY,
        "LIVEKIT_SECRET": SECRET,
        "LIVEKIT_URL": "wss://sfu.example.com",
        "LIVEKIT_FULL_ACCESS_HOMESERVERS": "*",
    }
    agent = Agent(reactor)
    state = read_state(environment, agent)
    assert state.issuer.livekit_url == "wss://sfu.example.com"
    assert state.has_full_access("anywhere")
    assert state.generation is GO
    rust = read_state({**environment, "LOTUS_SANDBOX_READING": "rust"}, agent)
    assert rust.generation is RUST
    with pytest.raises(SystemExit, match="LIVEKIT_URL"):
        read_state({**environment, "LIVEKIT_URL": ""}, agent)


def test_it_is_an_application_service_with_all_that_it_takes_or_none() -> None:
    agent = Agent(reactor)
    assert read_service({}, agent) is None
    whole = {
        "LIVEKIT_AS_TOKEN": "a",
        "LIVEKIT_HS_TOKEN": "h",
        "LIVEKIT_HS_SERVER_NAME": "s:1",
        "LIVEKIT_CS_API_URL_OVERRIDES": "other=http://o,s:1=http://127.0.0.1:2",
    }
    service = read_service(whole, agent)
    assert service is not None
    assert (service.hs_token, service.server) == ("h", "s:1")
    assert service.ask_server is not None
    for name in ("LIVEKIT_AS_TOKEN", "LIVEKIT_HS_TOKEN", "LIVEKIT_HS_SERVER_NAME"):
        with pytest.raises(SystemExit, match=name):
            read_service({**whole, name: ""}, agent)
