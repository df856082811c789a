"""Metrics on a clock that a test moves."""

from attrs import define, field
from twisted.internet.task import Clock

from lotus_guard.observe.families import Families


@define
class Metered:
    """Families of metrics, and what they count."""

    clock: Clock = field(factory=Clock)
    families: Families = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.families = Families(self.clock.seconds)

    def value(self, name: str, **labels: str) -> float | None:
        return self.families.registry.get_sample_value(f"lotus_guard_{name}", labels)
