"""What nearly every part is built from."""

from attrs import frozen

from lotus_guard.observe.health import Health
from lotus_guard.observe.metrics import Metrics
from lotus_guard.rules import RULES, Rules
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import Config


@frozen
class Basics:
    """The settings, the rules, the clocks, and where the parts say how they do."""

    config: Config
    rules: Rules
    clocks: Clocks
    metrics: Metrics
    health: Health


def make_basics(config: Config, clocks: Clocks, rules: Rules = RULES) -> Basics:
    """Begin with metrics and health in which nothing has happened yet."""
    return Basics(config, rules, clocks, Metrics(clocks.now), Health(clocks.now))
