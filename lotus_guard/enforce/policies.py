"""Policies of rooms, remembered: fresh for a moment, usable for a while when Synapse is out."""

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Generic, Protocol

from attrs import define, field, frozen

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.events import EventRules, Events, Readings
from lotus_guard.enforce.patience import Patience
from lotus_guard.enforce.ports import Bug, Homeserver, Now, Outage
from lotus_guard.enforce.powers import Powers
from lotus_guard.enforce.remembered import MOST_ROOMS, Freshness
from lotus_guard.rules import by_event
from lotus_guard.rules.rule import Fact, P, Reading, Rule

UNKNOWN_SECONDS = 60.0
"""For so long a room that Synapse did not know counts as one that somebody has invented."""


@frozen
class Known(Generic[P]):
    """A policy, and whether it is certain: what was known before an outage is not."""

    policy: P
    is_certain: bool


class PolicyJournal(Protocol):
    """Takes note of how policies are found, for metrics and the log."""

    def complained(self, room: RoomId, complaint: str) -> None:
        """Note what is wrong with a room's event."""

    def used_policy(self, rule: str, was_kept: bool) -> None:
        """Note that a policy was needed, and whether it was at hand."""

    def used_stale(self, rule: str, outage: Outage) -> None:
        """Note that a policy known from before was used because Synapse is out."""


@define(eq=False)
class Policies(Generic[P]):
    """The policies of one rule in all rooms."""

    rule: Rule[P]
    events: Events
    """The events that the rule reads; others may read them as well."""
    journal: PolicyJournal
    _changes: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    _since: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))

    def __attrs_post_init__(self) -> None:
        self.events.readers[self.rule.name] = self._took

    def ahead(self, room: RoomId) -> P | None:
        """Begin to look a policy up that will soon be needed, unless it is fresh.

        Returns what was known last.
        """
        return self._policy(self.events.ahead(room))

    async def get(
        self,
        room: RoomId,
        max_age: float | None = None,
        in_background: bool = False,
        patience: Patience | None = None,
    ) -> P:
        """Find the policy of a room, asking Synapse where what we have is not fresh.

        `max_age` in seconds replaces the ordinary one. Raises Outage where Synapse does not
        answer; what was known last is then in `last`.
        """
        self._used(self.events.is_fresh(room, max_age))
        return self._read(await self.events.get(room, max_age, in_background, patience))

    async def known(self, room: RoomId, asked: Awaitable[P]) -> Known[P]:
        """Await a look-up of a room's policy; where Synapse is out, fall back on the last one.

        `asked` is `get`, with whatever its caller waits for before or beside it. Raises Outage
        where Synapse is out and nothing is known from before.
        """
        try:
            return Known(await asked, True)
        except Outage as outage:
            last = self.last(room)
            if last is None:
                raise
            self.journal.used_stale(self.rule.name, outage)
            return Known(last, False)

    def at_hand(self, room: RoomId) -> P | None:
        """The policy of a room where what we have is fresh; None: it must be asked for."""
        policy = self._policy(self.events.at_hand(room))
        if policy is not None:
            self.journal.used_policy(self.rule.name, True)
        return policy

    def put(self, room: RoomId, reading: Reading[P], at: float) -> None:
        """Take in a policy read or pushed at `at`; an older one changes nothing."""
        self.events.put(room, {self.rule.name: reading}, at)

    def take_change(self, room: RoomId) -> float | None:
        """Once for each change: when it was made, in seconds since the epoch."""
        return self._changes.pop(room)

    def since(self, room: RoomId) -> float:
        """When the policy in force was first known here, in seconds since the epoch.

        0.0 where it restricts nothing, or was known too long ago to be remembered.
        """
        return self._since.peek(room) or 0.0

    def last(self, room: RoomId) -> P | None:
        """What was known last, if it is not too old to be used during an outage."""
        return self._policy(self.events.last(room))

    def age(self, room: RoomId) -> float | None:
        """How many seconds ago the policy of a room was read; None where it never was."""
        return self.events.age(room)

    def restricts(self, room: RoomId) -> bool:
        """Whether what was known last restricts anything."""
        last = self.last(room)
        return last is not None and last.restricts

    def may_restrict(self, room: RoomId) -> bool:
        """Whether only a look-up could show that a room has no policy."""
        kept = self.events.kept(room)
        policy = self._policy(kept.value) if kept else None
        return policy is None or not self.events.is_fresh(room) or policy.restricts

    def is_unknown(self, room: RoomId) -> bool:
        """Whether the homeserver did not know a room when it was asked a while ago."""
        kept, age = self.events.kept(room), self.events.age(room)
        reading = kept.value.of(self.rule) if kept else None
        is_young = age is not None and age <= UNKNOWN_SECONDS
        return reading is not None and reading.is_unknown and is_young

    def taken(self, room: RoomId) -> P:
        """The policy in what was read last, however old; raises Outage where the rule failed."""
        kept = self.events.kept(room)
        self._used(True)
        return self._read(kept.value if kept else None)

    def _read(self, readings: Readings | None) -> P:
        policy = self._policy(readings)
        if policy is None:  # the traceback is in the log
            raise Bug
        return policy

    def _policy(self, readings: Readings | None) -> P | None:
        reading = readings.each.get(self.rule.name) if readings is not None else None
        return reading.policy if reading is not None else None

    def _used(self, was_kept: bool) -> None:
        self.journal.used_policy(self.rule.name, was_kept)

    def _took(self, room: RoomId, before: Reading[P] | None, reading: Reading[P]) -> None:
        """Take note of a policy that has come in, and of the one before it."""
        if before and before.policy != reading.policy and reading.set_at is not None:
            self._changes.put(room, reading.set_at)
        if before is None or before.policy != reading.policy:
            self._since.pop(room)
            if reading.policy.restricts:
                self._since.put(room, self.events.now())
            for complaint in reading.complaints:
                self.journal.complained(room, complaint)


