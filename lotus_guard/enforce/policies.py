"""Policies of rooms, remembered: fresh for a moment, usable for a while when Synapse is out."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Generic, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import SingleFlight, ignoring
from lotus_guard.enforce.ports import Bug, Homeserver, Now, Outage
from lotus_guard.rules.rule import P, Reading, Rule

_log = Logger()

MOST_ROOMS = 20_000
UNKNOWN_SECONDS = 60.0
"""For so long a room that Synapse did not know counts as one that somebody has invented."""
MOST_AHEAD = 8
"""How many look-ups nobody has vouched for yet may be under way at once."""


@frozen
class Kept(Generic[P]):
    """A policy and when the look-up that read it was begun."""

    policy: P
    at: float
    is_unknown: bool = False
    """Whether the homeserver does not know the room."""


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


@frozen
class Freshness:
    """For how long policies are used."""

    max_age: Callable[[], float]
    """Seconds a policy is served without asking again; longer while Synapse pushes them."""
    stale: float
    """Seconds a last known policy may be used while Synapse is out."""


@define(eq=False)
class Policies(Generic[P]):
    """The policies of one rule in all rooms; each rule has look-ups of its own."""

    rule: Rule[P]
    homeserver: Homeserver
    background: Homeserver
    """The same for background work: nobody with a deadline waits in its queue."""
    freshness: Freshness
    journal: PolicyJournal
    now: Now
    _kept: LruDict[RoomId, Kept[P]] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    _changes: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    _outdated: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When the homeserver said that a room has another policy, and not which."""
    _flights: SingleFlight[tuple[RoomId, bool], Kept[P]] = field(init=False, factory=SingleFlight)

    def ahead(self, room: RoomId) -> None:
        """Begin to look a policy up that will soon be needed, unless it is fresh.

        Whoever asks here has proved nothing yet, so only a few run at once: a flood of invented
        rooms must not delay the look-ups of those whom upstream has vouched for.
        """
        if not self._is_fresh(room) and len(self._flights) < MOST_AHEAD:
            ignoring(self._join(room, False), Outage)

    async def get(
        self, room: RoomId, max_age: float | None = None, in_background: bool = False
    ) -> P:
        """Find the policy of a room, asking Synapse where what we have is not fresh.

        `max_age` in seconds replaces the ordinary one. Raises Outage where Synapse does not
        answer; what was known last is then in `last`.
        """
        oldest = self._oldest(room, self.freshness.max_age() if max_age is None else max_age)
        kept = self._kept.get(room)
        self.journal.used_policy(self.rule.name, kept is not None and kept.at >= oldest)
        if kept is None or kept.at < oldest:
            kept = await self._asked(room, in_background)
            if kept.at < oldest:
                # We joined a look-up that was begun too early, while upstream was at work.
                kept = await self._asked(room, in_background)
        return kept.policy

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
        kept = self._kept.get(room)
        if kept is None or not self._is_fresh(room):
            return None
        self.journal.used_policy(self.rule.name, True)
        return kept.policy

    def put(self, room: RoomId, reading: Reading[P], at: float) -> None:
        """Take in a policy read or pushed at `at`; an older one changes nothing."""
        before = self._kept.get(room)
        if before and before.at > at:
            return
        self._kept.put(room, Kept(reading.policy, at, reading.is_unknown))
        if before and before.policy != reading.policy and reading.set_at is not None:
            self._changes.put(room, reading.set_at)
        if before is None or before.policy != reading.policy:
            for complaint in reading.complaints:
                self.journal.complained(room, complaint)

    def outdated(self, room: RoomId) -> None:
        """The homeserver has another policy than what we know: it is asked when next needed.

        Until it answers, what is known serves as in an outage.
        """
        self._outdated.put(room, self.now())

    def is_outdated(self, room: RoomId) -> bool:
        """Whether the homeserver said so since the policy was read."""
        kept = self._kept.get(room)
        return kept is not None and kept.at < (self._outdated.get(room) or -inf)

    def sweep(self) -> None:
        """Drop what is too old to be used, even during an outage."""
        oldest = self.now() - max(self.freshness.stale, self.freshness.max_age())
        for room, kept in self._kept.items():
            if kept.at < oldest:
                self._kept.pop(room)

    def take_change(self, room: RoomId) -> float | None:
        """Once for each change: when it was made, in seconds since the epoch."""
        return self._changes.pop(room)

    def last(self, room: RoomId) -> P | None:
        """What was known last, if it is not too old to be used during an outage."""
        kept = self._kept.get(room)
        return kept.policy if kept and self.now() - kept.at <= self.freshness.stale else None

    def restricts(self, room: RoomId) -> bool:
        """Whether what was known last restricts anything."""
        last = self.last(room)
        return last is not None and last.restricts

    def may_restrict(self, room: RoomId) -> bool:
        """Whether only a look-up could show that a room has no policy."""
        kept = self._kept.get(room)
        return kept is None or not self._is_fresh(room) or kept.policy.restricts

    def is_unknown(self, room: RoomId) -> bool:
        """Whether the homeserver did not know a room when it was asked a while ago."""
        kept = self._kept.get(room)
        return kept is not None and kept.is_unknown and self.now() - kept.at <= UNKNOWN_SECONDS

    async def ask_neutrally(self) -> None:
        """Ask a question no client can have a hand in; raises Outage."""
        await self.background.ping()

    def age(self, room: RoomId) -> float | None:
        """How many seconds ago the policy of a room was read; None where it never was."""
        kept = self._kept.get(room)
        return self.now() - kept.at if kept else None

    def _is_fresh(self, room: RoomId) -> bool:
        age = self.age(room)
        is_young = age is not None and age <= self.freshness.max_age()
        return is_young and not self.is_outdated(room)

    def _oldest(self, room: RoomId, max_age: float) -> float:
        """When what is used must have been asked for at the earliest."""
        return max(self.now() - max_age, self._outdated.get(room) or -inf)

    async def _asked(self, room: RoomId, in_background: bool) -> Kept[P]:
        joined = (room, in_background) in self._flights
        try:
            return await self._join(room, in_background)
        except Outage:
            if not joined:
                raise
        # Somebody else's look-up failed, begun before we asked: that was not our try.
        return await self._join(room, in_background)

    def _join(self, room: RoomId, in_background: bool) -> Deferred[Kept[P]]:
        homeserver = self.background if in_background else self.homeserver
        key = (room, in_background)
        return self._flights.join(key, lambda: self._look_up(room, homeserver))

    async def _look_up(self, room: RoomId, homeserver: Homeserver) -> Kept[P]:
        begun = self.now()
        try:
            reading = await homeserver.policy(room, self.rule)
        except (CancelledError, Outage):
            raise
        except Exception as why:  # what was known before holds, as in an outage
            _log.failure("The {rule} rule could not be read", rule=self.rule.name)
            raise Bug from why
        self.put(room, reading, begun)
        kept = self._kept.get(room)
        assert kept is not None, "it was just put there"
        return kept


