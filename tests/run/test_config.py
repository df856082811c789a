"""The environment: every fault at once, and never a secret in one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.run.config import read_config, read_some
from lotus_guard.run.setting import Faulty
from tests.test_docs import GOOD


def faults(**changes: str | None) -> list[str]:
    environment = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    with pytest.raises(Faulty) as caught:
        read_config(environment)
    return caught.value.faults


def test_a_good_environment() -> None:
    config = read_config(GOOD)
    assert config.livekit_api == "http://127.0.0.1:7880"
    assert config.listen == "tcp:8070"
    assert config.upstream == "http://127.0.0.1:8071"
    assert config.state == Path("lotus-guard.sqlite")
    assert (config.deadline, config.token_life, config.live_limit) == (1.0, 300, True)


BAD: dict[str, tuple[str, str]] = {
    "LOTUS_GUARD_LISTEN": ("nonsense:1", "endpoint"),
    "LOTUS_GUARD_ADMIN_LISTEN": ("tcp:", "endpoint"),
    "LOTUS_GUARD_UPSTREAM": ("127.0.0.1:8071", "http://"),
    "LOTUS_GUARD_SYNAPSE_URL": ("http://host:port", "http://"),
    "LOTUS_GUARD_LIVEKIT_URL": ("ftp://x", "LiveKit"),
    "LOTUS_GUARD_SYNAPSE_TOKEN": ("two words", "access token"),
    "LOTUS_GUARD_PUSH_SECRET": ("short", "16 or more"),
    "LOTUS_GUARD_DEADLINE": ("0", "seconds from"),
    "LOTUS_GUARD_POLICY_MAX_AGE": ("-1", "seconds from"),
    "LOTUS_GUARD_POLICY_STALE": ("nan", "seconds from"),
    "LOTUS_GUARD_SEAT_HOLD": ("ten", "seconds from"),
    "LOTUS_GUARD_SEAT_GRACE": ("inf", "seconds from"),
    "LOTUS_GUARD_TOKEN_LIFE": ("", "seconds from"),
    "LOTUS_GUARD_RECONCILE_INTERVAL": ("0", "seconds from"),
    "LOTUS_GUARD_POLICY_RATE": ("0", "look-ups per second"),
    "LOTUS_GUARD_POLICY_POLL": ("x", "seconds from"),
    "LOTUS_GUARD_LIVE_LIMIT": ("yes", "on or off"),
    "LOTUS_GUARD_WORDS": ("/no/such/directory", "a directory"),
    "LOTUS_GUARD_TYPO": ("x", "--help"),
    "LIVEKIT_URL": ("redis://h", "LiveKit"),
    "LIVEKIT_KEY_FROM_FILE": ("/no/such/file", "can read"),
    "LIVEKIT_SECRET_FROM_FILE": ("/", "can read"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_fault_names_the_variable_and_what_is_wanted(name: str) -> None:
    value, wanted = BAD[name]
    (fault,) = faults(**{name: value})
    assert fault.startswith(f"{name}: ")
    assert wanted in fault


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOTUS_GUARD_LISTEN", "tcp:65536"),
        ("LOTUS_GUARD_LISTEN", "tcp:-1"),
        ("LOTUS_GUARD_UPSTREAM", "http://a b"),
        ("LOTUS_GUARD_UPSTREAM", "http://a..b"),
        ("LOTUS_GUARD_UPSTREAM", "http://"),
    ],
)
def test_addresses_that_lead_nowhere_are_faults(name: str, value: str) -> None:
    assert faults(**{name: value})[0].startswith(name)


@pytest.mark.parametrize("text", ["devkey:", ":", ":secret", "a: b\nc d", "a:b:c", ""])
def test_a_key_file_must_have_both(tmp_path: Path, text: str) -> None:
    path = tmp_path / "both"
    path.write_text(text)
    (fault,) = faults(LIVEKIT_KEY_FILE=str(path))
    assert "key: secret" in fault


def test_an_empty_file_is_named_whatever_else_is_wrong(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    names = ("LIVEKIT_SECRET_FROM_FILE", "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE")
    found = faults(LOTUS_GUARD_LISTEN="x:1", **dict.fromkeys(names, str(empty)))
    assert [name for name in names if not any(f.startswith(name) for f in found)] == []


def test_a_password_in_an_address_is_not_shown() -> None:
    for name, value in (
        ("LOTUS_GUARD_SYNAPSE_URL", "http://admin:hunter2@host:bad"),
        ("LOTUS_GUARD_LIVEKIT_URL", "redis://:hunter2@host"),
    ):
        assert "hunter2" not in "\n".join(faults(**{name: value}))


def test_all_faults_come_at_once() -> None:
    found = faults(**{name: value for name, (value, _) in BAD.items()})
    # Where LiveKit's internal address is given, the public one is not ours to look at.
    assert {fault.split(":")[0] for fault in found} == set(BAD) - {"LIVEKIT_URL"}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_missing_is_named(name: str) -> None:
    (fault,) = faults(**{name: None})
    assert fault.startswith(name)
    assert "not set" in fault


SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=40)


@given(secret=SECRETS)
def test_no_secret_is_ever_shown(secret: str) -> None:
    named = {
        "LIVEKIT_SECRET": secret,
        "LOTUS_GUARD_SYNAPSE_TOKEN": secret,
        "LOTUS_GUARD_PUSH_SECRET": secret,
        "LIVEKIT_AS_TOKEN": secret,
    }
    assert secret not in repr(read_config({**GOOD, **named}))
    assert secret not in "\n".join(faults(**named, LOTUS_GUARD_LISTEN="nonsense:1"))
    broken = {name: f"{value} x\x01" for name, value in named.items()}
    assert secret not in "\n".join(faults(**broken, LOTUS_GUARD_TYPO=""))


def test_files_are_read_as_lk_jwt_service_reads_them(tmp_path: Path) -> None:
    key, secret, both = tmp_path / "key", tmp_path / "secret", tmp_path / "both"
    key.write_text(" file-key\r\n")
    secret.write_text("file-secret\n")
    both.write_text("both-key: both-secret\n")
    from_files = {"LIVEKIT_KEY_FROM_FILE": str(key), "LIVEKIT_SECRET_FROM_FILE": str(secret)}
    config = read_config({**GOOD, **from_files})
    assert (config.key, config.secret) == ("file-key", "file-secret")
    config = read_config({**GOOD, **from_files, "LIVEKIT_KEY_FILE": str(both)})
    assert (config.key, config.secret) == ("both-key", "both-secret")
    both.write_text("no colon")
    (fault,) = faults(LIVEKIT_KEY_FILE=str(both))
    assert "key: secret" in fault


def test_addresses(tmp_path: Path) -> None:
    for given_url, api in (
        ("ws://h:1/", "http://h:1"),
        ("wss://h", "https://h"),
        ("https://h/base", "https://h/base"),
    ):
        assert read_config({**GOOD, "LIVEKIT_URL": given_url}).livekit_api == api
    config = read_config({**GOOD, "LOTUS_GUARD_LIVEKIT_URL": "http://inner:7880"})
    assert config.livekit_api == "http://inner:7880"
    assert "user name" in faults(LOTUS_GUARD_UPSTREAM="http://u:p@h")[0]
    config = read_config({**GOOD, "STATE_DIRECTORY": f"{tmp_path}:/other"})
    assert config.state == tmp_path / "lotus-guard.sqlite"
    assert read_config({**GOOD, "LOTUS_GUARD_ADMIN_LISTEN": ""}).admin_listen == ""


def test_some_settings_can_be_read_where_the_others_are_not_there() -> None:
    found = read_some({"LOTUS_GUARD_LOG_USERS": "hash"}, "log_users", "redis")
    assert found == {"log_users": "hash", "redis": None}
    with pytest.raises(Faulty) as caught:
        read_some({"LOTUS_GUARD_LOG_USERS": "maybe", "LOTUS_GUARD_MODE": "x"}, "log_users")
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["LOTUS_GUARD_LOG_USERS"]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"LOTUS_GUARD_ADMIN_LISTEN": "tcp:8070"}, "LOTUS_GUARD_ADMIN_LISTEN: another listener"),
        ({"LOTUS_GUARD_UPSTREAM": "http://127.0.0.1:8070"}, "is the guard itself"),
        ({"LOTUS_GUARD_UPSTREAM": "http://localhost:8070/"}, "is the guard itself"),
        ({"LOTUS_GUARD_UPSTREAM": "http://127.0.0.1:8072"}, "is the guard itself"),
        ({"LOTUS_GUARD_MODE": "watch"}, "LOTUS_GUARD_MODE: found 'watch'"),
        ({"LOTUS_GUARD_OBSERVE": "limit,dreams"}, "LOTUS_GUARD_OBSERVE: found 'dreams'"),
        ({"LOTUS_GUARD_LOG_USERS": "maybe"}, "expected yes, hash or no"),
        ({"LOTUS_GUARD_LOG_FORMAT": "xml"}, "expected text or json"),
        ({"LOTUS_GUARD_LOG_LEVEL": "loud"}, "expected debug, info, warn or error"),
    ],
)
def test_what_cannot_be_meant_is_a_fault(settings: dict[str, str], fault: str) -> None:
    with pytest.raises(Faulty) as caught:
        read_config({**GOOD, **settings})
    assert fault in str(caught.value)
    assert len(caught.value.faults) == 1
