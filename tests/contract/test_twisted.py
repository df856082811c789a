"""Twisted's private names that the guard leans on: all of them, and what each must still do.

A new version of Twisted may rename or change them without a word. Then these tests go red before
anything else does. What can be had by a public name is to be had by that.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET, socketpair
from typing import Any

import pytest
from attrs import frozen
from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.logger import LogPublisher
from twisted.web.client import HTTP11ClientProtocol  # type: ignore[attr-defined]
from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = re.compile(r"_[^_]\w*")
BY_TEXT = ("getattr", "hasattr", "setattr", "delattr", "attrgetter", "methodcaller")


@frozen
class Leaned:
    """A private name, where it is used, and what for."""

    module: str
    name: str
    why: str


LEANED_ON = (
    Leaned("neighbours/answers.py", "_rawHeaders", "what has been read is not read again"),
    Leaned("neighbours/connection.py", "_finishResponse", "what comes behind an answer is seen"),
    Leaned("neighbours/connection.py", "_parser", "two lengths of one answer are seen"),
    Leaned("neighbours/upstream.py", "_rawHeaders", "what is clean is not cleaned again"),
    Leaned("observe/log.py", "_observers", "whoever has chosen an observer, it is throttled"),
    Leaned("overload/http_limits.py", "_GenericHTTPChannelProtocol", "what a Site serves with"),
    Leaned("overload/http_limits.py", "_abortingCall", "a cut connection is closed in the end"),
    Leaned("overload/http_limits.py", "_buffer", "whether a part of the next request is there"),
    Leaned("overload/http_limits.py", "_handlingRequest", "whether it is our turn or the client's"),
    Leaned("overload/http_limits.py", "_networkProducer", "no more is read while nobody reads"),
    Leaned("overload/http_limits.py", "_path", "a webhook's bound is known before its body comes"),
    Leaned("overload/http_limits.py", "_dataBuffer", "whether the next requests are there"),
    Leaned("overload/http_limits.py", "_rawHeaders", "what has been read is not read again"),
    Leaned("overload/http_limits.py", "_tempDataLen", "nothing overtakes what was written before"),
    Leaned("overload/http_limits.py", "_waitingForTransport", "whether the client reads"),
    Leaned("web/problems.py", "_rawHeaders", "what is ours needs no cleaning"),
    Leaned("run/listeners.py", "_raiseSynchronously", "a port that is taken ends the start"),
    Leaned("run/listeners.py", "_waitingForPort", "who has knocked is let in before it closes"),
    Leaned(
        "run/parsers.py", "_port", "a port that nobody can listen on is a fault of the settings"
    ),
    Leaned("run/readiness.py", "_waitingForPort", "the port that we ask whether it answers"),
    Leaned("sandbox/service.py", "_raiseSynchronously", "a port that is taken ends the start"),
)


# --- these, and no others ------------------------------------------------------------------------


def test_no_other_private_name_is_used() -> None:
    used = {(module, name) for module, name in [*foreign_names(), *inherited_names()]}
    assert used == {(each.module, each.name) for each in LEANED_ON}


def trees() -> dict[str, ast.Module]:
    package = ROOT / "lotus_guard"
    paths = sorted(package.rglob("*.py"))
    return {str(path.relative_to(package)): ast.parse(path.read_text()) for path in paths}


def foreign_names() -> Iterator[tuple[str, str]]:
    """Private names that are read, called, looked up or imported, and that are none of ours."""
    found = trees()
    ours = set[str]().union(*map(defined, found.values()))
    for module, tree in found.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and PRIVATE.fullmatch(node.attr):
                if node.attr not in ours:
                    yield module, node.attr
            elif isinstance(node, ast.Call):
                names = [name for name in names_in_text(node) if name not in ours]
                yield from ((module, name) for name in names)
            elif isinstance(node, ast.ImportFrom):
                outside = not (node.module or "").startswith("lotus_guard")
                names = [*(node.module or "").split("."), *(each.name for each in node.names)]
                yield from ((module, name) for name in names if outside and PRIVATE.fullmatch(name))


def names_in_text(call: ast.Call) -> list[str]:
    """Private names that a call of `getattr` and its like has as a text."""
    if ast.unparse(call.func).rpartition(".")[2] not in BY_TEXT:
        return []
    texts = [each.value for each in call.args if isinstance(each, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and PRIVATE.fullmatch(text)]


def defined(tree: ast.Module) -> set[str]:
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names |= {node.attr} if ast.unparse(node.value) == "self" else set()
    return names


def inherited_names() -> Iterator[tuple[str, str]]:
    """Private names of ours that a base class of somebody else's has as well."""
    for module, tree in trees().items():
        for node in tree.body:
            if not isinstance(node, ast.ClassDef) or not node.bases:
                continue
            dotted = ".".join(["lotus_guard", *Path(module).with_suffix("").parts])
            cls = getattr(importlib.import_module(dotted), node.name)
            theirs = set[str]().union(*map(private_names_of, foreign_bases(cls)))
            yield from ((module, name) for name in theirs & private_names_in(node))


