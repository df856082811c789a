"""One Redis: a connection for commands and scripts, and one that listens for news.

A round trip has one deadline. What one that fails was about is a client's to choose, so it is no
evidence that Redis is away: after it we put a neutral question of our own, which goes the way of
all others. Only where that one fails as well is Redis left alone, so that a Redis that hangs costs
the calls a deadline and not one each; then we ask once a second, and no call waits for that.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field
from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    ensureDeferred,
    gatherResults,
    maybeDeferred,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from txredisapi import ConnectionError as NotConnected

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.deferreds import ignoring, with_timeout
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.memory.redis_address import RedisAddress
from lotus_guard.memory.redis_keys import Words
from lotus_guard.memory.redis_protocol import (
    ChannelReader,
    Connection,
    ConnectionFactory,
    Subscriber,
    endpoint_of,
    outage_of,
)
from lotus_guard.memory.redis_protocol import Words as Sent
from lotus_guard.memory.redis_scripts import Script

_log = Logger()

SECONDS = 0.5
"""How long a round trip may take at the most."""
SHARE = 0.25
"""The part of what a rule may keep an answer waiting that a round trip may take: a look is taken in
with one, a seat taken with another, and between the two LiveKit or Synapse may be slow as well."""
START_SECONDS = 1.0
"""For how long after the start a connection is waited for: whoever asks first is judged on what the
other guards know."""
REST_SECONDS = 1.0
"""A Redis that is away is asked once in so many seconds whether it is back."""
NEUTRAL_MILLISECONDS = 60_000
"""For how long Redis keeps the key that the neutral question writes."""
FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0
"""Seconds between two tries to connect."""
MEASURE_SECONDS = 60.0
MOVED_SECONDS = 0.05
"""The clocks' distance is kept until it is off by so much: times must not jitter."""


class ScriptUnknown(Exception):
    """Redis does not know a script by its digest; it is sent whole then."""


class ConnectionListener:
    """Told how Redis does; this one does nothing with it."""

    def answered(self) -> None:
        """Take note that Redis is there."""

    def away(self, outage: Outage) -> None:
        """Take note that Redis is away: a neutral question has failed."""

    def failed(self, outage: Outage) -> None:
        """Take note of a round trip that failed, whatever it was about."""


