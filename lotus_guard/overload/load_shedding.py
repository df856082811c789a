"""What the guard does when it has more work than it can do: who waits, and what goes unjudged.

Three things, in this order:

- **Shares.** Every client address has its fair share of the requests under way, and of the tokens
  being judged. Whoever wants more waits in a line of their own, until that is full.
- **Back-pressure.** Where the guard as a whole is behind, tokens go out unguarded rather than late.
- **No client gets there alone.** Back-pressure counts of one address only so much, and lateness
  only so far as others than the heaviest address have caused it.
"""

from collections.abc import Callable
from operator import attrgetter

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.overload.client_address import Origin
from lotus_guard.overload.fair_share import Arrivals, Bounds, Shares

WAIT_SECONDS = 20.0
"""How long one may wait in line; a proxy's patience is longer (60 s in nginx, Caddy has none)."""
REQUESTS = 1024
"""Requests under way at once. One address gets half of them at the most."""
CROWD_TOKENS = 24
TOKENS = Bounds(most=1024, each=16, crowd=CROWD_TOKENS, line=4096, waiting=1 << 30, cap=16)
"""Tokens being judged at once.

Of one address so few that all their look-ups (one for each rule at Synapse, `roll_call.AT_ONCE` at
LiveKit) and those made ahead find a place at once with a neighbour: none waits there because of its
own, and so long that it opens. What waits here instead is bounded by the requests under way.
"""
MANY_TOKENS = TOKENS.most // 2
"""So many tokens being judged, none of more than `cap` from one address, are too many."""
HANDED_ON_SECONDS = 4.0
"""How long one may wait in line for what a homeserver hands on: Synapse gives up after 30 s."""
ELSEWHERE = Bounds(most=64, each=8, crowd=8, line=8, waiting=64, cap=8)
"""Requests under way that another homeserver's service answers. It may hang, and whoever asks may
have chosen it: none of the places for all others is held by that."""
ELSEWHERE_SECONDS = 1.0
PANEL = Bounds(most=8, each=2, crowd=4, line=4, waiting=16, cap=2)
"""Questions of panels under way: each is some at the homeserver and at LiveKit, in the lines of the
background, of whose places they never have more than half."""
PANEL_SECONDS = 2.0
TICK_SECONDS = 0.1
FADING = 0.8
"""What is left of a lateness at the next tick: what has queued up meanwhile is late as well."""


def requests(places: int) -> Bounds:
    """Share out so many places for requests.

    A conference behind one address (100 people, each with four requests at once) finds room in
    the line; a place in it is a request of up to `door.PLACE_BYTES` bytes, a longer one takes more.
    """
    crowd = places - places // 8
    return Bounds(places, places, crowd, line=places, waiting=2 * places, cap=places)


def handed_on(places: int) -> Bounds:
    """Share out so many places for what a homeserver hands on.

    Of one user so few that many accounts are needed to fill them: an account costs less than an
    address. A join of Element Call is four requests, and Synapse lets through ten at once.
    """
    return Bounds(places, each=16, crowd=16, line=64, waiting=2 * places, cap=16)


class TurnedAway(Exception):
    """One address wants more than fits into its line, or for longer than may be waited."""


@define(eq=False)
class ConcurrencyLimiter:
    """Gives each address places up to its share; whoever wants more waits."""

    shares: Shares[Origin, Deferred[None]]
    clock: IReactorTime
    seconds: float = WAIT_SECONDS
    """How long one may wait."""
    _admitting: bool = field(default=False, init=False)

    def enter(self, who: Origin) -> bool:
        """Take a place if there is one for them at once; else `wait`. Then `leave`."""
        return self.shares.enter(who)

    async def take(self, who: Origin, weight: int = 1, seconds: float | None = None) -> None:
        """Take a place, at once or after a wait; raises TurnedAway. Then `leave`."""
        if not self.enter(who):
            await self.wait(who, weight, seconds)

    async def wait(self, who: Origin, weight: int = 1, seconds: float | None = None) -> None:
        """Wait for a place and take it; raises TurnedAway. `seconds` instead of the usual ones."""
        turn: Deferred[None] = Deferred(lambda mine: self.shares.give_up(who, mine))
        waits, dropped = self.shares.wait(who, turn, weight)
        if dropped is not None:
            dropped.errback(TurnedAway())
        if not waits:
            raise TurnedAway
        try:
            await with_timeout(self.seconds if seconds is None else seconds, self.clock, turn)
        except TimeoutError:
            raise TurnedAway from None

    def leave(self, who: Origin) -> None:
        """Return a place, and hand it to whoever may have it now."""
        self.shares.leave(who)
        if self._admitting or not self.shares.waiting:
            return  # nobody waits; or whom we have let in has left at once: the loop below goes on
        self._admitting = True
        try:
            while (turn := self.shares.admit()) is not None:
                turn.callback(None)
        finally:
            self._admitting = False


