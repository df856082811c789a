"""Who is no longer a member goes, after two look-ups or a word of the homeserver's; others stay."""

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import Attendance, Identity, LiveKitRoom, Participant, RoomId, UserId
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.effects import BACK_SECONDS
from lotus_guard.enforce.expulsion import Expulsion
from lotus_guard.enforce.member_turn import Pace
from lotus_guard.enforce.member_watch import (
    HINTS_LAST,
    MOST_IN_ROUND,
    MOST_PUT_OUT,
    MOST_UNDER_WAY,
    PER_SECONDS,
    SECOND_LOOK,
    MemberWatch,
)
from lotus_guard.enforce.memberships import PUSHED, Memberships
from lotus_guard.enforce.ports import Flooded, MayNotLook, Outage
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.rules.plan import NOTHING, Expel
from tests.enforce.member_source import ALICE, BOB, INSIDE, OUTSIDE, UNHEARD, MemberSource
from tests.enforce.stand_ins import AWAY, ROOM, Rank, Records

CALL = LiveKitRoom("call")
POLL = 60.0


@define(eq=False)
class People(Expulsion):
    """Knows who is there, and keeps whom it is asked to put out."""

    presence: Any = None
    directory: Directory = field(factory=Directory)
    effects: Any = None
    store: Any = None
    journal: Any = None
    is_observed: bool = False
    gone: list[tuple[UserId, Standing]] = field(factory=list)
    late: list[int] = field(factory=list)
    there: dict[RoomId, list[Identity]] = field(factory=dict)
    trouble: Exception | None = None
    looks: int = 0
    are_people: bool = True
    hangs: set[RoomId] = field(factory=set)
    """The rooms that are never read to their end."""

    def __attrs_post_init__(self) -> None:
        self.presence = self.journal = self

    def enter(self, user: UserId | None, room: RoomId = ROOM) -> Identity:
        livekit_room = LiveKitRoom(f"{CALL}{room}")
        identity = Identity(f"{user}{len(self.there.get(room, []))}")
        self.directory.learn_room(livekit_room, Binding(room, "slot", Evidence.PROOF))
        if user is not None:
            self.directory.learn_identity(identity, user, livekit_room)
        self.there.setdefault(room, []).append(identity)
        return identity

    async def look(self, room: RoomId, not_before: float, in_background: bool = False) -> Seen:
        self.looks += 1
        if self.trouble:
            raise self.trouble
        if room in self.hangs:
            await Deferred()
        people = tuple(
            Participant(each, "S", NOTHING, is_person=self.are_people)
            for each in self.there.get(room, ())
        )
        return Seen(0.0, (CALL,), {CALL: Attendance(0.0, people)})

    def put_off(self, room: RoomId, steps: int) -> None:
        self.late.append(steps)

    async def steps(self, room: RoomId, user: UserId, standing: Standing) -> list[Expel]:
        return [
            Expel(CALL, Participant(each, "S", NOTHING), user, standing)
            for each in self.there.get(room, [])
            if self.user_of(each) == user
        ]

    async def put_out(self, room: RoomId, user: UserId, steps: Sequence[Expel], turn: Any) -> None:
        if steps and not self.is_observed:
            gone = {step.participant.identity for step in steps}
            self.there[room] = [each for each in self.there[room] if each not in gone]
            for seconds in BACK_SECONDS:
                turn.again(seconds)
        self.gone += [(user, step.standing) for step in steps[:1]]


