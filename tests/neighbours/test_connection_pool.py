"""Connections are kept for the next request, none for too long and none that is being closed."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from lotus_guard.neighbours.connection import Connection
from lotus_guard.neighbours.connection_pool import IDLE_SECONDS, Pool
from tests.neighbours.answering import outcome_of
from tests.neighbours.test_connection import GET, PLAIN

HOST = b"http://h"


class Endpoint:
    """Connects at once."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        assert factory.noisy is False, "each connection would make two lines in the log"
        connection = factory.buildProtocol(None)
        connection.makeConnection(StringTransport())
        self.made.append(connection)
        done: Deferred[Any] = Deferred()
        done.callback(connection)
        return done


def used(pool: Pool, host: bytes = HOST, connection: Connection | None = None) -> Any:
    """A connection that has had an answer."""
    if connection is None:
        found: list[Any] = outcome_of(pool.connect(host, Endpoint()))  # type: ignore[arg-type]
        (connection,) = found
    assert connection is not None
    connection.request(GET())
    connection.dataReceived(PLAIN)
    return connection


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock: Clock) -> Pool:
    return Pool(clock, 2)


def test_a_connection_is_kept_after_its_answer_and_not_before(pool: Pool) -> None:
    assert pool.take(HOST) is None
    (connection,) = outcome_of(pool.connect(HOST, Endpoint()))  # type: ignore[arg-type]
    assert pool.take(HOST) is None
    used(pool, connection=connection)
    assert pool.take(b"http://other") is None
    assert pool.take(HOST) is connection
    assert pool.take(HOST) is None, "it is in use"


def test_the_one_that_was_used_last_is_taken_first(pool: Pool) -> None:
    first, second = used(pool), used(pool)
    assert [pool.take(HOST), pool.take(HOST)] == [second, first]


def test_none_is_kept_that_is_being_closed_or_has_been(pool: Pool) -> None:
    closing = used(pool)
    assert [pool.take(HOST)] == [closing]
    closing.transport.disconnecting = True
    used(pool, connection=closing)
    assert pool.take(HOST) is None
    used(pool).connectionLost()
    assert pool.take(HOST) is None


def test_of_too_many_the_one_that_was_idle_longest_is_closed(pool: Pool) -> None:
    made: list[Any] = [used(pool) for _ in range(3)]
    first, second, third = made
    assert [each.transport.disconnecting for each in (first, second, third)] == [True, False, False]
    assert [pool.take(HOST), pool.take(HOST), pool.take(HOST)] == [third, second, None]


def test_what_is_idle_is_closed_before_a_server_does_it(pool: Pool, clock: Clock) -> None:
    assert IDLE_SECONDS < 60
    first = used(pool)
    clock.advance(IDLE_SECONDS / 2)
    second = used(pool, b"http://other")
    clock.advance(IDLE_SECONDS / 2 - 0.1)
    assert not first.transport.disconnecting
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(0.1)
    assert (first.transport.disconnecting, second.transport.disconnecting) == (True, False)
    clock.advance(IDLE_SECONDS / 2)
    assert second.transport.disconnecting
    assert clock.getDelayedCalls() == [], "nobody is woken for nothing"


def test_closing_the_pool_closes_what_is_idle_and_waits_for_it(pool: Pool, clock: Clock) -> None:
    first, second = used(pool), used(pool, b"http://other")
    closed = outcome_of(pool.close())
    assert (first.transport.disconnecting, second.transport.disconnecting) == (True, True)
    assert closed == []
    for each in (first, second):
        each.connectionLost()
    assert len(closed) == 1
    assert clock.getDelayedCalls() == []
    assert pool.take(HOST) is None