@define(eq=False)
class Redis:
    """A Redis server."""

    address: RedisAddress
    reactor: Any
    now: Now
    listener: ConnectionListener = field(factory=ConnectionListener)
    seconds: float = SECONDS
    password: Credential[str] | None = None
    """Where the address has none."""
    clock_offset: float = field(default=0.0, init=False)
    away_since: float | None = field(default=None, init=False)
    """Since when it has not answered; None while it does."""
    refusal: str = field(default="", init=False)
    """What Redis said last when it refused to let us in."""
    _factories: list[ConnectionFactory] = field(init=False, factory=list)
    _services: list[ClientService] = field(init=False, factory=list)
    _sent_word: str = field(default="", init=False, repr=False)
    """The password that was sent last."""
    _begun: float | None = field(default=None, init=False)
    """When the reactor began to turn."""
    _measured: float | None = field(default=None, init=False)
    _measuring: bool = field(default=False, init=False)
    _doubt: Deferred[None] | None = field(default=None, init=False)
    """We are finding out whether it is there."""
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)

    def start(self, reader: ChannelReader | None = None) -> None:
        """Begin to connect; listen to a channel, where there is a reader."""
        self._connect(Connection)
        self.reactor.callWhenRunning(self._begin)
        if reader is not None:
            self._connect(partial(Subscriber, reader))

    def _begin(self) -> None:
        self._begun = self.now()

    async def connected(self) -> None:
        """Wait until we are connected; for a moment only, and only at the start."""
        factory = self._factories[0]
        while not factory.pool and (
            self._begun is None or self.now() - self._begun < START_SECONDS
        ):
            await deferLater(self.reactor, 0.02, lambda: None)

    def close(self) -> Deferred[Any]:
        """Close the connections."""
        if self._doubt is not None:
            self._doubt.cancel()
        return gatherResults([maybeDeferred(each.stopService) for each in self._services])

    async def command(self, *words: str | bytes | int) -> Any:
        """Run one command; raises Outage."""
        return await self._call(tuple(map(_word, words)))

    async def script(self, script: Script, keys: Words, arguments: Words) -> Any:
        """Run a script; raises Outage."""
        sent = (len(keys), *map(_word, keys), *map(_word, arguments))
        try:
            return await self._call((b"EVALSHA", script.digest, *sent))
        except ScriptUnknown:
            return await self._call((b"EVAL", script.lua.encode(), *sent))

    def _connect(self, protocol: Callable[..., Any]) -> None:
        factory = ConnectionFactory(protocol, self.address, self._current_word, self._refused)
        self._factories.append(factory)
        # Not txredisapi's own way of connecting again: it gives up for good after one refused
        # password, which may be put right while we run.
        policy = backoffPolicy(FIRST_DELAY, LONGEST_DELAY)
        service = ClientService(
            endpoint_of(self.address, self.reactor), factory, policy, self.reactor
        )
        service.startService()
        self._services.append(service)

    def _current_word(self) -> str:
        renewable = self.password.value if self.password is not None else ""
        self._sent_word = self.address.password or renewable
        return self._sent_word

    def _renew(self) -> bool:
        """Whether there is another password by now than the one that was refused."""
        own = self.address.password
        return not own and self.password is not None and self.password.renewed(self._sent_word)

    def _refused(self, why: str) -> None:
        if self._renew():
            return  # the next try to connect, in a moment, has the new one
        if why != self.refusal:
            _log.error("Redis rejected the guard's login or database: {why}", why=why)
        self.refusal = why

    async def _call(self, words: Sent) -> Any:
        if self.away_since is not None:
            raise Outage(Reason.TIMEOUT, "Redis is not asked until it answers again")
        if self._measured is None:
            await self.connected()
            await self._measure()
        elif self.now() - self._measured > MEASURE_SECONDS and not self._measuring:
            ensureDeferred(self._measure()).addErrback(lambda _: None)
        return await self._round_trip(words)

    async def _round_trip(self, words: Sent) -> Any:
        try:
            answer = await self._exchange(words)
        except Outage as outage:
            self.listener.failed(outage)
            if self._doubt is None or self._doubt.called:
                self._doubt = ensureDeferred(self._find_out(outage))
                ignoring(self._doubt, CancelledError)
            raise
        self.listener.answered()
        return answer

    async def _exchange(self, words: Sent) -> Any:
        """Send a command and take its answer; raises Outage."""
        try:
            pool = self._factories[0].pool
            if not pool:
                raise NotConnected("not connected")
            connection = pool[0]
            answer = await with_timeout(self.seconds, self.reactor, connection.ask(words))
            if isinstance(answer, Exception):
                raise answer
            return answer
        except CancelledError:
            raise
        except Exception as failure:
            if words[0] == b"EVALSHA" and str(failure).startswith("NOSCRIPT"):
                raise ScriptUnknown from None
            outage = outage_of(failure)
            if outage.reason is Reason.UNAUTHORIZED and self._renew():
                connection.transport.loseConnection()  # the next one has the new password
            raise outage from None

    async def _find_out(self, first: Outage) -> None:
        """Ask until there is an answer whether Redis is there; from the first silence on it is not.

        Asked is for a write, as all that rests on Redis needs one: a full or a read-only Redis is
        as good as none.
        """
        key = f"{self.address.prefix}alive".encode()
        words = (b"SET", key, b"1", b"PX", NEUTRAL_MILLISECONDS)
        while True:
            try:
                await self._exchange(words)
                break
            except Outage as outage:
                self.away_since = self.now() if self.away_since is None else self.away_since
                self.listener.away(outage)
            await deferLater(self.reactor, REST_SECONDS, lambda: None)
        if self.away_since is None and (more := self._throttle.more("odd")) is not None:
            _log.warn("A command failed while Redis is up: {why}{more}", why=first, more=more)
        self.away_since = None
        self.listener.answered()

    async def _measure(self) -> None:
        """Find out how far Redis' clock is ahead: the quickest of three round trips tells best."""
        self._measuring = True
        try:
            found = []
            for _ in range(3):
                sent = self.now()
                seconds, micros = await self._round_trip((b"TIME",))
                taken = self.now() - sent
                found.append((taken, int(seconds) + int(micros) / 1e6 - sent - taken / 2))
            _, clock_offset = min(found)
            if self._measured is None or abs(clock_offset - self.clock_offset) > MOVED_SECONDS:
                self.clock_offset = clock_offset
            self._measured = self.now()
        finally:
            self._measuring = False


def _word(word: str | bytes | int) -> bytes | int:
    """A word that can be sent: half a character in a name is no trouble of Redis."""
    return word.encode("utf-8", "replace") if isinstance(word, str) else word