@define(eq=False)
class Scene:
    """A watch over a room's calls."""

    answers: Sequence[Any] = (INSIDE,)
    pushing: bool = False
    rank: Rank = field(factory=Rank)
    clock: Clock = field(factory=Clock)
    records: Records = field(factory=Records)
    people: People = field(factory=People)
    source: MemberSource = field(init=False)
    watch: MemberWatch = field(init=False)

    def __attrs_post_init__(self) -> None:
        now = self.clock.seconds
        self.clock.advance(1000.0)
        self.source = MemberSource(list(self.answers))
        memberships = Memberships(self.source, self.source, lambda: self.pushing, now)
        self.watch = MemberWatch(
            memberships,
            self.people,
            Pace(RateLimiter(inf, self.clock, now), RateLimiter(inf, self.clock, now)),
            self.records,
            self.rank,
            self.clock,
            now,
            POLL,
        )

    def round(self, *rooms: RoomId) -> None:
        self.watch.begin_round(rooms or (ROOM,))
        self.wait(0.1)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    @property
    def gone(self) -> list[UserId]:
        return [user for user, _ in self.people.gone]


def came(identity: Identity, room: RoomId = ROOM) -> Event:
    livekit_room = LiveKitRoom(f"{CALL}{room}")
    return Event("e", EventKind.JOINED, livekit_room, identity, "S", False)


def test_a_member_stays() -> None:
    scene = Scene()
    scene.people.enter(ALICE)
    for _ in range(5):
        scene.round()
        scene.wait(2.0)
    assert scene.gone == []
    assert len(scene.source.asked) == 5


def test_two_look_ups_in_a_row_put_out() -> None:
    scene = Scene([OUTSIDE])
    scene.people.enter(ALICE)
    scene.round()
    assert scene.gone == []
    scene.wait(SECOND_LOOK + 0.1)
    assert scene.people.gone == [(ALICE, OUTSIDE)]


@pytest.mark.parametrize("between", [INSIDE, AWAY, MayNotLook("no")])
def test_one_look_up_puts_nobody_out(between: Any) -> None:
    scene = Scene([OUTSIDE, between])
    scene.people.enter(ALICE)
    scene.round()
    scene.wait(5.0)
    assert scene.gone == []


def test_a_doubt_from_long_ago_is_no_first_look_up() -> None:
    scene = Scene([OUTSIDE, AWAY, OUTSIDE, INSIDE])
    scene.people.enter(ALICE)
    scene.round()
    scene.wait(20.0)
    scene.round()
    scene.wait(5.0)
    assert scene.gone == []


@pytest.mark.parametrize("answer", [AWAY, MayNotLook("no"), UNHEARD])
def test_no_doubt_puts_anybody_out(answer: Any) -> None:
    scene = Scene([answer])
    scene.people.enter(ALICE)
    for _ in range(5):
        scene.round()
        scene.wait(2.0)
    assert scene.gone == []
    assert (("members", "reset") in scene.records.unenforced) == (answer is AWAY)


def test_whoever_comes_with_an_old_token_is_looked_at_when_they_come() -> None:
    scene = Scene([OUTSIDE])
    identity = scene.people.enter(ALICE)
    scene.watch.hint(came(identity))
    scene.wait(1.0)
    assert scene.gone == [ALICE]


def test_who_leaves_is_not_looked_at() -> None:
    scene = Scene([OUTSIDE])
    identity = scene.people.enter(ALICE)
    event = Event("e", EventKind.LEFT, LiveKitRoom(f"{CALL}{ROOM}"), identity, "S", True)
    scene.watch.hint(event)
    scene.watch.hint(came(Identity("nobody's")))
    scene.wait(1.0)
    assert scene.source.asked == []


def test_a_word_of_the_homeservers_and_one_look_up_put_out_at_once() -> None:
    scene = Scene([OUTSIDE], pushing=True)
    scene.people.enter(ALICE)
    scene.watch.told(ROOM, ALICE, Membership.BAN)
    assert scene.people.gone == [(ALICE, Standing(Membership.BAN, True, PUSHED))]


def test_a_user_of_another_homeserver_goes_by_its_word() -> None:
    scene = Scene([UNHEARD], pushing=True)
    scene.people.enter(BOB)
    scene.watch.told(ROOM, BOB, Membership.LEAVE)
    assert scene.people.gone == [(BOB, Standing(Membership.LEAVE, False, PUSHED))]


