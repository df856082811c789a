"""The live loop finds policies within its share of Synapse's time."""

import time
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock, deferLater

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.power import PowerLevels, read_power
from lotus_guard.enforce.policies import AllPolicies, Known
from lotus_guard.enforce.policy_reader import LONGEST_POLL, PolicyReader
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.remembered import Kept
from lotus_guard.enforce.room_rules import RoomRule, RoomRules
from lotus_guard.rules.rule import Allow, Reading
from tests.calls import NO_CAMERA, Counting, join
from tests.enforce.stand_ins import (
    AWAY,
    MAX_AGE,
    ROOM,
    Given,
    Homeserver,
    Journal,
    Records,
    Says,
    Turn,
    policies_of,
    result,
    unhandled,
)
from tests.events import SOURCES_EVENT
from tests.world import FAST, World, reactor


@pytest_twisted.ensureDeferred
async def test_a_synapse_that_hangs_delays_a_pass_by_one_deadline_not_by_one_a_room(
    world: World,
) -> None:
    world.start_guard(**FAST, LOTUS_GUARD_POLICY_STALE="0", LOTUS_GUARD_POLICY_RATE="5000")
    for number in range(40):
        room = f"!r{number}:sandbox"
        world.sandbox.homeserver.add_room(room, "@admin:sandbox")
        await join(world, "alice", room)
    world.sandbox.homeserver.hangs_for = SOURCES_EVENT
    world.sandbox.homeserver.whoami_hangs = True
    begun = time.monotonic()
    await world.guard.live.run_pass()
    # Four rooms at a time, until enough have failed in a row; all of them would take 3 s.
    assert time.monotonic() - begun < 2.0


@pytest_twisted.ensureDeferred
async def test_many_rooms_with_a_policy_delay_no_enforcement_of_what_is_known(
    world: World,
) -> None:
    """Anybody can have rooms with a policy of their own, and somebody in each."""
    world.start_guard(LOTUS_GUARD_POLICY_RATE="20", LOTUS_GUARD_RECONCILE_INTERVAL="0.5")
    live, states = world.guard.live, world.sandbox.homeserver
    rooms = [RoomId(f"!{number:02}:sandbox") for number in range(30)]
    for room in rooms:
        states.add_room(room, "@admin:sandbox")
        states.set_state(room, SOURCES_EVENT, NO_CAMERA)
        await join(world, "alice", room)
    looks: list[LiveKitRoom] = []
    live.room_pass.presence.background = Counting(live.service, looks)
    asked = world.sandbox.homeserver.asked = []
    for number in range(1, 4):
        begun = time.monotonic()
        await live.run_pass()
        assert len(looks) == 30 * number, "all are looked at in each pass"
        assert time.monotonic() - begun < 2.0, "which waits for no more than its interval's pace"
    assert len(asked) < 2 * 30 * 2
    ages = [live.candidates.policies.of("sources").age(room) or 0.0 for room in rooms]
    await deferLater(reactor, 0.7, lambda: None)
    begun = live.candidates.policies.of("sources").events.now()
    await live.run_pass()
    oldest = sorted(rooms, key=lambda room: -ages[rooms.index(room)])[:3]
    took = live.candidates.policies.of("sources").events.now() - begun
    assert all(
        (live.candidates.policies.of("sources").age(room) or 0.0) <= took for room in oldest
    ), "the oldest are read first"


# By itself.

INTERVAL, RATE = 2.0, 2.0
OLD = MAX_AGE + 1.0