def foreign_bases(cls: Any) -> list[Any]:
    return [base for base in cls.__mro__ if base.__module__.startswith(("twisted.", "klein."))]


def private_names_of(base: Any) -> set[str]:
    written = re.findall(r"self\.(_[a-zA-Z]\w*)", inspect.getsource(base))
    return {name for name in [*vars(base), *written] if PRIVATE.fullmatch(name)}


def private_names_in(node: ast.ClassDef) -> set[str]:
    names = defined(ast.Module(body=[node], type_ignores=[]))
    return {name for name in names if PRIVATE.fullmatch(name)}


# --- what each must still do ---------------------------------------------------------------------


@pytest.mark.parametrize("behind", [b"", b"HTTP/1.1 200"])
def test_a_client_says_what_came_behind_an_answer_and_obeys_its_request(behind: bytes) -> None:
    seen: list[Any] = []

    class Wanted:
        method, persistent = b"GET", True

        def writeTo(self, _transport: Any) -> Deferred[None]:
            return succeed(None)

    wanted: Any = Wanted()

    class Client(HTTP11ClientProtocol):
        def _finishResponse(self, rest: bytes) -> None:
            assert self._parser is not None
            seen.append((rest, self._parser.connHeaders.getRawHeaders(b"Content-Length")))
            wanted.persistent = False
            super()._finishResponse(rest)

    idle: list[Any] = []
    client, transport = Client(idle.append), StringTransport()
    client.makeConnection(transport)
    client.request(wanted)
    client.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + behind)
    assert seen == [(behind, [b"0"])]
    assert transport.disconnecting
    assert idle == []


class Held(Resource):
    """A page whose answer waits for the test."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render(self, request: Any) -> int:
        self.requests.append(request)
        return NOT_DONE_YET


@pytest.fixture
def channel() -> Any:
    """A plain channel of Twisted's on a connection that keeps what is written."""
    made: Any = HTTPChannel()
    made.site = Site(Held(), reactor=Clock())
    made.requestFactory = made.site.requestFactory
    transport: Any = StringTransport()
    transport.setTcpNoDelay = lambda _on: None
    made.makeConnection(transport)
    return made


STATE = (
    *("length", "line_mode", "requests", "_buffer", "_dataBuffer", "_handlingRequest"),
    *("_receivedHeaderCount", "_receivedHeaderSize", "_transferDecoder", "_busyReceiving"),
    *("_HTTPChannel__first_line", "_HTTPChannel__header", "_command", "_path", "_version"),
)
"""What a channel keeps of a request while it comes, and whether it is its turn."""
ASK = b"POST /x?y HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"


