"""Redis is away where a neutral question of our own says so, never by what clients ask."""

from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock
from txredisapi import ConnectionError as NotConnected
from txredisapi import ResponseError

from lotus_guard.enforce.ports import Outage
from lotus_guard.memory.redis_address import RedisAddress
from lotus_guard.memory.redis_connection import REST_SECONDS, SECONDS, ConnectionListener, Redis

NEUTRAL = b"SET"
FAULTS = {
    "an error": lambda: fail(ResponseError("WRONGTYPE no")),
    "no connection": lambda: fail(NotConnected("gone")),
    "silence": Deferred,
    "an answer": lambda: succeed("OK"),
}


class Wire:
    """A connection that does what it is told with each command."""

    def __init__(self) -> None:
        self.faults: dict[bytes, str] = {}
        self.sent: list[bytes] = []

    def ask(self, words: tuple[bytes, ...]) -> Any:
        name = words[0]
        self.sent.append(name)
        if name == b"TIME":
            return succeed(["0", "0"])
        return FAULTS[self.faults.get(name, "an answer")]()


@frozen
class Noted(ConnectionListener):
    ends: list[bool]
    failures: list[Outage]

    def answered(self) -> None:
        self.ends.append(True)

    def away(self, outage: Outage) -> None:
        self.ends.append(False)

    def failed(self, outage: Outage) -> None:
        self.failures.append(outage)


class Street:
    """A Redis on this wire, with a clock that is turned by hand."""

    def __init__(self) -> None:
        self.clock, self.wire = Clock(), Wire()
        self.ends: list[bool] = []
        self.failed: list[Outage] = []
        self.redis = Redis(
            RedisAddress("h"),
            self.clock,
            self.clock.seconds,
            Noted(self.ends, self.failed),
        )
        self.redis._factories = [SimpleNamespace(pool=[self.wire])]  # type: ignore[list-item]

    def ask(self, name: str) -> Any:
        """Ask for something; gives the answer or the outage, at the deadline at the latest."""
        found: list[Any] = []
        ensureDeferred(self.redis.command(name)).addBoth(found.append)
        if not found:
            self.clock.advance(SECONDS)
        assert found, "it hangs"
        return getattr(found[0], "value", found[0])

    @property
    def is_away(self) -> bool:
        return self.redis.away_since is not None


@given(st.lists(st.sampled_from(sorted(FAULTS)), max_size=12))
def test_whatever_becomes_of_what_clients_ask_the_others_are_served(faults: list[str]) -> None:
    street = Street()
    for number, fault in enumerate(faults):
        street.wire.faults[b"HSET"] = fault
        is_fine = fault == "an answer"
        assert isinstance(street.ask("HSET"), str if is_fine else Outage), number
        assert not street.is_away
        assert street.ask("HGET") == "OK"
    assert all(street.ends)
    assert len(street.failed) == sum(fault != "an answer" for fault in faults)


@pytest.mark.parametrize("fault", ["an error", "no connection", "silence"])
def test_where_the_neutral_question_fails_nobody_waits_until_it_is_answered(fault: str) -> None:
    street = Street()
    street.ask("HGET")
    street.wire.faults = {b"HGET": fault, NEUTRAL: fault}
    assert isinstance(street.ask("HGET"), Outage)
    street.clock.advance(SECONDS)
    assert street.is_away
    sent = len(street.wire.sent)
    for _ in range(20):
        begun = street.clock.seconds()
        assert isinstance(street.ask("HGET"), Outage)
        assert street.clock.seconds() == begun, "it was waited for"
    assert len(street.wire.sent) == sent, "it was asked for a client"
    street.clock.pump([0.1] * 100)
    asked = street.wire.sent[sent:]
    assert set(asked) == {NEUTRAL}
    assert 5 <= len(asked) <= 10 / REST_SECONDS + 1
    street.wire.faults = {}
    street.clock.pump([0.1] * 20)
    assert not street.is_away
    assert street.ask("HGET") == "OK"
    assert street.ends[-1]


def test_a_guard_that_stops_asks_no_more() -> None:
    street = Street()
    street.wire.faults = {b"HGET": "an error", NEUTRAL: "an error"}
    street.ask("HGET")
    street.redis.close()
    sent = len(street.wire.sent)
    street.clock.pump([0.5] * 20)
    assert len(street.wire.sent) == sent
    assert street.clock.getDelayedCalls() == []
