"""All metrics of one guard, by what they are about, and the log lines that go with them.

Nothing here takes a label whose values a client could choose.
"""

from prometheus_client import CollectorRegistry, generate_latest

from lotus_guard.enforce.ports import Now
from lotus_guard.observe.families import Families
from lotus_guard.observe.loop_metrics import LoopMetrics
from lotus_guard.observe.memory_metrics import MemoryMetrics
from lotus_guard.observe.neighbour_metrics import NeighbourMetrics
from lotus_guard.observe.process_metrics import show_process
from lotus_guard.observe.request_metrics import RequestMetrics
from lotus_guard.observe.rule_metrics import RuleMetrics


class Metrics:
    """The metrics, in a registry of their own."""

    def __init__(self, now: Now) -> None:
        self.families = Families(now)
        self.requests = RequestMetrics(self.families)
        self.rules = RuleMetrics(self.families)
        self.loop = LoopMetrics(self.families)
        self.neighbours = NeighbourMetrics(self.families)
        self.memory = MemoryMetrics(self.families)
        show_process(self.families)

    @property
    def registry(self) -> CollectorRegistry:
        """Prometheus' registry of all of them."""
        return self.families.registry

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
