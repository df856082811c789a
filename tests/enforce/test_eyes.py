"""As whom a room may be read: guesses never take the place of whoever was seen in it."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.eyes import MOST_PROVED, MOST_SUGGESTED, Eyes

ROOM, OTHER = RoomId("!r:s"), RoomId("!o:s")


def user(number: int, server: str = "s") -> UserId:
    return UserId(f"@u{number}:{server}")


def test_whoever_was_seen_in_the_room_goes_before_guesses_and_the_latest_first() -> None:
    eyes = Eyes()
    eyes.suggest(ROOM, user(1))
    eyes.proved(ROOM, user(2))
    eyes.proved(ROOM, user(3))
    eyes.suggest(ROOM, user(4))
    assert eyes.of(ROOM) == [user(3), user(2), user(4), user(1)]
    assert eyes.of(OTHER) == []


def test_a_guess_that_proves_right_is_no_guess_any_more() -> None:
    eyes = Eyes()
    eyes.suggest(ROOM, user(1))
    eyes.proved(ROOM, user(1))
    eyes.suggest(ROOM, user(1))
    assert eyes.of(ROOM) == [user(1)]


def test_who_is_forgotten_is_no_reader_until_somebody_names_them_again() -> None:
    eyes = Eyes()
    eyes.proved(ROOM, user(1))
    eyes.suggest(ROOM, user(2))
    for each in (user(1), user(2), user(3)):
        eyes.forget(ROOM, each)
    assert eyes.of(ROOM) == []
    eyes.suggest(ROOM, user(1))
    assert eyes.of(ROOM) == [user(1)]


def test_nobody_of_another_server_is_a_reader_also_where_ours_was_learnt_later() -> None:
    ours = {"s", "elsewhere"}
    eyes = Eyes(lambda each: each.partition(":")[2] in ours)
    eyes.suggest(ROOM, user(1, "elsewhere"))
    eyes.proved(ROOM, user(2, "elsewhere"))
    eyes.suggest(ROOM, user(3))
    ours.remove("elsewhere")
    for number in range(MOST_SUGGESTED):
        eyes.suggest(ROOM, user(10 + number, "elsewhere"))
    eyes.proved(ROOM, user(5, "elsewhere"))
    assert eyes.of(ROOM) == [user(3)]


@given(
    proved=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    suggested=st.lists(st.tuples(st.sampled_from([ROOM, OTHER]), st.integers(0, 40)), max_size=60),
)
def test_no_guess_pushes_out_whoever_was_seen(
    proved: list[int], suggested: list[tuple[RoomId, int]]
) -> None:
    eyes = Eyes()
    for number in proved:
        eyes.proved(ROOM, user(number))
    before = eyes.of(ROOM)
    assert 0 < len(before) <= MOST_PROVED
    for room, number in suggested:
        eyes.suggest(room, user(number))
    assert list(eyes.of(ROOM))[: len(before)] == before
    assert len(eyes.of(ROOM)) <= len(before) + MOST_SUGGESTED


def test_a_flood_of_rooms_pushes_out_no_room_in_which_somebody_was_seen() -> None:
    eyes = Eyes()
    eyes.proved(ROOM, user(1))
    for number in range(25_000):
        eyes.suggest(RoomId(f"!{number}:s"), user(2))
    assert eyes.of(ROOM) == [user(1)]
