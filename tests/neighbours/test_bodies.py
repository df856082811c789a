"""Bodies are read up to a bound, and nothing stays open behind one that is given up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.web.http import PotentialDataLoss

from lotus_guard.enforce.ports import Allowance
from lotus_guard.neighbours.bodies import AnswerBody, BytesBody, KnownBody, TooLong, collect
from tests.neighbours.answering import Answer, outcome_of, result_of

CHUNKS = st.lists(st.binary(min_size=1, max_size=8), max_size=8)


def test_a_body_that_is_in_memory_is_written_at_once() -> None:
    sink = StringTransport()
    body = BytesBody(b"a body")
    assert body.length == 6
    assert body.startProducing(sink).called
    assert sink.value() == b"a body"


@given(CHUNKS, st.integers(0, 64))
def test_a_body_is_whole_or_too_long_and_never_more_than_the_bound_is_kept(
    chunks: list[bytes], most: int
) -> None:
    answer = Answer(ends=False)
    found = outcome_of(collect(answer, Allowance(most)))
    for chunk in chunks:
        answer.send(chunk)
    whole = b"".join(chunks)
    if len(whole) > most:
        assert found[0].check(TooLong)
        assert found[0].value.begins == whole[:most]
        assert answer.is_closed
    else:
        assert found == []
        answer.end()
        assert found == [whole]
        assert not answer.is_closed


def test_answers_share_an_allowance() -> None:
    allowance = Allowance(10)
    assert result_of(collect(Answer(body=b"12345678"), allowance)) == b"12345678"
    with pytest.raises(TooLong):
        result_of(collect(Answer(body=b"123"), allowance))


def test_an_answer_of_no_length_that_ends_with_its_connection_is_whole() -> None:
    answer = Answer(ends=False)
    found = outcome_of(collect(answer, Allowance(10)))
    answer.send(b"all")
    answer.end(PotentialDataLoss())
    assert found == [b"all"]


def test_one_that_breaks_off_is_a_failure() -> None:
    answer = Answer(ends=False)
    found = outcome_of(collect(answer, Allowance(10)))
    answer.send(b"not all")
    answer.break_off()
    assert found[0].check(ConnectionDone)


def test_giving_up_closes_the_connection() -> None:
    """`treq.collect` would leave it open, for as long as the peer hangs in its body."""
    answer = Answer(ends=False)
    reading = ensureDeferred(collect(answer, Allowance(10)))
    found = outcome_of(reading)
    answer.send(b"beg")
    reading.cancel()
    assert found[0].check(CancelledError)
    assert answer.is_closed


class Consumer(StringTransport):
    """A client who is answered."""


def long_answer() -> tuple[Any, AnswerBody]:
    answer, body = Answer(ends=False), AnswerBody(Allowance(4))
    answer.deliverBody(body)
    answer.send(b"123")
    assert not body.ready.called
    answer.send(b"456")
    return answer, body


def test_what_is_longer_waits_and_then_goes_through_whole() -> None:
    answer, body = long_answer()
    assert body.ready.called
    assert not body.is_whole
    assert body.collected == b"1234"
    assert answer.transport.producerState == "paused"
    client: Any = Consumer()
    streamed = outcome_of(body.stream(client))
    assert client.value() == b"123456"
    assert client.producer is answer.transport, "at the client's pace"
    assert answer.transport.producerState == "producing"
    answer.send(b"789")
    assert client.value() == b"123456789"
    answer.end()
    assert streamed == [None]
    assert client.producer is None


def test_a_stream_that_breaks_off_is_a_failure_and_one_that_is_given_up_is_closed() -> None:
    answer, body = long_answer()
    streamed = outcome_of(body.stream(Consumer()))
    answer.break_off()
    assert streamed[0].check(ConnectionDone)
    answer, body = long_answer()
    streaming = body.stream(Consumer())
    outcome_of(streaming)
    streaming.cancel()
    assert answer.is_closed


def test_an_end_that_nobody_waits_for_is_no_error() -> None:
    answer, body = long_answer()
    body.abort()
    assert answer.is_closed
    answer.break_off()


def test_a_body_that_was_there_from_the_beginning_is_whole_and_leaves_nothing_open() -> None:
    body, client = KnownBody(b"all"), StringTransport()
    assert (body.is_whole, body.collected) == (True, b"all")
    assert outcome_of(body.stream(client)) == [None]
    assert client.value() == b"all"
    body.abort()
