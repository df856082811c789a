"""Counts what the rules decide, what they decide it from, and when they cannot."""

from collections.abc import Callable

from prometheus_client import Counter
from twisted.logger import Logger

from lotus_guard.core.model import RoomId
from lotus_guard.core.text import printable
from lotus_guard.enforce.ports import Outage
from lotus_guard.observe.families import Families
from lotus_guard.observe.outages import fix_for, subject_of
from lotus_guard.rules.decision import Deed, Ruling
from lotus_guard.rules.rulings import takes_sources

_log = Logger()


class RuleMetrics:
    """Decisions and outages, by rule."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._uses: dict[str, tuple[Counter, Counter]] = {}
        self._declare_decisions(families)
        self._declare_outages(families)

    def _declare_decisions(self, families: Families) -> None:
        self.refusals = families.counter(
            "lotus_guard_refused_total",
            "Requests refused, by rule; request: the request itself was not acceptable",
            ("rule",),
        )
        self.narrowings = families.counter(
            "lotus_guard_narrowed_total", "Tokens from which sources were removed"
        )
        self.shortenings = families.counter(
            "lotus_guard_shortened_total",
            "Tokens whose lifetime was shortened and nothing else changed",
        )
        self.observations = families.counter(
            "lotus_guard_observed_total",
            "What rules in observe mode would have done",
            ("kind", "rule"),
        )
        self.cache = families.counter(
            "lotus_guard_cache_total",
            "Cache lookups: policies by rule, and who is in a call (look)",
            ("what", "outcome"),
        )
        self.complaints = families.counter(
            "lotus_guard_policy_complaints_total", "Invalid policies found in room state"
        )

    def _declare_outages(self, families: Families) -> None:
        self.fail_open = families.counter(
            "lotus_guard_fail_open_total",
            "Tokens allowed without a rule being checked, because something failed",
            ("rule", "reason"),
        )
        self.elsewhere = families.counter(
            "lotus_guard_elsewhere_total",
            "Tokens issued by other homeservers' call services, which the guard leaves alone",
        )
        self.unenforced = families.counter(
            "lotus_guard_live_unenforced_total",
            "Checks of live calls without a rule being enforced, because something failed",
            ("rule", "reason"),
        )
        self.stale = families.counter(
            "lotus_guard_stale_policy_total",
            "Decisions by a remembered policy, because the homeserver did not answer",
            ("rule", "reason"),
        )

    def decided(self, ruling: Ruling, observed: bool) -> None:
        """Count a decision."""
        if observed:
            self.observations.labels(ruling.deed, ruling.rule).inc()
        elif ruling.deed is Deed.REFUSED:
            self.refusals.labels(ruling.rule).inc()
        elif ruling.deed is Deed.CHANGED:
            (self.narrowings if takes_sources(ruling) else self.shortenings).inc()

    def failed_open(self, rule: str, outage: Outage) -> None:
        """Count a fail-open and log it, at most once a minute for each reason."""
        self.fail_open.labels(rule, outage.reason).inc()
        if self._families.may_say("open", rule, outage.reason):
            _log.error(
                "{rule} not enforced for new tokens: {outage}. Fix: {fix}.",
                rule=subject_of(rule),
                outage=outage,
                fix=fix_for(outage),
            )

    def passed_elsewhere(self) -> None:
        """Count a token of another homeserver's service."""
        self.elsewhere.inc()

    def not_enforced(self, rule: str, outage: Outage) -> None:
        """Count what the live loop could not enforce and log it, once a minute for each reason."""
        self.unenforced.labels(rule, outage.reason).inc()
        if self._families.may_say("unenforced", rule, outage.reason):
            _log.error(
                "{rule} not enforced in running calls: {outage}. Fix: {fix}.",
                rule=subject_of(rule),
                outage=outage,
                fix=fix_for(outage),
            )

    def used_stale(self, rule: str, outage: Outage) -> None:
        """Count a verdict on an old policy and log it, at most once a minute for each reason."""
        self.stale.labels(rule, outage.reason).inc()
        if self._families.may_say("stale", rule, outage.reason):
            _log.warn(
                "{rule} uses the last known policies: {outage}",
                rule=subject_of(rule),
                outage=outage,
            )

    def complained(self, room: RoomId, complaint: str) -> None:
        """Warn of a policy that makes no sense."""
        self.complaints.inc()
        _log.warn(
            "Ignored an invalid policy in {room}: {complaint}",
            room=printable(room),
            complaint=printable(complaint),
        )

    def used_policy(self, rule: str, was_kept: bool) -> None:
        """Count a use of a policy, and whether it was at hand."""
        uses = self._uses.get(rule) or self._uses_of(rule)
        uses[not was_kept].inc()

    def used(self, what: str) -> Callable[[bool], None]:
        """Make a counter of the uses of something remembered."""
        uses = self._uses_of(what)
        return lambda was_there: uses[not was_there].inc()

    def _uses_of(self, what: str) -> tuple[Counter, Counter]:
        """What counts hits, and what counts misses; both are exposed from now on."""
        uses = self._uses[what] = (self.cache.labels(what, "hit"), self.cache.labels(what, "miss"))
        return uses
