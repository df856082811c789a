"""A homeserver's transactions as hints: which rooms changed, and who joined or left.

Of policies and power levels only that they changed is believed, and the homeserver is asked for
them: what is in force is its to say, for an event can lose against another one.
"""

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

from attrs import define, field, frozen
from twisted.logger import Logger

from lotus_guard.core.lru import LruDict
from lotus_guard.core.membership import Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.transaction import Change, read_changes

_log = Logger()

OLD_SECONDS = 60.0
"""A membership from longer ago is not handed on: the transaction has waited for us, and what came
after it may be in the next one. Who is in a room is asked for anyway."""


class Outcome(StrEnum):
    """What became of a transaction; the `outcome` label of its counter."""

    TAKEN = "taken"
    TOO_LONG = "too_long"
    UNREADABLE = "unreadable"


@frozen
class Changes:
    """What a transaction has changed."""

    rooms: Sequence[RoomId] = ()
    """Rooms with other policies or power levels than before."""
    members: Sequence[tuple[RoomId, UserId, Membership]] = ()
    """How people stand to rooms now, each once in each room."""


@define(eq=False)
class Transactions:
    """Takes in transactions, and hands on what changed."""

    types: Collection[str]
    """The types of the rules' events, and of power levels."""
    epoch: Callable[[], float]
    on_changes: Callable[[Changes], None]
    on_outcome: Callable[[str], None]
    """Told what became of each, for metrics."""
    _seen: LruDict[str, bool] = field(init=False, factory=lambda: LruDict(20_000))
    """Events that have been here: their ids."""

    def take(self, body: bytes) -> None:
        """Take in a transaction of our homeserver's; never raises."""
        try:
            outcome = self._take(body)
        except Exception:  # if it were refused, it would come again for ever
            _log.failure("Could not process a transaction")
            outcome = Outcome.UNREADABLE
        self.on_outcome(outcome)

    def dropped(self) -> None:
        """Note one that was too long to be read."""
        self.on_outcome(Outcome.TOO_LONG)

    def _take(self, body: bytes) -> Outcome:
        changes = read_changes(body, self.types, self.epoch())
        if changes is None:
            return Outcome.UNREADABLE
        new = [each for each in changes if self._is_new(each)]
        rooms = dict.fromkeys(each.room for each in new if each.user is None)
        members = {
            (each.room, each.user): each.membership
            for each in new
            if each.user is not None and each.age <= OLD_SECONDS
        }
        if rooms or members:
            told = [(room, user, membership) for (room, user), membership in members.items()]
            self.on_changes(Changes(list(rooms), told))
        return Outcome.TAKEN

    def _is_new(self, change: Change) -> bool:
        if not change.event_id:
            return True
        is_new = self._seen.get(change.event_id) is None
        self._seen.put(change.event_id, True)
        return is_new
