"""Where metrics are declared: a registry of Prometheus' client, and a throttle for log lines."""

from collections.abc import Callable, Sequence

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.enforce.ports import Now


@define(eq=False)
class Families:
    """Declares families of metrics, all in one registry."""

    now: Now
    registry: CollectorRegistry = field(init=False, factory=CollectorRegistry)
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """Declare what only grows."""
        return Counter(name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """Declare what grows and shrinks."""
        return Gauge(name, text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        """Declare what is sorted by its size."""
        return Histogram(name, text, registry=self.registry, buckets=buckets)

    def show(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Expose a number that is worked out when somebody asks."""
        self.gauge(name, text).set_function(value)

    def show_age(self, name: str, text: str, last: Callable[[], float | None]) -> None:
        """Expose the seconds since something last happened; -1 where it never has."""

        def age() -> float:
            at = last()
            return -1.0 if at is None else self.now() - at

        self.show(name, text, age)

    def may_say(self, *what: str) -> bool:
        """Whether this log line may be written now: at most once a minute."""
        return self._throttle.more(*what) is not None
