"""Text of strangers on one line: what could drive a terminal or forge a line is escaped."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.text import printable, shown


@given(st.text(), st.integers(1, 50))
def test_it_is_one_line_that_prints_and_no_longer_than_it_may_be(text: str, most: int) -> None:
    shown = printable(text, most)
    assert shown.isprintable()
    assert len(shown) <= most
    if text.isprintable() and len(text) <= most:
        assert shown == text


def test_what_is_shown() -> None:
    assert printable("an ordinary ü") == "an ordinary ü"
    assert printable("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"
    assert printable("\ud800") == "\\ud800"
    assert printable("x" * 201) == "x" * 199 + "…"
    assert printable(7) == "7"


def test_a_value_is_shown_as_python_would_and_its_beginning_where_it_is_long_or_deep() -> None:
    assert shown("five") == "'five'"
    assert shown({"a": [1, None, 2.5]}) == "{'a': [1, None, 2.5]}"
    assert shown("x" * 100_000) == "'" + "x" * 39
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep).startswith("[[[")
    assert len(shown([[[["y" * 1000] * 9] * 9] * 9])) <= 40
