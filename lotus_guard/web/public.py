"""The public port: everything goes to upstream and comes back as it was, but for issued tokens.

A plain leaf resource, not Klein: a proxy's one handler takes every path, and routing would only add
spellings of its own (Klein answers a path that is not UTF-8 itself, merges slashes and decodes
`%2F`; docs/facts.md, Twisted, Klein and treq: traps).

Every answer that we make ourselves is a Matrix error as JSON with upstream's CORS headers; without
these a browser reports nothing but a network failure, and Element Call retries for half a minute
(docs/facts.md, Element Call: refusals).
"""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lotus_guard.core import probe as probing
from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.token import Unfit
from lotus_guard.core.webhook import MOST_WEBHOOK
from lotus_guard.core.wire import (
    Unreadable,
    endpoint_of,
    is_webhook,
    read_answer,
    read_any,
    read_token_request,
    replace_token,
    without_slashes,
)
from lotus_guard.enforce.admission import Admission, Answer, Refusal
from lotus_guard.enforce.ports import Now, Outage, Reason, Records
from lotus_guard.enforce.recipient import Asked
from lotus_guard.neighbours.upstream import Reply, Upstream, forwarded_headers
from lotus_guard.overload.client_address import Origin, Origins, end_of, entries_of
from lotus_guard.overload.http_limits import BoundedRequest, Connections, QuietSite
from lotus_guard.overload.load_shedding import LoadShedding, TurnedAway
from lotus_guard.rules.rulings import request_refused
from lotus_guard.web.landing import landing_page

PLACE_BYTES = 2048
"""A request takes one place in its client's line, and another one for so many bytes of body."""
RETRY_MS = 2000
SLOW_SECONDS = 1.0
"""Who is turned away hears so late of it: a client who asks again at once slows down by it."""
BLIND_REQUESTS = 200
"""So many requests for tokens by proxies, none of which named a client, are worth a line."""

CORS = {
    b"Content-Type": b"application/json",
    b"Access-Control-Allow-Origin": b"*",
    b"Access-Control-Allow-Methods": b"POST",
    b"Access-Control-Allow-Headers": (
        b"Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"
    ),
}

DECISION_HEADER = b"Lotus-Guard-Decision"

_log = Logger()


class Traffic(Protocol):
    """Takes note of requests, for metrics."""

    def answered(self, endpoint: str, status: int) -> None:
        """Note an answer that a client got."""

    def upstream_did(self, outage: Outage | None) -> None:
        """Note that lk-jwt-service answered, or why it did not."""

    def added(self, seconds: float) -> None:
        """Note how long an answer took, apart from upstream's part of it."""


class Hooks(Protocol):
    """Takes LiveKit's webhooks in."""

    def are_livekits(self, authorization: str) -> bool:
        """Tell from a request's Authorization whether LiveKit has sent it."""

    def take(self, body: bytes, authorization: str) -> None:
        """Take a webhook in, whoever sent it; never raises."""


class PublicSite(QuietSite):
    """The server of the public port."""

    def __init__(self, gate: "Gate", connections: Connections | None = None) -> None:
        super().__init__(
            gate,
            connections,
            gate.bound_of,
            requestFactory=BoundedRequest,
            parsePOSTFormSubmission=False,
        )


@define(eq=False)
class Problem(Exception):
    """An answer of our own making."""

    status: int
    errcode: str
    error: str
    extra: tuple[tuple[str, Any], ...] = ()
    decision: str = ""
    """The id of the decision to refuse; empty where nobody decided anything."""

    def body(self) -> bytes:
        """Write the Matrix error."""
        fields = {"errcode": self.errcode, "error": self.error, **dict(self.extra)}
        if self.decision:
            fields["io.lotus.decision"] = self.decision
        return json.dumps(fields).encode() + b"\n"


class Unacceptable(Problem):
    """A request that we do not serve, whatever the room's policy: it is yet to be put on record."""


def refused(refusal: Refusal) -> Problem:
    """Tell a user which rule refuses. Element Call shows the sentence under "Technical details"."""
    return Problem(
        403,
        "M_FORBIDDEN",
        f"{refusal.refuse.sentence} (Reference: {refusal.decision})",
        tuple(refusal.refuse.fields.items()),
        refusal.decision,
    )


def too_many() -> Problem:
    """Say that one client asks for too much at once."""
    return Problem(
        429,
        "M_LIMIT_EXCEEDED",
        "Too many requests come from your address at once. Try again in a moment.",
        (("retry_after_ms", RETRY_MS),),
    )