def test_its_word_counts_where_it_does_not_answer() -> None:
    scene = Scene([AWAY], pushing=True)
    scene.people.enter(ALICE)
    scene.watch.told(ROOM, ALICE, Membership.LEAVE)
    assert scene.gone == [ALICE]


def test_who_is_back_already_is_not_put_out_by_a_word_about_their_leaving() -> None:
    scene = Scene([INSIDE], pushing=True)
    scene.people.enter(ALICE)
    scene.watch.told(ROOM, ALICE, Membership.LEAVE)
    scene.wait(5.0)
    assert scene.gone == []
    assert len(scene.source.asked) == 2, "what answers may lag behind what tells"


def test_a_word_about_somebody_without_a_token_costs_nothing() -> None:
    scene = Scene([OUTSIDE], pushing=True)
    scene.people.enter(ALICE)
    scene.watch.told(ROOM, BOB, Membership.LEAVE)
    scene.watch.told(RoomId("!other:s"), ALICE, Membership.LEAVE)
    scene.watch.told(ROOM, ALICE, Membership.JOIN)
    assert scene.source.asked == []


def test_while_the_homeserver_tells_by_itself_people_are_looked_up_seldom() -> None:
    scene = Scene(pushing=True)
    scene.people.enter(ALICE)
    for _ in range(10):
        scene.round()
        scene.wait(2.0)
    assert len(scene.source.asked) == 1
    scene.wait(POLL)
    scene.round()
    assert len(scene.source.asked) == 2


def test_a_guard_that_does_not_lead_looks_at_nobody_and_learns_all_the_same() -> None:
    scene = Scene([UNHEARD], pushing=True, rank=Rank(is_leader=False))
    scene.watch.hint(came(scene.people.enter(BOB)))
    scene.watch.told(ROOM, BOB, Membership.LEAVE)
    scene.round()
    scene.wait(1.0)
    assert (scene.source.asked, scene.gone) == ([], [])
    scene.rank.is_leader = True
    scene.round()
    scene.wait(1.0)
    assert scene.gone == [BOB]


def test_what_fails_for_one_room_says_nothing_of_the_next() -> None:
    other = RoomId("!other:s")
    scene = Scene([AWAY, OUTSIDE])
    scene.people.enter(ALICE)
    scene.people.enter(ALICE, other)
    scene.round(ROOM, other)
    scene.wait(1.0)
    assert (ROOM, ALICE) in scene.source.asked
    assert scene.gone == [ALICE]


@pytest.mark.parametrize("trouble", [AWAY, Flooded("long"), RuntimeError("a bug")])
def test_a_call_that_cannot_be_read_ends_nothing(trouble: Exception, logged: list[Any]) -> None:
    scene = Scene([OUTSIDE])
    scene.people.enter(ALICE)
    scene.people.trouble = trouble
    scene.round()
    is_bug = not isinstance(trouble, Outage | Flooded)
    assert len([each for each in logged if "log_failure" in each]) == is_bug
    assert len(scene.records.unenforced) == (not isinstance(trouble, Flooded))
    scene.people.trouble = None
    scene.round()
    scene.wait(1.0)
    assert scene.gone == [ALICE]


def test_one_round_at_a_time_and_a_look_up_that_hangs_holds_up_no_hint() -> None:
    scene = Scene([Deferred(), OUTSIDE])
    scene.people.enter(ALICE)
    for _ in range(5):
        scene.round()
    assert len(scene.source.asked) == 1
    scene.watch.hint(came(scene.people.enter(BOB)))
    scene.wait(1.0)
    assert scene.gone == [BOB]
    scene.watch.stop()
    assert scene.watch._round is None


def test_nobody_can_keep_the_watch_from_others_by_coming_and_going() -> None:
    scene = Scene([OUTSIDE])
    scene.source.answers = [Deferred(), OUTSIDE]
    identity = scene.people.enter(ALICE)
    for _ in range(50):
        scene.watch.hint(came(identity))
    scene.wait(1.0)
    assert len(scene.source.asked) == 1
    crowd = [scene.people.enter(UserId(f"@u{number}:s")) for number in range(300)]
    scene.source.answers = [Deferred() for _ in range(400)]
    for each in crowd:
        scene.watch.hint(came(each))
    scene.wait(1.0)
    assert len(scene.source.asked) == MOST_UNDER_WAY


