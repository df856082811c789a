"""A dictionary of bounded size: in entries and in bytes, the longest unused goes first."""

import sqlite3
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.lru import ENTRY, LruDict, weight


def test_the_longest_unused_goes_first_and_is_told() -> None:
    gone: list[tuple[str, int]] = []
    recent: LruDict[str, int] = LruDict(2, lambda key, value: gone.append((key, value)))
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert gone == [("b", 2)]
    assert list(recent.items()) == [("a", 1), ("c", 3)]
    assert recent.pop("a") == 1
    assert recent.pop("a") is None
    assert gone == [("b", 2)], "what is taken out is not told"


def test_the_oldest_are_listed_and_stay_the_oldest() -> None:
    recent: LruDict[str, int] = LruDict(3)
    for number, name in enumerate("abc"):
        recent.put(name, number)
    assert recent.oldest(2) == [("a", 0), ("b", 1)]
    assert recent.oldest(9) == [("a", 0), ("b", 1), ("c", 2)]
    recent.put("d", 3)
    assert recent.get("a") is None


def test_the_newest_stays_however_much_it_weighs() -> None:
    recent: LruDict[str, int] = LruDict(9, most_bytes=10, weigh=lambda _key, value: value)
    recent.put("small", 1)
    recent.put("large", 50)
    assert list(recent.items()) == [("large", 50)]


def test_a_text_weighs_more_than_its_characters() -> None:
    assert weight("", "") >= ENTRY
    assert weight("x" * 1000) > weight("x") + 990
    assert weight("ü" * 1000) >= weight("x" * 1000)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_text_weighs_at_least_what_it_takes_and_no_more_once_it_is_written(text: str) -> None:
    fresh = "".join(text)
    before = weight(fresh)
    sqlite3.connect(":memory:").execute("SELECT ?", (fresh,))
    assert weight(fresh) == before == weight(text)
    assert before - ENTRY >= getsizeof(fresh)


def test_what_is_put_again_is_the_newest_and_is_weighed_once() -> None:
    weighed: list[str] = []

    def weigh(key: str, value: list[int]) -> int:
        weighed.append(key)
        return len(value)

    recent: LruDict[str, list[int]] = LruDict(2, weigh=weigh)
    one, two = [1], [1, 2]
    recent.put("a", one)
    recent.put("b", two)
    recent.put("a", one)
    assert (weighed, recent.bytes) == (["a", "b"], 3)
    recent.put("c", one)
    assert list(recent.items()) == [("a", one), ("c", one)]
    assert recent.bytes == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.booleans()), max_size=60))
def test_a_recent_one_weighs_what_is_in_it(steps: list[tuple[int, int, bool]]) -> None:
    recent: LruDict[int, int] = LruDict(4, most_bytes=100, weigh=lambda _key, value: value)
    for key, value, goes in steps:
        if goes:
            recent.pop(key)
        else:
            recent.put(key, value + 1)
        assert recent.bytes == sum(value for _, value in recent.items()) <= 100
        assert len(recent) <= 4
