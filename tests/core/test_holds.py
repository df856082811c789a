"""Whose holds are alive is what counting them anew would say, whatever has changed since."""

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.holds import Holds


@frozen
class Kept:
    until: float


PEOPLE = st.sampled_from("abcd")
TIMES = st.integers(0, 9).map(float)
STEPS = st.lists(st.tuples(PEOPLE, st.none() | TIMES, TIMES), max_size=40)


@given(st.dictionaries(PEOPLE, TIMES.map(Kept)), STEPS)
def test_whose_holds_are_alive_is_what_counting_them_anew_says(
    first: dict[str, Kept], steps: list[tuple[str, float | None, float]]
) -> None:
    holds, plain = Holds(first), dict(first)
    for person, until, at in steps:
        if until is None:
            assert holds.pop(person, None) == plain.pop(person, None)
        else:
            holds[person] = plain[person] = Kept(until)
        assert holds.alive(at) == {each for each, hold in plain.items() if hold.until > at}
        assert holds == plain
        assert (list(holds), len(holds)) == (list(plain), len(plain))
        assert list(holds.values()) == list(plain.values())
        assert (list(holds.items()), list(holds.keys())) == (list(plain.items()), list(plain))
        holds = Holds(holds) if at > 5.0 else holds  # a copy goes on as what it was made of
        assert holds == Holds(plain) != Holds({**plain, "e": Kept(1.0)})
        assert (person in holds, holds.get(person)) == (person in plain, plain.get(person))


def test_holds_of_a_copy_are_its_own() -> None:
    holds = Holds({"a": Kept(5.0)})
    assert holds.alive(0.0) == {"a"}
    copy = Holds(holds)
    copy["b"] = Kept(6.0)
    del copy["a"]
    assert holds.alive(0.0) == {"a"}
    assert copy.alive(0.0) == {"b"}
