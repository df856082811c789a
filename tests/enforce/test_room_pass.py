"""One room brought within its policies: on the sandbox, and by the rules that hold in it."""

from collections.abc import Collection, Sequence, Set
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import ensureDeferred

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    LiveKitRoom,
    Participant,
    RoomId,
    Source,
    UserId,
)
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.core.power import PowerLevels, read_power
from lotus_guard.enforce.policies import Known
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.room_pass import LIVE, Outcome, RoomPass
from lotus_guard.enforce.room_rules import RoomRule, RoomRules
from lotus_guard.rules.plan import MOST, Narrow, Remove, Step
from lotus_guard.rules.rule import Allow, Fact, Facts, Forbid, Who
from lotus_guard.sandbox.livekit_state import Source as Declared
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import AUDIO, NO_CAMERA, VIDEO, Counting, join, metric, people, sources
from tests.enforce.stand_ins import ROOM, Given, Records, Says, Turn, result
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World


@pytest_twisted.ensureDeferred
async def test_a_pass_narrows_whoever_has_too_much_and_keeps_the_rest(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", OPEN)
    alice.permission.agent = True  # a field that the guard knows nothing of
    before = type(alice.permission)()
    before.CopyFrom(alice.permission)
    livekit_room = livekit_room_of(RoomId(OPEN), "m.call#ROOM")
    camera = world.sandbox.sfu.publish(livekit_room, alice.identity, Declared.CAMERA, VIDEO)
    sound = world.sandbox.sfu.publish(livekit_room, alice.identity, Declared.MICROPHONE, AUDIO)
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    await world.guard.live.run_pass()
    wanted = [Declared.MICROPHONE, Declared.SCREEN_SHARE, Declared.SCREEN_SHARE_AUDIO]
    assert sources(alice) == wanted
    assert [t.sid for t in alice.tracks] == [sound.sid]
    assert camera.sid != sound.sid
    before.can_publish_sources.extend(wanted)
    assert alice.permission == before
    await world.guard.live.run_pass()
    assert metric(world, "lotus_guard_live_steps_total", step="narrow", outcome="done") == 1.0
    assert (
        metric(world, "lotus_guard_live_steps_checked_total", step="narrow", effect="seen") == 1.0
    )


@pytest_twisted.ensureDeferred
async def test_a_track_in_disguise_silences_its_publisher_alone(world: World) -> None:
    world.start_guard()
    alice, bob = await join(world, "alice", VOICE), await join(world, "bob", VOICE)
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, alice.identity, Declared.MICROPHONE, VIDEO)
    world.sandbox.sfu.publish(livekit_room, bob.identity, Declared.MICROPHONE, AUDIO)
    await world.guard.live.run_pass()
    assert not alice.permission.can_publish
    assert alice.permission.can_subscribe
    assert list(alice.tracks) == []
    assert len(bob.tracks) == 1


@pytest_twisted.ensureDeferred
async def test_no_pass_removes_more_than_its_bound(world: World) -> None:
    world.start_guard()
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    crowd = [f"guest{i}" for i in range(9)]
    for name in crowd:
        states.openid[f"openid-{name}"] = f"@{name}:sandbox"
    drawers = [(await world.ask(name, TWO, "/get_token")).json()["jwt"] for name in crowd]
    await join(world, "alice", TWO)
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await world.guard.live.run_pass()
    for token in drawers:
        world.sandbox.sfu.join(token)
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 10 - MOST[Remove]
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 1


@pytest_twisted.ensureDeferred
async def test_calls_grow_with_restrictive_rooms_and_not_with_rooms(world: World) -> None:
    world.start_guard()
    for name in ("alice", "bob"):
        await join(world, name, OPEN)
        await join(world, name, VOICE)
    looks: list[LiveKitRoom] = []
    service = world.guard.live.service

    world.guard.live.room_pass.presence.background = Counting(service, looks)
    await world.guard.live.run_pass()
    assert looks == [livekit_room_of(RoomId(VOICE), "m.call#ROOM")]


# By itself, with rules that say what the test wants.

CALL = LiveKitRoom("call")
EPOCH = 1_790_000_000.0
NO_CAM, NO_SCREEN = Forbid(frozenset({Source.CAMERA})), Forbid(frozenset({Source.SCREEN_SHARE}))


