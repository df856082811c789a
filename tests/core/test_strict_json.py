"""Objects that no two readers could read differently, and the fields in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.ids import MOST_ID
from lotus_guard.core.strict_json import (
    MAX_DEPTH,
    Unreadable,
    object_in,
    read_strictly,
    refuse_other_spellings,
    room_in,
    text_in,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("abc\u00e9\U0001f600"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc"), JSON, max_size=4))
def test_an_object_is_read_as_it_was_written(fields: dict[str, object]) -> None:
    assert read_strictly(json.dumps(fields).encode()) == fields


SPACES = st.text(alphabet=" \t\r\n\x0b\x0c\xa0\u2028\ufeff{}", max_size=4)


@given(SPACES, SPACES)
def test_around_an_object_stands_what_is_space_to_json_and_nothing_else(
    before: str, after: str
) -> None:
    body = f'{before}{{"a": 1}}{after}'.encode()
    if set(before + after) <= set(" \t\r\n"):
        assert read_strictly(body) == {"a": 1}
    else:
        with pytest.raises(Unreadable):
            read_strictly(body)


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"\xff{}", "M_NOT_JSON"),
        (b"{} {}", "M_NOT_JSON"),
        (b'{"a":Infinity}', "M_NOT_JSON"),
        (b"null", "M_BAD_JSON"),
        (b'"{}"', "M_BAD_JSON"),
        (b'{"a":1,"A":2}', "M_BAD_JSON"),
        ('{"k":1,"\u212a":2}'.encode(), "M_BAD_JSON"),
        (b'{"a":{"b":"\\udc00"}}', "M_BAD_JSON"),
        (b'{"a":' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}", "M_BAD_JSON"),
        (b'{"a":' + b"[" * 100_000, "M_NOT_JSON"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes, errcode: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read_strictly(body)
    assert raised.value.errcode == errcode


def test_a_field_that_go_would_take_for_ours_is_refused() -> None:
    refuse_other_spellings({"room": 1, "other": 2}, frozenset({"room"}))
    for name in ("Room", "ROOM"):
        with pytest.raises(Unreadable):
            refuse_other_spellings({name: 1}, frozenset({"room"}))


def test_fields_are_of_their_type_or_not_there() -> None:
    fields = {"text": "a", "object": {"b": 1}, "room": "!r:s", "number": 1, "long": "x" * 300}
    assert (text_in(fields, "text"), text_in(fields, "none")) == ("a", None)
    assert (object_in(fields, "object"), object_in(fields, "none")) == ({"b": 1}, {})
    assert (room_in(fields, "room"), room_in(fields, "none")) == ("!r:s", None)
    assert len(fields["long"]) > MOST_ID  # type: ignore[arg-type]
    for read, name in (
        (text_in, "number"),
        (text_in, "long"),
        (object_in, "text"),
        (room_in, "text"),
    ):
        with pytest.raises(Unreadable):
            read(fields, name)