@define(eq=False)
class Desk:
    """A reader of two rules' policies, and all that it asks."""

    is_pushing: bool = False
    clock: Clock = field(factory=Clock)
    homeserver: Homeserver = field(factory=Homeserver)
    background: Homeserver = field(factory=Homeserver)
    journal: Journal = field(factory=Journal)
    records: Records = field(factory=Records)
    rate: float = 1000.0
    policies: AllPolicies = field(init=False)
    reader: PolicyReader = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        rules = [Says("one", Allow()), Says("two", Allow())]
        self.policies = policies_of(
            rules,
            self.homeserver,
            self.clock,
            self.journal,
            self.background,
            lambda: self.is_pushing,
        )
        now = self.clock.seconds
        limiter = RateLimiter(self.rate, self.clock, now)
        self.reader = PolicyReader(
            self.policies, limiter, self.records, self.journal, now, INTERVAL
        )
        self.reader.begin()

    def answers(self, one: Any, two: Any) -> None:
        self.background.answers = {"one": one, "two": two}

    def knows(self, age: float = 0.0, room: RoomId = ROOM, **given: Given) -> None:
        readings = {name: Reading(policy) for name, policy in given.items()}
        self.policies.put(room, readings, self.clock.seconds() - age)

    def begin(self, turn: Turn | None = None, room: RoomId = ROOM) -> Deferred[Any]:
        return ensureDeferred(self.reader.read(room, turn or Turn()))

    def read(self, turn: Turn | None = None, room: RoomId = ROOM) -> dict[str, Any]:
        """Read the policies of a room, whatever the pace: each with whether it is certain."""
        return by_name(self.rules(turn, room))

    def rules(self, turn: Turn | None = None, room: RoomId = ROOM) -> RoomRules:
        """Read the policies of a room, whatever the pace."""
        reading = self.begin(turn, room)
        self.clock.pump([0.001] * 10)
        rules = result(reading)
        assert isinstance(rules, RoomRules), rules
        return rules


def by_name(rules: RoomRules) -> dict[str, Any]:
    return {e.rule.name: (e.known.policy, e.known.is_certain) for e in rules.each}


STRICT, LOOSE = Given(True), Given(False)
MODERATED = read_power({"users": {"@mod:s": 50}}, None)


class Bypassed(Says):
    """A rule that asks for power levels, and doubts some of them."""

    def needs_power(self, policy: Given) -> bool:
        return policy.restricts

    def doubts(self, policy: Given, power: PowerLevels) -> tuple[str, ...]:
        return ("everybody has it",) if power.users_default else ()


def with_power(desk: Desk, turn: Turn | None = None) -> RoomRules:
    """Ask for the power levels of a room with a rule that needs them, and one that does not."""
    rules = [RoomRule(each, Known(STRICT, True)) for each in (Bypassed("one", Allow()), TWO)]
    asking = ensureDeferred(desk.reader.with_power(RoomRules(rules), ROOM, turn or Turn()))
    desk.clock.pump([0.001] * 10)
    found: RoomRules = result(asking)
    return found


TWO = Says("two", Allow())


def test_power_levels_are_asked_for_in_each_pass_unless_they_are_pushed() -> None:
    desk = Desk()
    desk.background.powers = MODERATED
    for asked in (1, 2):
        assert with_power(desk).power == MODERATED
        assert desk.background.asked.count("power") == asked
    desk.is_pushing = True
    assert with_power(desk).power == MODERATED
    desk.policies.powers.outdated(ROOM)
    desk.clock.advance(0.1)
    assert desk.background.asked.count("power") == 2
    assert with_power(desk).power == MODERATED
    assert desk.background.asked.count("power") == 3, "a push said that there are others"


def test_power_levels_of_before_an_outage_serve_and_without_any_the_rule_is_dropped() -> None:
    desk = Desk()
    desk.background.powers = AWAY
    rules = with_power(desk)
    assert [each.rule.name for each in rules.each] == ["two"]
    assert not rules.is_whole
    assert desk.records.unenforced == [("one", "reset")]
    desk.policies.powers.keep(ROOM, Kept(MODERATED, desk.clock.seconds()))
    desk.clock.advance(OLD)
    assert with_power(desk).power == MODERATED


