"""The homeserver's port: token requests that a homeserver hands on (MSC4195, MSC4512).

POST /_matrix/client/…/rtc/livekit/get_token       a token for one of its users, judged
POST /_matrix/federation/…/rtc/livekit/get_token   a token for a user of another homeserver, judged
PUT  /_matrix/app/v1/transactions/…, and so on     where that is on (`web.app_service`)
any  whatever else                                 to upstream; a token in the answer is judged
                                                   all the same
"""

from functools import partial
from typing import Any

from klein import Klein
from twisted.web.http_headers import Headers

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS, read_handed_on
from lotus_guard.core.wire import Endpoint
from lotus_guard.web.app_service import AppService, is_transaction
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.token_exchange import TokenExchange


class HomeserverApp:
    """The routes of the homeserver's port."""

    app = Klein()

    def __init__(self, exchange: TokenExchange, service: AppService | None = None) -> None:
        self.exchange = exchange
        self.service = service

    @app.route(CLIENT_PATHS[0], methods=["POST"])
    @app.route(CLIENT_PATHS[1], methods=["POST"])
    @app.route(FEDERATION_PATHS[0], methods=["POST"])
    @app.route(FEDERATION_PATHS[1], methods=["POST"])
    async def get_token(self, request: ClientRequest) -> None:
        """Hand out a token to whoever the homeserver asks for."""
        assert request.sender is not None, "the door refuses whoever names nobody here"
        await self.exchange.token(request, partial(read_handed_on, request.sender))

    @app.route("/", branch=True)
    async def pass_through(self, request: ClientRequest, **_rest: Any) -> None:
        """Hand whatever no route names on to upstream, and its answer back."""
        if self.service is None or not self.service.answer(request):
            await self.exchange.other(request)

    def bound_of(self, target: bytes, headers: Headers) -> int | None:
        """How long a transaction may be; None for what clients write and a homeserver hands on."""
        return self.service.bound_of(target, headers) if self.service else None


_LABELS = {
    **dict.fromkeys(CLIENT_PATHS, Endpoint.HOMESERVER),
    **dict.fromkeys(FEDERATION_PATHS, Endpoint.FEDERATION),
}


def label_of(target: bytes) -> str:
    """Name what was asked for, for metrics."""
    if is_transaction(target):
        return "transactions"
    return _LABELS.get(target.partition(b"?")[0].decode("ascii", "replace"), "other")