@define(eq=False)
class Party:
    """A room with some people, its rules, and all that a pass over it does."""

    rules: Sequence[RoomRule]
    observed: frozenset[str] = frozenset()
    there: tuple[Participant, ...] = ()
    loud: tuple[Identity, ...] = ()
    is_whole: bool = True
    unseated_people: list[str] = field(factory=list)
    changed_at: list[float] = field(factory=list)
    knows_all: bool = True
    has_bug: bool = False
    records: Records = field(factory=Records)
    done: list[tuple[str, str, str]] = field(factory=list)
    """Each step that was carried out: its kind, for whom, and by which rule."""
    would_be: list[tuple[str, str, str]] = field(factory=list)
    notes: list[str] = field(factory=list)
    ages: list[float] = field(factory=list)
    power: PowerLevels | None = None
    exempt: Collection[str] = ()
    room_pass: RoomPass = field(init=False)

    def __attrs_post_init__(self) -> None:
        here: Any = self
        directory = Directory()
        self.room_pass = RoomPass(
            here, here, directory, here, here, here, lambda: EPOCH, self.observed
        )

    interval = 2.0

    def run(self, turn: Turn | None = None) -> Outcome:
        found = result(ensureDeferred(self.room_pass.enforce(ROOM, turn or Turn())))
        assert isinstance(found, Outcome), found
        return found

    # The reader.

    async def with_power(self, known: RoomRules, _room: RoomId, _turn: Turn) -> RoomRules:
        return known.with_power(self.power) if self.power else known.without_power()

    def now(self) -> float:
        return 7.0

    async def read(self, _room: RoomId, _turn: Any) -> RoomRules:
        return RoomRules(self.rules, self.knows_all, self.has_bug)

    @property
    def policies(self) -> Any:
        return self

    def changes(self, _room: RoomId) -> list[float]:
        return self.changed_at

    # Presence.

    async def look(self, _room: RoomId, not_before: float, in_background: bool = False) -> Seen:
        assert (not_before, in_background) == (7.0, True)
        self.notes.append("looked")
        attendance = Attendance(7.0, self.there, self.loud, (), self.is_whole)
        return Seen(7.0, (CALL,), {CALL: attendance})

    # Seats.

    async def free(self, _room: RoomId, _seen: Seen) -> None:
        self.notes.append("freed")

    async def lift(self, _room: RoomId) -> None:
        self.notes.append("lifted")

    async def unseated(
        self, _room: RoomId, seating: RoomRule, exempt: Collection[str]
    ) -> list[str]:
        self.exempt = exempt
        self.notes.append(f"unseated by {seating.rule.name}")
        return self.unseated_people

    # Effects.

    giving: Any = None

    def forget(self, _room: RoomId) -> None:
        self.notes.append("forgotten")

    def forget_all_but(self, rooms: Set[RoomId]) -> None:
        self.notes.append(f"all forgotten but {sorted(rooms)}")

    def would(self, _room: RoomId, step: Step, rule: str) -> None:
        self.would_be.append((type(step).__name__, step.participant.identity, rule))

    def confirm(self, _room: RoomId, _steps: Any, _kept: Any, age: float) -> None:
        self.ages.append(age)

    async def carry_out(self, _room: RoomId, step: Step, rule: str, _turn: Any) -> None:
        self.done.append((type(step).__name__, step.participant.identity, rule))

    # The journal.

    def saw_partly(self, _room: RoomId) -> None:
        self.notes.append("seen in part")

    def put_off(self, _room: RoomId, steps: int) -> None:
        self.notes.append(f"{steps} put off")


def somebody(name: str = "a", *sources: str) -> Participant:
    return Participant(Identity(f"@{name}:s:D"), "S", Grant(True, sources))


def rule(name: str, verdict: Any = None, *needs: Fact, restricts: bool = True) -> RoomRule:
    return RoomRule(Says(name, verdict or Allow(), needs), Known(Given(restricts), True))


def seats(name: str = "seats") -> RoomRule:
    return rule(name, None, Fact.ATTENDANCE)


@pytest.mark.parametrize("rules", [(), (rule("one", restricts=False),)])
def test_a_room_without_a_policy_is_not_looked_at_and_its_seats_are_free(rules: Any) -> None:
    party = Party(rules, there=(somebody(),))
    party.room_pass.people[ROOM] = 3
    assert party.run() is Outcome.NO_POLICY
    assert party.notes == ["lifted", "forgotten"]
    assert party.room_pass.people == {}


