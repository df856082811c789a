"""Giving back by itself: with a LiveKit that does as the test says."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import ensureDeferred

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.claim import OVER, REFRESHED, Claim
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Attendance, Grant, Identity, LiveKitRoom, Participant, Source
from lotus_guard.core.token import KeyPair, Token
from lotus_guard.enforce.claims import Claims, Key, LocalClaims
from lotus_guard.enforce.giving import Giving, Hands
from lotus_guard.enforce.issuing import Pass
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.rules.plan import Ban, Bans, Curb, GiveBack, Narrow, Silence, Step
from tests.enforce.stand_ins import ROOM, result

CALL = LiveKitRoom("call")
ALL, SOUND = Grant(True, ()), Grant(True, ("microphone",))
NO_CAMERA = Grant(True, ("microphone", "screen_share", "screen_share_audio"))
CAMERA = (Ban("sources", frozenset({Source.CAMERA})),)
NOW = 1_790_000_000.0
ALICE = Participant(Identity("@a:s:D"), "S1", NO_CAMERA, joined=NOW)
KEY = (CALL, ALICE.identity)
GIVE = GiveBack(CALL, ALICE, ALL, ALL)
AWAY = Outage(Reason.TIMEOUT, "made up")


def no_bans(_livekit_room: LiveKitRoom, _participant: Participant) -> Bans:
    return ()


def token(grant: Grant = ALL, **claims: Any) -> Token:
    return Token({"exp": NOW + 300.0, **claims}, CALL, ALICE.identity, grant, KeyPair("k", "s"))


@define(eq=False)
class Store(LocalClaims):
    """Claims that others share, or cannot be reached."""

    is_away: bool = False
    noted: list[Any] = field(factory=list)

    async def change(self, key: Key, work: Callable[[Claim | None], Claim | None]) -> Any:
        if self.is_away:
            raise AWAY
        return await super().change(key, work)

    async def find(self, key: Key, sid: str) -> Claim | None:
        if self.is_away:
            raise AWAY
        return await super().find(key, sid)

    async def load(self, livekit_rooms: Any, again: bool = False) -> None:
        self.noted.append((set(livekit_rooms), again))
        if self.is_away:
            raise AWAY

    def step_down(self) -> None:
        self.noted.append("stepped down")


@define(eq=False)
class Arm:
    """What gives back, and all that it touches."""

    there: Participant | None = ALICE
    failure: Outage | None = None
    done: list[Any] = field(factory=list)
    now: float = NOW
    store: Store = field(init=False)
    giving: Giving = field(init=False)
    hands: Hands = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = Store(Claims(), lambda *_: None)
        service: Any = self
        directory = Directory()
        directory.learn_room(CALL, Binding(ROOM, "slot", Evidence.BELIEF))
        self.giving = Giving(self.store, directory, service, lambda: self.now)
        self.hands = Hands(service, self.giving)

    async def participant(self, *_: Any) -> Participant | None:
        return self.there

    async def permit(self, livekit_room: Any, participant: Participant, grant: Grant) -> None:
        claim = self.store.claims.get(KEY)
        self.done.append((participant.identity, grant, claim and claim.under_way))
        if self.failure:
            raise self.failure

    async def curb(self, _livekit_room: Any, identity: Identity) -> None:
        self.done.append(("curb", identity))

    @property
    def claim(self) -> Claim:
        claim = self.store.claims.get(KEY)
        assert claim is not None
        return claim

    def look(
        self,
        *steps: Step,
        there: tuple[Participant, ...] = (ALICE,),
        bans_of: Any = no_bans,
        is_whole: bool = True,
    ) -> list[GiveBack]:
        rooms = {CALL: Attendance(self.now, there, is_whole=is_whole)}
        found: Any = result(ensureDeferred(self.giving.look(rooms, steps, bans_of)))
        assert isinstance(found, list), found
        return found

    def give(self, step: GiveBack = GIVE) -> Any:
        return result(ensureDeferred(self.hands.give(step)))


@pytest.fixture
def arm() -> Arm:
    """Somebody with a token that was narrowed."""
    arm = Arm()
    arm.giving.issued(token(), Pass("x", sent=token(NO_CAMERA, exp=NOW + 100.0)))
    return arm


def test_a_token_is_kept_as_upstream_gave_it_and_as_it_went_out(arm: Arm) -> None:
    assert arm.claim.granted == ALL
    assert [each.grant for each in arm.claim.carried] == [NO_CAMERA]
    assert arm.claim.lasts == NOW + 160.0
    arm.giving.issued(token(), Pass())
    assert [each.grant for each in arm.claim.carried] == [NO_CAMERA, ALL]
    arm.giving.issued(token(), Pass("x", sent=token(SOUND), granted=NO_CAMERA))
    assert arm.claim.granted == NO_CAMERA, "what is taken for good is not given back"


@pytest.mark.parametrize("end", [None, "tomorrow"])
def test_a_token_without_an_end_lasts(end: Any) -> None:
    arm = Arm()
    arm.giving.issued(token(), Pass("x", sent=token(NO_CAMERA, exp=end)))
    assert arm.claim.lasts == NOW + REFRESHED


def test_a_token_goes_out_whatever_becomes_of_the_claim(arm: Arm, logged: list[Any]) -> None:
    arm.store.is_away = True
    arm.giving.issued(token(), Pass())
    broken: Any = None
    arm.giving.issued(broken, Pass())
    assert any("Could not record" in str(each.get("log_format")) for each in logged)


def test_what_is_seen_is_followed_and_given_back(arm: Arm) -> None:
    assert arm.look() == [GIVE]
    assert arm.look(bans_of=lambda *_: CAMERA) == []
    assert arm.give() is None
    assert arm.done == [(ALICE.identity, ALL, (ALL,))], "noted before it is sent"
    assert arm.claim.under_way == (), "LiveKit has confirmed it"
    assert arm.look(there=(evolve(ALICE, grant=ALL),)) == []
    assert not arm.claim.is_over


def test_nothing_is_given_where_the_verdict_is_not_certain(arm: Arm) -> None:
    assert arm.look(bans_of=lambda *_: None) == []
    assert arm.claim.session is not None, "what is seen is followed all the same"


def test_who_gets_another_step_is_given_nothing_meanwhile(arm: Arm) -> None:
    assert arm.look(Narrow(CALL, ALICE, SOUND)) == []
    assert arm.look() == [GIVE]


@pytest.mark.parametrize("step", [Silence(CALL, ALICE), Curb(CALL, ALICE)])
def test_who_is_silenced_or_curbed_gets_nothing_back_ever(arm: Arm, step: Step) -> None:
    assert arm.look(step) == []
    assert arm.claim is OVER
    arm.giving.issued(token(), Pass())
    assert arm.claim is OVER
    other = Arm()
    other.look(step)
    assert other.claim is OVER, "also where no claim was known"


def test_whoever_has_gone_may_come_again(arm: Arm) -> None:
    arm.look()
    arm.look(there=(), is_whole=False)
    assert arm.claim.session is not None
    assert arm.claim.session.is_there
    arm.look(there=())
    assert not arm.claim.session.is_there
    assert arm.claim.lasts == NOW + REFRESHED


def test_what_is_taken_is_noted_before_it_is_sent(arm: Arm) -> None:
    arm.look()
    assert result(ensureDeferred(arm.hands.permit(CALL, ALICE, SOUND))) is None
    assert arm.done == [(ALICE.identity, SOUND, (SOUND,))]
    assert not arm.claim.under_way
    arm.failure = AWAY
    assert "made up" in str(result(ensureDeferred(arm.hands.permit(CALL, ALICE, SOUND))))
    assert arm.claim.under_way == (SOUND,), "the answer was lost"
    arm.failure, arm.done[1:] = None, []
    arm.store.is_away = True
    result(ensureDeferred(arm.hands.permit(CALL, ALICE, SOUND)))
    assert len(arm.done) == 2, "what is to be taken is taken all the same"
    result(ensureDeferred(arm.hands.curb(CALL, ALICE.identity)))
    assert arm.done[-1] == ("curb", ALICE.identity)


def test_a_mistake_of_ours_keeps_nothing_from_being_taken(arm: Arm, logged: list[Any]) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    assert arm.look(bans_of=broken) == []
    arm.store.keep = broken
    result(ensureDeferred(arm.hands.permit(CALL, ALICE, SOUND)))
    assert arm.done[0][:2] == (ALICE.identity, SOUND)
    said = " ".join(str(each.get("log_format")) for each in logged)
    assert "Could not find out" in said
    assert "Could not record" in said


@pytest.mark.parametrize(
    "there",
    [
        None,
        evolve(ALICE, sid="S2", grant=ALL),
        evolve(ALICE, grant=SOUND),
        evolve(ALICE, grant=ALL),
    ],
)
def test_what_has_changed_since_the_look_is_not_written_over(arm: Arm, there: Any) -> None:
    arm.look()
    arm.there = there
    assert "after the guard looked" in str(arm.give())
    assert arm.done == []
    assert arm.claim.is_over is (there is not None)


def test_who_came_again_since_the_look_is_given_it_all_the_same(arm: Arm) -> None:
    arm.look()
    arm.there = evolve(ALICE, sid="S2")
    assert arm.give() is None
    assert arm.done == [(ALICE.identity, ALL, (ALL,))]


def test_a_claim_that_has_changed_since_the_look_is_not_given_by(arm: Arm) -> None:
    arm.look()
    arm.giving.issued(token(SOUND), Pass())  # upstream grants less
    assert "after the guard looked" in str(arm.give())
    assert arm.done == []


def test_nothing_is_given_while_the_others_cannot_be_told(arm: Arm) -> None:
    arm.look()
    arm.store.is_away = True
    assert arm.look() == []
    assert "made up" in str(arm.give())
    assert arm.done == []


def test_a_room_owes_by_its_livekit_rooms(arm: Arm) -> None:
    assert arm.giving.owes(ROOM)
    arm.now += 1000.0
    assert not arm.giving.owes(ROOM)
    arm.look()
    assert arm.giving.owes(ROOM)


def test_who_leads_knows_what_the_one_before_did(arm: Arm) -> None:
    for is_away in (False, True):
        arm.store.is_away = is_away
        result(ensureDeferred(arm.giving.begin({CALL})))
        result(ensureDeferred(arm.giving.lifted(ROOM)))
    arm.giving.step_down()
    of_room = set(arm.giving.directory.livekit_rooms_of(ROOM))
    assert arm.store.noted == [
        ({CALL}, False),
        (of_room, True),
        ({CALL}, False),
        (of_room, True),
        "stepped down",
    ]


def test_where_nothing_is_given_back_hands_only_take() -> None:
    arm = Arm()
    hands = Hands(arm.hands.service)
    result(ensureDeferred(hands.permit(CALL, ALICE, SOUND)))
    result(ensureDeferred(hands.give(GIVE)))
    assert arm.done == [(ALICE.identity, SOUND, None)]
