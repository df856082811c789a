"""Who is exempt: whoever may set the event, or has a level that not everybody has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import UserId
from lotus_guard.core.power import read_power
from lotus_guard.rules.bypass import (
    NOBODY,
    Bypass,
    bypass_options,
    doubt,
    read_bypass,
    read_level,
)
from lotus_guard.rules.option import Count, Option

EVENT = "io.lotus.voice_limit"
USER = UserId("@u:s")
LEVELS = st.integers(-5, 105)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(LEVELS, LEVELS, LEVELS, st.booleans(), st.none() | LEVELS)
def test_nobody_is_exempt_by_what_everybody_has_nor_gains_what_they_may_not(
    has: int, usual: int, needed: int, whoever: bool, level: int | None
) -> None:
    said = {"users": {USER: has}, "users_default": usual, "events": {EVENT: needed}}
    power = read_power(said, None)
    holds = Bypass(whoever, level).holds_for(USER, power, EVENT)
    may_set = whoever and has >= needed
    by_level = level is not None and usual < level <= has
    assert holds == (may_set or by_level)
    assert not Bypass(whoever, level).holds_for(None, power, EVENT)
    assert not Bypass(whoever, level).holds_for(USER, None, EVENT)
    assert not NOBODY.holds_for(USER, power, EVENT)


@given(st.dictionaries(st.sampled_from(["bypass", "bypass_level", "x"]), VALUES))
def test_whatever_is_written_is_read_and_complained_of_once(content: dict[str, Any]) -> None:
    bypass, complaints = read_bypass(EVENT, content)
    wrong = {
        name
        for name, kind in (("bypass", bool), ("bypass_level", int))
        if name in content and type(content[name]) is not kind
    }
    big = isinstance(content.get("bypass_level"), int) and abs(content["bypass_level"]) >= 2**53
    assert len(complaints) == len(wrong | ({"bypass_level"} if big else set()))
    assert bypass.whoever_may_set is (content.get("bypass") is True)


@pytest.mark.parametrize("level", [0, -3, 50, 2**53 - 1])
def test_a_level_is_an_integer(level: int) -> None:
    assert read_level(EVENT, "start_level", {"start_level": level}) == (level, ())


def test_a_level_that_everybody_has_is_doubted() -> None:
    power = read_power({"users_default": 10}, None)
    assert doubt(EVENT, "bypass_level", None, power) == ()
    assert doubt(EVENT, "bypass_level", 11, power) == ()
    assert doubt(EVENT, "bypass_level", 10, power) == (
        f"{EVENT}: bypass_level is 10, which everybody has here; expected more than 10",
    )


def test_it_is_put_in_words() -> None:
    assert str(Bypass(True)) == "people who can set this rule"
    assert str(Bypass(level=40)) == "people with power level 40 or more"
    assert str(Bypass(True, 40)) == "people who can set this rule, or have power level 40 or more"


def test_words_are_marked_where_some_are_exempt() -> None:
    assert NOBODY.mark("no camera") == "no camera"
    for bypass in (Bypass(True), Bypass(level=40)):
        assert bypass.mark("no camera") == "no camera (some exempt)"


def test_no_two_options_have_the_same_help() -> None:
    options: list[Option] = [
        *bypass_options("limit", "the limit"),
        *bypass_options("media", "the rules"),
    ]
    helps = [each.help for each in options]
    helps += [each.off_help for each in options if isinstance(each, Count)]
    assert len(set(helps)) == len(helps)
    assert not any("?" in text for text in helps)