@define(eq=False)
class Lag:
    """How late the reactor is, by its last ticks and by one that is overdue."""

    now: Now
    _due: float | None = field(default=None, init=False)
    _late: float = field(default=0.0, init=False)

    def tick(self) -> None:
        """Measure how late this tick is; one is due every `TICK_SECONDS`."""
        now = self.now()
        late = max(0.0, now - self._due) if self._due is not None else 0.0
        self._late = max(late, FADING * self._late)
        self._due = now + TICK_SECONDS

    def seconds(self) -> float:
        """By how many seconds the guard is behind; 0.0 where nobody ticks."""
        return 0.0 if self._due is None else max(self._late, self.now() - self._due)


@define(eq=False)
class LoadShedding:
    """Shares out the guard's work, and sheds it where there is too much."""

    clock: IReactorTime
    now: Now
    most_lag: float
    """Seconds that the guard may be behind."""
    places: int = REQUESTS
    on_turned_away: Callable[[], None] = lambda: None
    lag: Lag = field(init=False)
    requests: ConcurrencyLimiter = field(init=False)
    """At the public port."""
    handed_on: ConcurrencyLimiter = field(init=False)
    """At the homeserver's; half as many, and of their own: neither door can fill the other's."""
    elsewhere: ConcurrencyLimiter = field(init=False)
    tokens: ConcurrencyLimiter = field(init=False)
    arrivals: Arrivals[Origin] = field(init=False, factory=Arrivals)

    def __attrs_post_init__(self) -> None:
        self.lag = Lag(self.now)
        self.requests = self._limiter(requests(self.places))
        self.handed_on = self._limiter(handed_on(self.places // 2), HANDED_ON_SECONDS)
        self.elsewhere = self._limiter(ELSEWHERE, ELSEWHERE_SECONDS)
        self.tokens = self._limiter(TOKENS)

    def _limiter(self, bounds: Bounds, seconds: float = WAIT_SECONDS) -> ConcurrencyLimiter:
        return limiter(bounds, self.clock, seconds)

    def is_serving(self) -> bool:
        """Whether anybody waits for an answer at either door."""
        return bool(self.requests.shares.used or self.handed_on.shares.used)

    def worked(self, who: Origin, times: int) -> None:
        """Count what keeps the guard busy; a number below 0 takes some of it back."""
        if times > 0:
            self.arrivals.count(who, self.now())
        else:
            self.arrivals.take_back(who, -times)

    def shed_reason(self) -> Outage | None:
        """Why tokens are to go out unguarded; None where they are not."""
        if self.tokens.shares.spread >= MANY_TOKENS:
            return Outage(Reason.OVERLOAD, f"the guard is checking {MANY_TOKENS} tokens already")
        late = self.lag.seconds()
        if late > self.most_lag:
            late *= self.arrivals.share_of_others(self.now())
        if late > self.most_lag:
            return Outage(Reason.OVERLOAD, f"the guard is {late:.1f} s behind")
        return None


def limiter(bounds: Bounds, clock: IReactorTime, seconds: float) -> ConcurrencyLimiter:
    """Share out so many places among addresses; one waits for one at most so long."""
    return ConcurrencyLimiter(Shares(bounds, attrgetter("is_crowd")), clock, seconds)
