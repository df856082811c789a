"""How we speak to Redis: passwords of the moment, news whatever it is, and faults in our words."""

from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import formatEvent
from txredisapi import ConnectionError as NotConnected
from txredisapi import InvalidResponse, RedisProtocol, ResponseError

from lotus_guard.enforce.ports import Reason
from lotus_guard.memory.redis_address import RedisAddress
from lotus_guard.memory.redis_protocol import (
    ConnectionFactory,
    Subscriber,
    endpoint_of,
    outage_of,
)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (TimeoutError(), Reason.TIMEOUT),
        (NotConnected("gone"), Reason.REFUSED),
        (ResponseError("NOAUTH Authentication required."), Reason.UNAUTHORIZED),
        (ResponseError("WRONGPASS invalid password secret"), Reason.UNAUTHORIZED),
        (ResponseError("NOPERM no"), Reason.UNAUTHORIZED),
        (ResponseError("OOM command not allowed"), Reason.SERVER_ERROR),
        (InvalidResponse("secret"), Reason.GARBAGE),
        (ValueError("secret"), Reason.RESET),
    ],
)
def test_what_a_fault_means_and_no_secret_in_it(failure: Exception, reason: Reason) -> None:
    outage = outage_of(failure)
    assert outage.reason is reason
    assert "secret" not in str(outage)


def test_each_connection_has_the_password_of_the_moment() -> None:
    words, refused = iter(["first", "second", ""]), list[str]()
    address = RedisAddress("h", user="me", database=3)
    factory = ConnectionFactory(RedisProtocol, address, lambda: next(words), refused.append)
    sent = []
    for _ in range(3):
        protocol, transport = factory.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        sent.append(transport.value())
    assert b"first" in sent[0]
    assert b"second" in sent[1]
    assert b"AUTH" not in sent[2], "none is needed"
    factory.connectionError("WRONGPASS")
    assert refused == ["WRONGPASS"]


@define
class Reader:
    channel: str = "p:news"
    heard: list[Any] = field(factory=list)
    begun: int = 0

    def listen(self) -> None:
        self.begun += 1

    def hear(self, news: dict[str, Any]) -> None:
        if news.get("breaks"):
            raise KeyError("x")
        self.heard.append(news)


def test_whatever_news_is_the_next_one_is_heard_too(logged: list[Any]) -> None:
    reader = Reader()
    subscriber = Subscriber(reader)
    for message in ('{"a": 1}', "no JSON", "[1]", '{"breaks": true}', '{"a": 2}'):
        subscriber.messageReceived(None, "p:news", message)
    assert reader.heard == [{"a": 1}, {"a": 2}]
    told = [formatEvent(event) for event in logged]
    assert len([line for line in told if "Could not process news" in line]) == 2


def test_tls_is_spoken_where_the_address_wants_it(tmp_path: Path) -> None:
    reactor = MemoryReactorClock()
    plain = endpoint_of(RedisAddress("h"), reactor)
    secured = endpoint_of(RedisAddress("h", is_tls=True), reactor)
    assert type(plain).__name__ == "HostnameEndpoint"
    assert type(secured).__name__ != type(plain).__name__
    with pytest.raises(FileNotFoundError):
        endpoint_of(RedisAddress("h", is_tls=True, ca=str(tmp_path / "none.pem")), reactor)
