"""Runs what is done again and again while the guard runs, and ends it in order."""

import gc
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from lotus_guard.enforce.credentials import LOOK_SECONDS
from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.memory.redis_lease import RENEW_SECONDS
from lotus_guard.neighbours.agents import Agents
from lotus_guard.observe.overview import LOOK_SECONDS as OVERVIEW_SECONDS
from lotus_guard.overload.load_shedding import TICK_SECONDS
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import Config
from lotus_guard.run.gauges import modes_of
from lotus_guard.run.guard import Guard
from lotus_guard.run.loop import LOOKS, LoopTick, describe_loop
from lotus_guard.run.memory import HOUSEKEEPING_SECONDS, Housekeeping

_log = Logger()

LINGER_SECONDS = 0.3
"""How long an orderly end waits for the first request of those who have just connected."""
STOP_SECONDS = 4.5
"""How long an orderly end waits for the requests that are open."""


class LiveService(Service):
    """Runs the live loop, the housekeeping, and what else is done by the clock."""

    def __init__(self, guard: Guard, config: Config, clocks: Clocks, agents: Agents) -> None:
        self._guard = guard
        self._clocks = clocks
        self._config = config
        self._agents = agents
        self._tick = LoopTick(guard.loop, clocks)
        works: list[tuple[Callable[[], Any], float]] = [
            (self._tick.if_due, config.reconcile_interval / LOOKS),
            (Housekeeping(guard.memory, guard.live, clocks.now).tidy, HOUSEKEEPING_SECONDS),
            (guard.public.load.lag.tick, TICK_SECONDS),
            (config.credentials.look, LOOK_SECONDS),
            (guard.overview.look, OVERVIEW_SECONDS),
        ]
        if guard.memory.cluster.lease is not None:
            works.insert(0, (lambda: ensureDeferred(self._renew()), RENEW_SECONDS))
        self._loops = [(LoopingCall(work), seconds) for work, seconds in works]

    def startService(self) -> None:
        """Start; what is loaded by now stays, so the garbage collector need not look at it."""
        super().startService()
        self._tell_settings()
        gc.collect()
        gc.freeze()
        self._guard.memory.cluster.store.beat()
        for loop, seconds in self._loops:
            loop.clock = self._clocks.reactor
            loop.start(seconds)

    def _tell_settings(self) -> None:
        """Log which rules hold, and whom they are asked of."""
        modes = modes_of(self._guard.overview)
        groups = [
            f"{said} {', '.join(rules)}"
            for mode, said in (
                ("enforce", "enforced"),
                ("observe", "only observed"),
                ("off", "off"),
            )
            if (rules := [rule for rule, own in modes.items() if own == mode])
        ]
        _log.info(
            "Rules: {groups}. Homeserver at {homeserver}, LiveKit at {livekit}.",
            groups="; ".join(groups),
            homeserver=self._config.synapse_url,
            livekit=self._config.livekit_api,
        )

    def is_turning(self) -> bool:
        """Whether the live loop turns, as `LoopTick` has it."""
        return self._tick.is_turning()

    def status(self) -> str:
        """How the loop does, in a line."""
        loop = describe_loop(self._guard.live, self._clocks.now)
        rooms = len(self._guard.live.counts)
        age = "none yet" if loop["age"] is None else f"{loop['age']:.0f} s ago"
        return f"{rooms} LiveKit rooms, last good pass {age}"

    def stopService(self) -> Deferred[Any]:
        """Stop: give up a pass under way, write down what was learnt."""
        super().stopService()
        self._guard.operators.close()
        for loop, _ in self._loops:
            loop.stop()
        self._tick.stop()
        self._guard.live.turns.stop()
        self._guard.loop.changes.stop()
        if self._guard.loop.members is not None:
            self._guard.loop.members.stop()
        return ensureDeferred(self._end())

    async def _end(self) -> None:
        """Let the requests that are open be served, for a while; the port is closed by now."""
        # Whoever was accepted a moment ago may not have been read yet: they are not open, and not
        # to be hung up on.
        await deferLater(self._clocks.reactor, LINGER_SECONDS, lambda: None)
        drained = self._guard.drained()
        try:
            await with_timeout(STOP_SECONDS, self._clocks.reactor, drained)
        except TimeoutError:
            _log.warn("Stopped with requests still open after {n} s", n=STOP_SECONDS)
        await self._guard.memory.cluster.close()
        await self._agents.close()

    async def _renew(self) -> None:
        try:
            cluster = self._guard.memory.cluster
            if cluster.lease is not None and await cluster.lease.renew():
                await self._guard.memory.seat_store.reunite()
        except Exception:
            _log.failure("Could not find out which guard runs the live loop")
