"""Answers to clients: upstream's as they came, and those of our own making. Each is counted."""

from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import define, field
from twisted.web.http import NO_BODY_CODES
from twisted.web.http_headers import Headers

from lotus_guard.core.wire import endpoint_of
from lotus_guard.enforce.ports import Outage
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.languages import Languages
from lotus_guard.web.problems import CORS, Problem, name_decision


class Traffic(Protocol):
    """Takes note of requests, for metrics."""

    def answered(self, endpoint: str, status: int) -> None:
        """Note an answer that a client got."""

    def upstream_did(self, outage: Outage | None) -> None:
        """Note that lk-jwt-service answered, or why it did not."""

    def added(self, seconds: float) -> None:
        """Note how long an answer took, apart from upstream's part of it."""


@define(eq=False)
class Answers:
    """Writes answers."""

    traffic: Traffic
    label: Callable[[bytes], str] = lambda target: endpoint_of(target) or "other"
    """Names what was asked for, for metrics."""
    ours: Mapping[bytes, bytes] = field(default=CORS)
    """The headers of an answer of our own making."""
    languages: Languages = field(factory=Languages)
    """In which our sentences are said."""

    def begin(
        self, request: ClientRequest, status: int, phrase: bytes | None, headers: Headers
    ) -> None:
        """Set the status and the headers of an answer; its body is for the caller to write."""
        request.setResponseCode(status, phrase)
        # Twisted has put its own Server and Date there: upstream's stand, or none. What it says
        # of the connection is its own business.
        connection = request.responseHeaders.getRawHeaders(b"Connection")
        if connection:
            headers.setRawHeaders(b"Connection", connection)
        request.responseHeaders = headers
        self.traffic.answered(self.label(request.uri), status)

    def finish(
        self,
        request: ClientRequest,
        status: int,
        phrase: bytes | None,
        headers: Headers,
        body: bytes,
    ) -> None:
        """Write a whole answer."""
        self.begin(request, status, phrase, headers)
        if request.method == b"HEAD" or status in NO_BODY_CODES:
            request.answer(None)
        else:
            request.answer(body)

    def tell(self, request: ClientRequest, body: bytes) -> None:
        """Write an answer of our own."""
        self.finish(request, 200, None, self._headers(), body)

    def refuse(self, request: ClientRequest, problem: Problem) -> None:
        """Write a Matrix error, in the client's language."""
        headers = self._headers()
        if problem.decision:
            name_decision(headers, problem.decision)
        self.finish(
            request, problem.status, None, headers, problem.body(self.languages.of(request))
        )

    def _headers(self) -> Headers:
        return Headers({name: [value] for name, value in self.ours.items()})
