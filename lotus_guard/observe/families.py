"""Where metrics are declared: a registry of Prometheus' client, and a throttle for log lines."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, field, frozen
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.enforce.ports import Now

# They are one gauge more for each counter, with the time at which the guard started.
disable_created_metrics()  # type: ignore[no-untyped-call]


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


@frozen(eq=False)
class Reading:
    """A number that another part keeps, read when somebody asks for the metrics."""

    family: type[GaugeMetricFamily] | type[CounterMetricFamily]
    name: str
    text: str
    value: Callable[[], float | None]
    """None while it is not known: then there is no sample."""

    def describe(self) -> Iterable[Metric]:
        """The family without a sample; nothing is read for it."""
        return [self.family(self.name, self.text)]

    def collect(self) -> Iterable[Metric]:
        """The family with what is known now."""
        return [self.family(self.name, self.text, value=self.value())]


@define(eq=False)
class Trouble:
    """Trouble as the log tells of it: a line a minute while it lasts, and one at its end."""

    now: Now
    may_say: Callable[..., bool]
    """Whether a line of this name may be written now."""
    name: str
    _since: float | None = field(default=None, init=False)
    """When the first line was written of what is not over yet."""

    def lasts(self, *what: str) -> bool:
        """Whether to write now that it lasts; `what` tells lines apart."""
        if not self.may_say(self.name, *what):
            return False
        if self._since is None:
            self._since = self.now()
        return True

    def ends(self) -> float | None:
        """After how many seconds it is over, if that is to be written now; else None."""
        if self._since is None:
            return None
        seconds, self._since = self.now() - self._since, None
        return seconds


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

    def show(self, name: str, text: str, value: Callable[[], float | None]) -> None:
        """Expose a number that is read when somebody asks; absent while it is None."""
        self.registry.register(Reading(GaugeMetricFamily, name, text, value))

    def show_count(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Expose a number that only grows and that another part counts."""
        self.registry.register(Reading(CounterMetricFamily, name, text, value))

    def show_age(self, name: str, text: str, last: Callable[[], float | None]) -> None:
        """Expose the seconds since something last happened; absent where it never has."""

        def age() -> float | None:
            at = last()
            return None if at is None else self.now() - at

        self.show(name, text, age)

    def trouble(self, name: str) -> Trouble:
        """Make what says when the log is to tell of some trouble, and of its end."""
        return Trouble(self.now, self.may_say, name)

    def may_say(self, *what: str) -> bool:
        """Whether this log line may be written now: at most once a minute."""
        return self._throttle.more(*what) is not None