def test_seats_are_not_free_where_there_may_be_a_limit_that_could_not_be_read() -> None:
    party = Party((rule("one", restricts=False),), knows_all=False)
    assert party.run() is Outcome.NO_POLICY
    assert party.notes == ["forgotten"]


@pytest.mark.parametrize("restricts", [True, False])
def test_a_pass_with_a_mistake_of_ours_is_no_good_one_and_the_other_rules_hold(
    restricts: bool,
) -> None:
    cameras = rule("one", NO_CAM, restricts=restricts)
    party = Party([cameras], there=(somebody(),), knows_all=False, has_bug=True)
    assert party.run() is Outcome.TROUBLE
    assert [step for step, _, _ in party.done] == (["Narrow"] if restricts else [])


def test_each_step_is_carried_out_for_the_rule_that_calls_for_it() -> None:
    party = Party(
        [rule("one", NO_CAM), rule("two", NO_SCREEN), seats()],
        there=(somebody("a"), somebody("b", "screen_share"), somebody("c", "microphone")),
        unseated_people=["@c:s"],
    )
    assert party.run() is Outcome.UNDER_POLICY
    assert party.done == [
        ("Remove", "@c:s:D", "seats"),
        ("Narrow", "@a:s:D", "one"),
        ("Narrow", "@b:s:D", "two"),
    ]
    assert party.would_be == []
    assert party.notes == ["looked", "freed", "unseated by seats"]
    assert party.room_pass.people == {ROOM: 3}


def test_observed_rules_are_on_record_beside_the_enforced_ones() -> None:
    party = Party(
        [rule("one", NO_CAM), rule("two", NO_SCREEN), seats()],
        frozenset({"two", "seats"}),
        there=(somebody("a"), somebody("b", "screen_share")),
        unseated_people=["@b:s"],
    )
    party.run()
    assert party.done == [("Narrow", "@a:s:D", "one")], "and nobody is put out"
    assert party.would_be == [("Remove", "@b:s:D", "seats"), ("Narrow", "@a:s:D", "two")]


def test_where_the_loop_is_only_observed_nothing_is_done() -> None:
    party = Party(
        [rule("one", NO_CAM), seats()],
        frozenset({LIVE}),
        there=(somebody("a"), somebody("b")),
        unseated_people=["@b:s"],
    )
    party.run()
    assert party.done == []
    assert party.would_be == [("Remove", "@b:s:D", "seats"), ("Narrow", "@a:s:D", "one")]


@pytest.mark.parametrize(
    ("observed", "done", "would_be"),
    [
        ((), ["one"], []),
        (("two",), ["one"], []),
        (("one",), ["two"], []),
        (("one", "two"), [], ["one"]),
    ],
)
def test_who_writes_too_much_is_curbed_once_and_by_an_enforced_rule(
    observed: Any, done: list[str], would_be: list[str]
) -> None:
    """Where it is done anyway, it is not on record as what an observed rule would do."""
    party = Party(
        [rule("one", NO_CAM), rule("two", NO_SCREEN)],
        frozenset(observed),
        loud=(Identity("@loud:s:D"),),
    )
    party.run()
    assert party.done == [("Curb", "@loud:s:D", name) for name in done]
    assert party.would_be == [("Curb", "@loud:s:D", name) for name in would_be]


class Numbered(Says):
    """A rule of so many cameras, or of any number."""

    def cameras(self, policy: Given) -> int | None:
        return policy.seats


@pytest.mark.parametrize(
    ("is_poll", "most", "agains"), [(True, 4, [0.5]), (False, 4, []), (True, None, [])]
)
def test_where_cameras_are_counted_a_pass_has_the_room_looked_at_once_more_before_the_next(
    is_poll: bool, most: int | None, agains: list[float]
) -> None:
    """At a random moment: a quarter of the interval of 2 s, by this chance."""
    numbered = Numbered("cameras", Allow(), [Fact.CAMERAS])
    party = Party([RoomRule(numbered, Known(Given(True, most), True))], there=(somebody(),))
    party.room_pass.stage.chance = lambda: 0.25
    turn = Turn(is_poll)
    party.run(turn)
    assert turn.agains == agains, "one that was woken has no other: they would multiply"


