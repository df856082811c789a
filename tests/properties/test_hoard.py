"""The laws of hoards: a user has so many identities at once, whatever they ask for, and when."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, RoomId
from lotus_guard.enforce.identity_quota import LIFE, MOST_IN_ROOM, IdentityQuota

ROOM = RoomId("!r:s")


@given(st.lists(st.tuples(st.integers(0, 90), st.floats(0.0, 200.0)), max_size=200))
def test_no_user_has_more_identities_in_a_room_than_may_be(asks: list[tuple[int, float]]) -> None:
    hoards, now, given_at = IdentityQuota(), 0.0, dict[int, float]()
    for who, later in asks:
        now += later
        alive = {i for i, at in given_at.items() if at + LIFE >= now}
        may = hoards.may("@a:s", ROOM, Identity(f"i{who}"), now)
        assert may == (who in alive or len(alive) < MOST_IN_ROOM)
        if may:
            given_at[who] = now
    assert hoards.may("@b:s", ROOM, Identity("other"), now)


def test_there_is_a_bound_over_all_rooms() -> None:
    hoards = IdentityQuota()
    many = [
        hoards.may("@a:s", RoomId(f"!{n // 50}:s"), Identity(f"i{n}"), 0.0) for n in range(1100)
    ]
    assert sum(many) == 1024
    assert hoards.may("@a:s", RoomId("!9999:s"), Identity("new"), LIFE + 1.0)
