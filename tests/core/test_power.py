"""Power levels, read leniently: whatever old rooms hold, it is a level."""

import math
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.power import CREATE, PowerLevels, read_power
from tests.events import LIMIT_EVENT

HIGHEST = 2**53 - 1


def create(version: object = "11", **more: Any) -> dict[str, Any]:
    """The first event of a room that @c:s made."""
    return {"type": CREATE, "sender": "@c:s", "content": {"room_version": version, **more}}


@pytest.mark.parametrize(
    ("levels", "needed", "has"),
    [
        (None, 50, 0),
        ({}, 50, 0),
        ({"state_default": 20, "users_default": 5}, 20, 5),
        ({"events": {LIMIT_EVENT: 30}, "users": {"@u:s": 100}}, 30, 100),
        ({"events": {LIMIT_EVENT: "30"}, "users": {"@u:s": " 7 "}}, 30, 7),
        ({"events": {LIMIT_EVENT: "+30"}, "users": {"@u:s": "-007"}}, 30, -7),
        ({"events": {LIMIT_EVENT: 30.9}, "users": {"@u:s": -7.9}}, 30, -7),
        ({"events": {LIMIT_EVENT: True}, "users": {"@u:s": None}}, 50, 0),
        ({"events": {LIMIT_EVENT: {}}, "users": {"@u:s": [100]}}, 50, 0),
        ({"events": [], "users": "all", "state_default": "x" * 50}, 50, 0),
        ({"events": None, "users": 100, "users_default": "x"}, 50, 0),
        ({"events": {LIMIT_EVENT: math.nan}, "users": {"@u:s": math.inf}}, 50, 0),
        ({"events": {LIMIT_EVENT: 10**400}, "users": {"@u:s": 1e300}}, HIGHEST, HIGHEST),
        ({"events": {LIMIT_EVENT: "9" * 5000}, "users": {"@u:s": "9" * 4000}}, 50, HIGHEST),
        ({"state_default": -1}, -1, 0),
        ({"state_default": 0, "users_default": -(10**99)}, 0, -HIGHEST),
        ({"users_default": 50, "users": {"@u:s": 0}}, 50, 0),
    ],
)
def test_power_levels(levels: Any, needed: int, has: int) -> None:
    power = read_power(levels, create())
    assert (power.needed(LIMIT_EVENT), power.of("@u:s")) == (needed, has)
    assert math.isfinite(float(power.of("@u:s"))), "none is too long to be written"


def test_events_as_they_are_in_synapses_process_are_read_as_any() -> None:
    """Their contents are no dicts, and what is in them may be frozen."""
    frozen = MappingProxyType
    levels = frozen({"users": frozen({"@u:s": 50}), "events": frozen({LIMIT_EVENT: 60})})
    content = frozen({"room_version": "12", "additional_creators": ("@d:s",)})
    power = read_power(levels, {"sender": "@c:s", "content": content})
    assert (power.of("@u:s"), power.needed(LIMIT_EVENT)) == (50, 60)
    assert power.of("@c:s") == power.of("@d:s") == math.inf


@pytest.mark.parametrize("levels", [None, {}, {"users": {"@c:s": 5}, "users_default": 9}])
def test_creators_stand_above_from_room_version_12_on(levels: Any) -> None:
    for version in ("12", "13", "00000012"):
        made = create(version, additional_creators=["@d:s", 7, None])
        power = read_power(levels, made)
        assert power.of("@c:s") == power.of("@d:s") == math.inf
        assert power.of("@e:s") == power.users_default
    assert read_power({}, create("12", additional_creators="@d:s")).of("@d:s") == 0
    assert read_power({}, create("12", creator="@d:s")).of("@d:s") == 0


@pytest.mark.parametrize("version", ["11", "10", "1", "\u0661\u0662", "org.example.12", 12, None])
def test_before_that_a_creator_has_what_is_said_of_them(version: object) -> None:
    made = create(version, additional_creators=["@d:s"])
    assert read_power({}, made).of("@c:s") == read_power({}, made).of("@d:s") == 0


def test_where_no_event_says_otherwise_the_creator_alone_has_power() -> None:
    for version in ("1", "10", "11", "x"):
        power = read_power(None, create(version))
        assert (power.of("@c:s"), power.of("@u:s"), power.needed(LIMIT_EVENT)) == (100, 0, 50)


def test_old_rooms_name_their_creator_and_later_ones_have_who_sent_the_event() -> None:
    old, new = (read_power(None, create(each, creator="@n:s")) for each in ("10", "11"))
    assert (old.of("@n:s"), old.of("@c:s")) == (100, 0)
    assert (new.of("@n:s"), new.of("@c:s")) == (0, 100)


@pytest.mark.parametrize("made", [None, {}, {"sender": 7, "content": []}])
def test_of_whom_it_is_not_known_nobody_is_the_creator(made: Any) -> None:
    assert read_power(None, made).users == {}


def test_how_much_memory_they_take_grows_with_the_names() -> None:
    none, few = read_power({}, None), read_power({"users": {"@u:s": 100}}, None)
    many = read_power({"users": {f"@{n}:s": 100 for n in range(1000)}}, None)
    assert none.bytes < few.bytes < many.bytes
    assert 100_000 < many.bytes < 300_000
    redundant = read_power({"users": {f"@{n}:s": 0 for n in range(1000)}}, None)
    assert redundant == none, "who has the default need not be named"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["@c:s", "@u:s", LIMIT_EVENT]) | st.text(), inner)
    ),
    max_leaves=6,
)
LEVELS = st.none() | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("users", "users_default", "events", "state_default"), JSON),
)
CREATES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "sender": st.just("@c:s") | JSON,
        "content": st.fixed_dictionaries(
            {},
            optional={
                "room_version": st.sampled_from(["1", "10", "11", "12"]) | JSON,
                "creator": JSON,
                "additional_creators": JSON,
            },
        )
        | JSON,
    },
)


@given(LEVELS, CREATES, st.sampled_from(["@c:s", "@u:s"]) | st.text())
def test_whatever_the_events_hold_everybody_has_a_level(levels: Any, made: Any, user: str) -> None:
    power = read_power(levels, made)
    assert isinstance(power, PowerLevels)
    assert not math.isnan(power.of(user))
    assert -HIGHEST <= power.users_default <= HIGHEST
    assert -HIGHEST <= power.needed(user) <= HIGHEST
    assert power.bytes > 0


@given(LEVELS, CREATES)
def test_more_than_all_power_has_no_one_but_a_creator(levels: Any, made: Any) -> None:
    power = read_power(levels, made)
    above = {user for user, level in power.users.items() if level > HIGHEST}
    content = (made or {}).get("content")
    fields = content if isinstance(content, dict) else {}
    more = fields.get("additional_creators")
    named = more if isinstance(more, list) else []
    assert all(user == (made or {}).get("sender") or user in named for user in above)