def test_those_come_first_in_a_round_who_have_waited_longest() -> None:
    scene = Scene()
    for number in range(MOST_IN_ROUND + 5):
        scene.people.enter(UserId(f"@u{number}:s"))
    scene.round()
    assert len(scene.source.asked) == MOST_IN_ROUND
    seen = set(scene.source.asked)
    scene.round()
    assert len(set(scene.source.asked) - seen) == 5


def test_a_mistake_cannot_empty_a_room_at_once() -> None:
    scene = Scene([OUTSIDE])
    for number in range(MOST_PUT_OUT + 3):
        scene.people.enter(UserId(f"@u{number}:s"))
    scene.round()
    scene.wait(SECOND_LOOK + 0.2)
    assert len(scene.gone) == MOST_PUT_OUT
    assert scene.people.late == [1, 1, 1]
    scene.wait(PER_SECONDS + 0.2)
    assert len(scene.gone) == MOST_PUT_OUT + 3


def test_strangers_are_counted_who_are_in_a_call_and_not_known_to_be_members() -> None:
    scene = Scene([INSIDE, OUTSIDE])
    scene.people.is_observed = True
    scene.people.enter(ALICE)
    scene.people.enter(None)
    scene.round()
    assert scene.watch.strangers == {ROOM: 1}
    scene.wait(2.0)
    scene.round()
    scene.wait(2.0)
    scene.round()
    assert scene.watch.strangers_in(ROOM) == 2
    scene.round(RoomId("!other:s"))
    assert ROOM not in scene.watch.strangers


def test_a_room_of_which_all_is_told_is_not_looked_at_in_every_round() -> None:
    scene = Scene(pushing=True)
    identity = scene.people.enter(ALICE)
    scene.round()
    scene.round()
    assert scene.people.looks == 2, "LiveKit has told of nobody yet"
    scene.watch.hint(came(identity))
    scene.wait(1.0)
    for _ in range(5):
        scene.round()
    assert scene.people.looks == 2
    scene.wait(POLL)
    scene.round()
    assert scene.people.looks == 3


def test_looks_for_who_may_be_back_take_no_place_of_those_who_are_there() -> None:
    scene = Scene([OUTSIDE], pushing=True)
    for number in range(12):
        scene.people.enter(UserId(f"@u{number}:s"))
    for number in range(12):
        scene.watch.told(ROOM, UserId(f"@u{number}:s"), Membership.LEAVE)
    scene.wait(5.0)
    assert len(scene.gone) == 12
    assert scene.people.late == []


def test_who_was_put_out_is_looked_for_in_every_round_while_others_rest() -> None:
    scene = Scene([OUTSIDE], pushing=True)
    scene.people.enter(ALICE)
    scene.watch.told(ROOM, ALICE, Membership.LEAVE)
    scene.wait(4.0)
    scene.people.enter(ALICE)
    scene.round()
    scene.wait(1.0)
    assert scene.gone == [ALICE, ALICE]


def test_hints_that_have_stopped_are_not_relied_on() -> None:
    scene = Scene(pushing=True)
    scene.watch.hint(came(scene.people.enter(ALICE)))
    scene.round()
    scene.round()
    assert scene.people.looks == 1
    scene.clock.advance(HINTS_LAST)
    scene.round()
    scene.round()
    assert scene.people.looks == 3


def test_once_it_has_stopped_nothing_begins() -> None:
    scene = Scene([OUTSIDE])
    identity = scene.people.enter(ALICE)
    scene.watch.stop()
    scene.watch.hint(came(identity))
    scene.watch.told(ROOM, ALICE, Membership.LEAVE)
    scene.round()
    scene.wait(5.0)
    assert scene.source.asked == []


