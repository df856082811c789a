"""Whose a token is and where it leads: learnt from the answer, and from proved requests."""

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Grant, Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, legacy_identity_of, livekit_room_of
from lotus_guard.core.token import KeyPair, Token
from lotus_guard.core.wire import Endpoint, TokenRequest
from lotus_guard.enforce.identity_quota import MOST_IN_ROOM
from lotus_guard.enforce.introduction import MOST_SLOTS, Excess, Introduced, Introductions
from lotus_guard.enforce.recipient import Asked

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")
ALICE, BOB = UserId("@alice:s"), UserId("@bob:s")
RANDOM = LiveKitRoom("random-1")
"""A name that no derivation gives, as MSC4195 plans them."""


def token(livekit_room: LiveKitRoom, identity: Identity) -> Token:
    return Token({}, livekit_room, identity, Grant(True, ()), KeyPair("k", "s"))


def request(
    room: RoomId | None = ROOM,
    user: UserId | None = ALICE,
    slot: str = ROOM_SLOT,
    member: str = "m",
    device: str = "D",
) -> TokenRequest:
    return TokenRequest(Endpoint.GET_TOKEN, room, slot, user, device, member)


def legacy(room: RoomId = ROOM, device: str = "D") -> TokenRequest:
    return TokenRequest(Endpoint.LEGACY, room, ROOM_SLOT, None, device, None)


def answer(asked: TokenRequest) -> Token:
    """What upstream answers to a request of `/get_token`."""
    assert asked.room is not None
    identity = identity_of(asked.user or ALICE, asked.device or "", asked.member or "")
    return token(livekit_room_of(asked.room, asked.slot), identity)


@define
class Door:
    clock: Clock = field(factory=Clock)
    directory: Directory = field(factory=Directory)
    introductions: Introductions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.introductions = Introductions(self.directory, self.clock.seconds)

    def introduce(self, asked: TokenRequest, at_token_endpoint: bool = True) -> Introduced:
        return self.introductions.introduce(answer(asked), Asked(asked, at_token_endpoint))

    def ask(self, asked: TokenRequest) -> None:
        """Ask as an honest client does."""
        assert self.introduce(asked).excess is None

    def learnt(self, asked: TokenRequest) -> object:
        directory = self.directory
        return directory.livekit_rooms_of(ROOM), directory.user_of(answer(asked).identity)

    def excess(self, asked: TokenRequest) -> Excess:
        """Ask for one too many; nothing of that is learnt."""
        known = self.learnt(asked)
        holder = self.introduce(asked)
        assert holder.excess is not None
        assert holder.user is None
        assert holder.binding is not None
        assert holder.binding.room == ROOM, "the other rules hold there"
        assert self.learnt(asked) == known
        return holder.excess


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize("at_token_endpoint", [True, False])
def test_what_a_hash_proves_is_learnt_wherever_it_was_asked(
    door: Door, at_token_endpoint: bool
) -> None:
    asked = request()
    made = answer(asked)
    holder = door.introductions.introduce(made, Asked(asked, at_token_endpoint))
    assert (holder.person, holder.user) == (ALICE, ALICE)
    assert holder.binding == Binding(ROOM, ROOM_SLOT, Evidence.PROOF)
    assert door.directory.user_of(made.identity) == ALICE


def test_what_no_hash_proves_is_believed_at_a_token_endpoint_alone(door: Door) -> None:
    made = token(RANDOM, Identity("hash"))
    elsewhere = door.introductions.introduce(made, Asked(request(), False))
    assert (elsewhere.person, elsewhere.user, elsewhere.binding) == ("hash", None, None)
    assert door.directory.binding_of(RANDOM) is None
    there = door.introductions.introduce(made, Asked(request(), True))
    assert there.binding == Binding(ROOM, ROOM_SLOT, Evidence.BELIEF)
    assert (there.person, there.user) == (ALICE, ALICE)


def test_without_a_request_what_was_learnt_counts(door: Door) -> None:
    made = answer(request())
    assert door.introductions.introduce(made, None).binding is None
    door.ask(request())
    holder = door.introductions.introduce(made, None)
    assert holder.binding is not None
    assert (holder.binding.room, holder.person, holder.user) == (ROOM, ALICE, None)