def test_a_channel_knows_its_path_before_the_body_is_there(
    channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(Request, "gotLength", lambda me, _n: seen.append(me.channel._path))
    channel.dataReceived(ASK)
    assert seen == [b"/x?y"]


def test_a_channel_handles_a_request_from_its_last_byte_to_its_answer(channel: Any) -> None:
    assert channel._handlingRequest is False
    channel.dataReceived(ASK + b"b")
    assert channel._handlingRequest is False
    channel.dataReceived(b"b")
    assert channel._handlingRequest is True
    assert not any(channel._dataBuffer)
    channel.dataReceived(ASK[:5])
    assert any(channel._dataBuffer)
    (request,) = channel.site.resource.requests
    request.finish()
    assert channel._handlingRequest is False
    assert not channel._dataBuffer
    assert channel._buffer == ASK[:5]
    channel.dataReceived(ASK[5:] + b"bb")
    channel.site.resource.requests[-1].finish()
    assert channel._buffer == b""
    channel.dataReceived(ASK[:5])
    assert channel._buffer == ASK[:5]


def test_headers_are_lists_under_one_spelling_each() -> None:
    headers = Headers()
    headers._rawHeaders.update({b"X-A": [b"1", b"2"]})
    headers.addRawHeader(b"x-b", b"3")
    assert headers.getRawHeaders(b"x-a") == [b"1", b"2"]
    assert headers._rawHeaders == {b"X-A": [b"1", b"2"], b"X-B": [b"3"]}
    ours = [b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect"]
    ours += [b"X-Forwarded-%b" % each for each in (b"For", b"Proto", b"Host")]
    ours += [b"Lotus-Guard-Decision", b"Access-Control-Expose-Headers"]
    for name in ours:
        assert list(Headers({name.lower(): [b""]}).getAllRawHeaders()) == [(name, [b""])]


def test_a_channel_knows_whether_its_client_reads(channel: Any) -> None:
    assert channel._waitingForTransport is False
    channel.pauseProducing()
    assert channel._waitingForTransport is True
    channel.resumeProducing()
    assert channel._waitingForTransport is False


def test_a_connection_knows_what_it_has_not_begun_to_send() -> None:
    ours, theirs = socketpair()
    with ours, theirs:
        connection = Connection(ours, Protocol(), SelectReactor())
        connection.connected = True
        connection.write(b"x")
        assert (connection.dataBuffer, connection._tempDataLen) == (b"", 1)
        ours.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        connection.write(b"x" * 10_000_000)
        connection.doWrite()
        assert connection.dataBuffer
        assert connection._tempDataLen == 0


def test_a_channel_has_no_state_left_of_a_request_that_it_has_served(channel: Any) -> None:
    """What serves a request in its place leaves it as a new one, and so must Twisted."""
    afresh = [repr(getattr(channel, name, None)) for name in STATE]
    channel.dataReceived(ASK + b"bb")
    assert [repr(getattr(channel, name, None)) for name in STATE] != afresh
    channel.site.resource.requests[0].finish()
    assert [repr(getattr(channel, name, None)) for name in STATE] == afresh


def test_a_channels_network_producer_pauses_the_connection(channel: Any) -> None:
    channel._networkProducer.pauseProducing()
    assert channel.transport.producerState == "paused"


def test_a_channels_aborting_call_is_called_off_once_the_connection_is_closed(channel: Any) -> None:
    assert channel._abortingCall is None
    called_off: list[bool] = []

    class Call:
        def cancel(self) -> None:
            called_off.append(True)

    channel._abortingCall = Call()
    channel.connectionLost(None)
    assert called_off == [True]
    assert channel._abortingCall is None


def test_a_site_serves_with_a_generic_channel_around_ours() -> None:
    made = Site(Held(), reactor=Clock()).buildProtocol(None)
    assert isinstance(made, _GenericHTTPChannelProtocol)
    ours: Any = HTTPChannel()
    assert _GenericHTTPChannelProtocol(ours)._channel is ours


def test_a_service_has_the_port_that_it_waits_for_and_raises_where_it_cannot_be_had() -> None:
    class Endpoint:
        def __init__(self, answer: Deferred[Any]) -> None:
            self.answer = answer

        def listen(self, _factory: Any) -> Deferred[Any]:
            return self.answer

    def service(answer: Deferred[Any]) -> Any:
        return StreamServerEndpointService(Endpoint(answer), Factory())

    port, answer = object(), Deferred[Any]()
    started = service(answer)
    started.privilegedStartService()
    answer.callback(port)
    assert started._waitingForPort.result is port
    refused = service(fail(CannotListenError(None, 80, OSError())))
    refused._raiseSynchronously = True
    with pytest.raises(CannotListenError):
        refused.privilegedStartService()


@pytest.mark.parametrize("kind", ["tcp", "tcp6"])
def test_an_endpoint_has_the_number_of_its_port_and_does_not_look_at_it(kind: str) -> None:
    made: Any = serverFromString(Clock(), f"{kind}:65536")
    assert made._port == 65536


def test_a_publisher_lists_its_observers() -> None:
    observer: Any = object()
    assert list(LogPublisher(observer)._observers) == [observer]
