"""The language of a client: what they want most of what there is, whatever the header says."""

from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lotus_guard.core.language import MOST_HEADER, choose, shortened

LANGUAGES = ("en", "de", "pt-br")
WORD = st.sampled_from(["de", "de-AT", "en", "en-GB", "pt", "pt-BR", "fr", "*", "x-y", "ü"])
QUALITY = st.sampled_from(["", ";q=0", ";q=0.5", "; q=1.000", ";q=2", ";q=", ";q=nan", ";level=1"])
HEADERS = st.lists(st.tuples(WORD, QUALITY).map("".join)).map(", ".join)


def chosen(header: str) -> str:
    return choose(header.encode(), LANGUAGES, "en")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("de-Latn-AT-1996", "de"),
        ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "de"),
        ("en-US,en;q=0.5", "en"),
        ("en;q=0.5,de;q=0.9", "de"),
        ("de;q=0.5, en", "en"),
        ("fr, de;q=0.3", "de"),
        ("fr-CH, fr;q=0.9, *;q=0.5", "en"),
        ("*", "en"),
        ("*, de;q=0.5", "en"),
        ("de;q=0", "en"),
        ("de;q=0.000, *", "en"),
        ("de-AT, de;q=0, en", "en"),
        ("pt-BR", "pt-br"),
        ("pt", "en"),
        ("de , en", "de"),
        ("de ; q=0.1 ,en;q=0.2", "en"),
        ("", "en"),
        (",,;q=1,", "en"),
        ("de;q=7, en", "en"),
        ("de;q=-1", "en"),
        ("de;q=0.1234, en;q=0.01", "en"),
        ("deutsch", "en"),
        ("d e", "en"),
        ("de_AT", "en"),
    ],
)
def test_what_is_wanted_most_of_what_there_is(header: str, language: str) -> None:
    assert chosen(header) == language


@given(st.one_of(st.binary(max_size=2000), HEADERS.map(lambda text: text.encode("latin-1"))))
@example(b"de;q=0," * 9)
def test_whatever_the_header_says_it_is_a_language_that_there_is(header: bytes) -> None:
    assert choose(header, LANGUAGES, "en") in LANGUAGES


@given(HEADERS, st.sampled_from(LANGUAGES))
def test_what_is_wanted_before_all_else_is_spoken(header: str, language: str) -> None:
    refused = {each.partition(";")[0].lower() for each in header.split(", ") if "q=0" in each}
    if language not in refused:
        assert chosen(f"{language}, {header}") == language


@given(st.binary(min_size=1, max_size=200))
def test_what_is_beyond_the_bound_is_not_read(more: bytes) -> None:
    start = b"de".ljust(MOST_HEADER)
    assert choose(start + more, LANGUAGES, "en") == "de"
    assert choose(b"fr".ljust(MOST_HEADER) + b"," + more, LANGUAGES, "de") == "de"


@pytest.mark.parametrize("piece", [b"a-", b"-", b" ", b"de;q=0,", b"a,", b";q=0.", b"de-a-"])
def test_a_long_header_takes_no_longer_than_its_beginning(piece: bytes) -> None:
    header = (piece * 8192)[:8192]
    begun = process_time()
    for _ in range(100):
        choose(header, LANGUAGES, "en")
    assert process_time() - begun < 0.5, "5 ms each would be thirty times what it takes"


def test_a_tag_is_shortened_from_behind() -> None:
    assert shortened("zh-hant-tw") == ["zh-hant-tw", "zh-hant", "zh"]
