"""An event that several rules read is looked up once, and each makes of it what it can."""

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.events import EventRules, Readings
from lotus_guard.enforce.policies import AllPolicies, all_policies
from lotus_guard.enforce.ports import Bug
from lotus_guard.enforce.remembered import Freshness
from lotus_guard.rules.rule import Allow, Reading
from tests.enforce.stand_ins import ROOM, Given, Journal, Says, result

EVENT = "io.lotus.shared"


class Reads(Says):
    """A rule that reads one field of an event that is not its alone, or fails."""

    def __init__(self, name: str, fails: bool = False) -> None:
        super().__init__(name, Allow())
        self.event = EVENT  # type: ignore[misc]
        self.fails = fails

    def read(self, content: Any) -> Reading[Given]:
        if self.fails:
            raise KeyError("a bug")
        wrong = ("odd",) if (content or {}).get(self.name) == "odd" else ()
        return Reading(Given(bool((content or {}).get(self.name))), wrong)


@define(eq=False)
class Room:
    """A homeserver with one event, and the policies that are read in it."""

    content: Mapping[str, Any] = field(factory=dict)
    one: Reads = field(factory=lambda: Reads("one"))
    two: Reads = field(factory=lambda: Reads("two"))
    clock: Clock = field(factory=Clock)
    journal: Journal = field(factory=Journal)
    asked: list[str] = field(factory=list)
    policies: AllPolicies = field(init=False)

    def __attrs_post_init__(self) -> None:
        fresh, here = Freshness(lambda: 2.0, 600.0), self
        side: Any = here
        rules = [self.one, Says("three", Allow()), self.two]
        self.policies = all_policies(
            rules, (side, side), (fresh, fresh), self.clock.seconds, self.journal
        )

    async def policy(self, room: RoomId, rule: EventRules) -> Reading[Readings]:
        self.asked.append(rule.event)
        return rule.read(self.content)

    def get(self, name: str) -> Any:
        return result(ensureDeferred(self.policies.of(name).get(ROOM)))


def test_it_is_looked_up_once_for_all_that_read_it() -> None:
    room = Room({"one": True})
    assert (room.get("one"), room.get("two")) == (Given(True), Given(False))
    assert room.asked == [EVENT]
    assert len(room.policies.events) == 2
    assert [each.rule.name for each in room.policies] == ["one", "three", "two"]
    assert room.journal.used == [("one", False), ("two", True)]


def test_what_one_makes_of_it_is_nothing_to_the_others() -> None:
    room = Room({"one": True, "two": True}, one=Reads("one", fails=True))
    assert room.get("one").check(Bug)
    assert room.get("two") == Given(True)
    assert room.policies.of("one").last(ROOM) is None
    assert room.policies.of("one").may_restrict(ROOM)


def test_where_none_could_read_it_what_was_known_stays() -> None:
    room = Room({"one": True})
    assert room.get("one") == Given(True)
    room.clock.advance(3.0)
    room.one.fails = room.two.fails = True
    assert room.get("one").check(Bug)
    assert room.policies.of("one").last(ROOM) == Given(True)


def test_a_push_of_one_rule_leaves_the_other_as_it_was() -> None:
    room = Room({"one": True, "two": True})
    room.get("one")
    room.clock.advance(1.0)
    room.policies.put(ROOM, {"one": Reading(Given(False))}, room.clock.seconds())
    assert room.policies.of("one").last(ROOM) == Given(False)
    assert room.policies.of("two").last(ROOM) == Given(True)


def test_each_is_complained_of_once_for_each_change() -> None:
    room = Room({"one": "odd", "two": True})
    for _ in range(2):
        room.get("one")
        room.clock.advance(3.0)
    assert room.journal.complaints == ["odd"]
