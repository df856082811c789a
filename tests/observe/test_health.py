"""How a dependency does, as far as it is known."""

from typing import Any

from twisted.internet.task import Clock

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.health import TROUBLE_SECONDS, Dependency, Health


def state(health: Health, name: Dependency = Dependency.SYNAPSE) -> tuple[str, Any]:
    (found,) = [each for each in health.dependencies() if each["name"] == name]
    return found["state"], found["age"]


def test_trouble_is_told_until_good_news_or_for_a_while() -> None:
    clock = Clock()
    health = Health(clock.seconds)
    note = health.noter(Dependency.SYNAPSE)
    assert state(health) == ("unknown", None)
    note(None)
    clock.advance(5)
    assert state(health) == ("ok", 5.0)
    note(Outage(Reason.TIMEOUT, "late"))
    assert state(health) == ("trouble", 5.0)
    clock.advance(TROUBLE_SECONDS + 1)
    assert state(health) == ("unknown", TROUBLE_SECONDS + 6)
    note(None)
    assert state(health) == ("ok", 0.0)


def test_what_a_client_can_cause_is_no_trouble() -> None:
    health = Health(Clock().seconds)
    health.noter(Dependency.LIVEKIT)(Outage(Reason.OVERSIZED, "metadata"))
    assert state(health, Dependency.LIVEKIT) == ("ok", 0.0)


def test_the_first_failure_since_it_did_well_is_remembered() -> None:
    clock = Clock()
    health = Health(clock.seconds)
    note = health.noter(Dependency.SYNAPSE)

    def down() -> Any:
        (found,) = [each for each in health.dependencies() if each["name"] == "synapse"]
        return found["down"]

    note(None)
    assert down() is None
    note(Outage(Reason.TIMEOUT, "late"))
    clock.advance(30)
    note(Outage(Reason.TIMEOUT, "late"))
    assert down() == 30.0
    clock.advance(TROUBLE_SECONDS + 1)
    assert down() == 91.0
    note(None)
    assert down() is None
