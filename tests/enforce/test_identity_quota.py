"""How many identities one user may have tokens for: so many in all, and old ones count no more."""

from lotus_guard.core.model import Identity, RoomId
from lotus_guard.enforce.identity_quota import LIFE, MOST_IN_ROOM, IdentityQuota


def test_there_is_a_bound_over_all_rooms() -> None:
    quota = IdentityQuota()
    many = [quota.may("@a:s", RoomId(f"!{n // 50}:s"), Identity(f"i{n}"), 0.0) for n in range(1100)]
    assert sum(many) == 1024
    assert quota.may("@a:s", RoomId("!9999:s"), Identity("new"), LIFE + 1.0)


def test_who_is_at_the_bound_may_go_on_with_what_they_have() -> None:
    quota, room = IdentityQuota(), RoomId("!r:s")
    for number in range(MOST_IN_ROOM):
        assert quota.may("@a:s", room, Identity(f"i{number}"), float(number))
    assert not quota.may("@a:s", room, Identity("one more"), 200.0)
    assert quota.may("@a:s", room, Identity("i0"), 200.0), "asked for again"
    assert quota.may("@a:s", RoomId("!other:s"), Identity("one more"), 200.0)
    assert quota.may("@b:s", room, Identity("one more"), 200.0)
    assert not quota.may("@a:s", room, Identity("one more"), LIFE + 1.0), "i1 counts until then"
    assert quota.may("@a:s", room, Identity("one more"), LIFE + 1.5)
