"""The public port: tokens, LiveKit's webhooks, a landing page; all else goes to upstream.

POST /get_token, /sfu/get   a token, judged (`lotus_guard.web.token_exchange`)
any  /sfu_webhook           to upstream, and a hint for us
GET  /                      the landing page, in place of upstream's 404
any  whatever else          to upstream; a token in the answer is judged all the same
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from klein import Klein
from twisted.web.http_headers import Headers

from lotus_guard.core.sentence import Sentence
from lotus_guard.core.wire import Endpoint, is_homeservers, is_webhook, read_token_request
from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.hooks import Hooks, most_bytes
from lotus_guard.web.landing import Page
from lotus_guard.web.problems import Problem
from lotus_guard.web.token_exchange import TokenExchange


class PublicApp:
    """The routes of the public port."""

    app = Klein()

    def __init__(
        self,
        exchange: TokenExchange,
        webhooks: Hooks,
        answers: Answers,
        landing: Mapping[str, Page],
    ) -> None:
        self.exchange = exchange
        self.webhooks = webhooks
        self._answers = answers
        self._landing = landing

    @app.route("/get_token", methods=["POST"])
    async def get_token(self, request: ClientRequest) -> None:
        """Hand out a token of MSC4195."""
        await self.exchange.token(request, partial(read_token_request, Endpoint.GET_TOKEN))

    @app.route("/sfu/get", methods=["POST"])
    async def legacy_token(self, request: ClientRequest) -> None:
        """Hand out a token as before MSC4195."""
        await self.exchange.token(request, partial(read_token_request, Endpoint.LEGACY))

    @app.route("/sfu_webhook")
    async def webhook(self, request: ClientRequest) -> None:
        """Hand a webhook on; then it is a hint for us too, whatever upstream made of it."""
        body, authorization = request.content.getvalue(), request.getHeader("Authorization") or ""
        try:
            await self.exchange.other(request)
        finally:
            if not (request.is_trusted and request.too_long):  # of LiveKit's, a piece is no hint
                self.webhooks.take(body, authorization)

    @app.route("/", methods=["GET"])
    async def landing(self, request: ClientRequest) -> None:
        """Show the landing page, in the client's language."""
        self.exchange.refuse_too_long(request)
        page = self._landing[self._answers.languages.of(request).language]
        headers = Headers({name: [value] for name, value in page.headers.items()})
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(page.body)])
        self._answers.finish(request, 200, None, headers, page.body)

    @app.route("/", branch=True)
    async def pass_through(self, request: ClientRequest, **_rest: Any) -> None:
        """Hand whatever no route names on to upstream, and its answer back."""
        if is_homeservers(request.target):
            self.exchange.objections.refuse(
                Problem(404, "M_UNRECOGNIZED", Sentence("no_homeserver"))
            )
        await self.exchange.other(request)

    def bound_of(self, target: bytes, headers: Headers) -> int | None:
        """How long a webhook of LiveKit's may be; None for whatever else is asked."""
        return most_bytes(self.webhooks, headers) if is_webhook(target) else None
