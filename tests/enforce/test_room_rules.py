"""The rules of one room: which are enforced, and which of them calls for a step."""

import pytest

from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    LiveKitRoom,
    Participant,
    RoomId,
    Source,
    Track,
    UserId,
)
from lotus_guard.core.power import PowerLevels
from lotus_guard.enforce.policies import Known
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.room_rules import RoomRule, RoomRules
from lotus_guard.enforce.stage import Stage
from lotus_guard.rules.giving import GIVING
from lotus_guard.rules.plan import Ban, Curb, GiveBack, Narrow, Remove, Silence, Step
from lotus_guard.rules.rule import Allow, Fact, Place
from tests.enforce.stand_ins import Given, Says

CALL = LiveKitRoom("call")
ALL = Participant(Identity("@a:s:D"), "S", Grant(True, ()))
SOUND = Participant(Identity("@a:s:D"), "S", Grant(True, ("microphone",)))
CAMERA = frozenset({Source.CAMERA})


def held(name: str, restricts: bool = True, *needs: Fact) -> RoomRule:
    return RoomRule(Says(name, Allow(), needs), Known(Given(restricts), True))


def names(rules: RoomRules) -> list[str]:
    return [each.rule.name for each in rules.each]


def test_they_restrict_where_any_of_them_does() -> None:
    assert not RoomRules([]).restrict
    assert not RoomRules([held("one", False), held("two", False)]).restrict
    assert RoomRules([held("one", False), held("two")]).restrict


def test_those_that_are_observed_are_told_from_the_others() -> None:
    rules = RoomRules([held("one"), held("two"), held("three")])
    enforced, observed = rules.divided(frozenset({"two", "unknown"}))
    assert (names(enforced), names(observed)) == (["one", "three"], ["two"])


def test_the_rule_that_counts_seats_is_the_one_that_needs_to_know_who_is_there() -> None:
    seating = held("seats", True, Fact.ATTENDANCE)
    assert RoomRules([held("one"), seating]).seating() is seating
    assert RoomRules([held("one")]).seating() is None


@pytest.mark.parametrize(
    ("rules", "is_certain"),
    [
        (RoomRules([held("one")]), True),
        (RoomRules([held("one")], is_whole=False), False),
        (RoomRules([held("one")], has_bug=True), False),
        (RoomRules([held("one"), RoomRule(Says("two", Allow()), Known(Given(), False))]), False),
    ],
)
def test_they_are_certain_where_each_is_known_as_it_is_now(
    rules: RoomRules, is_certain: bool
) -> None:
    assert rules.is_certain is is_certain


def test_no_rule_calls_for_what_is_given_back() -> None:
    assert RoomRules([]).behind(GiveBack(CALL, ALL, ALL.grant, ALL.grant)) == GIVING


RULES = RoomRules(
    [held("idle", False), held("one"), held("two"), held("seats", True, Fact.ATTENDANCE)]
)
BANS = (Ban("one", CAMERA), Ban("two", CAMERA | {Source.SCREEN_SHARE}))


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        (Remove(CALL, ALL, "@a:s"), "seats"),
        (Narrow(CALL, ALL, Grant(True, ("microphone",)), BANS), "one"),
        (Narrow(CALL, ALL, Grant(True, ("microphone",)), BANS[1:]), "two"),
        (Silence(CALL, SOUND, bans=BANS), "one"),
        (Curb(CALL, ALL), "one"),
    ],
)
def test_each_step_is_put_down_to_the_rule_that_calls_for_it(step: Step, rule: str) -> None:
    """Whoever is curbed writes so much that no rule's doing can be told: the first one's it is."""
    assert RULES.behind(step) == rule


class Staged(Says):
    """A rule of so many cameras, of which one person's is not counted."""

    def cameras(self, policy: Given) -> int | None:
        return policy.seats

    def exempts(self, policy: Given, user: UserId | None, power: PowerLevels | None) -> bool:
        return user == "@mod:s"


def staged(most: int | None) -> RoomRules:
    rule = Staged("stage", Allow(), [Fact.CAMERAS])
    return RoomRules([held("one"), RoomRule(rule, Known(Given(most is not None, most), True))])


def look(*names: str) -> Seen:
    camera = Track(Kind.VIDEO, "camera")
    there = tuple(Participant(Identity(n), n, Grant(True, ()), (camera,)) for n in names)
    return Seen(0.0, (CALL,), {CALL: Attendance(0.0, there)})


def proved(identity: Identity) -> UserId:
    return UserId(f"@{identity}:s")


def test_the_places_among_the_cameras_are_told_where_a_rule_needs_them() -> None:
    stage, room = Stage(), RoomId("!r:s")
    assert staged(2).facts_of(Identity("a")).cameras is None, "not looked at yet"
    with_places = staged(2).with_places(stage, room, look("mod", "b"), proved)
    assert with_places.facts_of(Identity("b")).cameras == Place(0, True)
    assert with_places.facts_of(Identity("mod")).cameras == Place(1, False), "not counted"
    observed, _ = with_places.divided(frozenset({"one"}))
    assert observed.facts_of(Identity("b")).cameras == Place(0, True)
    without = RoomRules([held("one")]).with_places(stage, room, look("b"), proved)
    assert without.facts_of(Identity("b")).cameras is None


@pytest.mark.parametrize(
    ("between", "first"), [(staged(None), "a"), (RoomRules([]), "b"), (staged(2), "b")]
)
def test_the_row_is_kept_while_the_policy_is_not_known_and_not_where_there_is_none(
    between: RoomRules, first: str
) -> None:
    stage, room = Stage(), RoomId("!r:s")
    staged(2).with_places(stage, room, look("b"), proved)
    between.with_places(stage, room, look("a", "b"), proved)
    found = staged(2).with_places(stage, room, look("a", "b"), proved)
    assert found.facts_of(Identity(first)).cameras == Place(0, True)