def test_power_levels_that_make_no_sense_of_a_policy_are_complained_of_once() -> None:
    desk = Desk()
    desk.background.powers = read_power({"users_default": 50}, None)
    for _ in range(3):
        with_power(desk)
    assert desk.journal.complaints == ["everybody has it"]
    desk.background.powers = MODERATED
    with_power(desk)
    desk.background.powers = read_power({"users_default": 50}, None)
    with_power(desk)
    assert len(desk.journal.complaints) == 2


def test_a_pass_asks_about_each_rule_in_the_background() -> None:
    desk = Desk()
    desk.answers(STRICT, LOOSE)
    assert desk.read() == {"one": (STRICT, True), "two": (LOOSE, True)}
    assert (desk.homeserver.asked, desk.background.asked) == ([], ["one", "two"])


def test_a_pass_asks_again_though_what_is_known_is_fresh() -> None:
    """Only so does a change take one interval at most."""
    desk = Desk()
    desk.knows(one=LOOSE, two=LOOSE)
    desk.clock.advance(0.1)
    desk.answers(STRICT, LOOSE)
    assert desk.read()["one"] == (STRICT, True)


def test_while_pushes_come_what_is_fresh_serves() -> None:
    desk = Desk(is_pushing=True)
    desk.knows(one=STRICT, two=LOOSE)
    assert desk.read() == {"one": (STRICT, True), "two": (LOOSE, True)}
    assert desk.background.asked == []
    desk.clock.advance(OLD)
    desk.answers(LOOSE, LOOSE)
    assert desk.read()["one"] == (LOOSE, True)


def test_a_hint_goes_by_what_is_fresh() -> None:
    desk = Desk()
    desk.knows(one=STRICT, two=LOOSE)
    assert desk.read(Turn(is_poll=False))["one"] == (STRICT, True)
    assert desk.background.asked == []


@pytest.mark.parametrize(
    ("trouble", "reason"), [(AWAY, "reset"), (ValueError("a bug in reading"), "bug")]
)
def test_a_rule_of_which_nothing_is_known_is_not_enforced_and_the_others_are(
    trouble: Exception, reason: str
) -> None:
    desk = Desk()
    desk.answers(trouble, STRICT)
    known = desk.rules()
    assert not known.is_whole
    assert known.has_bug == (reason == "bug")
    assert by_name(known) == {"two": (STRICT, True)}
    assert desk.records.unenforced == [("one", reason)]


def test_where_all_is_known_that_is_said() -> None:
    desk = Desk()
    desk.answers(LOOSE, STRICT)
    known = desk.rules()
    assert known.is_whole
    assert not known.has_bug


def test_what_was_known_before_an_outage_holds_and_is_not_certain() -> None:
    desk = Desk()
    desk.knows(OLD, one=STRICT, two=STRICT)
    desk.answers(AWAY, LOOSE)
    assert desk.read() == {"one": (STRICT, False), "two": (LOOSE, True)}
    assert desk.journal.stale == ["one"]
    assert desk.records.unenforced == []


def test_a_rule_whose_look_ups_are_out_is_not_asked_about_the_next_rooms() -> None:
    desk = Desk()
    desk.answers(AWAY, STRICT)
    desk.background.is_out = True
    desk.read()
    assert desk.background.asked.count("ping") == 1, "what no client has a hand in"
    other = RoomId("!other:s")
    desk.read(room=other)
    assert desk.background.asked.count("one") == 1
    assert desk.background.asked.count("two") == 2, "the other rule's look-ups go on"
    desk.reader.begin()
    desk.read(room=other)
    assert desk.background.asked.count("one") > 1, "a pass begins without prejudice"


def test_what_the_homeserver_calls_outdated_is_asked_for_unless_that_is_out() -> None:
    desk, other = Desk(is_pushing=True), RoomId("!other:s")
    for room in (ROOM, other):
        desk.knows(0.1, room, one=LOOSE, two=LOOSE)
        desk.policies.outdated(room)
    desk.answers(AWAY, STRICT)
    desk.background.is_out = True
    assert desk.read(Turn(is_poll=False)) == {"one": (LOOSE, False), "two": (STRICT, True)}
    asked = desk.background.asked.count("one")
    assert desk.read(room=other) == {"one": (LOOSE, False), "two": (STRICT, True)}
    assert desk.background.asked.count("one") == asked, "it is out, and not asked for each room"


