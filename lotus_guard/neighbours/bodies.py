"""The bodies of requests and answers: sent at once, read up to a bound.

`treq.collect` reads an answer to its end, however long that is, and when its caller gives up it
leaves the connection open. So this is ours.
"""

from typing import Any

from attrs import frozen
from twisted.internet import defer
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from lotus_guard.enforce.ports import Allowance


@implementer(IBodyProducer)
class BytesBody:
    """A request's body that is in memory already: written at once, nothing to pause."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self.body = body

    def startProducing(self, consumer: Any) -> defer.Deferred[None]:
        """Write all of it."""
        consumer.write(self.body)
        return defer.succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: it has been written."""

    def resumeProducing(self) -> None:
        """Do nothing: it has been written."""

    def stopProducing(self) -> None:
        """Do nothing: it has been written."""


@frozen(repr=False)
class KnownBody:
    """An answer's body that was there from the beginning: all of it, and no connection behind it.

    It is dealt with as an `AnswerBody` that is whole.
    """

    collected: bytes
    is_whole: bool = True

    def stream(self, consumer: IConsumer) -> defer.Deferred[None]:
        """Write all of it to a consumer."""
        consumer.write(self.collected)
        return defer.succeed(None)

    def abort(self) -> None:
        """Do nothing: nothing is left open."""


class TooLong(Exception):
    """The body is longer than it may be."""

    def __init__(self, begins: bytes) -> None:
        super().__init__()
        self.begins = begins


class AnswerBody(Protocol):
    """An answer's body: collected as far as an allowance goes, then streamed or dropped.

    `ready` fires once all of it is in `collected`, or once it turns out to be longer: `is_whole`
    is which. What is longer waits for `stream` or `abort`. Cancelling `ready` closes the
    connection, so that a peer that hangs in its body leaves nothing open behind it.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.ready: defer.Deferred[None] = defer.Deferred(lambda _: self.abort())
        self.is_whole = False
        self._allowance = allowance
        self._chunks: list[bytes] = []
        self._beyond: list[bytes] = []
        self._finished: defer.Deferred[None] = defer.Deferred(lambda _: self.abort())
        self._consumer: IConsumer | None = None

    @property
    def collected(self) -> bytes:
        """What has come, as far as the allowance goes."""
        return b"".join(self._chunks)

    def dataReceived(self, data: bytes) -> None:
        """Keep a chunk, or hand it on once somebody takes them."""
        if self._consumer is not None:
            self._consumer.write(data)
            return
        left = max(0, self._allowance.left)
        self._chunks.append(data[:left])
        if self._allowance.take(len(data)):
            return
        self._beyond.append(data[left:])
        if not self.ready.called:
            self.transport.pauseProducing()  # type: ignore[union-attr]
            self.ready.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the answer for those who wait: this is all, or it was cut off."""
        is_fine = bool(reason.check(ResponseDone, PotentialDataLoss))
        if not self.ready.called:
            self.is_whole = is_fine
            self.ready.callback(None if is_fine else reason)
        elif not self._finished.called:
            self._finished.callback(None if is_fine else reason)

    def stream(self, consumer: IConsumer) -> defer.Deferred[None]:
        """Write what has come and what will come to a consumer, at its pace."""
        consumer.write(b"".join([*self._chunks, *self._beyond]))
        self._chunks, self._beyond = [], []
        self._consumer = consumer
        if not self._finished.called:
            consumer.registerProducer(self.transport, True)  # type: ignore[arg-type]
            self._finished.addBoth(self._leave, consumer)
            self.transport.resumeProducing()  # type: ignore[union-attr]
        return self._finished

    def _leave(self, result: object, consumer: IConsumer) -> object:
        consumer.unregisterProducer()
        return result

    def abort(self) -> None:
        """Close the connection; nobody waits for the rest, nor for how it ends."""
        self._beyond = []
        self._finished.addErrback(lambda _failure: None)
        transport = self.transport
        if transport is not None:
            # An HTTP/1.1 body's transport stands for the connection itself; abort rather than
            # wait for buffers of a peer that does not read.
            getattr(transport, "abortConnection", transport.loseConnection)()


async def collect(response: IResponse, allowance: Allowance) -> bytes:
    """Read an answer to its end; raises TooLong, with as much as the allowance lets in."""
    body = AnswerBody(allowance)
    response.deliverBody(body)
    await body.ready
    if not body.is_whole:
        body.abort()
        raise TooLong(body.collected)
    return body.collected
