"""One exchange: one deadline, one bound, and a name for whatever goes wrong."""

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from lotus_guard.enforce.ports import Allowance, Outage, Oversized, Reason
from lotus_guard.neighbours.agents import KnownHosts
from lotus_guard.neighbours.answers import WholeAnswer, read_answer
from lotus_guard.neighbours.connection_pool import Pool
from lotus_guard.neighbours.http import GLIMPSE_SECONDS, Http, HttpAnswer, outage_of
from tests.neighbours.answering import Answer, Answering, Later, answering, outcome_of, result_of

URL = b"http://h:1/path?a=b"


def exchange(agent: Answering, clock: Clock, most: Any = 100, **more: Any) -> list[Any]:
    http = Http(agent, clock, peer="Peer")
    return outcome_of(
        http.exchange(b"POST", URL, {b"A": b"b"}, b"in", seconds=1.0, most=most, **more)
    )


def test_an_answer_is_read_to_its_end() -> None:
    agent = answering(Answer(201, b"out", {b"Date": b"today"}))
    (answer,) = exchange(agent, Clock())
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body) == (201, b"out")
    assert answer.headers.getRawHeaders(b"Date") == [b"today"]
    (asked,) = agent.asked
    assert (asked.method, asked.uri, asked.body) == (b"POST", URL, b"in")
    assert asked.headers.getRawHeaders(b"A") == [b"b"]


def test_one_deadline_is_for_the_headers_and_the_body_together() -> None:
    clock, answer = Clock(), Answer(ends=False)
    for agent in (answering(), answering(answer)):
        found = exchange(agent, clock)
        clock.pump([0.99])
        assert found == []
        clock.pump([0.02, 0.0])
        assert found[0].value.reason is Reason.TIMEOUT
        assert str(found[0].value) == "no answer from Peer within 1 s (timeout)"
    assert agent.cancelled == 0
    assert answer.is_closed


def test_what_the_headers_took_is_no_longer_there_for_the_body() -> None:
    clock, answered, answer = Clock(), Deferred[Any](), Answer(ends=False)
    agent: Any = Later(answered)
    found = exchange(agent, clock)
    clock.advance(0.6)
    answered.callback(answer)
    clock.pump([0.39, 0.0])
    assert found == []
    clock.pump([0.02, 0.0])
    assert found[0].value.reason is Reason.TIMEOUT
    assert answer.is_closed


def test_a_deadline_ends_the_request_where_no_headers_have_come() -> None:
    clock, agent = Clock(), answering()
    exchange(agent, clock)
    clock.pump([1.0, 0.0, 0.0])
    assert agent.cancelled == 1


def test_one_who_gives_up_is_no_outage() -> None:
    agent = answering()
    http = Http(agent, Clock())
    work = ensureDeferred(http.exchange(b"GET", URL, {}, None, seconds=1.0, most=1))
    found = outcome_of(work)
    work.cancel()
    assert found[0].check(CancelledError)
    assert agent.cancelled == 1


@pytest.mark.parametrize("said", [True, False])
def test_an_answer_may_not_be_longer_than_its_bound(said: bool) -> None:
    answer = Answer(body=b"x" * 101, ends=False, length=101 if said else None)
    clock = Clock()
    found = exchange(answering(answer), clock)
    clock.pump([0.0, 0.0])
    assert isinstance(found[0].value, Oversized)
    assert answer.is_closed


def test_exchanges_may_share_an_allowance() -> None:
    allowance, clock = Allowance(10), Clock()
    assert exchange(answering(Answer(body=b"123456")), clock, allowance)[0].body == b"123456"
    found = exchange(answering(Answer(body=b"123456", ends=False)), clock, allowance)
    clock.pump([0.0, 0.0])
    assert isinstance(found[0].value, Oversized)


def test_of_a_long_answer_the_beginning_is_read_as_far_as_it_comes_at_once() -> None:
    clock, answer = Clock(), Answer(ends=False, length=1000)
    found = exchange(answering(answer), clock, glimpse=8)
    answer.send(b"12345")
    clock.pump([GLIMPSE_SECONDS, 0.0, 0.0])
    assert found[0].value.begins == b"12345"
    assert answer.is_closed
    answer = Answer(body=b"123456789", ends=False, length=1000)
    (failed,) = exchange(answering(answer), clock, glimpse=8)
    assert failed.value.begins == b"12345678"
    assert answer.is_closed


def whole(body: bytes) -> WholeAnswer:
    """An answer that came in one piece."""
    answer = read_answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert answer is not None
    return answer


def test_what_came_in_one_piece_has_the_same_bounds() -> None:
    clock, allowance = Clock(), Allowance(10)
    assert exchange(answering(whole(b"123456")), clock, allowance)[0].body == b"123456"
    (failed,) = exchange(answering(whole(b"12345")), clock, allowance, glimpse=2)
    assert isinstance(failed.value, Oversized)
    assert failed.value.begins == b"12"
    assert exchange(answering(whole(b"1234")), clock, allowance)[0].body == b"1234"
    assert clock.getDelayedCalls() == []


CLASSES: list[tuple[Exception, Reason]] = [
    (TimeoutError(), Reason.TIMEOUT),
    (error.TimeoutError(), Reason.TIMEOUT),
    (error.DNSLookupError(), Reason.DNS),
    (error.ConnectionRefusedError(), Reason.REFUSED),
    (error.ConnectError(), Reason.RESET),
    (error.ConnectionLost(), Reason.RESET),
    (ResponseNeverReceived([Failure(error.ConnectionDone())]), Reason.RESET),
    (ResponseFailed([Failure(ValueError("not HTTP"))]), Reason.GARBAGE),
    (ValueError("not a URL"), Reason.GARBAGE),
]


@pytest.mark.parametrize(("failure", "reason"), CLASSES)
def test_each_failure_has_its_class(failure: Exception, reason: Reason) -> None:
    assert outage_of(failure).reason is reason
    (failed,) = exchange(answering(failure), Clock())
    assert failed.value.reason is reason
    assert "Peer" in failed.value.detail


def test_a_url_that_is_none_is_an_outage_and_no_bug() -> None:
    clock = Clock()
    http = Http(KnownHosts(clock, Pool(clock, 1)), clock)
    with pytest.raises(Outage) as raised:
        result_of(http.exchange(b"GET", "http://h/ü".encode(), {}, None, seconds=1.0, most=1))
    assert raised.value.reason is Reason.GARBAGE