def test_one_rooms_failure_keeps_nobody_from_asking_about_the_next() -> None:
    desk = Desk()

    class Poisoned(Homeserver):
        async def policy(self, room: RoomId, rule: Any) -> Any:
            if room == ROOM:
                raise AWAY
            return await super().policy(room, rule)

    for policies in desk.policies:
        policies.events.background = Poisoned({"one": STRICT, "two": STRICT})
    assert desk.read() == {}
    assert set(desk.read(room=RoomId("!other:s"))) == {"one", "two"}


def test_where_the_pace_is_spent_what_is_known_holds_as_it_was() -> None:
    desk = Desk(rate=RATE)
    most = int(RATE * INTERVAL)
    rooms = [RoomId(f"!{number}:s") for number in range(most)]
    for room in [*rooms, ROOM]:
        desk.knows(1.0, room, one=STRICT, two=STRICT)
    desk.answers(LOOSE, LOOSE)
    for room in rooms[: most // 2]:
        reading = desk.begin(room=room)
        desk.clock.pump([0.1] * 30)
        assert not result(reading).restrict
    assert desk.reader.unasked == 0
    turn = Turn()
    assert desk.read(turn) == {"one": (STRICT, True), "two": (STRICT, True)}
    assert (desk.reader.unasked, turn.excused) == (2, [])
    desk.reader.begin()
    assert desk.reader.unasked == 0


def test_a_hint_asks_where_what_is_known_is_not_fresh_whatever_the_pace() -> None:
    desk = Desk(rate=1.0 / INTERVAL)
    desk.knows(OLD, one=STRICT, two=STRICT)
    desk.answers(LOOSE, LOOSE)
    reading = desk.begin(room=RoomId("!other:s"))
    desk.clock.pump([0.1] * 30)
    result(reading)
    assert desk.read(Turn(is_poll=False))["one"] == (LOOSE, True)
    assert desk.reader.unasked == 0


def test_what_is_too_old_is_asked_for_whatever_the_pace() -> None:
    desk = Desk(rate=0.001)
    desk.knows(LONGEST_POLL + 0.1, one=STRICT, two=STRICT)
    desk.answers(LOOSE, LOOSE)
    reading = desk.begin()
    desk.clock.pump([500.0] * 3)
    assert not result(reading).restrict


def test_a_turn_that_waits_for_the_pace_is_excused_for_that() -> None:
    desk = Desk(rate=RATE)
    desk.answers(LOOSE, LOOSE)
    turn = Turn()
    reading = desk.begin(turn)
    desk.clock.pump([0.1] * 30)
    result(reading)
    assert turn.excused == [0.0, pytest.approx(1.0 / RATE)]


def test_a_reading_that_is_given_up_leaves_nothing_behind(logged: list[Any]) -> None:
    desk = Desk(rate=RATE)
    desk.answers(Deferred(), Deferred())
    reading = desk.begin()
    reading.cancel()
    assert result(reading).check(CancelledError)
    assert desk.records.unenforced == []
    assert desk.clock.getDelayedCalls() == []
    assert unhandled(logged) == []


def test_a_doubt_that_two_rules_have_is_told_once() -> None:
    desk = Desk()
    desk.background.powers = read_power({"users_default": 50}, None)
    rules = [RoomRule(Bypassed(name, Allow()), Known(STRICT, True)) for name in ("one", "two")]
    asking = ensureDeferred(desk.reader.with_power(RoomRules(rules), ROOM, Turn()))
    desk.clock.pump([0.001] * 10)
    result(asking)
    assert desk.journal.complaints == ["everybody has it"]
