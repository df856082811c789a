"""How lk-jwt-service reads a body; `tests/contract` asks the real one for the same."""

import json
from typing import Any

import pytest

from lotus_guard.sandbox.reading import LEGACY, read_as_go, read_as_rust

OPENID = {"access_token": "t", "matrix_server_name": "s"}
BODY: dict[str, Any] = {"room": "!r", "openid_token": OPENID, "device_id": "D"}


@pytest.mark.parametrize(
    ("body", "room"),
    [
        ('{"ROOM": "!x"}', "!x"),
        ('{"\u212a": 1}', None),  # the Kelvin sign is a k: a field that is not known
        ('{"room": "!a", "room": "!b"}', "!b"),
        ('{"room": "!a", "room": null}', "!a"),
        ('{"room": "!a"} trailing', "!a"),
        ('{"room": "\\ud800"}', "\ufffd"),
    ],
)
def test_go_is_lenient_and_rust_is_not(body: str, room: str | None) -> None:
    if room is None:
        with pytest.raises(ValueError, match="not known"):
            read_as_go(body.encode(), LEGACY)
    else:
        assert read_as_go(body.encode(), LEGACY)["room"] == room
    with pytest.raises(ValueError):  # noqa: PT011  (each for another reason)
        read_as_rust(body.encode(), LEGACY)


def test_go_puts_one_sign_for_each_broken_byte() -> None:
    assert read_as_go(b'{"room": "\xe2\x82"}', LEGACY)["room"] == "\ufffd\ufffd"
    with pytest.raises(UnicodeDecodeError):
        read_as_rust(b'{"room": "\xe2\x82"}', LEGACY)


def test_go_reads_an_object_met_again_on_top_of_the_first() -> None:
    body = b'{"openid_token": {"access_token": "t"}, "openid_token": {"matrix_server_name": "s"}}'
    assert read_as_go(body, LEGACY)["openid_token"] == OPENID


def test_rust_takes_an_array_of_the_values_for_the_object() -> None:
    body = json.dumps({**BODY, "openid_token": ["t", "Bearer", "s", 3600]}).encode()
    assert read_as_rust(body, LEGACY)["openid_token"]["matrix_server_name"] == "s"
    assert read_as_rust(b'["!r", ["t"], "D"]', LEGACY)["device_id"] == "D"
    with pytest.raises(ValueError, match="not an object"):
        read_as_go(body, LEGACY)


@pytest.mark.parametrize("read", [read_as_go, read_as_rust])
def test_both_read_what_clients_send_and_refuse_other_types(read: Any) -> None:
    found = read(json.dumps(BODY).encode(), LEGACY)
    assert {name: found[name] for name in BODY} == BODY
    number = {"delay_timeout": 2**63}
    for wrong in ({"room": 1}, {"delay_timeout": True}, number, {"openid_token": 1}):
        with pytest.raises(ValueError):  # noqa: PT011  (both say it in words of their own)
            read(json.dumps({**BODY, **wrong}).encode(), LEGACY)
