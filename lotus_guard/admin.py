"""The operators' port: metrics, health, and what Synapse's module and LiveKit tell us.

GET  /metrics   Prometheus' text format
GET  /livez     200 while the process answers; nothing else is asked, so that no container
                platform takes the guard out because Synapse or LiveKit is down
POST /policy    what Synapse's module tells us (`lotus_guard.core.push`)
POST /webhook   LiveKit's webhooks, where the guard is named in `webhook.urls` itself
"""

from collections.abc import Callable

from klein import Klein
from twisted.logger import Logger

from lotus_guard.adapters.metrics import Metrics
from lotus_guard.bounded import BoundedRequest
from lotus_guard.core.push import HEADER, Unsigned

_log = Logger()


class Admin:
    """The routes of the operators' port."""

    app = Klein()

    def __init__(
        self,
        metrics: Metrics,
        webhook: Callable[[bytes, str], None],
        push: Callable[[bytes, str], None],
    ) -> None:
        self._metrics = metrics
        self._webhook = webhook
        self._push = push

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: BoundedRequest) -> bytes:
        """Expose the metrics."""
        request.setHeader(b"Content-Type", b"text/plain; version=0.0.4; charset=utf-8")
        return self._metrics.exposition()

    @app.route("/livez", methods=["GET"])
    def livez(self, request: BoundedRequest) -> bytes:
        """Say that the process is alive."""
        request.setHeader(b"Content-Type", b"text/plain")
        return b"alive\n"

    @app.route("/webhook", methods=["POST"])
    def webhook(self, request: BoundedRequest) -> bytes:
        """Take a webhook in; LiveKit is answered alike whatever it was, as upstream does."""
        if not request.too_long:
            self._webhook(request.content.read(), request.getHeader("Authorization") or "")
        return b""

    @app.route("/policy", methods=["POST"])
    def policy(self, request: BoundedRequest) -> bytes:
        """Take a push in."""
        try:
            if request.too_long:
                raise Unsigned("it is too long")
            self._push(request.content.read(), request.getHeader(HEADER) or "")
        except Unsigned as why:
            _log.warn("A policy push was not believed: {why}", why=why)
            request.setResponseCode(401)
            return f"{why}\n".encode()
        request.setResponseCode(204)
        return b""
