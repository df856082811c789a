"""Counters for Prometheus and the log lines that go with them.

Nothing here takes a label whose values a client could choose.
"""

from collections.abc import Callable, Iterable

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from twisted.logger import Logger

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.model import RoomId
from lotus_guard.core.text import printable
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.rules.decision import Deed, Ruling
from lotus_guard.rules.plan import Curb, Narrow, Remove, Silence, Step
from lotus_guard.rules.rulings import takes_sources

_log = Logger()

_STEPS: dict[type[Step], str] = {
    Narrow: "narrow",
    Silence: "silence",
    Curb: "curb",
    Remove: "remove",
}
_NAMES = {"synapse": "Synapse", "livekit": "LiveKit"}
_WANTED = {
    Reason.SECRET: "LIVEKIT_KEY and LIVEKIT_SECRET must be the very ones lk-jwt-service signs with",
    Reason.UNAUTHORIZED: "give LOTUS_GUARD_SYNAPSE_TOKEN an admin's valid access token, and see "
    "that LiveKit knows LIVEKIT_KEY and LIVEKIT_SECRET",
    Reason.DNS: "the host name in LOTUS_GUARD_SYNAPSE_URL or LOTUS_GUARD_LIVEKIT_URL must resolve",
    Reason.REFUSED: "start Synapse or LiveKit, or correct LOTUS_GUARD_SYNAPSE_URL or "
    "LOTUS_GUARD_LIVEKIT_URL",
    Reason.TIMEOUT: "see why it is slow or hangs (`lotus-guard check` asks all of them)",
    Reason.BUSY: "Synapse or LiveKit is slow, see there",
    Reason.OVERLOAD: "more processors, or see docs/troubleshooting.md",
    Reason.NOT_FOUND: "LOTUS_GUARD_SYNAPSE_URL must reach /_synapse/admin, LOTUS_GUARD_LIVEKIT_URL "
    "must reach /twirp",
}


def _wanted(outage: Outage) -> str:
    return _WANTED.get(outage.reason, "see docs/troubleshooting.md")


