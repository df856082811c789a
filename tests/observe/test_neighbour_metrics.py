"""Calls to Synapse and LiveKit, and those that were not made."""

from typing import Any

from twisted.logger import formatEvent

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.neighbour_metrics import NeighbourMetrics
from tests.observe.metered import Metered


def test_calls_are_counted_by_method() -> None:
    metered = Metered()
    neighbours = NeighbourMetrics(metered.families)
    neighbours.called_livekit("ListRooms")
    neighbours.called_synapse("rooms")
    neighbours.called_synapse("rooms")
    assert metered.value("livekit_calls_total", method="ListRooms") == 1
    assert metered.value("synapse_calls_total", method="rooms") == 2
    assert metered.value("synapse_calls_total", method="ListRooms") is None


def test_a_question_that_is_not_put_has_its_reason() -> None:
    metered = Metered()
    NeighbourMetrics(metered.families).not_asked("synapse", "busy")
    assert metered.value("not_asked_total", neighbour="synapse", reason="busy") == 1


def test_a_breaker_is_closed_open_and_closed_again(logged: list[Any]) -> None:
    metered = Metered()
    neighbours = NeighbourMetrics(metered.families)
    states = [metered.value("breaker_open", neighbour="livekit")]
    neighbours.has_breaker("livekit")
    states.append(metered.value("breaker_open", neighbour="livekit"))
    neighbours.opened("livekit", Outage(Reason.REFUSED, "nobody listens"))
    states.append(metered.value("breaker_open", neighbour="livekit"))
    neighbours.closed("livekit", 12.34)
    states.append(metered.value("breaker_open", neighbour="livekit"))
    assert states == [None, 0, 1, 0]
    assert metered.value("breaker_opened_total", neighbour="livekit") == 1
    opened, closed = map(formatEvent, logged)
    assert opened.startswith("LiveKit is down: nobody listens (refused).")
    assert "start Synapse or LiveKit" in opened
    assert closed == "LiveKit is back after 12.3 s"
