"""Counts how keeping and sharing what the guard knows fares."""

from twisted.logger import Logger

from lotus_guard.enforce.ports import Outage
from lotus_guard.observe.families import Families

_log = Logger()


class MemoryMetrics:
    """The state file, and Redis."""

    def __init__(self, families: Families) -> None:
        self._file, self._redis = families.trouble("store"), families.trouble("redis")
        self.store_failures = families.counter(
            "lotus_guard_store_failures_total",
            "Failed reads and writes of the state file, or failed round trips to Redis",
        )
        self.contentions = families.counter(
            "lotus_guard_seats_contended_total",
            "Seat changes that were repeated because another guard was faster",
        )

    def store_failed(self, why: str) -> None:
        """Count a failure of the state file and log it, at most once a minute."""
        self.store_failures.inc()
        if self._file.lasts():
            _log.error(
                "Can't use the state file: {why}. Calls continue; a restart would forget seats. "
                "Fix: set LOTUS_GUARD_STATE to a file in a directory that this user can write to.",
                why=why,
            )

    def store_written(self) -> None:
        """Log that the state file can be written again, where it could not."""
        seconds = self._file.ends()
        if seconds is not None:
            _log.info("The state file works again after {seconds:.1f} s", seconds=seconds)

    def redis_failed(self, _outage: Outage) -> None:
        """Count a round trip to Redis that failed."""
        self.store_failures.inc()

    def redis_is_away(self, outage: Outage) -> None:
        """Log that Redis does not answer, at most once a minute for each reason."""
        if self._redis.lasts(outage.reason):
            _log.error(
                "Redis is down: {outage}. Calls continue; meanwhile the guards share nothing. "
                "Fix: start Redis, or correct its address in LOTUS_GUARD_STATE.",
                outage=outage,
            )

    def redis_answers(self) -> None:
        """Log that Redis answers again, where it did not."""
        seconds = self._redis.ends()
        if seconds is not None:
            _log.info("Redis is back after {seconds:.1f} s", seconds=seconds)

    def contended(self) -> None:
        """Count a change of seats that was made again because another guard was faster."""
        self.contentions.inc()