def all_policies(
    rules: Iterable[Rule[Any]],
    asked: tuple[Homeserver, Homeserver],
    fresh: tuple[Freshness, Freshness],
    now: Now,
    journal: PolicyJournal,
) -> "AllPolicies":
    """Make the policies of these rules; `fresh` is for events, and for power levels."""
    each: list[Policies[Any]] = []
    for event, readers in by_event(rules).items():
        events = Events(*asked, fresh[0], now, asked=EventRules(event, readers))
        each += (Policies(rule, events, journal) for rule in readers)
    order = {rule.name: place for place, rule in enumerate(rules)}
    each.sort(key=lambda policies: order[policies.rule.name])
    return AllPolicies(each, Powers(*asked, fresh[1], now))


@frozen
class AllPolicies:
    """The policies of all rules."""

    each: Sequence[Policies[Any]]
    """In the order of the rules."""
    powers: Powers
    """Who may do what, for the rules that ask for it."""
    events: Sequence[Events] = field(init=False)
    """The events that the rules read, each once."""
    judging: Sequence[Policies[Any]] = field(init=False)
    """Those of the rules that judge tokens."""

    @events.default
    def _events(self) -> Sequence[Events]:
        return list({id(policies.events): policies.events for policies in self.each}.values())

    @judging.default
    def _judging(self) -> Sequence[Policies[Any]]:
        return [policies for policies in self.each if policies.rule.judges_tokens]

    def __iter__(self) -> Iterator[Policies[Any]]:
        return iter(self.each)

    def of(self, rule: str) -> Policies[Any]:
        """The policies of the rule with this name."""
        return next(policies for policies in self.each if policies.rule.name == rule)

    def put(self, room: RoomId, readings: Mapping[str, Reading[Any]], at: float) -> None:
        """Take in policies that were pushed, by the names of their rules."""
        for events in self.events:
            events.put(room, readings, at)

    def restricts(self, room: RoomId) -> bool:
        """Whether any rule is known to restrict a room."""
        return any(policies.restricts(room) for policies in self.each)

    def may_restrict(self, room: RoomId) -> bool:
        """Whether only a look-up could show that a room has no policy, as most have none."""
        return any(policies.may_restrict(room) for policies in self.each)

    def seats(self, room: RoomId) -> int | None:
        """How many seats a room has by what is known; None for any number."""
        for policies in self.each:
            last = policies.last(room)
            seats = None if last is None else policies.rule.seats(last)
            if seats is not None:
                return seats
        return None

    def counts(self, room: RoomId) -> bool:
        """Whether any rule is known to depend on who is in the room's calls."""
        return any(
            Fact.ATTENDANCE in policies.rule.needs and policies.restricts(room)
            for policies in self.each
        )

    def is_unknown(self, room: RoomId) -> bool:
        """Whether the homeserver did not know a room when it was asked a while ago."""
        return any(policies.is_unknown(room) for policies in self.each)

    def age(self, room: RoomId) -> float | None:
        """How many seconds ago the oldest policy of a room was read; None where one never was."""
        ages = [policies.age(room) for policies in self.each]
        known = [age for age in ages if age is not None]
        return max(known) if known and len(known) == len(ages) else None

    def read_at(self, room: RoomId) -> float:
        """When the oldest policy of a room was read; before all time where one never was."""
        age = self.age(room)
        return -inf if age is None else self.powers.now() - age

    def changes(self, room: RoomId) -> list[float]:
        """Once for each change: when it was made, in seconds since the epoch."""
        changes = [policies.take_change(room) for policies in self.each]
        return [at for at in changes if at is not None]

    def outdated(self, room: RoomId) -> None:
        """The homeserver has other policies of a room than what we know."""
        for events in self.events:
            events.outdated(room)
        self.powers.outdated(room)

    def sweep(self) -> None:
        """Drop what is too old to be used."""
        for events in self.events:
            events.sweep()
        self.powers.sweep()
