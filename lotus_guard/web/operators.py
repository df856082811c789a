"""The operators' port: metrics, health, and what Synapse's module and LiveKit tell us.

GET  /           the status page, its files and its events under /status/ (`lotus_guard.web.status`)
GET  /metrics    Prometheus' text format
GET  /livez      200 while the process answers; nothing else is asked, so that no container
                 platform takes the guard out because Synapse or LiveKit is down
GET  /readyz     200, and how each dependency did lately (`lotus_guard.observe.health`)
GET  /rooms      the live rooms (`lotus_guard.observe.overview`)
GET  /decisions  the decisions on ?room= and ?user=, at most ?limit=, or the one whose ?id= it is
                 (`lotus_guard.rules.decision`)
POST /policy     what Synapse's module tells us (`lotus_guard.rules.push`)
POST /webhook    LiveKit's webhooks, where the guard is named in `webhook.urls` itself

Whoever reaches the port may read: it listens on loopback. A web page that the operator visits
reaches it too, under a name of its own that it lets resolve to loopback (DNS rebinding): so what
names people is given only under an address, a name without a dot, or one that the operator lists.
Without a name of its own it reads nothing, but could ask again and again for what takes work, and
post: so what browsers ask for another site is refused, but for links that somebody follows.
"""

import json
from collections.abc import Callable, Collection
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.enforce.hints import Pushes, Webhooks
from lotus_guard.enforce.records import is_id
from lotus_guard.observe.last_decisions import LastDecisions
from lotus_guard.observe.metrics import Metrics
from lotus_guard.observe.overview import Overview
from lotus_guard.overload.http_limits import BoundedRequest, QuietSite
from lotus_guard.rules.push import HEADER, Unsigned
from lotus_guard.web.hooks import most_bytes
from lotus_guard.web.status.pages import NAMES, Pages

_log = Logger()

MOST_DECISIONS = 1000


class Misdirected(Exception):
    """A request under a host name that is not known to be the operators' own."""


class Foreign(Exception):
    """A request that a browser makes for another site's page."""


@frozen
class OperatorDeps:
    """What the operators' port shows, and whom it hands things to."""

    metrics: Metrics
    overview: Overview
    decisions: LastDecisions
    webhooks: Webhooks
    pushes: Pushes
    push: Callable[[bytes, str], None]
    """Takes a push in; raises Unsigned."""
    status: Pages
    hosts: Collection[str] = ()
    """Names with a dot by which the operator opens the port."""


class OperatorsSite(QuietSite):
    """The server of the operators' port."""

    def __init__(self, operators: "OperatorsApp") -> None:
        super().__init__(
            operators.app.resource(), bounds=operators.bound_of, requestFactory=BoundedRequest
        )