def test_a_bug_in_one_rule_leaves_the_others_as_they_are() -> None:
    party = Party(
        [rule("one", ValueError("a bug")), rule("two", NO_CAM), seats()],
        there=(somebody("a"), somebody("b")),
        unseated_people=["@b:s"],
    )
    assert party.run() is Outcome.UNDER_POLICY
    assert party.done == [("Remove", "@b:s:D", "seats"), ("Narrow", "@a:s:D", "two")]
    assert set(party.records.unenforced) == {("one", "bug")}


def test_a_rule_is_told_whom_it_judges_as_far_as_that_is_known() -> None:
    asked = rule("one")
    Party([asked], there=(somebody("a"),)).run()
    says: Any = asked.rule
    assert says.asked == [(Who("@a:s", Identity("@a:s:D"), UserId("@a:s")), Facts())]


class Bypassed(Says):
    """A rule that holds for others than `@a:s`."""

    def needs_power(self, policy: Given) -> bool:
        return True

    def exempts(self, policy: Given, user: Any, power: Any) -> bool:
        return bool(user == "@a:s" and power.of(user) >= 50)


MODERATED = read_power({"users": {"@a:s": 50, "@b:s": 0}}, None)


def test_a_rule_that_exempts_people_is_told_the_power_levels_and_they_need_no_seat() -> None:
    rule = Bypassed("seats", NO_CAM, [Fact.ATTENDANCE])
    known = RoomRule(rule, Known(Given(seats=1), True))
    party = Party([known], there=(somebody("a"), somebody("b")), power=MODERATED)
    party.run()
    assert [facts.power for _, facts in rule.asked] == [MODERATED, MODERATED]
    assert party.exempt == {"@a:s"}


def test_where_the_power_levels_are_not_known_nothing_is_taken_by_a_rule_that_needs_them() -> None:
    known = RoomRule(Bypassed("one", NO_CAM), Known(Given(), True))
    party = Party([known, rule("two", NO_SCREEN)], there=(somebody("a"),), power=None)
    party.run()
    assert party.done == [("Narrow", "@a:s:D", "two")]
    party = Party([known], there=(somebody("a"),), power=None)
    party.run()
    assert "lifted" not in party.notes, "there is a policy: nobody who comes needs no seat by it"
    assert party.done == []


def test_a_room_that_is_seen_in_part_is_noted() -> None:
    party = Party([rule("one", NO_CAM)], is_whole=False)
    party.run()
    assert "seen in part" in party.notes


def test_more_steps_than_a_pass_may_do_are_put_off_and_noted() -> None:
    crowd = tuple(somebody(f"{number}") for number in range(MOST[Narrow] + 3))
    party = Party([rule("one", NO_CAM)], there=crowd)
    party.run()
    assert len(party.done) == MOST[Narrow]
    assert "3 put off" in party.notes


@pytest.mark.parametrize(
    ("changed_at", "age"),
    [([], 0.0), ([EPOCH - 5.0, EPOCH - 7.0], 7.0), ([EPOCH - 61.0], 0.0), ([EPOCH + 3.0], 0.0)],
)
def test_a_step_has_been_called_for_since_the_policy_changed(
    changed_at: list[float], age: float
) -> None:
    party = Party([rule("one", NO_CAM)], there=(somebody(),), changed_at=changed_at)
    party.run()
    assert party.ages == [age]


@pytest.mark.parametrize(
    ("there", "loud", "is_whole", "is_empty"),
    [
        ((), (), True, True),
        ((somebody(),), (), True, False),
        ((), (Identity("loud"),), True, False),
        ((), (), False, False),
    ],
)
def test_a_room_is_empty_where_a_whole_look_shows_nobody(
    there: Any, loud: Any, is_whole: bool, is_empty: bool
) -> None:
    party = Party([], there=there, loud=loud, is_whole=is_whole)
    assert result(ensureDeferred(party.room_pass.is_empty(ROOM))) is is_empty


def test_what_is_known_of_finished_rooms_is_dropped() -> None:
    party = Party([rule("one", NO_CAM)], there=(somebody(),))
    party.run()
    party.room_pass.forget_all_but({ROOM})
    assert party.room_pass.people == {ROOM: 1}
    party.room_pass.forget_all_but(frozenset())
    assert party.room_pass.people == {}
    assert party.notes[-2:] == [f"all forgotten but {[ROOM]}", "all forgotten but []"]
