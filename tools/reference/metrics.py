"""The page of metrics, from the registry of a guard."""

from collections.abc import Iterator

from attrs import frozen
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from lotus_guard.neighbours.agents import Agents
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from lotus_guard.run.guard import make_guard
from tools.reference.markdown import cell, code, table

_SETTINGS = {
    "LIVEKIT_URL": "ws://127.0.0.1:7880",
    "LIVEKIT_KEY": "key",
    "LIVEKIT_SECRET": "secret",
    "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:8008",
    "LOTUS_GUARD_SYNAPSE_TOKEN": "token",
}
_ENDINGS = {"counter": "_total", "info": "_info"}
_HEAD = """\
# Metrics

<!-- Written by `make reference` from the code: do not edit. -->

The guard serves these at `/metrics` on the operators' port, in Prometheus' text format. No client
can choose a label's value. [Operating the guard](operating.md#metrics) says what to watch;
[Troubleshooting](troubleshooting.md) says what to do when a number looks wrong.

"""


@frozen
class Family:
    """One metric, as a page shows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def families() -> list[Family]:
    """List the metrics that a guard exposes, by name."""
    clock = Clock()
    clocks = Clocks(clock, clock.seconds, clock.seconds)
    guard = make_guard(read_config(_SETTINGS), clocks, Agents(None, None, None))
    return sorted(_families_of(guard.metrics.registry), key=lambda each: each.name)


def _families_of(registry: CollectorRegistry) -> Iterator[Family]:
    # A registry tells labels only with samples, and a counter has none before it first counts.
    for collector in registry._collector_to_names:
        for metric in collector.collect():
            name = metric.name + _ENDINGS.get(metric.type, "")
            labels = {key for each in metric.samples for key in each.labels} - {"le"}
            for declared in (collector, metric):
                labels |= set(getattr(declared, "_labelnames", ()))
            yield Family(name, metric.type, tuple(sorted(labels)), metric.documentation)


def metrics_page() -> str:
    """Write the page."""
    rows = [
        (code(each.name), each.kind, ", ".join(map(code, each.labels)), cell(each.help))
        for each in families()
    ]
    return _HEAD + table(("metric", "type", "labels", "meaning"), rows)
