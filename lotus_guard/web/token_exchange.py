"""One request for a token, from its arrival to its answer; every door shares it.

What a client asks for is read strictly before upstream gets it. What upstream answers is judged by
what is in the token, whatever path it came by, and goes out as it was or with a narrower token.
"""

from collections.abc import Callable

from attrs import define

from lotus_guard.core.sentence import Sentence
from lotus_guard.core.strict_json import Unreadable
from lotus_guard.core.token import Unfit
from lotus_guard.core.wire import TokenRequest, read_answer, read_any, replace_token
from lotus_guard.enforce.admission import Admission, Answer, Refusal
from lotus_guard.enforce.ports import Now
from lotus_guard.enforce.recipient import Asked
from lotus_guard.neighbours.upstream import Reply
from lotus_guard.overload.client_address import Origin
from lotus_guard.overload.load_shedding import WAIT_SECONDS, LoadShedding
from lotus_guard.web.client_request import Callers, ClientRequest
from lotus_guard.web.pass_through import PassThrough
from lotus_guard.web.problems import Objections, Problem, name_decision, refused

Read = Callable[[bytes], TokenRequest]
"""Reads the body of a token request; raises Unreadable."""


@define(eq=False)
class TokenExchange:
    """Passes requests on, and has each token that comes back judged."""

    way: PassThrough
    admission: Admission
    objections: Objections
    shedding: LoadShedding
    clients: Callers
    now: Now
    patience: float = WAIT_SECONDS
    """For how many seconds a token may wait for its client's others."""

    async def token(self, request: ClientRequest, read: Read) -> None:
        """Answer a request for a token; raises Problem."""
        arrived, body = self.now(), self._body(request)
        asked = self._asked(read, body)
        if asked is not None:
            self.clients.note(request.origin)
            self.admission.ahead(asked.request)
        if asked is None or not asked.request.elsewhere:
            await self._pass(request, body, asked, arrived)
            return
        elsewhere, who = self.shedding.elsewhere, request.origin
        await elsewhere.take(who)
        try:
            await self._pass(request, body, asked, arrived)
        finally:
            elsewhere.leave(who)

    async def other(self, request: ClientRequest) -> None:
        """Answer any other request; raises Problem. No token need come back, but one may."""
        arrived = self.now()
        await self._pass(request, self._body(request), None, arrived)

    def refuse_too_long(self, request: ClientRequest) -> None:
        """Raise Problem for a request whose body is longer than it may be."""
        if request.too_long:
            too_long = Sentence("body_too_long", {"bytes": request.most})
            self.objections.refuse(Problem(413, "M_TOO_LARGE", too_long))

    def _body(self, request: ClientRequest) -> bytes:
        self.refuse_too_long(request)
        return request.content.read()

    def _asked(self, read: Read, body: bytes) -> Asked | None:
        try:
            request = read(body)
            # Another homeserver answers that one: what it says, it has chosen.
            return Asked(request, at_token_endpoint=not request.elsewhere)
        except Unreadable as why:
            self.objections.object(Problem(400, why.errcode, why.sentence))
            return None

    async def _pass(
        self, request: ClientRequest, body: bytes, asked: Asked | None, arrived: float
    ) -> None:
        begun = self.now()
        reply = await self.way.ask(request, body, asked is not None and asked.request.elsewhere)
        answered = self.now()
        if not reply.body.is_whole:
            self._may_be_long(reply, asked)
            await self.way.stream(request, reply)
            return
        try:
            answer = await self._judged(reply, asked, body, arrived, request.origin)
        finally:
            self.way.answers.traffic.added(begun - arrived + self.now() - answered)
        self.way.finish(request, reply, answer)

    def _may_be_long(self, reply: Reply, asked: Asked | None) -> None:
        """Refuse a long answer with a token: only a client can have made it so, to go unjudged."""
        if asked is None or not 200 <= reply.status < 300:
            return
        if not self.objections.observes:
            reply.body.abort()
        self.objections.object(Problem(502, "M_UNKNOWN", Sentence("answer_too_long")))

    async def _judged(
        self,
        reply: Reply,
        asked: Asked | None,
        request_body: bytes,
        arrived: float,
        who: Origin,
    ) -> bytes:
        """Return the body to send: upstream's own, or one with a narrower token."""
        answer = reply.body.collected
        encoded = read_answer(answer) if 200 <= reply.status < 300 else None
        if encoded is None:
            return answer
        asked = asked or self._asked_elsewhere(request_body)
        if asked and asked.at_token_endpoint and not asked.request.is_whole:
            # Upstream has read more in it than we have: on what we read, no verdict can rest.
            self.objections.object(Problem(400, "M_BAD_JSON", Sentence("request_incomplete")))
        try:
            verdict = await self._verdict(encoded, asked, arrived, who)
        except Unfit as why:
            self.objections.object(Problem(400, "M_INVALID_PARAM", why.sentence))
            return answer
        if isinstance(verdict, Refusal):
            raise refused(verdict)
        if verdict.token is None:
            return answer
        name_decision(reply.headers, verdict.decision)
        return replace_token(answer, encoded, verdict.token)

    async def _verdict(
        self, encoded: str, asked: Asked | None, arrived: float, who: Origin
    ) -> Answer:
        """Have a token judged once its client has not more than their share of the work.

        Their waiting for that is not the rules' deadline's: it would let them through.
        """
        shed_reason, tokens = self.shedding.shed_reason(), self.shedding.tokens
        if shed_reason:
            return await self.admission.judge(encoded, asked, arrived, shed_reason)
        if not tokens.enter(who):
            await tokens.wait(who, seconds=self.patience)
        try:
            return await self.admission.judge(encoded, asked, arrived)
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
            self.objections.object(Problem(400, why.errcode, why.sentence))
            return None
        return Asked(request, at_token_endpoint=False) if request else None
