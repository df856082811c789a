"""Several ways to ask one homeserver, tried one after the other until one can say it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.enforce.ports import Homeserver, MayNotLook, NotAsked, Outage, Tallies, Upgrades
from lotus_guard.neighbours.bearer import Asking
from lotus_guard.rules.rule import P, Reading
from lotus_guard.rules.state_event import ReadsEvent

V = TypeVar("V")


class Source(Homeserver, Upgrades, Tallies, Protocol):
    """One way to ask the homeserver."""

    def within(self, seconds: float) -> "Source":
        """The same with another deadline."""
        ...


@define(eq=False)
class Sources:
    """Asks each of them, the cheapest first, within one deadline."""

    each: Sequence[Source]
    clock: IReactorTime
    seconds: float
    """The deadline of one question, over all ways."""
    _first_way: Source = field(init=False)
    """Has the whole of it."""

    def __attrs_post_init__(self) -> None:
        self._first_way = self.each[0].within(self.seconds)

    def policy(self, room: RoomId, rule: ReadsEvent[P]) -> Asking[Reading[P]]:
        """Read the policy of a rule in a room, in the first way that can."""
        return self._first(lambda source: source.policy(room, rule))

    def membership(self, room: RoomId, user: UserId) -> Asking[Standing]:
        """Ask how a user stands to a room, until one way says anything of them."""
        return self._first(lambda source: source.membership(room, user), _says_something)

    def power(self, room: RoomId) -> Asking[PowerLevels]:
        """Read who has which power level in a room, in the first way that can."""
        return self._first(lambda source: source.power(room))

    def name(self, room: RoomId) -> Asking[str | None]:
        """Look up a room's name, until one way knows it."""
        return self._first(lambda source: source.name(room), bool)

    def predecessor(self, room: RoomId) -> Asking[RoomId | None]:
        """Ask which room this one replaced, until one way knows it."""
        return self._first(lambda source: source.predecessor(room), bool)

    def rooms(self, start: int) -> Asking[tuple[Sequence[RoomId], int | None]]:
        """List some rooms, in the first way that can."""
        return self._first(lambda source: source.rooms(start))

    def tallies(self, start: int) -> Asking[tuple[Mapping[RoomId, int], int | None]]:
        """Count the state events of some rooms, in the first way that can."""
        return self._first(lambda source: source.tallies(start))

    async def ping(self) -> None:
        """See whether the homeserver answers in any way; raises Outage."""
        await self._first(lambda source: source.ping())

    async def _first(
        self,
        ask: Callable[[Source], Awaitable[V]],
        is_enough: Callable[[V], bool] = lambda _answer: True,
    ) -> V:
        """The first answer that is enough; else one that is not, unless a way has failed.

        Raises Outage: MayNotLook only where no way may look. Where our own line is full or the
        breaker is open, that is so for all ways: they are to the same homeserver.
        """
        outages: list[Outage] = []
        poor: list[V] = []
        for source in self._in_time():
            try:
                answer = await ask(source)
            except NotAsked:
                raise
            except Outage as outage:
                outages.append(outage)
                continue
            if is_enough(answer):
                return answer
            poor.append(answer)
        failures = [each for each in outages if not isinstance(each, MayNotLook)]
        if poor and not failures:
            return poor[0]
        raise (failures or outages)[0]

    def _in_time(self) -> Iterator[Source]:
        """Each way with what is left of the deadline, as long as anything is."""
        due = self.clock.seconds() + self.seconds
        yield self._first_way
        for source in self.each[1:]:
            left = due - self.clock.seconds()
            if left <= 0.0:
                return
            yield source.within(left)


def _says_something(standing: Standing) -> bool:
    """Whether somebody is ours, of whom a homeserver knows all, or it was heard of them."""
    return standing.is_local or standing.membership is not Membership.UNHEARD
