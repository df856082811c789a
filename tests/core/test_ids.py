"""What an id may look like: bytes count, and what no homeserver could know is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.ids import MOST_ID, MOST_NAME, fits, is_room_id


@given(st.text(max_size=300))
def test_what_fits_is_measured_in_bytes(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    assert fits(text) == (size <= MOST_ID and not any(0xD800 <= ord(c) <= 0xDFFF for c in text))
    if is_room_id(text):
        assert text.startswith("!")
        assert fits(text)
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)


@pytest.mark.parametrize(
    ("room", "may_be"),
    [
        ("!r:s", True),
        ("!room-of-version-12", True),
        ("!" + "x" * 254, True),
        ("!\u00e9:s", True),
        ("!" + "\u00e9" * 127, True),
        ("!" + "\u00e9" * 128, False),
        ("!r:s\n", False),
        ("!r\x7f:s", False),
        ("!" + "x" * 255, False),
        ("!", False),
        ("r:s", False),
        ("#alias:s", False),
        ("!r\0:s", False),
        ("!r\x85:s", False),
    ],
)
def test_what_may_be_a_room(room: str, may_be: bool) -> None:
    assert is_room_id(room) is may_be


def test_a_legacy_identity_of_the_longest_ids_fits_into_a_name() -> None:
    assert fits("@" + "x" * 254 + ":" + "d" * MOST_ID, MOST_NAME)
    assert not fits("x" * (MOST_NAME + 1), MOST_NAME)
