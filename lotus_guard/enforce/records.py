"""Puts every decision on record: stamps it, hides users, hands it to whoever keeps it.

Whether users' ids are written is the operator's choice (`LOTUS_GUARD_LOG_USERS`): `yes` writes
them, `hash` a keyed hash, the same for the same user, `no` leaves them out. It is applied here,
once, for the log, the state file and the operators' port alike.
"""

import base64
import hmac
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Protocol

from attrs import define, field

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Person
from lotus_guard.enforce.ports import Now, Outage
from lotus_guard.rules.decision import (
    Decision,
    Deed,
    Ruling,
    masked,
)
from lotus_guard.rules.giving import GIVING
from lotus_guard.rules.rulings import let_through, not_enforced

Mask = Callable[[Person], Person | None]
Sink = Callable[[Decision], None]
Watcher = Callable[[Ruling, bool], None]
"""Told of each ruling, and whether its rule only observes."""

ONCE_SECONDS = 60.0
MOST_RECENT = 500
MOST_UNGUARDED = 50
IDS_AT_ONCE = 64
"""So many ids are made of random bytes that are drawn at once: the system call costs more."""


class Counters(Protocol):
    """Counts what is decided."""

    def decided(self, ruling: Ruling, observed: bool) -> None:
        """Count a decision."""

    def failed_open(self, rule: str, outage: Outage) -> None:
        """Count a token let out without a rule, and tell the operator."""

    def not_enforced(self, rule: str, outage: Outage) -> None:
        """Count that running calls were left without a rule, and tell the operator."""

    def passed_elsewhere(self) -> None:
        """Count a token of another homeserver's service."""


@lru_cache(maxsize=1)
def mask_of(setting: str, secret: str) -> Mask:
    """Make the mask for `yes`, `hash` or `no`; the hash is keyed with LiveKit's secret."""
    if setting == "yes":
        return lambda person: person
    if setting == "no":
        return lambda _person: None
    key = hmac.new(secret.encode(), b"lotus_guard: users in logs", sha256).digest()

    begun = hmac.new(key, digestmod=sha256)

    def hashed(person: Person) -> str:
        digest = begun.copy()
        digest.update(person.encode(errors="replace"))
        return f"u:{digest.hexdigest()[:12]}"

    return hashed


def short_id(random: Callable[[int], bytes]) -> str:
    """Make an id that can be read out over the telephone; `random` gives so many random bytes."""
    return _ids_of(random(_ID_BYTES))


def short_ids(random: Callable[[int], bytes]) -> Iterator[str]:
    """Make one such id after the other, without an end.

    Those of one block are known before they are used. That is nothing to anybody: an id only
    names a decision, and shows it to nobody.
    """
    while True:
        block = _ids_of(random(_ID_BYTES * IDS_AT_ONCE))
        for start in range(0, len(block), _ID_LENGTH):
            yield block[start : start + _ID_LENGTH]


def is_id(text: str) -> bool:
    """Whether a decision could have this id."""
    return len(text) == _ID_LENGTH and text.isascii() and text.isalnum() and text == text.lower()


_ID_BYTES = 5
_ID_LENGTH = 8
"""Letters of an id: base32 writes five bytes as eight."""


def _ids_of(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower()


@define(eq=False)
class Recorder:
    """Stamps decisions and hands them on; the last ones stay in memory."""

    epoch: Callable[[], float]
    now: Now
    random: Callable[[int], bytes]
    mask: Mask
    counters: Counters
    sinks: list[Sink] = field(factory=list)
    watchers: list[Watcher] = field(init=False, factory=list)
    """Told of rulings that `once` keeps from being put on record, as well."""
    recent: deque[Decision] = field(init=False, factory=lambda: deque(maxlen=MOST_RECENT))
    """The last decisions, newest last."""
    unguarded: deque[Decision] = field(init=False, factory=lambda: deque(maxlen=MOST_UNGUARDED))
    """The last fail-opens, newest last: refusals, which anybody can cause, do not push them out."""
    _ids: Iterator[str] = field(init=False)
    _tallies: LruDict[RoomId, Counter[Deed]] = field(init=False, factory=lambda: LruDict(20_000))
    _open_tallies: LruDict[RoomId, int] = field(init=False, factory=lambda: LruDict(20_000))
    """Fail-opens, apart: whoever is refused in one made-up room after the other must not have the
    guard forget them."""
    _said: LruDict[Hashable, tuple[float, str]] = field(init=False, factory=lambda: LruDict(10_000))

    def __attrs_post_init__(self) -> None:
        self._ids = short_ids(self.random)

    def decided(
        self, ruling: Ruling, *, observed: bool = False, once: Hashable | None = None
    ) -> str:
        """Put a ruling on record and return its id; with the same `once`, once a minute."""
        self.counters.decided(ruling, observed)
        for watch in self.watchers:
            watch(ruling, observed)
        if ruling.room and ruling.rule != GIVING:  # a gift takes nothing from anybody
            self._count(ruling.room, ruling.deed)
        return self._record(ruling, observed, once)

    def _count(self, room: RoomId, deed: Deed) -> None:
        if deed is Deed.FAIL_OPEN:
            self._open_tallies.put(room, (self._open_tallies.get(room) or 0) + 1)
            return
        tally = self._tallies.get(room)
        if tally is None:
            tally = Counter()
            self._tallies.put(room, tally)
        tally[deed] += 1

    def failed_open(
        self,
        rule: str,
        outage: Outage,
        room: RoomId | None = None,
        user: Person | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Record that a rule let a token out because something of ours failed."""
        self.counters.failed_open(rule, outage)
        once = ("open", rule, outage.reason, room) if again else None
        self.decided(let_through(rule, outage.reason, outage.detail, room, user), once=once)

    def passed_elsewhere(self) -> None:
        """Count a token of another homeserver's service."""
        self.counters.passed_elsewhere()

    def not_enforced(self, rule: str, outage: Outage) -> None:
        """Record that a rule could not be enforced in calls that run."""
        self.counters.not_enforced(rule, outage)
        once = ("unenforced", rule, outage.reason)
        self.decided(not_enforced(rule, outage.reason, outage.detail), once=once)

    def tally(self, room: RoomId) -> Counter[Deed]:
        """Count what has been decided in a room since the guard started, without gifts."""
        unguarded = self._open_tallies.get(room)
        counted = self._tallies.get(room) or Counter()
        return counted if unguarded is None else counted + Counter({Deed.FAIL_OPEN: unguarded})

    def shown(self, people: Iterable[Person]) -> list[Person]:
        """Show people as far as they may be shown."""
        return [shown for person in people if (shown := self.mask(person)) is not None]

    def _record(self, ruling: Ruling, observed: bool, once: Hashable | None) -> str:
        before = self._said.get(once) if once is not None else None
        if before and self.now() - before[0] < ONCE_SECONDS:
            return before[1]
        shown = masked(ruling, self.mask)
        decision = Decision(next(self._ids), self.epoch(), observed, shown)
        if once is not None:
            self._said.put(once, (self.now(), decision.id))
        self.recent.append(decision)
        if ruling.deed is Deed.FAIL_OPEN:
            self.unguarded.append(decision)
        for sink in self.sinks:
            sink(decision)
        return decision.id