class OperatorsApp:
    """The routes of the operators' port."""

    app = Klein()

    def __init__(self, deps: OperatorDeps) -> None:
        self._deps = deps
        self._throttle = LogThrottle(deps.overview.rooms.now)

    def bound_of(self, target: bytes, headers: Headers) -> int | None:
        """How long a webhook of LiveKit's may be; None for whatever else is asked."""
        is_webhook = target.partition(b"?")[0] == b"/webhook"
        return most_bytes(self._deps.webhooks, headers) if is_webhook else None

    @app.handle_errors(Misdirected)
    def misdirected(self, request: Any, failure: Any) -> Any:
        """Answer a request under a name that is not served; the text says which are."""
        request.setResponseCode(421)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return (
            b"This page opens only at an IP address or localhost. To open it at a host name, "
            b"add that name to LOTUS_GUARD_ADMIN_HOSTS.\n"
        )

    @app.handle_errors(Foreign)
    def foreign(self, request: Any, failure: Any) -> Any:
        """Answer a request of another site's page, which cannot read it."""
        request.setResponseCode(403)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return b"Another site's page may not ask.\n"

    @app.route("/", methods=["GET"])
    @app.route(f"/status/<any{NAMES}:name>", methods=["GET"])
    def status(self, request: BoundedRequest, name: str = "page.html") -> Any:
        """Show the status page."""
        self._check_host(request)
        return self._deps.status.serve(request, name)

    def close(self) -> None:
        """End what would stay open."""
        self._deps.status.close()

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: BoundedRequest) -> bytes:
        """Expose the metrics."""
        _check_site(request)
        request.setHeader(b"Content-Type", b"text/plain; version=0.0.4; charset=utf-8")
        return self._deps.metrics.exposition()

    @app.route("/livez", methods=["GET"])
    def livez(self, request: BoundedRequest) -> bytes:
        """Answer while the process is alive."""
        request.setHeader(b"Content-Type", b"text/plain")
        return b"alive\n"

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: BoundedRequest) -> bytes:
        """Show how each dependency is doing; 200 in any case, for calls go on without any."""
        overview, hooks, pushes = self._deps.overview, self._deps.webhooks, self._deps.pushes
        return _json(
            request,
            {
                "guard": overview.guard(),
                "dependencies": overview.dependencies(),
                "webhooks": {"genuine": hooks.genuine, "forged": hooks.forged},
                "pushes": {
                    "taken": pushes.taken,
                    "refused": pushes.refused,
                    "refused_age": pushes.refused_age(),
                },
            },
        )

    @app.route("/rooms", methods=["GET"])
    def rooms(self, request: BoundedRequest) -> bytes:
        """List the live rooms."""
        self._check_host(request)
        _check_site(request)
        overview = self._deps.overview
        return _json(request, {"now": overview.epoch(), "rooms": overview.live_rooms()})

    @app.route("/decisions", methods=["GET"])
    def decisions(self, request: BoundedRequest) -> Deferred[bytes]:
        """List the recent decisions on a room and a user."""
        self._check_host(request)
        _check_site(request)
        return ensureDeferred(self._decisions(request))

    async def _decisions(self, request: BoundedRequest) -> bytes:
        records = self._deps.overview.records
        reference = _argument(request, b"id")
        if reference is not None:
            named = await self._deps.decisions.with_id(reference) if is_id(reference) else None
            return _json(request, {"decisions": [named.as_json()] if named else []})
        room, user = _argument(request, b"room"), _argument(request, b"user")
        limit = _argument(request, b"limit") or "100"
        most = min(int(limit), MOST_DECISIONS) if limit.isdecimal() and len(limit) < 9 else 100
        shown = records.mask(user) if user else None
        if user and shown is None:
            return _json(request, {"decisions": [], "users": "not recorded"})
        newest = await self._deps.decisions.on(room, shown, most)
        return _json(request, {"decisions": [each.as_json() for each in newest]})

    def _check_host(self, request: BoundedRequest) -> None:
        if not _is_own_host(request.getHeader("Host") or "", self._deps.hosts):
            raise Misdirected

    @app.route("/webhook", methods=["POST"])
    def webhook(self, request: BoundedRequest) -> bytes:
        """Take a webhook in; LiveKit is answered alike whatever it was, as upstream does."""
        _check_site(request)
        if not request.too_long:
            self._deps.webhooks.take(
                request.content.read(), request.getHeader("Authorization") or ""
            )
        return b""

    @app.route("/policy", methods=["POST"])
    def policy(self, request: BoundedRequest) -> bytes:
        """Take a push in."""
        _check_site(request)
        try:
            if request.too_long:
                raise Unsigned("it is too long")
            self._deps.push(request.content.read(), request.getHeader(HEADER) or "")
        except Unsigned as why:
            more = self._throttle.more("unsigned")
            if more is not None:
                _log.warn("Refused a policy push: {why}{more}", why=why, more=more)
            request.setResponseCode(401)
            return f"{why}\n".encode()
        request.setResponseCode(204)
        return b""


def _json(request: BoundedRequest, value: Any) -> bytes:
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    return json.dumps(value).encode() + b"\n"


def _argument(request: BoundedRequest, name: bytes) -> str | None:
    values = (request.args or {}).get(name)
    return values[0].decode("utf-8", "replace") if values else None


def _check_site(request: BoundedRequest) -> None:
    """Raise Foreign where a browser says that another site's page asks."""
    is_own = request.getHeader("Sec-Fetch-Site") in (None, "none", "same-origin")
    is_link = request.method == b"GET" and request.getHeader("Sec-Fetch-Dest") == "document"
    if not (is_own or is_link):
        raise Foreign


def _is_own_host(header: str, hosts: Collection[str]) -> bool:
    """Whether a Host header can only be the operator's own: no stranger can rebind it."""
    try:
        host = urlsplit(f"//{header}").hostname or ""
        if "." not in host and ":" not in host:
            return True
        if host in hosts:
            return True
        ip_address(host)
    except ValueError:
        return False
    return True
