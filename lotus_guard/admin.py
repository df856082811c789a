"""The operators' port: metrics and health. Read-only towards calls.

GET /metrics   Prometheus' text format
GET /livez     200 while the process answers; nothing else is asked, so that no container
               platform takes the guard out because Synapse or LiveKit is down
"""

from klein import Klein
from twisted.web.iweb import IRequest

from lotus_guard.adapters.metrics import Metrics


class Admin:
    """The routes of the operators' port."""

    app = Klein()

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: IRequest) -> bytes:
        """Expose the metrics."""
        request.setHeader(b"Content-Type", b"text/plain; version=0.0.4; charset=utf-8")
        return self._metrics.exposition()

    @app.route("/livez", methods=["GET"])
    def livez(self, request: IRequest) -> bytes:
        """Say that the process is alive."""
        request.setHeader(b"Content-Type", b"text/plain")
        return b"alive\n"
