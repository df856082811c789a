"""Counts what clients ask for and how they are served."""

from twisted.logger import Logger

from lotus_guard.enforce.ports import Outage
from lotus_guard.observe.families import Families

_log = Logger()

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0)


class RequestMetrics:
    """Requests, answers, and connections of clients."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._upstream = families.trouble("upstream")
        self.requests = families.counter(
            "lotus_guard_requests_total",
            "Requests answered, by endpoint and HTTP status",
            ("endpoint", "status"),
        )
        self.added_seconds = families.histogram(
            "lotus_guard_added_seconds",
            "Time to answer a request, without the time lk-jwt-service took",
            SECONDS,
        )
        self.upstream_failures = families.counter(
            "lotus_guard_upstream_failures_total",
            "Requests that lk-jwt-service did not answer",
            ("reason",),
        )
        self.turned_away = families.counter(
            "lotus_guard_turned_away_total",
            "Requests refused with 429 because one address sent more than its share",
        )
        self.connections_cut = families.counter(
            "lotus_guard_connections_cut_total",
            "Client connections the guard closed: idle, late (no complete request in time), unread "
            "(the answer was not read), room (to make room for others)",
            ("reason",),
        )

        self.transactions = families.counter(
            "lotus_guard_transactions_total",
            "Transactions from the homeserver: taken, too_long or unreadable",
            ("outcome",),
        )

    def answered(self, endpoint: str, status: int) -> None:
        """Count an answer."""
        self.requests.labels(endpoint, str(status)).inc()

    def added(self, seconds: float) -> None:
        """Record how long an answer took, apart from upstream's part of it."""
        self.added_seconds.observe(seconds)

    def upstream_did(self, outage: Outage | None) -> None:
        """Count an answer that did not come and log it, at most once a minute for each reason.

        The next one that comes is logged too.
        """
        if outage is None:
            seconds = self._upstream.ends()
            if seconds is not None:
                _log.info("lk-jwt-service is back after {seconds:.1f} s", seconds=seconds)
            return
        self.upstream_failures.labels(outage.reason).inc()
        if self._upstream.lasts(outage.reason):
            _log.error(
                "lk-jwt-service is down: {outage}. Clients get no tokens. Fix: start it, or "
                "correct LOTUS_GUARD_UPSTREAM.",
                outage=outage,
            )

    def turned_one_away(self) -> None:
        """Count a request refused for its address' share, and log it at most once a minute."""
        self.turned_away.inc()
        if self._families.may_say("turned away"):
            _log.warn(
                "One address sends more than its share: the excess gets 429, others are served."
            )

    def took_transaction(self, outcome: str) -> None:
        """Count a transaction; log it at most once a minute where nothing of it could be read."""
        self.transactions.labels(outcome).inc()
        if outcome != "taken" and self._families.may_say("transaction", outcome):
            _log.warn(
                "Skipped a transaction from the homeserver: {outcome}. The guard polls instead.",
                outcome=outcome.replace("_", " "),
            )

    def cut(self, why: str) -> None:
        """Count a connection that was closed: `idle`, `late`, `unread` or `room`."""
        self.connections_cut.labels(why).inc()
