"""treq's client without what it would carry from one user to another, and without its price.

As it comes, one `HTTPClient` has one cookie jar for all users, follows redirects, asks for gzip in
each request and unpacks it to any size (docs/facts.md, Twisted, Klein and treq: traps). Each of
these is a layer around the agent and around each answer, and together they cost as much as a whole
exchange does here. So there is none: what is asked goes straight to the agent.
"""

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from lotus_guard.neighbours.bodies import BytesBody


class Client(HTTPClient):
    """Makes requests over one agent; each answer is the caller's to read, and to bound."""

    def __init__(self, agent: IAgent) -> None:
        super().__init__(agent)
        self.agent: Any = agent

    def request(  # type: ignore[override]
        self,
        method: str,
        url: bytes,
        *,
        headers: Headers | None = None,
        data: bytes | None = None,
        _stacklevel: int = 0,
    ) -> Deferred[IResponse]:
        """Make a request; its Deferred fires once the headers of the answer have come.

        The URL goes out as it is written: every id in it has been quoted. What else treq's client
        can do is refused with a TypeError.
        """
        body = None if data is None else BytesBody(data)
        answered: Deferred[IResponse] = self.agent.request(
            method.encode("ascii"), url, headers or Headers(), body
        )
        return answered
