"""How the texts of settings are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lotus_guard.enforce.credentials import Unusable
from lotus_guard.run.parsers import (
    MOST_SECONDS,
    catalogues,
    count,
    endpoint,
    endpoint_or_none,
    networks,
    number,
    on_or_off,
    one_of,
    seconds,
    shown,
    url,
    whole_seconds,
    words,
)

GOOD: list[tuple[Callable[[str, str], Any], str, Any]] = [
    (endpoint, "tcp:8070", "tcp:8070"),
    (endpoint, "unix:/run/guard.sock", "unix:/run/guard.sock"),
    (endpoint_or_none, "", ""),
    (url, "https://host/base/", "https://host/base"),
    (url, "http://[::1]:8071", "http://[::1]:8071"),
    (number(1.0, "look-ups"), "1", 1.0),
    (seconds(), "0", 0.0),
    (seconds(), f"{MOST_SECONDS:g}", MOST_SECONDS),
    (whole_seconds, "2.9", 2),
    (one_of("text", "json"), "json", "json"),
    (on_or_off, "on", True),
    (on_or_off, "off", False),
    (count(64), "64", 64),
    (words, " a ,, b,a", frozenset("ab")),
    (words, "", frozenset()),
]


@pytest.mark.parametrize(("read", "text", "value"), GOOD)
def test_what_is_good_is_read(read: Callable[[str, str], Any], text: str, value: Any) -> None:
    assert read("NAME", text) == value


BAD: list[tuple[Callable[[str, str], Any], str, str]] = [
    (endpoint, "", "a Twisted endpoint"),
    (endpoint, "tcp:x", "a Twisted endpoint"),
    (endpoint, "tcp:65536", "a Twisted endpoint"),
    (endpoint_or_none, "no endpoint", "a Twisted endpoint"),
    (url, "", "NAME: not set"),
    (url, "ftp://host", "found 'ftp://host'"),
    (url, "http://host?x=1", "the address has a user name, query or fragment in it"),
    (number(1.0, "look-ups"), "0.9", "look-ups from 1 to 86400"),
    (seconds(0.1), "nan", "found 'nan'"),
    (seconds(0.1), "inf", "found 'inf'"),
    (seconds(), "-0.1", "seconds from 0 to 86400"),
    (seconds(), "86401", "seconds from 0 to 86400"),
    (whole_seconds, "soon", "found 'soon'"),
    (one_of("yes", "hash", "no"), "YES", "expected yes, hash or no"),
    (on_or_off, "", "expected on or off"),
    (count(64), "65", "expected a number from 1 to 64"),
    (count(64), "0", "expected a number from 1 to 64"),
    (count(64), "-1", "expected a number from 1 to 64"),
    (count(64), "1.5", "expected a number from 1 to 64"),
    (networks, "10.0.0.0/33", "does not appear to be"),
    (networks, "10.0.0.1/8", "addresses, networks such as"),
]


@pytest.mark.parametrize(("read", "text", "words"), BAD)
def test_what_is_not_is_a_fault_of_its_variable(
    read: Callable[[str, str], Any], text: str, words: str
) -> None:
    with pytest.raises(Unusable) as caught:
        read("NAME", text)
    (fault,) = caught.value.faults
    assert fault.startswith("NAME: ")
    assert words in fault


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(Unusable) as caught:
        url("NAME", "redis://me:hunter2@host")
    assert "hunter2" not in str(caught.value.faults)


def test_what_is_long_is_not_shown_at_length() -> None:
    assert shown("x" * 60) == repr("x" * 60)
    assert shown("x" * 10_000) == repr("x" * 60 + "…")


def test_an_operators_words_are_read_and_faults_name_the_file(tmp_path: Path) -> None:
    name = "LOTUS_GUARD_WORDS"
    assert sorted(catalogues(name, "")) == ["de", "en"]
    (tmp_path / "pl.json").write_text('{"not_a_member": "Nie jesteś w tym pokoju."}')
    assert sorted(catalogues(name, str(tmp_path))) == ["de", "en", "pl"]
    (tmp_path / "pl.json").write_text('{"a": "b", "not_a_member": 1}')
    with pytest.raises(Unusable) as raised:
        catalogues(name, str(tmp_path))
    assert list(raised.value.faults) == [
        f"{name}: {tmp_path}/pl.json: 'a' is an unknown key; expected the keys of English",
        f"{name}: {tmp_path}/pl.json: not_a_member is 1; expected a text",
    ]