def test_a_stream_is_no_stranger() -> None:
    scene = Scene()
    scene.people.enter(None)
    scene.people.are_people = False
    scene.round()
    assert scene.watch.strangers_in(ROOM) == 0


ANSWERS = st.lists(st.sampled_from([INSIDE, AWAY, MayNotLook("no")]), min_size=1)
ACTS = st.lists(st.sampled_from(["round", "came", "wait", "left", "ban", "join"]))


@given(ANSWERS, ACTS, st.booleans())
def test_nobody_is_put_out_whom_the_homeserver_says_to_be_a_member(
    answers: list[Any], acts: list[str], pushing: bool
) -> None:
    """The word of a homeserver that does not answer is all there is: those are left out here."""
    answers = answers if not {"left", "ban"} & set(acts) else [INSIDE]
    scene = Scene(answers, pushing=pushing)
    identity = scene.people.enter(ALICE)
    for act in acts:
        if act == "round":
            scene.round()
        elif act == "came":
            scene.watch.hint(came(identity))
        elif act == "wait":
            scene.wait(1.0)
        else:
            said = {"left": Membership.LEAVE, "ban": Membership.BAN, "join": Membership.JOIN}
            scene.watch.told(ROOM, ALICE, said[act])
    scene.wait(5.0)
    assert scene.gone == []


@pytest.mark.parametrize("answer", [UNHEARD, AWAY])
def test_who_is_told_to_be_back_while_they_are_looked_up_stays(answer: Any) -> None:
    asked: Deferred[Standing] = Deferred()
    scene = Scene([asked, answer], pushing=True)
    scene.people.enter(BOB)
    scene.watch.told(ROOM, BOB, Membership.LEAVE)
    scene.watch.told(ROOM, BOB, Membership.JOIN)
    if isinstance(answer, Exception):
        asked.errback(answer)
    else:
        asked.callback(answer)
    scene.wait(5.0)
    assert scene.gone == []


def test_whoever_could_not_be_put_out_is_tried_again_in_the_next_round() -> None:
    scene = Scene([OUTSIDE], pushing=True)
    scene.people.enter(ALICE)
    scene.round()
    scene.wait(1.0)
    scene.people.gone.clear()
    scene.people.enter(ALICE)  # LiveKit was away just then, or they are back with an old token
    scene.round()
    scene.wait(1.0)
    assert scene.gone == [ALICE]


def test_those_who_come_and_go_do_not_hold_up_the_round() -> None:
    """One user in hundreds of rooms of their own, in and out again and again."""
    scene = Scene([OUTSIDE])
    scene.watch.pace.rounds.rate = scene.watch.pace.arrivals.rate = 10.0
    mine = [RoomId(f"!mine{number}:s") for number in range(300)]
    eve = UserId("@eve:s")
    ins = [(scene.people.enter(eve, room), room) for room in mine]
    scene.people.enter(ALICE)
    for _ in range(10):
        for identity, room in ins:
            scene.watch.hint(came(identity, room))
        scene.wait(0.1)
    for _ in range(2):
        scene.round()
        for _ in range(20):
            for identity, room in ins:
                scene.watch.hint(came(identity, room))
            scene.wait(0.1)
    assert ALICE in scene.gone


def test_a_room_that_takes_long_to_read_holds_up_no_other() -> None:
    long, other = RoomId("!long:s"), RoomId("!other:s")
    scene = Scene([OUTSIDE])
    scene.people.enter(ALICE, other)
    scene.people.hangs = {long}
    for _ in range(3):
        scene.round(long, other)
        scene.wait(2.0)
    assert ALICE in scene.gone
    (visit,) = scene.watch._visits.values()
    visit.cancel()
    scene.people.enter(BOB, long)
    scene.people.hangs = set()
    for _ in range(2):
        scene.round(long)
        scene.wait(1.0)
    assert BOB in scene.gone
