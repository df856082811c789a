"""The way through to upstream and back: a request and its answer, as they were.

What goes wrong on the way is a Problem, and counted as upstream's.
"""

from collections.abc import Set as AbstractSet

from attrs import define
from twisted.internet.defer import CancelledError

from lotus_guard.core.sentence import Sentence
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.upstream import WITHHELD, Reply, Upstream, prepare_headers
from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.problems import Problem


@define(eq=False)
class PassThrough:
    """Hands requests on to upstream, and its answers to clients."""

    upstream: Upstream
    answers: Answers
    withheld: AbstractSet[bytes] = WITHHELD
    """The headers of a request that upstream does not get."""

    async def ask(self, request: ClientRequest, body: bytes, is_elsewhere: bool = False) -> Reply:
        """Hand a request on; its answer is read up to a bound. Raises Problem.

        `is_elsewhere` where upstream asks another homeserver, which may hang: that is not upstream.
        """
        headers = request.requestHeaders
        prepare_headers(headers, request.peer, request.getHeader(b"host"), self.withheld)
        try:
            reply = await self.upstream.forward(request.method, request.target, headers, body)
        except Outage as outage:
            if request.is_gone:  # nobody waits: it was we who broke the exchange off
                raise CancelledError from None
            if is_elsewhere and outage.reason is Reason.TIMEOUT:
                raise Problem(504, "M_UNKNOWN", Sentence("other_homeserver_silent")) from None
            self.answers.traffic.upstream_did(outage)
            raise _problem(outage) from None
        self.answers.traffic.upstream_did(None)
        return reply

    async def stream(self, request: ClientRequest, reply: Reply) -> None:
        """Hand on an answer that is too long to be kept, at the client's pace."""
        self.answers.begin(request, reply.status, reply.phrase, reply.headers)
        await reply.body.stream(request)
        request.finish()

    def finish(self, request: ClientRequest, reply: Reply, body: bytes) -> None:
        """Hand on an answer, with this body."""
        self.answers.finish(request, reply.status, reply.phrase, reply.headers, body)


def _problem(outage: Outage) -> Problem:
    if outage.reason is Reason.TIMEOUT:
        return Problem(504, "M_UNKNOWN", Sentence("service_silent"))
    return Problem(502, "M_UNKNOWN", Sentence("service_unreachable"))
