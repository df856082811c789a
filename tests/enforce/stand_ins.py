"""Rules, a homeserver and records that a test leads, for what asks them."""

import gc
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lotus_guard.core.membership import Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.seats import Person
from lotus_guard.enforce.events import EventRules, Readings
from lotus_guard.enforce.policies import AllPolicies, all_policies
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.remembered import Freshness
from lotus_guard.rules.decision import Ruling
from lotus_guard.rules.rule import Fact, Facts, P, Reading, Rule, Shown, Verdict, Who
from lotus_guard.rules.state_event import ReadsEvent

ROOM = RoomId("!r:s")
MAX_AGE, STALE = 2.0, 600.0
AWAY = Outage(Reason.RESET, "made up")


@frozen
class Given:
    """A policy that restricts or does not."""

    restricts: bool = True
    seats: int | None = None


class Says(Rule[Given]):
    """A rule that says of everybody what the test wants, or fails in the way it wants."""

    def __init__(self, name: str, verdict: Verdict | Exception, needs: Iterable[Fact] = ()) -> None:
        self.name = name  # type: ignore[misc]
        self.event = f"io.lotus.{name}"  # type: ignore[misc]
        self.needs = frozenset(needs)  # type: ignore[misc]
        self.verdict = verdict
        self.asked: list[tuple[Who, Facts]] = []

    def read(self, content: Any) -> Reading[Given]:
        return Reading(Given(bool(content)))

    def judge(self, policy: Given, who: Who, facts: Facts) -> Verdict:
        self.asked.append((who, facts))
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    def show(self, policy: Given) -> Shown:
        return Shown(())

    def seats(self, policy: Given) -> int | None:
        return policy.seats


@define(eq=False)
class Homeserver:
    """Answers for each rule what the test wants: a reading, a failure, or later."""

    answers: dict[str, Any] = field(factory=dict)
    asked: list[str] = field(factory=list)
    is_out: bool = False
    powers: Any = AWAY
    """The room's power levels, a failure, or later."""

    async def policy(self, room: RoomId, rule: ReadsEvent[P]) -> Reading[P]:
        self.asked.append(rule.name)
        answer: Any = self.answers.get(rule.name, AWAY)
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        found: Reading[P] = read_by(
            rule, answer if isinstance(answer, Reading) else Reading(answer)
        )
        return found

    async def membership(self, room: RoomId, user: UserId) -> Standing:
        raise AssertionError("policies ask for no memberships")

    async def power(self, room: RoomId) -> PowerLevels:
        self.asked.append("power")
        answer: Any = self.powers
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        found: PowerLevels = answer
        return found

    async def ping(self) -> None:
        """It is there where it answers anything at all, unless the test says otherwise."""
        self.asked.append("ping")
        if self.is_out or all(isinstance(answer, Exception) for answer in self.answers.values()):
            raise AWAY

    async def name(self, room: RoomId) -> str | None:
        raise AssertionError("policies ask for no names")

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        raise AssertionError("policies ask for no lists of rooms")


@define(eq=False)
class Journal:
    """Keeps what is noted of policies."""

    used: list[tuple[str, bool]] = field(factory=list)
    stale: list[str] = field(factory=list)
    complaints: list[str] = field(factory=list)

    def complained(self, room: RoomId, complaint: str) -> None:
        self.complaints.append(complaint)

    def used_policy(self, rule: str, was_kept: bool) -> None:
        self.used.append((rule, was_kept))

    def used_stale(self, rule: str, outage: Outage) -> None:
        self.stale.append(rule)


@define(eq=False)
class Records:
    """Keeps what is decided."""

    decisions: list[tuple[Ruling, bool]] = field(factory=list)
    """Each with whether it was only observed."""
    opened: list[tuple[str, str]] = field(factory=list)
    """Rules that let a token through, and why."""
    unenforced: list[tuple[str, str]] = field(factory=list)
    """Rules that could not be enforced in calls that run, and why."""
    elsewhere: int = 0
    once: list[Hashable | None] = field(factory=list)
    """By what the same decision is known again, of each."""

    def decided(
        self, ruling: Ruling, *, observed: bool = False, once: Hashable | None = None
    ) -> str:
        self.once.append(once)
        self.decisions.append((ruling, observed))
        return f"decision{len(self.decisions)}"

    def failed_open(
        self,
        rule: str,
        outage: Outage,
        room: RoomId | None = None,
        user: Person | None = None,
        *,
        again: bool = False,
    ) -> None:
        self.opened.append((rule, str(outage.reason)))

    def passed_elsewhere(self) -> None:
        self.elsewhere += 1

    def not_enforced(self, rule: str, outage: Outage) -> None:
        self.unenforced.append((rule, str(outage.reason)))


@define(eq=False)
class Turn:
    """A turn of a room, of which is kept what was asked of it."""

    is_poll: bool = True
    agains: list[float] = field(factory=list)
    excused: list[float] = field(factory=list)

    def again(self, seconds: float) -> None:
        self.agains.append(seconds)

    def excuse(self, seconds: float) -> None:
        self.excused.append(seconds)


@define(eq=False)
class Rank:
    """A guard that leads or does not, as the test says."""

    is_leader: bool = True
    is_sure: bool = True

    def leads(self) -> bool:
        return self.is_leader

    def may_remove(self) -> bool:
        return self.is_sure


def read_by(rule: Any, reading: Reading[Any]) -> Any:
    """What somebody who asks for an event gets to hear, that the first of its rules read so."""
    if not isinstance(rule, EventRules):
        return reading
    each = Readings({rule.name: reading})
    return Reading(each, set_at=reading.set_at, is_unknown=reading.is_unknown)


def policies_of(
    rules: Iterable[Rule[Any]],
    homeserver: Homeserver,
    clock: Clock,
    journal: Journal | None = None,
    background: Homeserver | None = None,
    is_told: Callable[[], bool] = lambda: False,
) -> AllPolicies:
    """Policies of these rules, asked for at this homeserver."""
    asked, noted = (homeserver, background or homeserver), journal or Journal()
    fresh = Freshness(lambda: MAX_AGE, STALE, is_told)
    return all_policies(list(rules), asked, (fresh, fresh), clock.seconds, noted)


def known(policies: AllPolicies, given: Mapping[str, Any], at: float) -> None:
    """Have policies known from a look-up that was begun at this time, by the names of rules."""
    policies.put(ROOM, {name: Reading(policy) for name, policy in given.items()}, at)


def unhandled(logged: list[Any]) -> list[Any]:
    """What failed and was heard by nobody: Twisted says so when it is collected."""
    gc.collect()
    return [each for each in logged if "Unhandled" in str(each.get("log_format"))]


def result(deferred: Deferred[Any]) -> Any:
    """What came of it; it must have fired."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "it has not fired"
    return found[0]
