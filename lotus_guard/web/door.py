"""A door: a Klein app that clients reach, and what happens to each request before its route.

The routes stand in the decorators of the app; one of them, a branch of `/`, takes what no other
names, and hands it to upstream. They are found by the path that upstream would serve, in whatever
spelling it came.
"""

import json
from collections.abc import Awaitable, Callable
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.server import NOT_DONE_YET

from lotus_guard.core import probe as probing
from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.sentence import Sentence
from lotus_guard.core.wire import served_path, without_slashes
from lotus_guard.neighbours.upstream import target_of
from lotus_guard.overload.client_address import entries_of
from lotus_guard.overload.connections import Connections
from lotus_guard.overload.http_limits import QuietSite
from lotus_guard.overload.load_shedding import ConcurrencyLimiter, LoadShedding, TurnedAway
from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import Callers, ClientRequest
from lotus_guard.web.problems import Objections, Problem, too_many
from lotus_guard.web.routes import Routes

PLACE_BYTES = 2048
"""A request takes one place in its client's line, and another one for so many bytes of body."""
SLOW_SECONDS = 1.0
"""Seconds until a client who is turned away is told so, which slows down those who ask again."""

_log = Logger()


class App(Protocol):
    """What stands behind a door."""

    app: Klein
    """Its routes: each is a coroutine that answers its request itself, or raises Problem."""

    def bound_of(self, target: bytes, headers: Headers) -> int | None:
        """Return how long a body one of our own servers may send; None for all others."""


class DoorSite(QuietSite):
    """The server of a port with a door."""

    def __init__(self, door: "Door", connections: Connections | None = None) -> None:
        super().__init__(
            door,
            connections,
            door.behind.bound_of,
            requestFactory=ClientRequest,
            parsePOSTFormSubmission=False,
        )


class Door(KleinResource):
    """Lets each client's requests in as their turn comes, and leaves none of them unanswered."""

    def __init__(
        self,
        behind: App,
        clients: Callers,
        shedding: LoadShedding,
        answers: Answers,
        objections: Objections,
        is_probe: Callable[[ClientRequest], bool],
        requests: ConcurrencyLimiter | None = None,
    ) -> None:
        super().__init__(behind.app)
        self.behind = behind
        self._routes = Routes(behind.app, behind)
        self._clients = clients
        self._shedding = shedding
        self._answers = answers
        self._objections = objections
        self._is_probe = is_probe
        self._requests = requests or shedding.requests
        self._failures = LogThrottle(shedding.now)
        self._open = 0
        self._waiting: list[Deferred[None]] = []

    def render(self, request: Any) -> Any:
        """Serve one request of any method to any path."""
        self._open += 1
        request.exchange = ensureDeferred(self._serve(request))
        request.exchange.addBoth(self._served, request)
        return NOT_DONE_YET

    def drained(self) -> Deferred[None]:
        """Wait until no request is open any more; for an orderly end."""
        waiting: Deferred[None] = Deferred()
        if self._open:
            self._waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def _served(self, result: Failure | None, request: ClientRequest) -> None:
        try:
            if result is not None:
                self._failed(result, request)
        finally:
            self._is_over(request)

    def _is_over(self, request: ClientRequest) -> None:
        request.exchange = None
        self._open -= 1
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.called:
                    each.callback(None)

    async def _serve(self, request: ClientRequest) -> None:
        try:
            request.origin = self._clients.of(request)
            if self._is_probe(request):
                self._answers.tell(request, _echo(request))
                return
            await self._in_turn(request)
        except TurnedAway:
            self._shedding.on_turned_away()
            request.content = BytesIO()  # not kept while the client waits
            await deferLater(self._shedding.clock, SLOW_SECONDS, lambda: None)
            self._answers.refuse(request, too_many())
        except Problem as problem:
            self._answers.refuse(request, problem)

    async def _in_turn(self, request: ClientRequest) -> None:
        """Serve a request once its client has not more than their share under way.

        LiveKit is no client: what it tells waits in nobody's line.
        """
        if request.is_trusted:
            await self._handled(request)
            return
        who, requests = request.origin, self._requests
        self._shedding.arrivals.count(who, self._shedding.now())
        if not requests.enter(who):
            await requests.wait(who, 1 + len(request.content.getbuffer()) // PLACE_BYTES)
        try:
            await self._handled(request)
        finally:
            requests.leave(who)

    def _handled(self, request: ClientRequest) -> Awaitable[None]:
        """Begin to serve a request by its route; raises Problem."""
        try:
            request.target, path = _found(request.uri)
        except ValueError:
            self._objections.refuse(Problem(400, "M_UNRECOGNIZED", Sentence("not_served")))
        return self._routes.handler(request.method, path)(request)

    def _failed(self, failure: Failure, request: ClientRequest) -> None:
        """Answer a bug of ours; a client who has gone is none."""
        if request.is_gone or failure.check(CancelledError):
            return
        more = self._failures.more(str(failure.type))
        if more is not None:
            _log.failure("Could not serve a request{more}", failure, more=more)
        if request.finished:
            return
        if request.startedWriting:
            request.loseConnection()
        else:
            problem = Problem(502, "M_UNKNOWN", Sentence("service_failed"))
            self._answers.refuse(request, problem)


@lru_cache(maxsize=64)
def _found(uri: bytes) -> tuple[bytes, bytes]:
    """What upstream gets as the target, and the path of its route; raises ValueError."""
    target = without_slashes(target_of(uri))
    return target, served_path(target)


def _echo(request: ClientRequest) -> bytes:
    """Write down for `lotus-guard check` what arrived here of its probe."""
    real, forwarded = request.named_by_proxies()
    got = {
        "client": request.origin.address,
        "crowd": request.origin.is_crowd,
        "peer": request.peer or "",
        "real": entries_of(real),
        "forwarded": entries_of(forwarded),
        "method": request.method.decode("ascii", "replace"),
        "target": request.uri.decode("ascii", "replace"),
    }
    return json.dumps({probing.FIELD: got}).encode()
