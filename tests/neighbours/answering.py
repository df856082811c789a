"""An agent whose answers a test writes, and how to see what came of asking."""

from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface import implementer

from lotus_guard.neighbours.answers import WholeAnswer


@frozen
class Asked:
    """A request as the agent got it."""

    method: bytes
    uri: bytes
    headers: Headers
    body: bytes


@frozen
class Later:
    """An agent whose answer comes when the test gives it."""

    answered: Deferred[Any]

    def request(self, *_wanted: Any) -> Deferred[Any]:
        return self.answered


@implementer(IResponse)
@define(eq=False)
class Answer:
    """An answer; its body comes at once, unless `ends` is false: then as the test sends it."""

    code: int = 200
    body: bytes = b""
    fields: Mapping[bytes, bytes] = field(factory=dict)
    length: Any = None
    ends: bool = True
    phrase: bytes = b"OK"
    version: Any = (b"HTTP", 1, 1)
    request: Any = None
    previousResponse: Any = None
    headers: Headers = field(init=False)
    transport: Any = field(factory=StringTransport, init=False)
    _protocol: Any = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.headers = Headers({name: [value] for name, value in self.fields.items()})
        if self.length is None:
            self.length = len(self.body) if self.ends else UNKNOWN_LENGTH

    @property
    def is_closed(self) -> bool:
        """Whether the connection was closed from our side."""
        return bool(self.transport.disconnecting)

    def deliverBody(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.makeConnection(self.transport)
        self.send(self.body)
        if self.ends:
            self.end()

    def send(self, data: bytes) -> None:
        if data:
            self._protocol.dataReceived(data)

    def end(self, reason: Exception | None = None) -> None:
        self._protocol.connectionLost(Failure(reason or ResponseDone()))

    def break_off(self) -> None:
        self.end(ConnectionDone())

    def setPreviousResponse(self, response: Any) -> None:
        self.previousResponse = response


@implementer(IAgent)
@define(eq=False)
class Answering:
    """Answers one request after the other with what it was given; then not at all."""

    answers: Iterator[Answer | WholeAnswer | Exception]
    asked: list[Asked] = field(factory=list)
    cancelled: int = 0

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, body: Any = None
    ) -> Deferred[Any]:
        sent = _Sent()
        if body is not None:
            body.startProducing(sent)
        self.asked.append(Asked(method, uri, headers or Headers(), sent.data))
        done: Deferred[Any] = Deferred(self._cancelled)
        answer = next(self.answers, None)
        if isinstance(answer, Exception):
            done.errback(answer)
        elif answer is not None:
            done.callback(answer)
        return done

    def _cancelled(self, _done: object) -> None:
        self.cancelled += 1


class _Sent:
    data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def answering(*answers: Answer | WholeAnswer | Exception) -> Answering:
    return Answering(iter(answers))


def result_of(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of work that need not wait; raises what it raises."""
    outcome = outcome_of(work)
    assert outcome, "it still waits"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def outcome_of(work: Coroutine[Any, Any, Any] | Deferred[Any]) -> list[Any]:
    """A list that holds the result or the Failure, once there is one."""
    found: list[Any] = []
    ensureDeferred(work).addBoth(found.append)
    return found