def test_a_room_once_learnt_is_not_talked_away(door: Door) -> None:
    made = token(RANDOM, Identity("hash"))
    door.introductions.introduce(made, Asked(request(), True))
    holder = door.introductions.introduce(made, Asked(request(OTHER), True))
    assert holder.binding is not None
    assert holder.binding.room == ROOM


def test_a_proof_overrules_what_was_only_believed(door: Door) -> None:
    made = answer(request())
    believed = door.introductions.introduce(made, Asked(request(OTHER), True))
    assert believed.binding == Binding(OTHER, ROOM_SLOT, Evidence.BELIEF)
    proved = door.introductions.introduce(made, Asked(request(), False))
    assert proved.binding == Binding(ROOM, ROOM_SLOT, Evidence.PROOF)


def test_a_request_without_a_room_says_who_and_not_where(door: Door) -> None:
    made = token(RANDOM, identity_of(ALICE, "D", "m"))
    holder = door.introductions.introduce(made, Asked(request(None), True))
    assert (holder.user, holder.binding) == (ALICE, None)


def test_at_the_old_endpoint_the_user_is_in_front_of_the_device(door: Door) -> None:
    room = livekit_room_of(ROOM, ROOM_SLOT)
    made = token(room, legacy_identity_of(ALICE, "8448:D"))
    holder = door.introductions.introduce(made, Asked(legacy(device="8448:D"), True))
    assert (holder.person, holder.user) == (ALICE, ALICE)
    lie = door.introductions.introduce(made, Asked(legacy(device="OTHER"), True))
    assert lie.user is None, "the identity does not end with that device"


def test_an_identity_that_was_anothers_is_theirs_only_once_they_have_the_token(
    door: Door,
) -> None:
    """`@x:s` with the device `8448:D` is `@x:s:8448` with the device `D`."""
    one, other = UserId("@x:s"), UserId("@x:s:8448")
    room = livekit_room_of(ROOM, ROOM_SLOT)
    made = token(room, legacy_identity_of(one, "8448:D"))
    door.introductions.introduce(made, Asked(legacy(device="8448:D"), True))
    holder = door.introductions.introduce(made, Asked(legacy(device="D"), True))
    assert (holder.person, holder.user) == (other, other), "judged as who they are"
    assert door.directory.user_of(made.identity) == one, "and nothing is taken from the first"
    door.introductions.confirm(made, other)
    assert door.directory.user_of(made.identity) not in (one, other), "it is nobody's alone"


def test_no_more_slots_than_can_be_looked_at(door: Door) -> None:
    for number in range(MOST_SLOTS - 1):  # and the ordinary one
        door.ask(request(slot=f"slot{number}"))
    excess = door.excess(request(slot="one too many"))
    assert (excess.room, excess.user) == (ROOM, ALICE)
    assert excess.refuse.inputs == {"slots": MOST_SLOTS}
    assert len(door.directory.livekit_rooms_of(ROOM)) == MOST_SLOTS
    for slot in ("slot1", ROOM_SLOT, "m.call#room"):
        door.ask(request(slot=slot))
    door.ask(request(OTHER, slot="one too many"))


def test_no_more_identities_of_one_user_than_can_be_told_apart(door: Door) -> None:
    for number in range(MOST_IN_ROOM):
        door.ask(request(member=f"m{number}"))
    excess = door.excess(request(member="one too many"))
    assert (excess.room, excess.user) == (ROOM, ALICE)
    assert "too many devices" in excess.refuse.why
    door.ask(request(member="m1"))
    door.ask(request(user=BOB, member="one too many"))
    door.ask(request(OTHER, member="one too many"))
    door.clock.advance(3700.0)
    door.ask(request(member="one too many"))


def test_a_refusal_names_nobody(door: Door) -> None:
    for number in range(MOST_IN_ROOM):
        door.ask(request(member=f"m{number}"))
    excess = door.excess(request(member="one too many"))
    assert "alice" not in f"{excess.refuse}"
