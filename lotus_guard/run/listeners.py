"""The ports: where the guard listens, alone, beside other workers, or on systemd's sockets."""

import socket
from collections.abc import Mapping
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.web.server import Site

from lotus_guard.run.address import listening
from lotus_guard.run.systemd import HandedOver

PUBLIC, OPERATORS, HOMESERVER = "public", "operators", "homeserver"
"""The names of the sockets that systemd may hand over (FileDescriptorName=)."""
BACKLOG = 512
"""How many who connect at once the kernel keeps; Twisted's 50 are few when a call begins."""
MOST_KNOCKING = 1000
"""How many connections that wait to be accepted an orderly end lets in; more than any backlog."""


def listener(
    reactor: Any,
    name: str,
    wanted: str,
    site: Site,
    sockets: Mapping[str, HandedOver],
    is_shared: bool = False,
) -> StreamServerEndpointService:
    """Listen on the socket of this name that was handed over, else where it is wanted.

    `is_shared` where other workers listen on the same port, each with a socket of its own.
    """
    held = sockets.get(name)
    if held is not None:
        endpoint: Any = AdoptedStreamServerEndpoint(reactor, held.fd, held.family)
    elif is_shared:
        endpoint = SharedEndpoint(reactor, wanted)
    else:
        endpoint = serverFromString(reactor, _with_backlog(wanted))
    server = PoliteListener(endpoint, site)
    # A port that is taken must end the start with an error, not leave a guard that serves nobody.
    server._raiseSynchronously = True
    return server


def _with_backlog(endpoint: str) -> str:
    is_ours = endpoint.startswith(("tcp:", "tcp6:")) and ":backlog=" not in endpoint
    return f"{endpoint}:backlog={BACKLOG}" if is_ours else endpoint


class SharedEndpoint:
    """A TCP port that several processes listen on; the kernel spreads the connections evenly.

    Each has a socket of its own (SO_REUSEPORT, socket(7)): where all accept from one socket, one of
    them was seen to get nearly all connections.
    """

    def __init__(self, reactor: Any, wanted: str) -> None:
        self._reactor = reactor
        self._wanted = wanted

    def listen(self, factory: Any) -> Any:
        """Listen; gives a Deferred of the port."""
        own = listening(self._wanted)
        if own is None:
            raise CannotListenError(None, None, ValueError(f"{self._wanted} is no TCP port"))
        is_six = self._wanted.startswith("tcp6:") or ":" in own.interface
        family = socket.AF_INET6 if is_six else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                sock.bind((own.interface, own.port))
            except OSError as error:
                raise CannotListenError(own.interface or "any", own.port, error) from None
            sock.listen(BACKLOG)
            sock.setblocking(False)
            # The endpoint closes it once the reactor has made one of its own of it.
            adopted = AdoptedStreamServerEndpoint(self._reactor, sock.detach(), family)
        return adopted.listen(factory)


class PoliteListener(StreamServerEndpointService):
    """Listens, and closes its port only once everybody who has connected is in.

    A connection that the kernel has set up and nobody has accepted is reset when its port closes.
    """

    def stopService(self) -> Any:
        """Let in whoever waits, then listen no more."""
        waiting: Any = self._waitingForPort
        port: Any = getattr(waiting, "result", None)
        if port is not None and hasattr(port, "doRead"):
            port.numberAccepts = MOST_KNOCKING  # else as many as it took in the last time
            port.doRead()
        return super().stopService()
