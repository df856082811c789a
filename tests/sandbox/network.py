"""HTTP between the sandbox's services without sockets."""

from typing import Any
from urllib.parse import urlsplit

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource
from zope.interface import implementer


@implementer(IAgent)
class Network:
    """Brings a request to the resource that would be served at its address."""

    def __init__(self) -> None:
        self._agents: dict[str, RequestTraversalAgent] = {}

    def add(self, address: str, resource: IResource) -> None:
        """Serve a resource at an address."""
        self._agents[urlsplit(address).netloc] = RequestTraversalAgent(resource)

    def request(self, method: bytes, uri: bytes, *rest: Any, **more: Any) -> Deferred[Any]:
        """Make a request."""
        agent = self._agents[urlsplit(uri.decode()).netloc]
        answer: Deferred[Any] = agent.request(method, uri, *rest, **more)
        agent.flush()
        return answer
