"""Counters for Prometheus and the log lines that go with them.

Nothing here takes a label whose values a client could choose.
"""

from collections.abc import Iterable

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from twisted.logger import Logger

from lotus_guard.admission import Rule
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seating
from lotus_guard.ports import Now, Outage, Reason

_log = Logger()

_QUIET_SECONDS = 60.0
_WANTED = {
    Reason.SECRET: "LIVEKIT_KEY and LIVEKIT_SECRET must be the very ones lk-jwt-service signs with",
    Reason.UNAUTHORIZED: "give LOTUS_GUARD_SYNAPSE_TOKEN an admin's valid access token, and see "
    "that LiveKit knows LIVEKIT_KEY and LIVEKIT_SECRET",
    Reason.DNS: "the host name in LOTUS_GUARD_SYNAPSE_URL or LOTUS_GUARD_LIVEKIT_URL must resolve",
    Reason.REFUSED: "start Synapse or LiveKit, or correct LOTUS_GUARD_SYNAPSE_URL or "
    "LOTUS_GUARD_LIVEKIT_URL",
    Reason.NOT_FOUND: "LOTUS_GUARD_SYNAPSE_URL must reach /_synapse/admin, LOTUS_GUARD_LIVEKIT_URL "
    "must reach /twirp",
}


@define(eq=False, slots=False)
class Metrics:
    """All metrics of one guard, in a registry of its own."""

    now: Now
    registry: CollectorRegistry = field(factory=CollectorRegistry)
    _said: dict[tuple[str, ...], float] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.requests = self._counter(
            "lotus_guard_requests_total", "Answers given to clients", ("endpoint", "status")
        )
        self.fail_open = self._counter(
            "lotus_guard_fail_open_total",
            "Calls let through because something of ours failed",
            ("rule", "reason"),
        )
        self.stale = self._counter(
            "lotus_guard_stale_policy_total",
            "Verdicts on a policy known from before because Synapse is out",
            ("rule", "reason"),
        )
        self.refusals = self._counter(
            "lotus_guard_refused_total", "Tokens refused because the call is full", ()
        )
        self.narrowings = self._counter(
            "lotus_guard_narrowed_total", "Tokens whose sources were narrowed", ()
        )
        self.complaints = self._counter(
            "lotus_guard_policy_complaints_total", "Policies that make no sense", ()
        )
        self.added_seconds = Histogram(
            "lotus_guard_added_seconds",
            "How much later than upstream's an answer went out",
            registry=self.registry,
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0),
        )

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Counter:
        return Counter(name, text, labelnames=tuple(labels), registry=self.registry)

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def answered(self, endpoint: str, status: int) -> None:
        """Count an answer."""
        self.requests.labels(endpoint, str(status)).inc()

    def added(self, seconds: float) -> None:
        """Record how much later than upstream's an answer went out."""
        self.added_seconds.observe(seconds)

    def failed_open(self, rule: Rule, outage: Outage) -> None:
        """Count a fail-open and log it, at most once a minute for each reason."""
        self.fail_open.labels(rule, outage.reason).inc()
        if self._may_say("open", rule, outage.reason):
            _log.error(
                "The {rule} rule lets calls through: {outage}. Wanted: {wanted}.",
                rule=rule.value,
                outage=outage,
                wanted=_WANTED.get(outage.reason, "see docs/troubleshooting.md"),
            )

    def used_stale(self, rule: Rule, outage: Outage) -> None:
        """Count a verdict on an old policy and log it, at most once a minute for each reason."""
        self.stale.labels(rule, outage.reason).inc()
        if self._may_say("stale", rule, outage.reason):
            _log.warn(
                "The {rule} rule goes by policies known from before: {outage}",
                rule=rule.value,
                outage=outage,
            )

    def refused(self, room: RoomId, seating: Seating, limit: int) -> None:
        """Count a refusal."""
        self.refusals.inc()
        _log.info(
            "Refused a token for {room}: {users} of {limit} people are in the call",
            room=room,
            users=seating.users,
            limit=limit,
        )

    def narrowed(self, room: RoomId) -> None:
        """Count a narrowing."""
        self.narrowings.inc()
        _log.debug("Narrowed a token for {room}", room=room)

    def complained(self, room: RoomId, complaint: str) -> None:
        """Warn of a policy that makes no sense."""
        self.complaints.inc()
        _log.warn(
            "{room} has a policy that is ignored: {complaint}", room=room, complaint=complaint
        )

    def _may_say(self, *what: str) -> bool:
        last = self._said.get(what)
        if last is not None and self.now() - last < _QUIET_SECONDS:
            return False
        self._said[what] = self.now()
        return True
