"""The public port: tokens, LiveKit's webhooks, a landing page; all else goes to upstream.

POST /get_token, /sfu/get   a token, judged (`lotus_guard.web.token_exchange`)
any  /sfu_webhook           to upstream, and a hint for us
GET  /                      the landing page, in place of upstream's 404
GET  /panel/, and its files  the moderators' panel, where that is on (`lotus_guard.web.panel`)
POST /panel/room            what it asks us
any  whatever else          to upstream; a token in the answer is judged all the same
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, TypeVar

from klein import Klein
from twisted.web.http_headers import Headers

from lotus_guard.core.sentence import Sentence
from lotus_guard.core.wire import (
    Endpoint,
    endpoint_of,
    is_homeservers,
    is_webhook,
    read_token_request,
    served_path,
)
from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.hooks import Hooks, most_bytes
from lotus_guard.web.landing import Page
from lotus_guard.web.panel.files import PATHS, Files
from lotus_guard.web.panel.room import RoomDoor
from lotus_guard.web.problems import CORS, Problem
from lotus_guard.web.token_exchange import TokenExchange

BARE, ROOM = "/panel", "/panel/room"
PRIVATE = {b"Cache-Control": b"no-store", b"X-Content-Type-Options": b"nosniff"}

_READ = {each: partial(read_token_request, each) for each in (Endpoint.GET_TOKEN, Endpoint.LEGACY)}

F = TypeVar("F", bound=Callable[..., Any])


def at_each(app: Klein, paths: Iterable[str]) -> Callable[[F], F]:
    """Make a decorator that routes a GET for each of these paths to one handler."""

    def decorate(handler: F) -> F:
        for path in paths:
            app.route(path, methods=["GET"])(handler)
        return handler

    return decorate


@lru_cache(maxsize=64)
def label_of(target: bytes) -> str:
    """Name what was asked for, for metrics."""
    return endpoint_of(target) or ("panel" if target.startswith(b"/panel") else "other")


class PublicApp:
    """The routes of the public port."""

    app = Klein()

    def __init__(
        self,
        exchange: TokenExchange,
        webhooks: Hooks,
        answers: Answers,
        landing: Mapping[str, Page],
        panel: RoomDoor | None = None,
    ) -> None:
        self.exchange = exchange
        self.webhooks = webhooks
        self._answers = answers
        self._landing = landing
        self._panel = panel
        self._files = Files()

    @app.route("/get_token", methods=["POST"])
    async def get_token(self, request: ClientRequest) -> None:
        """Hand out a token of MSC4195."""
        await self.exchange.token(request, _READ[Endpoint.GET_TOKEN])

    @app.route("/sfu/get", methods=["POST"])
    async def legacy_token(self, request: ClientRequest) -> None:
        """Hand out a token as before MSC4195."""
        await self.exchange.token(request, _READ[Endpoint.LEGACY])

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

    @at_each(app, (BARE, *PATHS))
    async def panel(self, request: ClientRequest) -> None:
        """Serve the panel's page, or one of its files."""
        if self._panel is None:
            await self.pass_through(request)
            return
        self.exchange.refuse_too_long(request)
        path = served_path(request.target)
        if path == BARE.encode("ascii"):
            headers = Headers({b"Location": [b"panel/"], b"Content-Length": [b"0"]})
            self._answers.finish(request, 308, None, headers, b"")
            return
        self._files.serve(request, path, self._answers)

    @app.route(ROOM, methods=["POST"])
    async def room(self, request: ClientRequest) -> None:
        """Answer a moderator's panel."""
        if self._panel is None:
            await self.pass_through(request)
            return
        self.exchange.refuse_too_long(request)
        self._tell(request, await self._panel.answer(request.content.read(), request.origin))

    @app.route(ROOM, methods=["OPTIONS"])
    async def room_from_elsewhere(self, request: ClientRequest) -> None:
        """Let a panel ask that is served elsewhere; what it knows is proved by its token alone."""
        if self._panel is None:
            await self.pass_through(request)
            return
        self._tell(request, b"")

    def _tell(self, request: ClientRequest, body: bytes) -> None:
        headers = Headers({name: [value] for name, value in {**CORS, **PRIVATE}.items()})
        self._answers.finish(request, 200, None, headers, body)

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
