"""Where metrics are declared: a registry of Prometheus' client, and a throttle for log lines."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.enforce.ports import Now


class Tally(Counter):
    """A counter that is counted with by one thread, a few times for each token.

    Prometheus' own takes a lock each time, and looks a label's values up under another one. This
    one counts by itself, and tells its sum when somebody asks for the metrics.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._untold = 0.0
        self._by_values: dict[tuple[object, ...], Tally] = {}
        super().__init__(*arguments, **settings)

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Count so many more."""
        self._untold += amount

    def labels(self, *values: object, **named: object) -> "Tally":
        """The counter for these values of the labels, in the order in which these were declared."""
        if named:
            raise TypeError("the values of labels go by their order")
        found = self._by_values.get(values)
        if found is None:
            found = self._by_values[values] = super().labels(*values)
        return found

    def collect(self) -> Iterable[Metric]:
        """What has been counted, for whoever asks."""
        for each in (self, *self._by_values.values()):
            if each._untold:
                Counter.inc(each, each._untold)
                each._untold = 0.0
        return super().collect()


@define(eq=False)
class Families:
    """Declares families of metrics, all in one registry."""

    now: Now
    registry: CollectorRegistry = field(init=False, factory=CollectorRegistry)
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Tally:
        """Declare what only grows."""
        return Tally(name, text, labels, registry=self.registry)

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
