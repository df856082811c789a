"""Sentences in words: what is filled in, what is missing, and what nobody can do by either."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.sentence import Catalogue, Sentence, fields_in, is_well_formed

ENGLISH = Catalogue(
    "en",
    {
        "hello": "Hello, {name}.",
        "seats": {"one": "1 seat", "other": "{count} seats"},
        "room": "A room with {seats}. {name} is there.",
        "braces": "Send {{}}, or {{name}}.",
        "late": "Too late.",
    },
)
GERMAN = Catalogue(
    "de",
    {"hello": "Hallo, {name}.", "seats": {"one": "ein Platz", "other": "{count} Plätze"}},
    ENGLISH,
)
VALUES = st.one_of(st.text(), st.integers(), st.just(Sentence("seats", {"count": 2})))
SENTENCES = st.builds(
    Sentence,
    st.sampled_from([*ENGLISH.texts, "no such key", ""]),
    st.dictionaries(st.sampled_from(["name", "count", "seats", "x"]), VALUES),
)


def test_a_sentence_is_said_in_the_language_of_its_catalogue() -> None:
    hello = Sentence("hello", {"name": "Ada"})
    assert (ENGLISH.say(hello), GERMAN.say(hello)) == ("Hello, Ada.", "Hallo, Ada.")


@pytest.mark.parametrize(
    ("count", "english", "german"),
    [(1, "1 seat", "ein Platz"), (0, "0 seats", "0 Plätze"), (6, "6 seats", "6 Plätze")],
)
def test_the_count_decides_between_the_forms(count: int, english: str, german: str) -> None:
    seats = Sentence("seats", {"count": count})
    assert (ENGLISH.say(seats), GERMAN.say(seats)) == (english, german)


def test_a_sentence_within_a_sentence_is_in_the_same_language() -> None:
    greeting = Sentence("hello", {"name": Sentence("seats", {"count": 2})})
    assert GERMAN.say(greeting) == "Hallo, 2 Plätze."


def test_what_a_language_lacks_is_said_in_english() -> None:
    assert GERMAN.say(Sentence("late")) == "Too late."
    assert Catalogue("x", {"late": "{who}!"}, ENGLISH).say(Sentence("late")) == "Too late."
    assert Catalogue("x", {"late": {"one": "1"}}, ENGLISH).say(Sentence("late")) == "Too late."


def test_what_no_language_has_is_said_as_it_stands() -> None:
    assert GERMAN.say(Sentence("No calls in {here}.")) == "No calls in {here}."
    assert ENGLISH.say(Sentence("hello")) == "Hello, {name}."


def test_doubled_braces_are_braces() -> None:
    assert ENGLISH.say(Sentence("braces", {"name": "Ada"})) == "Send {}, or {name}."


@given(SENTENCES)
def test_saying_never_fails(sentence: Sentence) -> None:
    for catalogue in (ENGLISH, GERMAN):
        assert isinstance(catalogue.say(sentence), str)


@given(st.text())
def test_a_value_is_never_read_as_a_text(value: str) -> None:
    assert ENGLISH.say(Sentence("hello", {"name": value})) == f"Hello, {value}."


@pytest.mark.parametrize(
    "text", ["{name.__class__}", "{name[0]}", "{name!r}", "{name:>9999}", "{0}", "{}", "{"]
)
def test_a_field_is_a_name_and_nothing_more(text: str) -> None:
    assert not is_well_formed(text)
    assert fields_in(text) == frozenset()
    said: Any = Catalogue("x", {"key": text}).say(Sentence("key", {"name": "Ada"}))
    assert "Ada" not in said
    assert "str" not in said


def test_the_fields_of_a_text_are_found() -> None:
    assert fields_in("{b} of {a}, {{c}} and {a}") == {"a", "b"}
    assert is_well_formed("{b} of {a}, {{c}}")
