"""State events of rooms, remembered: each type is looked up once for all rules that read it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Bug, Homeserver, Outage
from lotus_guard.enforce.remembered import Kept, Remembered
from lotus_guard.rules.rule import Content, P, Reading, Rule

_log = Logger()


@frozen
class Readings:
    """What the rules read in one event, by their names; a rule that failed is missing."""

    each: Mapping[str, Reading[Any]]

    def of(self, rule: Rule[P]) -> Reading[P] | None:
        """What a rule read; None where it failed."""
        return self.each.get(rule.name)

    @property
    def restricts(self) -> bool:
        """Whether any of them restricts anything."""
        return any(reading.policy.restricts for reading in self.each.values())


@frozen
class EventRules:
    """The rules that read one type of event, as one that a homeserver is asked for."""

    event: str
    rules: Sequence[Rule[Any]]

    @property
    def name(self) -> str:
        """The name of the first of them."""
        return self.rules[0].name

    def read(self, content: Content | None) -> Reading[Readings]:
        """Have each rule read the event; what one makes of it is nothing to the others."""
        found = {}
        for rule in self.rules:
            try:
                found[rule.name] = rule.read(content)
            except Exception:  # what was known before holds, as in an outage
                _log.failure("The {rule} rule failed to read a policy", rule=rule.name)
        return Reading(Readings(found))


Took = Callable[[RoomId, Reading[Any] | None, Reading[Any]], None]
"""Told of a room's reading that has come in, and of the one before it."""


@define(eq=False)
class Events(Remembered[Readings]):
    """What the rooms' events of one type say."""

    asked: EventRules = field(kw_only=True)
    readers: dict[str, Took] = field(factory=dict, kw_only=True)
    """Who is told of what comes in, by the names of the rules."""

    def put(self, room: RoomId, readings: Mapping[str, Reading[Any]], at: float) -> None:
        """Take in what was read or pushed at `at`; something older changes nothing.

        Of a rule that says nothing, what is known stays.
        """
        names = [rule.name for rule in self.asked.rules if rule.name in readings]
        before = self._kept.peek(room)
        known = before.value.each if before else {}
        new = {**known, **{name: readings[name] for name in names}}
        if not names or not self.keep(room, Kept(Readings(new), at)):
            return
        for name in names:
            self.readers[name](room, known.get(name), new[name])

    async def look_up(self, room: RoomId, homeserver: Homeserver) -> Kept[Readings]:
        """Read the event once; raises Outage."""
        begun = self.now()
        try:
            reading = await homeserver.policy(room, self.asked)
        except (CancelledError, Outage):
            raise
        except Exception as why:
            _log.failure("Could not read {event}", event=self.asked.event)
            raise Bug from why
        each = {
            name: evolve(one, set_at=reading.set_at, is_unknown=reading.is_unknown)
            for name, one in reading.policy.each.items()
        }
        self.put(room, each, begun)
        kept = self.kept(room)
        # Nothing is there where every rule failed that reads the event.
        return Kept(Readings({}), begun) if kept is None or not each else kept