@frozen
class AllPolicies:
    """The policies of all rules."""

    each: Sequence[Policies[Any]]
    """In the order of the rules."""

    def __iter__(self) -> Iterator[Policies[Any]]:
        return iter(self.each)

    def of(self, rule: str) -> Policies[Any]:
        """The policies of the rule with this name."""
        return next(policies for policies in self.each if policies.rule.name == rule)

    def put(self, room: RoomId, readings: Mapping[str, Reading[Any]], at: float) -> None:
        """Take in policies that were pushed, by the names of their rules."""
        for policies in self.each:
            if policies.rule.name in readings:
                policies.put(room, readings[policies.rule.name], at)

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

    def is_unknown(self, room: RoomId) -> bool:
        """Whether the homeserver did not know a room when it was asked a while ago."""
        return any(policies.is_unknown(room) for policies in self.each)

    def age(self, room: RoomId) -> float | None:
        """How many seconds ago the oldest policy of a room was read; None where one never was."""
        ages = [policies.age(room) for policies in self.each]
        known = [age for age in ages if age is not None]
        return max(known) if known and len(known) == len(ages) else None

    def changes(self, room: RoomId) -> list[float]:
        """Once for each change: when it was made, in seconds since the epoch."""
        changes = [policies.take_change(room) for policies in self.each]
        return [at for at in changes if at is not None]

    def outdated(self, room: RoomId) -> None:
        """The homeserver has other policies of a room than what we know."""
        for policies in self.each:
            policies.outdated(room)

    def sweep(self) -> None:
        """Drop what is too old to be used."""
        for policies in self.each:
            policies.sweep()
