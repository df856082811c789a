"""One credential in a file: read again at the right moments, and never half."""

import os
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from lotus_guard.core.token import KeyPair
from lotus_guard.enforce.credentials import (
    FORMER_SECONDS,
    LOOK_SECONDS,
    MOST_BYTES,
    MOST_FORMER,
    Credential,
    Credentials,
    Place,
)


def put(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


@define(eq=False)
class Kept:
    """A credential in a file, on a clock turned by hand."""

    path: Path
    clock: Clock = field(factory=Clock)
    it: Credential[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.path.write_text("first\n")
        place = Place("NAME", "", str(self.path))
        files = (str(self.path),)
        self.it = Credential(place.shown, "first", files, place.read, self.clock.seconds)

    def look(self, times: int = 1) -> str:
        for _ in range(times):
            self.clock.advance(LOOK_SECONDS)
            self.it.look()
        return self.it.value


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "secret")


def test_a_replaced_file_is_taken_once_it_stands_still(kept: Kept) -> None:
    assert kept.look(3) == "first"
    put(kept.path, "second\n")
    assert kept.look() == "first"
    assert kept.look() == "second"


def test_a_file_that_is_being_written_is_left_alone(kept: Kept) -> None:
    for end in range(1, len("second")):
        kept.path.write_text("second"[:end])
        assert kept.look() == "first"
    kept.path.write_text("second\n")
    assert kept.look(2) == "second"


@pytest.mark.parametrize("text", ["", "\n \r\n", "\udcff", "x" * (MOST_BYTES + 1)])
def test_what_is_no_credential_changes_nothing_and_is_said_once(
    kept: Kept, text: str, logged: list[Any]
) -> None:
    kept.path.write_bytes(text.encode(errors="surrogateescape"))
    assert kept.look(10) == "first"
    assert not kept.it.renewed("first")
    said = [line for line in map(formatEvent, logged) if "Could not reload" in line]
    assert len(said) == 1
    assert "NAME_FROM_FILE" in said[0]
    put(kept.path, "second")
    assert kept.look(2) == "second"


def test_a_file_that_is_gone_or_a_pipe_holds_nobody_up(kept: Kept, logged: list[Any]) -> None:
    kept.path.unlink()
    assert kept.look(5) == "first"
    os.mkfifo(kept.path)
    assert kept.look(5) == "first"
    assert not kept.it.renewed("first")
    assert "keeping the last one" in kept.it.again()
    kept.path.unlink()
    kept.path.write_text("second")
    assert kept.look(2) == "second"
    assert ["Could not reload" in formatEvent(each) for each in logged].count(True) == 2


def test_who_is_refused_has_it_read_at_once_and_at_most_once_a_second(tmp_path: Path) -> None:
    reads: list[None] = []
    path, clock = tmp_path / "file", Clock()
    path.write_text("x")

    def read() -> str:
        reads.append(None)
        return path.read_text()

    it = Credential("NAME", "x", (str(path),), read, clock.seconds)
    assert [it.renewed("x") for _ in range(50)] == [False] * 50
    assert len(reads) == 1
    path.write_text("y")
    assert it.renewed("x")
    assert it.renewed("x"), "whoever was refused with the old one meanwhile need not look"
    assert len(reads) == 2
    assert not it.renewed("y")


def test_what_was_valid_before_is_believed_for_a_while_and_known_for_longer(kept: Kept) -> None:
    for number in range(5):
        put(kept.path, f"secret-{number}")
        kept.it.again()
    assert kept.it.known() == ["secret-4", "secret-3", "secret-2"]
    assert len(kept.it.believed()) == 1 + MOST_FORMER
    kept.clock.advance(FORMER_SECONDS + 1.0)
    assert kept.it.believed() == ["secret-4"]
    assert len(kept.it.known()) == 1 + MOST_FORMER


def test_one_that_a_bug_of_ours_cannot_read_is_in_what_a_reload_reports(
    kept: Kept, logged: list[Any]
) -> None:
    def read() -> str:
        raise RecursionError

    plain = Credential("PLAIN", "")
    broken = Credential("BROKEN", "t", (str(kept.path),), read, kept.clock.seconds)
    pair = Credential("PAIR", KeyPair("k", "s"))
    Credentials(pair, kept.it, plain, plain, plain, broken, plain).reload()
    told = str(formatEvent(logged[-1]))
    assert "NAME_FROM_FILE: unchanged; BROKEN: failed, see the traceback. Settings" in told