@define(eq=False)
class Clients:
    """Tells which client a request comes from, and the operator if nobody says so."""

    origins: Origins
    _blind: int = 0
    """Requests that a proxy made without saying for whom; None named anybody yet."""

    def of(self, request: BoundedRequest) -> Origin:
        """Tell the client of a request."""
        return self.origins.of(*_named_by(request))

    def note(self, who: Origin) -> None:
        """Take note of whom a request for a token came from; say it once if nobody is named."""
        if self._blind >= BLIND_REQUESTS:
            return
        self._blind = self._blind + 1 if who.is_crowd else BLIND_REQUESTS + 1
        if self._blind == BLIND_REQUESTS:
            _log.warn(
                "The first {n} requests for tokens came from a proxy that does not say for whom: "
                "all clients share one part. Wanted: it sets X-Real-IP or X-Forwarded-For "
                "(docs/proxies.md).",
                n=BLIND_REQUESTS,
            )


def _named_by(request: BoundedRequest) -> tuple[str | None, bytes, bytes]:
    """Give the peer of a request, and what its X-Real-IP and X-Forwarded-For say."""
    headers = request.requestHeaders
    return (
        getattr(request.getClientAddress(), "host", None),
        end_of(headers.getRawHeaders(b"X-Real-IP")),
        end_of(headers.getRawHeaders(b"X-Forwarded-For")),
    )