@define(eq=False, slots=False)
class Metrics:
    """All metrics of one guard, in a registry of its own."""

    now: Now
    registry: CollectorRegistry = field(factory=CollectorRegistry)
    _caches: dict[str, tuple[Counter, Counter]] = field(factory=dict)
    _answers: dict[tuple[str, int], Counter] = field(factory=dict)
    """A counter for each endpoint and status: `labels` costs ten times what counting does."""
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)
        self.requests = self._counter(
            "lotus_guard_requests_total", "Answers given to clients", ("endpoint", "status")
        )
        self.fail_open = self._counter(
            "lotus_guard_fail_open_total",
            "Tokens let out without a rule because something of ours failed",
            ("rule", "reason"),
        )
        self.stale = self._counter(
            "lotus_guard_stale_policy_total",
            "Verdicts on a policy known from before because Synapse is out",
            ("rule", "reason"),
        )
        self.refusals = self._counter(
            "lotus_guard_refused_total",
            "Refused: limit (the call is full) or request (it cannot be accepted)",
            ("rule",),
        )
        self.narrowings = self._counter(
            "lotus_guard_narrowed_total", "Tokens whose sources were narrowed", ()
        )
        self.shortenings = self._counter(
            "lotus_guard_shortened_total", "Tokens whose life alone was shortened", ()
        )
        self.observations = self._counter(
            "lotus_guard_observed_total",
            "What would have been done, were the rule not told to observe only",
            ("kind", "rule"),
        )
        self.cache = self._counter(
            "lotus_guard_cache_total",
            "Uses of what is remembered: policies of limit and sources, looks at who is there",
            ("what", "outcome"),
        )
        self.complaints = self._counter(
            "lotus_guard_policy_complaints_total", "Policies that make no sense", ()
        )
        self.added_seconds = Histogram(
            "lotus_guard_added_seconds",
            "How long an answer took, apart from upstream's part of it",
            registry=self.registry,
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0),
        )

        self.upstream_failures = self._counter(
            "lotus_guard_upstream_failures_total",
            "Answers of upstream that did not come",
            ("reason",),
        )
        self.livekit_calls = self._counter(
            "lotus_guard_livekit_calls_total", "Calls made to LiveKit", ("method",)
        )
        self.synapse_calls = self._counter(
            "lotus_guard_synapse_calls_total", "Calls made to Synapse", ("method",)
        )
        self._add_live()
        self._add_overload()
        self.store_failures = self._counter(
            "lotus_guard_store_failures_total",
            "Reads and writes of the state file, or round trips to Redis, that failed",
            (),
        )
        self.contentions = self._counter(
            "lotus_guard_seats_contended_total",
            "Changes of seats made again because another guard was faster",
            (),
        )

    def _add_live(self) -> None:
        self.unenforced = self._counter(
            "lotus_guard_live_unenforced_total",
            "Looks at live calls that went without a rule because something of ours failed",
            ("rule", "reason"),
        )
        self.steps = self._counter(
            "lotus_guard_live_steps_total",
            "Steps carried out in live rooms: narrow, silence (a track in disguise), curb, remove",
            ("step", "outcome"),
        )
        self.partial_looks = self._counter(
            "lotus_guard_live_partial_looks_total",
            "Looks of the live loop that could not name everybody in a room",
            (),
        )
        self.step_checks = self._counter(
            "lotus_guard_live_steps_checked_total",
            "Whether the next look showed a step's effect",
            ("step", "effect"),
        )
        self.enforcement_seconds = Histogram(
            "lotus_guard_live_enforcement_seconds",
            "From the change of a policy, or a step's first try, to the look that shows its effect",
            registry=self.registry,
            buckets=(0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 60.0),
        )
        self.steps_put_off = self._counter(
            "lotus_guard_live_steps_put_off_total", "Steps over the bound of one pass", ()
        )
        self.passes = self._counter("lotus_guard_live_passes_total", "Good passes", ("pace",))
        self.pass_seconds = Histogram(
            "lotus_guard_live_pass_seconds",
            "How long a good pass took",
            registry=self.registry,
            buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
        )
        self.rooms = self._gauge(
            "lotus_guard_live_rooms_under_policy", "Live rooms that a policy restricts"
        )
        self.people = self._gauge(
            "lotus_guard_live_people_under_policy", "Connections of people in these rooms"
        )

    def _add_overload(self) -> None:
        self.breakers = Gauge(
            "lotus_guard_breaker_open",
            "1: the neighbour is not asked until it answers again",
            ("neighbour",),
            registry=self.registry,
        )
        self.breakers_opened = self._counter(
            "lotus_guard_breaker_opened_total", "Times that a breaker has opened", ("neighbour",)
        )
        self.questions_not_put = self._counter(
            "lotus_guard_not_asked_total",
            "Questions not put to a neighbour: open (the breaker is), busy (too many wait)",
            ("neighbour", "reason"),
        )
        self.turned_away = self._counter(
            "lotus_guard_turned_away_total",
            "Requests refused with 429: one address wants more than its share and its line",
            (),
        )
        self.connections_cut = self._counter(
            "lotus_guard_connections_cut_total",
            "Connections closed: idle, late (no whole request in time), unread (nobody read the "
            "answer), room (made for others)",
            ("reason",),
        )

    def not_asked(self, neighbour: str, why: str) -> None:
        """Count a question that was not put to a neighbour."""
        self.questions_not_put.labels(neighbour, why).inc()

    def opened(self, neighbour: str, outage: Outage) -> None:
        """Count a breaker that opens, and log it."""
        self.breakers.labels(neighbour).set(1)
        self.breakers_opened.labels(neighbour).inc()
        _log.error(
            "{name} is not asked any more until it answers again: {outage}. Calls go on. "
            "Wanted: {wanted}.",
            name=_NAMES.get(neighbour, neighbour),
            outage=outage,
            wanted=_wanted(outage),
        )

    def closed(self, neighbour: str, seconds: float) -> None:
        """Note a breaker that closes, and log it."""
        self.breakers.labels(neighbour).set(0)
        _log.info(
            "{name} answers again, after {seconds:.1f} s: it is asked as before",
            name=_NAMES.get(neighbour, neighbour),
            seconds=seconds,
        )

    def turned_one_away(self) -> None:
        """Count a request refused for its address' share, and log it at most once a minute."""
        self.turned_away.inc()
        if self._may_say("turned away"):
            _log.warn(
                "One address sends more than its share: what is over it is refused with 429. "
                "Others are served."
            )

    def cut(self, why: str) -> None:
        """Count a connection that was closed: `idle`, `late`, `unread` or `room`."""
        self.connections_cut.labels(why).inc()

    def show(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Expose a number that is worked out when somebody asks."""
        self._gauge(name, text).set_function(value)

    def show_age(self, name: str, text: str, last: Callable[[], float | None]) -> None:
        """Expose the seconds since something last happened; -1 where it never has."""

        def age() -> float:
            at = last()
            return -1.0 if at is None else self.now() - at

        self.show(name, text, age)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Counter:
        return Counter(name, text, labelnames=tuple(labels), registry=self.registry)

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def answered(self, endpoint: str, status: int) -> None:
        """Count an answer."""
        counter = self._answers.get((endpoint, status))
        if counter is None:
            counter = self.requests.labels(endpoint, str(status))
            self._answers[endpoint, status] = counter
        counter.inc()

    def upstream_did(self, outage: Outage | None) -> None:
        """Count an answer that did not come and log it, at most once a minute for each reason."""
        if outage is None:
            return
        self.upstream_failures.labels(outage.reason).inc()
        if self._may_say("upstream", outage.reason):
            _log.error(
                "lk-jwt-service did not answer: {outage}. Wanted: it runs, at the address in "
                "LOTUS_GUARD_UPSTREAM.",
                outage=outage,
            )

    def called_livekit(self, method: str) -> None:
        """Count a call to LiveKit."""
        self.livekit_calls.labels(method).inc()

    def called_synapse(self, method: str) -> None:
        """Count a call to Synapse: a type of event that was asked for, or `rooms`."""
        self.synapse_calls.labels(method).inc()

    def added(self, seconds: float) -> None:
        """Record how long an answer took, apart from upstream's part of it."""
        self.added_seconds.observe(seconds)

    def failed_open(self, rule: str, outage: Outage) -> None:
        """Count a fail-open and log it, at most once a minute for each reason."""
        self.fail_open.labels(rule, outage.reason).inc()
        if self._may_say("open", rule, outage.reason):
            _log.error(
                "The {rule} rule lets calls through: {outage}. Wanted: {wanted}.",
                rule=rule,
                outage=outage,
                wanted=_wanted(outage),
            )

    def not_enforced(self, rule: str, outage: Outage) -> None:
        """Count what the live loop could not enforce and log it, once a minute for each reason."""
        self.unenforced.labels(rule, outage.reason).inc()
        if self._may_say("unenforced", rule, outage.reason):
            _log.error(
                "The {rule} rule is not enforced in live calls: {outage}. Wanted: {wanted}.",
                rule=rule,
                outage=outage,
                wanted=_wanted(outage),
            )

    def used_stale(self, rule: str, outage: Outage) -> None:
        """Count a verdict on an old policy and log it, at most once a minute for each reason."""
        self.stale.labels(rule, outage.reason).inc()
        if self._may_say("stale", rule, outage.reason):
            _log.warn(
                "The {rule} rule goes by policies known from before: {outage}",
                rule=rule,
                outage=outage,
            )

    def decided(self, ruling: Ruling, observed: bool) -> None:
        """Count a decision."""
        if observed:
            self.observations.labels(ruling.deed, ruling.rule).inc()
        elif ruling.deed is Deed.REFUSED:
            self.refusals.labels(ruling.rule).inc()
        elif ruling.deed is Deed.CHANGED:
            (self.narrowings if takes_sources(ruling) else self.shortenings).inc()

    def used_policy(self, rule: str, was_kept: bool) -> None:
        """Count a use of a policy, and whether it was at hand."""
        self._uses(rule)[not was_kept].inc()

    def used(self, what: str) -> Callable[[bool], None]:
        """Make a counter of the uses of something remembered."""
        hits, misses = self._uses(what)

        def count(was_there: bool) -> None:
            (hits if was_there else misses).inc()

        return count

    def _uses(self, what: str) -> tuple[Counter, Counter]:
        """The counters of what was at hand and what was not: `labels` costs more than counting."""
        if what not in self._caches:
            self._caches[what] = (self.cache.labels(what, "hit"), self.cache.labels(what, "miss"))
        return self._caches[what]

    def complained(self, room: RoomId, complaint: str) -> None:
        """Warn of a policy that makes no sense."""
        self.complaints.inc()
        _log.warn(
            "{room} has a policy that is ignored: {complaint}",
            room=printable(room),
            complaint=printable(complaint),
        )

    def store_failed(self, why: str) -> None:
        """Count a failure of the state file and log it, at most once a minute."""
        self.store_failures.inc()
        if self._may_say("store"):
            _log.error(
                "What is learnt cannot be kept on disk: {why}. Wanted: LOTUS_GUARD_STATE names a "
                "file in a directory that this user can write to. Calls go on.",
                why=why,
            )

    def redis_failed(self, _outage: Outage) -> None:
        """Count a round trip to Redis that failed."""
        self.store_failures.inc()

    def redis_is_away(self, outage: Outage) -> None:
        """Log that Redis does not answer, at most once a minute for each reason."""
        if self._may_say("redis", outage.reason):
            _log.error(
                "Redis does not answer: {outage}. Wanted: it runs, at the address in "
                "LOTUS_GUARD_STATE. Calls go on; meanwhile the guards share nothing.",
                outage=outage,
            )

    def contended(self) -> None:
        """Count a change of seats that was made again because another guard was faster."""
        self.contentions.inc()

    def saw_partly(self, room: RoomId) -> None:
        """Count a look that could not name everybody and log it, at most once a minute."""
        self.partial_looks.inc()
        if self._may_say("partly"):
            _log.warn(
                "{room} cannot be read as a whole: its participants write too much. Nobody is put "
                "out of it for what was not seen.",
                room=printable(room),
            )

    def stepped(self, step: Step, is_done: bool) -> None:
        """Count a step."""
        self.steps.labels(_STEPS[type(step)], "done" if is_done else "failed").inc()

    def deposed(self, step: Step) -> None:
        """Count a step that is another guard's by now."""
        self.steps.labels(_STEPS[type(step)], "deposed").inc()

    def confirmed(self, step: type[Step], seconds: float) -> None:
        """Count a step whose effect a look shows."""
        self.step_checks.labels(_STEPS[step], "seen").inc()
        self.enforcement_seconds.observe(seconds)

    def unconfirmed(self, step: type[Step]) -> None:
        """Count a step whose effect a look does not show."""
        self.step_checks.labels(_STEPS[step], "not_seen").inc()

    def put_off(self, room: RoomId, steps: int) -> None:
        """Count steps over the bound and log it, at most once a minute."""
        self.steps_put_off.inc(steps)
        if self._may_say("put_off"):
            _log.warn(
                "{room} needs {steps} more steps than one pass may do",
                room=printable(room),
                steps=steps,
            )

    def passed(self, seconds: float, rooms: int, people: int, late: bool) -> None:
        """Record a good pass; a late one stretched the interval."""
        self.passes.labels("stretched" if late else "in_time").inc()
        self.pass_seconds.observe(seconds)
        self.rooms.set(rooms)
        self.people.set(people)

    def _may_say(self, *what: str) -> bool:
        return self._throttle.more(*what) is not None
