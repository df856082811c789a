"""Counts what is asked of Synapse and LiveKit, and when they are not asked."""

from twisted.logger import Logger

from lotus_guard.enforce.ports import Outage
from lotus_guard.observe.families import Families
from lotus_guard.observe.outages import fix_for

_log = Logger()

_NAMES = {"synapse": "Synapse", "livekit": "LiveKit"}


class NeighbourMetrics:
    """Calls, and the breakers."""

    def __init__(self, families: Families) -> None:
        self.livekit_calls = families.counter(
            "lotus_guard_livekit_calls_total", "Calls to LiveKit's API", ("method",)
        )
        self.synapse_calls = families.counter(
            "lotus_guard_synapse_calls_total", "Calls to the homeserver", ("method",)
        )
        self.breakers = families.gauge(
            "lotus_guard_breaker_open",
            "1 while the guard does not ask this service because it did not answer, otherwise 0",
            ("neighbour",),
        )
        self.breakers_opened = families.counter(
            "lotus_guard_breaker_opened_total",
            "Times the guard stopped asking this service because it did not answer",
            ("neighbour",),
        )
        self.questions_not_put = families.counter(
            "lotus_guard_not_asked_total",
            "Requests not sent: open (the breaker is open), busy (too many are waiting)",
            ("neighbour", "reason"),
        )

    def called_livekit(self, method: str) -> None:
        """Count a call to LiveKit."""
        self.livekit_calls.labels(method).inc()

    def called_synapse(self, method: str) -> None:
        """Count a call to the homeserver: a type of event, `rooms`, `openid`, and so on."""
        self.synapse_calls.labels(method).inc()

    def has_breaker(self, neighbour: str) -> None:
        """Show a breaker that has not opened yet."""
        self.breakers.labels(neighbour).set(0)

    def not_asked(self, neighbour: str, why: str) -> None:
        """Count a question that was not put to a neighbour."""
        self.questions_not_put.labels(neighbour, why).inc()

    def opened(self, neighbour: str, outage: Outage) -> None:
        """Count a breaker that opens, and log it."""
        self.breakers.labels(neighbour).set(1)
        self.breakers_opened.labels(neighbour).inc()
        _log.error(
            "{name} is down: {outage}. The guard asks it nothing until it answers a probe; calls "
            "continue. Fix: {fix}.",
            name=_NAMES.get(neighbour, neighbour),
            outage=outage,
            fix=fix_for(outage),
        )

    def closed(self, neighbour: str, seconds: float) -> None:
        """Note a breaker that closes, and log it."""
        self.breakers.labels(neighbour).set(0)
        _log.info(
            "{name} is back after {seconds:.1f} s",
            name=_NAMES.get(neighbour, neighbour),
            seconds=seconds,
        )
