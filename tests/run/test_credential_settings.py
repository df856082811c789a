"""The settings that give credentials: in a variable, or in a file that one names."""

from pathlib import Path

import pytest

from lotus_guard.core.token import KeyPair
from lotus_guard.enforce.credentials import Credentials, Unusable
from lotus_guard.run.credential_settings import (
    CREDENTIAL_VARIABLES,
    LEAST_PUSH_SECRET,
    read_credentials,
)

PLAIN = {"LIVEKIT_KEY": "key", "LIVEKIT_SECRET": "secret", "LOTUS_GUARD_SYNAPSE_TOKEN": "token"}


def read(**settings: str) -> Credentials:
    defaults = {each.name: each.default for each in CREDENTIAL_VARIABLES}
    return read_credentials({**defaults, **PLAIN, **settings})


def test_they_stand_in_variables() -> None:
    found = read()
    assert found.livekit.value == KeyPair("key", "secret")
    assert (found.synapse.value, found.push.value, found.redis.value) == ("token", "", "")
    assert found.livekit.files == found.synapse.files == ()


def test_a_file_wins_over_the_variable_and_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from-file\n")
    found = read(LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE=str(path))
    assert found.synapse.value == "from-file"
    assert found.synapse.files == (str(path),)
    path.write_text("renewed\n")
    found.reload()
    assert found.synapse.value == "renewed"


def test_the_file_with_both_wins_over_all(tmp_path: Path) -> None:
    both, key = tmp_path / "both", tmp_path / "key"
    both.write_text("a: b")
    key.write_text("c")
    found = read(LIVEKIT_KEY_FILE=str(both), LIVEKIT_KEY_FROM_FILE=str(key))
    assert found.livekit.value == KeyPair("a", "b")
    assert found.livekit.files == (str(both),)
    assert read(LIVEKIT_KEY_FROM_FILE=str(key)).livekit.value == KeyPair("c", "secret")


def test_a_push_secret_is_long_or_none_and_a_password_of_redis_may_be_short(
    tmp_path: Path,
) -> None:
    assert read(LOTUS_GUARD_PUSH_SECRET="x" * LEAST_PUSH_SECRET).push.value
    with pytest.raises(Unusable, match="LOTUS_GUARD_PUSH_SECRET"):
        read(LOTUS_GUARD_PUSH_SECRET="x" * (LEAST_PUSH_SECRET - 1))
    path = tmp_path / "password"
    path.write_text("x")
    assert read(LOTUS_GUARD_REDIS_PASSWORD_FROM_FILE=str(path)).redis.value == "x"


def test_what_is_wrong_with_any_is_told_of_all() -> None:
    with pytest.raises(Unusable) as caught:
        read(LIVEKIT_KEY="", LOTUS_GUARD_SYNAPSE_TOKEN="", LOTUS_GUARD_PUSH_SECRET="short")
    names = [fault.split(":")[0] for fault in caught.value.faults]
    assert names == ["LIVEKIT_KEY", "LOTUS_GUARD_PUSH_SECRET", "LOTUS_GUARD_SYNAPSE_TOKEN"]


def test_transactions_come_with_our_own_registrations_token_where_we_have_one(
    tmp_path: Path,
) -> None:
    theirs, ours = tmp_path / "theirs.yaml", tmp_path / "ours.yaml"
    theirs.write_text("{hs_token: theirs, as_token: a}")
    ours.write_text("{hs_token: ours, as_token: a, namespaces: {users: [{regex: '@.*:s'}]}}")
    named = {
        "LIVEKIT_AS_REGISTRATION_FILE": str(theirs),
        "LOTUS_GUARD_AS_REGISTRATION_FILE": str(ours),
        "LOTUS_GUARD_TRANSACTIONS": "on",
    }
    found = read(**named)
    assert (found.hs_token.value, found.transactions.value) == ("theirs", "ours")
    found = read(**{**named, "LOTUS_GUARD_AS_REGISTRATION_FILE": ""})
    assert found.transactions.value == "theirs"
    ours.write_text("{as_token: a, namespaces: {users: [{regex: '@.*:s'}]}}")
    assert read(**{**named, "LOTUS_GUARD_TRANSACTIONS": "off"}).as_token.value == "a"
    with pytest.raises(Unusable, match="LOTUS_GUARD_AS_REGISTRATION_FILE: it has no hs_token"):
        read(**named)
