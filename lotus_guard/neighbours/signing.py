"""How our calls to LiveKit are signed so that it takes them: a key that it knows, its own clock.

LiveKit refuses (401) what was signed with a secret it does not know, and what has not begun or has
run out by its clock. Both can change while we run: a secret is renewed, here first or there first;
a clock is set. So whoever is refused looks what has changed and asks once more, with that.

A wrong `Date` can do no more than make these calls fail, or be signed for another hour of the same
day: it is used for nothing that a client gets.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from lotus_guard.core.clock import MOST_APART, ServerClock
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.enforce.condition import described
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.ports import Now
from lotus_guard.neighbours.http import HttpAnswer

_log = Logger()

TOKEN_LIFE = 60
"""Seconds for which one of our own tokens is valid."""
BEGUN = 10
"""Seconds for which it has been so already: clocks differ a little."""
ENOUGH = 5.0
"""Seconds by which a clock must have moved to be a reason for asking again."""
MOST_TRIES = 4


@frozen
class Signing:
    """One way to sign: with what, and how far ahead of our clock."""

    pair: KeyPair
    offset: float

    def token(self, grant: Mapping[str, Any], epoch: float, **claims: str) -> bytes:
        """Make a token with this grant, and other claims; `epoch` is the time by our clock."""
        now = int(epoch + self.offset)
        times = {"nbf": now - BEGUN, "exp": now + TOKEN_LIFE}
        return mint(self.pair, **times, video=dict(grant), **claims).encode("ascii")


@define(eq=False)
class Signer:
    """Knows what LiveKit takes; one for all our ways to it."""

    keys: Credential[KeyPair]
    clock: ServerClock
    now: Now
    _taken: tuple[KeyPair, KeyPair] | None = field(default=None, init=False, repr=False)
    """What it was that LiveKit took last, and what was our newest then."""
    _missed: KeyPair | None = field(default=None, init=False, repr=False)
    """The newest pair of which was said that LiveKit does not take it."""
    _well: float | None = field(default=None, init=False)
    """When the clocks last agreed."""
    _said: float | None = field(default=None, init=False)
    """How far the clocks were apart when that was last logged; None: they agreed."""

    async def asked(
        self, seconds: float, ask: Callable[[Signing, float, float], Awaitable[HttpAnswer]]
    ) -> HttpAnswer:
        """Ask in at most so many seconds; again, where it is refused and something has changed.

        `ask` gets what to sign with, the time by our clock and the seconds that are left; raises
        what it raises.
        """
        end, signing = self.now() + seconds, self._first()
        tried: set[Signing] = set()
        while True:
            newest = self.keys.value  # which may be another by the time of the answer
            sent = self.clock.ours()
            answer = await ask(signing, sent, max(0.0, end - self.now()))
            self._saw(answer, sent)
            if answer.status != 401:
                self._accept(signing, newest, tried)
                return answer
            tried.add(signing)
            following = self._following(signing, tried)
            if following is None or self.now() >= end:
                return answer
            signing = following

    def describe(self) -> dict[str, Any]:
        """Describe the clock as `observe.health` describes what the guard depends on."""
        age = None if self._well is None else round(self.now() - self._well, 1)
        trouble = self.clock.trouble()
        state = "trouble" if trouble else "unknown" if self.clock.ahead is None else "ok"
        return described("clock", state, age, trouble)

    def _first(self) -> Signing:
        pair = self.keys.value
        if self._taken is not None and self._taken[1] == pair:
            pair = self._taken[0]
        return Signing(pair, self.clock.followed)

    def _following(self, refused: Signing, tried: set[Signing]) -> Signing | None:
        """Find what else might do; None where there is nothing."""
        if len(tried) >= MOST_TRIES:
            return None
        self.keys.renewed(refused.pair)
        offset = self.clock.candidate(ENOUGH)
        pairs = [refused.pair, *self.keys.known()]
        found = (Signing(pair, offset) for pair in pairs)
        return next((each for each in found if each not in tried), None)

    def _accept(self, signing: Signing, newest: KeyPair, refused: set[Signing]) -> None:
        self._taken = (signing.pair, newest)
        self.clock.followed = signing.offset
        is_refused = refused and any(each.pair == newest for each in refused)
        if is_refused and newest not in (signing.pair, self._missed):
            # Said once: a restart would forget the one that works.
            self._missed = newest
            _log.warn(
                "LiveKit refuses the new key in {name} and accepts the old one, which the guard "
                "uses until it restarts. Fix: give LiveKit and the guard the same key and secret.",
                name=self.keys.name,
            )

    def _saw(self, answer: HttpAnswer, sent: float) -> None:
        date = answer.last(b"Date")
        if date is not None:
            self.clock.saw(date.decode("latin-1"), sent)
        if self.clock.ahead is not None:
            self._say(self.clock.ahead, self.clock.trouble())

    def _say(self, ahead: float, trouble: str) -> None:
        """Log how the clocks are where that is news."""
        if not trouble:
            self._well = self.now()
            if self._said is not None:
                _log.info("This machine's clock and LiveKit's agree again")
            self._said = None
            return
        if self._said is not None and abs(self._said - ahead) <= MOST_APART:
            return
        self._said = ahead
        _log.warn(
            "The clocks differ: {trouble}. The guard signs its calls to LiveKit by LiveKit's "
            "clock. Fix: let chrony or systemd-timesyncd set both clocks.",
            trouble=trouble,
        )
