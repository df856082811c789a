"""One bounded HTTP exchange: one deadline over headers and body, one bound for the body.

For all but what upstream is asked (`upstream.py`). No cookies, no redirects, no compression:
nothing that one user could leave behind for another, nothing whose size we do not know
(docs/facts.md, Twisted, Klein and treq: traps).
"""

from collections.abc import Mapping

from attrs import define, field
from twisted.internet import defer, error
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Allowance, Outage, Oversized, Reason, no_answer
from lotus_guard.neighbours.answers import WholeAnswer
from lotus_guard.neighbours.bodies import AnswerBody, TooLong, collect
from lotus_guard.neighbours.treq_client import Client


@define(eq=False, repr=False)
class HttpAnswer:
    """A whole answer, read to its end."""

    status: int
    _head: Headers | WholeAnswer
    body: bytes

    @property
    def headers(self) -> Headers:
        """What its head says; most are never looked at."""
        return self._head if isinstance(self._head, Headers) else self._head.headers

    def last(self, name: bytes) -> bytes | None:
        """What it says in this header, the last time; None where it has none."""
        if isinstance(self._head, Headers):
            values = self._head.getRawHeaders(name)
            return values[-1] if values else None
        return self._head.last(name)


GLIMPSE_SECONDS = 0.1
"""For so long the beginning of a body that is too long is waited for."""


@define(eq=False)
class Http:
    """Makes bounded exchanges and names what went wrong with one."""

    agent: IAgent
    clock: IReactorTime
    peer: str = field(default="", kw_only=True)
    """Whom a failure is to name."""
    client: Client = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.client = Client(self.agent)

    async def exchange(
        self,
        method: bytes,
        url: bytes,
        headers: Mapping[bytes, bytes] | Headers,
        body: bytes | None,
        *,
        seconds: float,
        most: int | Allowance,
        glimpse: int = 0,
    ) -> HttpAnswer:
        """Make one exchange in at most so many seconds with an answer of at most `most` bytes.

        `headers` may be made once for many exchanges, and an allowance be shared by several. Of an
        answer that says itself that it is too long, `glimpse` bytes are read. Raises Outage with
        the class of the failure: Oversized with what was read of a body that is too long.
        """
        allowance = most if isinstance(most, Allowance) else Allowance(most)
        wanted = written(headers)
        end = self.clock.seconds() + seconds
        try:
            asking = self.client.request(method.decode("ascii"), url, headers=wanted, data=body)
            response = await with_timeout(seconds, self.clock, asking)
            if isinstance(response, WholeAnswer):
                found = _whole(response, allowance, glimpse)
                return HttpAnswer(response.code, response, found)
            reading = self._read(response, allowance, glimpse)
            found = await with_timeout(end - self.clock.seconds(), self.clock, reading)
            return HttpAnswer(response.code, response.headers, found)
        except defer.CancelledError:
            raise
        except Exception as failure:
            raise outage_of(failure, self.peer, seconds) from None

    async def _read(self, response: IResponse, allowance: Allowance, glimpse: int) -> bytes:
        if isinstance(response.length, int) and response.length > allowance.left:
            raise TooLong(await self._glimpse(response, glimpse))
        return await collect(response, allowance)

    async def _glimpse(self, response: IResponse, most: int) -> bytes:
        """Read the beginning of a body that is too long, as much as comes at once."""
        body = AnswerBody(Allowance(most))
        response.deliverBody(body)
        try:
            await with_timeout(GLIMPSE_SECONDS if most else 0.0, self.clock, body.ready)
        except defer.CancelledError:
            raise
        except Exception:
            return body.collected
        body.abort()
        return body.collected


def written(headers: Mapping[bytes, bytes] | Headers) -> Headers:
    """Headers as Twisted has them, one line each."""
    if isinstance(headers, Headers):
        return headers
    return Headers({name: [value] for name, value in headers.items()})


def _whole(answer: WholeAnswer, allowance: Allowance, glimpse: int) -> bytes:
    """The body of an answer that is there already, or the beginning of one that is too long."""
    if answer.length > allowance.left:
        raise TooLong(answer.body[:glimpse])
    allowance.take(answer.length)
    return answer.body


_CLASSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Reason, str], ...] = (
    ((TimeoutError, error.TimeoutError), Reason.TIMEOUT, "no answer from {peer}"),
    (error.DNSLookupError, Reason.DNS, "the host name of {peer} does not resolve"),
    (error.ConnectionRefusedError, Reason.REFUSED, "{peer} refused the connection"),
    (
        (error.ConnectError, error.ConnectionClosed, error.ConnectionLost),
        Reason.RESET,
        "the connection to {peer} broke ({kind})",
    ),
)


def outage_of(failure: Exception, peer: str = "", seconds: float = 0.0) -> Outage:
    """Put a failed exchange into its class, and name the peer and how long it was waited for.

    What is not recognised is the peer's garbage: nothing else of ours runs inside an exchange.
    """
    who = peer or "the server"
    causes = [failure]
    # ResponseFailed and its kin wrap what happened to the connection.
    causes += [reason.value for reason in getattr(failure, "reasons", ())]
    if isinstance(failure, TooLong):
        return Oversized(failure.begins)
    if seconds and isinstance(failure, TimeoutError):
        return Outage(Reason.TIMEOUT, no_answer(who, seconds))
    for kinds, reason, words in _CLASSES:
        for cause in causes:
            if isinstance(cause, kinds):
                return Outage(reason, words.format(peer=who, kind=type(cause).__name__))
    found = causes if isinstance(failure, ResponseFailed) else [failure]
    names = ", ".join(type(cause).__name__ for cause in found)
    return Outage(Reason.GARBAGE, f"no valid answer from {who}: {names}")
