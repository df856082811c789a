"""The law of identity quotas: a user has so many at once, whatever they ask for, and when."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, RoomId
from lotus_guard.enforce.identity_quota import LIFE, MOST_IN_ROOM, IdentityQuota

ROOM = RoomId("!r:s")


@given(st.lists(st.tuples(st.integers(0, 90), st.floats(0.0, 200.0)), max_size=200))
def test_no_user_has_more_identities_in_a_room_than_may_be(asks: list[tuple[int, float]]) -> None:
    quota, now, given_at = IdentityQuota(), 0.0, dict[int, float]()
    for who, later in asks:
        now += later
        alive = {i for i, at in given_at.items() if at + LIFE >= now}
        may = quota.may("@a:s", ROOM, Identity(f"i{who}"), now)
        assert may == (who in alive or len(alive) < MOST_IN_ROOM)
        if may:
            given_at[who] = now
    assert quota.may("@b:s", ROOM, Identity("other"), now)
