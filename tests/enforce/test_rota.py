"""The laws of the rota: nobody chooses how long others wait."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.rota import INVENTED, OTHERS, RESTRICTED, Candidate, Rota

KINDS = st.sampled_from([RESTRICTED, OTHERS, INVENTED])
MOST = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))


def room(name: object) -> RoomId:
    return RoomId(f"!{name}")


@st.composite
def passes(draw: st.DrawFn) -> list[list[Candidate]]:
    """What a hostile client may make of the rooms, from pass to pass."""
    names = st.integers(0, 30)
    one = st.builds(Candidate, names.map(room), st.booleans(), KINDS)
    many = st.lists(one, max_size=25, unique_by=lambda each: each.room)
    return draw(st.lists(many, min_size=1, max_size=12))


@given(passes(), MOST)
def test_no_class_takes_more_than_its_part_or_another_ones(
    rounds: list[list[Candidate]], most: tuple[int, int, int]
) -> None:
    rota = Rota()
    for candidates in rounds:
        chosen = rota.choose(candidates, most).rooms
        assert len(set(chosen)) == len(chosen)
        for kind in (RESTRICTED, OTHERS, INVENTED):
            of_kind = {each.room for each in candidates if each.kind == kind}
            assert len(of_kind & set(chosen)) == min(most[kind], len(of_kind))


@given(passes(), MOST)
def test_rooms_with_people_come_before_those_without(
    rounds: list[list[Candidate]], most: tuple[int, int, int]
) -> None:
    rota = Rota()
    for candidates in rounds:
        choice = rota.choose(candidates, most)
        for kind in (RESTRICTED, OTHERS, INVENTED):
            of_kind = [each for each in candidates if each.kind == kind]
            passed_over = [e for e in of_kind if e.has_people and e.room not in choice.rooms]
            empty = [e for e in of_kind if not e.has_people and e.room in choice.rooms]
            assert not (passed_over and empty)


@given(passes(), MOST, st.integers(0, 20), KINDS)
def test_a_room_waits_for_those_before_it_and_for_nobody_who_comes_later(
    rounds: list[list[Candidate]], most: tuple[int, int, int], others: int, kind: int
) -> None:
    """The bound: as many passes as those who were there already fill, whatever comes in after."""
    rota = Rota()
    here = [Candidate(room(f"here{n}"), True, RESTRICTED) for n in range(others)]
    live = Candidate(room("live"), True, RESTRICTED)
    rota.choose(here, most)
    waited = 0
    for candidates in [*rounds, *[rounds[-1]] * (others + 1)]:
        newcomers = [
            Candidate(RoomId(f"!{waited}{each.room}"), each.has_people, each.kind)
            for each in candidates
        ]
        # Names that sort before all others, as many as the client likes, and the live room last.
        if live.room in rota.choose([*newcomers, *here, live], most).rooms:
            break
        waited += 1
    assert waited <= -(-(others + 1 + len(rounds[0])) // most[RESTRICTED])


def test_a_room_that_had_its_turn_comes_after_one_that_has_just_appeared() -> None:
    rota, most = Rota(), (1, 1, 1)
    old, new = (Candidate(room(name), True, OTHERS) for name in ("old", "new"))
    assert rota.choose([old], most).rooms == [old.room]
    assert rota.choose([old, new], most).rooms == [old.room]
    assert rota.choose([old, new], most).rooms == [new.room]
    assert rota.choose([old, new], most).rooms == [old.room]


def test_what_is_put_off_counts_people_that_nobody_has_invented() -> None:
    crowd = [Candidate(room(n), n % 2 == 0, OTHERS) for n in range(10)]
    invented = [Candidate(room(f"x{n}"), True, INVENTED) for n in range(10)]
    assert Rota().choose([*crowd, *invented], (1, 2, 1)).put_off == 3
