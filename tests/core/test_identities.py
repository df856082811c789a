"""Whose each identity is: by where it was issued, the newest last, and two users' is nobody's."""

from lotus_guard.core.identities import Identities
from lotus_guard.core.model import Identity, LiveKitRoom, UserId

CALL, SECOND = LiveKitRoom("call"), LiveKitRoom("second")
ANN, BOB, BOTH = Identity("ann"), Identity("bob"), Identity("both")


class Known:
    """Identities, on a clock turned by hand."""

    def __init__(self, most: int = 100) -> None:
        self.now = 0.0
        self.dropped: list[tuple[LiveKitRoom, Identity]] = []
        self.identities = Identities(
            most, 10**6, lambda: self.now, lambda *gone: self.dropped.append(gone)
        )

    def put(self, livekit_room: LiveKitRoom, identity: Identity, user: str = "") -> bool:
        self.now += 1.0
        return self.identities.put(livekit_room, identity, UserId(user or f"@{identity}:s"))


def test_the_newest_token_says_where_somebody_is_at_home() -> None:
    known = Known()
    assert known.put(CALL, ANN)
    assert known.put(SECOND, ANN)
    assert known.identities.home_of(ANN) == SECOND
    assert not known.put(CALL, ANN), "that is no news"
    assert known.identities.home_of(ANN) == CALL
    assert known.identities.home_of(BOB) is None


def test_whom_tokens_were_issued_to_newest_first() -> None:
    known = Known()
    for identity in (ANN, BOB, BOTH, ANN):
        known.put(CALL, identity)
    assert known.identities.newest(CALL, 9, 0.0) == [ANN, BOTH, BOB]
    assert known.identities.newest(CALL, 2, 0.0) == [ANN, BOTH]
    assert known.identities.newest(CALL, 9, 3.0) == [ANN, BOTH]
    assert known.identities.newest(SECOND, 9, 0.0) == []


def test_what_was_two_users_is_nobodys_everywhere() -> None:
    known = Known()
    known.put(CALL, BOTH, "@x:s")
    known.put(SECOND, BOTH, "@x:s:8448")
    assert {str(user) for _, _, user in known.identities.items()} == {BOTH}
    assert not known.put(CALL, BOTH, "@x:s"), "asking again does not win it back"


def test_who_is_taken_out_of_one_call_stays_known_in_the_other() -> None:
    known = Known()
    for call in (CALL, SECOND):
        known.put(call, ANN)
    assert known.identities.take_out(SECOND) == {ANN: "@ann:s"}
    assert known.identities.user_of(ANN) == "@ann:s"
    assert known.identities.home_of(ANN) == CALL
    assert known.identities.livekit_rooms() == {CALL}
    known.identities.take_out(CALL)
    assert known.identities.user_of(ANN) is None


def test_beyond_the_bound_the_longest_unused_goes_and_is_told() -> None:
    known = Known(most=2)
    known.put(CALL, ANN)
    known.put(CALL, BOB)
    known.identities.user_of(ANN)
    known.put(CALL, BOTH)
    assert known.dropped == [(CALL, BOB)]
    assert known.identities.newest(CALL, 9, 0.0) == [BOTH, ANN]
