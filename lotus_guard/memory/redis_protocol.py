"""How we speak to Redis with txredisapi: connections, the channel of news, what faults mean.

Commands are sent one after the other on one connection and answered in that order, so a cancelled
one must keep its place (docs/facts.md, Redis: what the guard uses): txredisapi's ReplyQueue does
that.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from hiredis import pack_command
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.logger import Logger
from txredisapi import (
    ConnectionError as NotConnected,
)
from txredisapi import (
    RedisError,
    RedisFactory,
    RedisProtocol,
    ResponseError,
    SubscriberProtocol,
)

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.memory.redis_address import RedisAddress

_log = Logger()
Words = tuple[bytes | int, ...]


class ConnectionFactory(RedisFactory):  # type: ignore[misc]  # txredisapi has no types
    """Makes the connections; a `ClientService` sees to it that there is one."""

    def __init__(
        self,
        protocol: Callable[..., Any],
        address: RedisAddress,
        password: Callable[[], str],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._on_refusal = on_refusal
        self._password = password
        super().__init__(
            None,
            address.database or None,
            1,
            charset="utf-8",
            convertNumbers=False,
            username=address.user or None,
        )
        self.protocol = protocol

    def buildProtocol(self, addr: Any) -> Any:
        """Make a connection, with the password of the moment."""
        self.password = self._password() or None
        return super().buildProtocol(addr)

    def connectionError(self, why: str) -> None:
        """Note that Redis refuses us; no password is in what it says."""
        self._on_refusal(why)


class ChannelReader(Protocol):
    """Takes up what is said on a channel."""

    @property
    def channel(self) -> str:
        """The name of the channel."""
        ...

    def listen(self) -> None:
        """Take note that nothing more is missed from now on; called with each connection."""
        ...

    def hear(self, news: dict[str, Any]) -> None:
        """Take up a piece of news."""
        ...


class Connection(RedisProtocol):  # type: ignore[misc]
    """Sends commands and gives their answers, without what txredisapi does for transactions."""

    def ask(self, words: Words) -> Any:
        """Send a command; a Deferred of its answer, which may be an exception as a value."""
        if not self.connected:
            raise NotConnected("not connected")
        self.transport.write(pack_command(words))  # type: ignore[arg-type]
        return self.replyQueue.get()


class Subscriber(SubscriberProtocol):  # type: ignore[misc]
    """Listens to the channel of a reader."""

    def __init__(self, reader: ChannelReader, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._channel_reader = reader  # `_reader` is hiredis' in txredisapi
        self.whenConnected().addCallback(self._subscribe)

    def _subscribe(self, _self: Any) -> None:
        subscribed = self.subscribe([self._channel_reader.channel])
        subscribed.addCallbacks(lambda _: self._channel_reader.listen(), lambda _: None)

    def messageReceived(self, _pattern: Any, _channel: Any, message: Any) -> None:
        """Hand on one piece of news; whatever it is, the next one is heard too."""
        try:
            news = json.loads(message)
            if isinstance(news, dict):
                self._channel_reader.hear(news)
        except Exception:
            _log.failure("Could not process news from another guard")


def endpoint_of(address: RedisAddress, reactor: Any) -> Any:
    """Make the endpoint that connects to Redis, with TLS where the address wants it."""
    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=2.0)
    if not address.is_tls:
        return endpoint
    from twisted.internet import ssl  # OpenSSL is there only where it is wanted (run/openssl.py)

    trust, made_of = None, cast(Any, ssl.trustRootFromCertificates)
    if address.ca:
        trust = made_of([ssl.Certificate.loadPEM(Path(address.ca).read_bytes())])
    return wrapClientTLS(ssl.optionsForClientTLS(address.host, trustRoot=trust), endpoint)


def outage_of(failure: Exception) -> Outage:
    """The outage that a failure of txredisapi's is; no password is in it."""
    kind = type(failure).__name__
    if isinstance(failure, TimeoutError):
        return Outage(Reason.TIMEOUT, "no answer from Redis in time")
    if isinstance(failure, NotConnected):
        return Outage(Reason.REFUSED, "not connected to Redis")
    if isinstance(failure, ResponseError):
        word = str(failure).split(" ", 1)[0]
        is_closed = word in ("NOAUTH", "WRONGPASS", "NOPERM")
        return Outage(
            Reason.UNAUTHORIZED if is_closed else Reason.SERVER_ERROR, f"Redis answered {word}"
        )
    if isinstance(failure, RedisError):
        return Outage(Reason.GARBAGE, f"Redis' answer can't be read ({kind})")
    return Outage(Reason.RESET, f"the connection to Redis broke ({kind})")
