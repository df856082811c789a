"""What nearly every part is built from."""

from attrs import frozen

from lotus_guard.observe.health import Health
from lotus_guard.observe.metrics import Metrics
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import Config


@frozen
class Basics:
    """The settings, the clocks, and where the parts say how they do."""

    config: Config
    clocks: Clocks
    metrics: Metrics
    health: Health


def make_basics(config: Config, clocks: Clocks) -> Basics:
    """Begin with metrics and health in which nothing has happened yet."""
    return Basics(config, clocks, Metrics(clocks.now), Health(clocks.now))