class Gate(Resource):
    """The one resource of the public port."""

    isLeaf = True

    def __init__(
        self,
        upstream: Upstream,
        admission: Admission,
        traffic: Traffic,
        records: Records,
        now: Now,
        webhooks: Hooks,
        is_probe: Callable[[str], bool],
        pressure: LoadShedding,
        clients: Clients,
        observes: bool = False,
    ) -> None:
        super().__init__()
        self._pressure = pressure
        self._clients = clients
        self._records = records
        self._observes = observes
        self._landing = landing_page()
        self._is_probe = is_probe
        self._open = 0
        self._waiting: list[Deferred[None]] = []
        self._webhooks = webhooks
        self._upstream = upstream
        self._admission = admission
        self._traffic = traffic
        self._now = now
        self._failures = LogThrottle(now)

    def render(self, request: Any) -> int:
        """Serve one request of any method to any path."""
        self._open += 1
        exchange = ensureDeferred(self._serve(request))

        def leave(_failure: Failure) -> None:
            request.gone = True
            exchange.cancel()

        request.notifyFinish().addErrback(leave)
        exchange.addErrback(self._failed, request)
        exchange.addBoth(self._served)
        return NOT_DONE_YET

    def drained(self) -> Deferred[None]:
        """Wait until no request is open any more; for an orderly end."""
        waiting: Deferred[None] = Deferred()
        if self._open:
            self._waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def _served(self, _result: object) -> None:
        self._open -= 1
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.called:
                    each.callback(None)

    async def _serve(self, request: BoundedRequest) -> None:
        probe = request.getHeader(probing.HEADER)
        if probe and self._is_probe(probe):
            self._echo(request)
            return
        hook = self._hook(request)
        try:
            await self._answer_in_turn(request)
        except TurnedAway:
            self._pressure.on_turned_away()
            request.content = BytesIO()  # not kept while the client waits
            await deferLater(self._pressure.clock, SLOW_SECONDS, lambda: None)
            self._refuse(request, too_many())
        except Unacceptable as problem:
            problem.decision = self._record(problem)
            self._refuse(request, problem)
        except Problem as problem:
            self._refuse(request, problem)
        if hook is not None:
            # A hint for us too, once upstream has been served, whatever it made of it.
            self._webhooks.take(hook, request.getHeader("Authorization") or "")

    def bound_of(self, target: bytes, headers: Headers) -> int | None:
        """Tell how long a webhook of LiveKit's may be; None for whatever else is asked.

        Its token is in the head, so a stranger's body is never kept at such length.
        """
        if not is_webhook(target):
            return None
        authorization = headers.getRawHeaders(b"Authorization", [b""])[-1].decode("latin-1")
        return MOST_WEBHOOK if self._webhooks.are_livekits(authorization) else None

    def _hook(self, request: BoundedRequest) -> bytes | None:
        """Give the body of a webhook that is there as a whole, or that is not LiveKit's."""
        is_cut = request.is_trusted and request.too_long
        return request.content.getvalue() if is_webhook(request.uri) and not is_cut else None

    def _record(self, problem: Problem, observed: bool = False) -> str:
        ruling = request_refused(problem.status, problem.errcode, problem.error)
        once = (observed, problem.errcode, problem.error)
        return self._records.decided(ruling, observed=observed, once=once)

    def _close(self, problem: Unacceptable) -> None:
        """Raise a problem, or only put it on record where everything is observed."""
        if not self._observes:
            raise problem
        self._record(problem, observed=True)

    async def _answer_in_turn(self, request: BoundedRequest) -> None:
        """Answer a request once its client has not more than their share under way.

        LiveKit is no client: what it tells waits in nobody's line.
        """
        who, requests = self._clients.of(request), self._pressure.requests
        if request.is_trusted:
            await self._answer(request, who)
            return
        self._pressure.arrivals.count(who, self._now())
        if not requests.enter(who):
            size = len(request.content.getbuffer())
            await requests.wait(who, 1 + size // PLACE_BYTES)
        try:
            await self._answer(request, who)
        finally:
            requests.leave(who)

    async def _answer(self, request: BoundedRequest, who: Origin) -> None:
        arrived = self._now()
        if request.too_long:
            raise Unacceptable(
                413, "M_TOO_LARGE", f"The request body is longer than {request.most} bytes."
            )
        body = request.content.read()
        target = self._target(request)
        if request.method in (b"GET", b"HEAD") and target.partition(b"?")[0] == b"/":
            self._land(request)
            return
        asked = self._asked(request.method, target, body)
        if asked:
            self._clients.note(who)
            self._admission.ahead(asked.request)
        begun = self._now()
        reply = await self._forward(request, target, body)
        answered = self._now()
        if not reply.body.complete:
            await self._stream(request, reply, asked)
            return
        try:
            answer = await self._judged(reply, asked, body, arrived, who)
        finally:
            self._traffic.added(begun - arrived + self._now() - answered)
        self._finish(request, reply.status, reply.phrase, reply.headers, answer)

    def _target(self, request: BoundedRequest) -> bytes:
        try:
            return without_slashes(self._upstream.target_of(request.uri))
        except ValueError as why:
            raise Unacceptable(400, "M_UNRECOGNIZED", f"Not served: {why}.") from None

    def _asked(self, method: bytes, target: bytes, body: bytes) -> Asked | None:
        endpoint = endpoint_of(target)
        if endpoint is None or method != b"POST":
            return None
        try:
            return Asked(read_token_request(endpoint, body), at_token_endpoint=True)
        except Unreadable as why:
            self._close(Unacceptable(400, why.errcode, str(why)))
            return None

    async def _forward(self, request: BoundedRequest, target: bytes, body: bytes) -> Reply:
        headers = forwarded_headers(
            request.requestHeaders,
            getattr(request.getClientAddress(), "host", None),
            request.getHeader(b"host"),
        )
        try:
            reply = await self._upstream.forward(request.method, target, headers, body)
            self._traffic.upstream_did(None)
            return reply
        except Outage as outage:
            if request.gone:  # nobody waits: it was we who broke the exchange off
                raise CancelledError from None
            self._traffic.upstream_did(outage)
            if outage.reason is Reason.TIMEOUT:
                raise Problem(
                    504, "M_UNKNOWN", "The call service took too long to answer. Try again."
                ) from None
            raise Problem(
                502, "M_UNKNOWN", "The call service cannot be reached at the moment. Try again."
            ) from None

    async def _judged(
        self,
        reply: Reply,
        asked: Asked | None,
        request_body: bytes,
        arrived: float,
        who: Origin,
    ) -> bytes:
        """Give the body to send: upstream's own, or one with a narrower token."""
        answer = reply.body.collected
        encoded = read_answer(answer) if 200 <= reply.status < 300 else None
        if encoded is None:
            return answer
        asked = asked or self._asked_elsewhere(request_body)
        if asked and asked.at_token_endpoint and not asked.request.is_whole:
            # Upstream has read more in it than we have: on what we read, no verdict can rest.
            self._close(Unacceptable(400, "M_BAD_JSON", "The request names no room, or no user."))
        try:
            verdict = await self._verdict(encoded, asked, arrived, who)
        except Unfit as why:
            self._close(Unacceptable(400, "M_INVALID_PARAM", f"No token for this user: {why}."))
            return answer
        if isinstance(verdict, Refusal):
            raise refused(verdict)
        if verdict.token is None:
            return answer
        _name_decision(reply.headers, verdict.decision)
        return replace_token(answer, encoded, verdict.token)

    async def _verdict(
        self, encoded: str, asked: Asked | None, arrived: float, who: Origin
    ) -> Answer:
        """Have a token judged once its client has not more than his share of the work.

        His waiting for that is not the rules' deadline's: it would let him through.
        """
        shed_reason, tokens = self._pressure.shed_reason(), self._pressure.tokens
        if shed_reason:
            return await self._admission.judge(encoded, asked, arrived, shed_reason)
        if not tokens.enter(who):
            await tokens.wait(who)
        try:
            return await self._admission.judge(encoded, asked, arrived)
        finally:
            tokens.leave(who)

    def _asked_elsewhere(self, body: bytes) -> Asked | None:
        """Read a request to a path that we do not know, once a token of ours came back for it.

        What it says counts only where a hash proves it. What two readers could read differently
        is refused here as well: the token is one, whatever path it came by.
        """
        try:
            request = read_any(body)
        except Unreadable as why:
            self._close(Unacceptable(400, why.errcode, str(why)))
            return None
        return Asked(request, at_token_endpoint=False) if request else None

    async def _stream(self, request: BoundedRequest, reply: Reply, asked: Asked | None) -> None:
        if asked and 200 <= reply.status < 300:
            # No token answer is this long unless a client has made it so, to have it unjudged.
            self._cut_off(reply)
        self._begin(request, reply.status, reply.phrase, reply.headers)
        await reply.body.stream(request)
        request.finish()

    def _cut_off(self, reply: Reply) -> None:
        problem = Unacceptable(
            502, "M_UNKNOWN", "The call service's answer is too long for a token."
        )
        if not self._observes:
            reply.body.abort()
        self._close(problem)

    def _begin(
        self, request: BoundedRequest, status: int, phrase: bytes | None, headers: Headers
    ) -> None:
        request.setResponseCode(status, phrase)
        # Twisted has put its own Server and Date there: upstream's stand, or none. What it says
        # of the connection is its own business.
        connection = request.responseHeaders.getRawHeaders(b"Connection")
        if connection:
            headers.setRawHeaders(b"Connection", connection)
        request.responseHeaders = headers
        self._traffic.answered(endpoint_of(request.uri) or "other", status)

    def _finish(
        self,
        request: BoundedRequest,
        status: int,
        phrase: bytes | None,
        headers: Headers,
        body: bytes,
    ) -> None:
        self._begin(request, status, phrase, headers)
        if request.method != b"HEAD" and status not in (204, 304):
            request.setHeader(b"Content-Length", b"%d" % len(body))
        request.write(body)
        request.finish()

    def _refuse(self, request: BoundedRequest, problem: Problem) -> None:
        headers = Headers({name: [value] for name, value in CORS.items()})
        if problem.decision:
            _name_decision(headers, problem.decision)
        self._finish(request, problem.status, None, headers, problem.body())

    def _land(self, request: BoundedRequest) -> None:
        """Show the landing page, in place of upstream's 404."""
        page = self._landing
        headers = Headers({name: [value] for name, value in page.headers.items()})
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(page.body)])
        self._finish(request, 200, None, headers, page.body)

    def _echo(self, request: BoundedRequest) -> None:
        """Tell `lotus-guard check` what arrived here of its probe."""
        who = self._clients.of(request)
        peer, real, forwarded = _named_by(request)
        got = {
            "client": who.address,
            "crowd": who.is_crowd,
            "peer": peer or "",
            "real": entries_of(real),
            "forwarded": entries_of(forwarded),
            "method": request.method.decode("ascii", "replace"),
            "target": request.uri.decode("ascii", "replace"),
        }
        headers = Headers({name: [value] for name, value in CORS.items()})
        self._finish(request, 200, None, headers, json.dumps({probing.FIELD: got}).encode())

    def _failed(self, failure: Failure, request: BoundedRequest) -> None:
        """Answer a bug of ours; a client who has gone is none."""
        if request.gone or failure.check(CancelledError):
            return
        more = self._failures.more(str(failure.type))
        if more is not None:
            _log.failure("A request could not be served{more}", failure, more=more)
        if request.finished:
            return
        if request.startedWriting:
            request.loseConnection()
        else:
            problem = Problem(502, "M_UNKNOWN", "The call service failed. Try again.")
            self._refuse(request, problem)


def _name_decision(headers: Headers, decision: str) -> None:
    """Name the decision in an answer, where a browser's scripts may read it as well."""
    headers.setRawHeaders(DECISION_HEADER, [decision.encode("ascii")])
    exposed = headers.getRawHeaders(b"Access-Control-Expose-Headers", [])
    headers.setRawHeaders(
        b"Access-Control-Expose-Headers", [b", ".join([*exposed, DECISION_HEADER])]
    )
