"""How a suite talks to its subject: one blocking request, wherever the subject runs."""

import json
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BytesIO
from typing import Any, Protocol
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.testing import StringTransport
from twisted.web.resource import IResource

from lotus_guard.sandbox.site import sandbox_site


@frozen
class Response:
    """An HTTP answer, the names of its headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server(Protocol):
    """Whatever answers requests."""

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Make one request; the path goes out as it is."""


class OverNetwork:
    """A server that listens at a base address; its certificate is not looked at."""

    def __init__(self, base: str) -> None:
        self._scheme, self._netloc = urlsplit(base)[:2]

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        connection = self._connection()
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            return _response(connection.getresponse())
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        if self._scheme == "http":
            return HTTPConnection(self._netloc, timeout=30.0)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return HTTPSConnection(self._netloc, timeout=30.0, context=context)


class InMemory:
    """A resource, served as the sandbox serves it but without a socket.

    Everything it does must be done when the request is written: no timers, no network.
    """

    def __init__(self, resource: IResource) -> None:
        self._site = sandbox_site(resource)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        transport = StringTransport()
        protocol = self._site.buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)
        sent = {"Host": "subject", "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        protocol.dataReceived(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = HTTPResponse(_Socket(transport.value()), method=method)  # type: ignore[arg-type]
        answer.begin()
        return _response(answer)


class _Socket:
    """As much of a socket as http.client reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def _response(answer: HTTPResponse) -> Response:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Response(answer.status, headers, answer.read())
