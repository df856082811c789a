"""An upstream that writes down what it gets, and what hostile clients send it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

from lotus_guard.sandbox.stack import OPEN, VOICE
from tests.world import World, reactor

CORS = "Access-Control-Allow-Origin"


class Recorder(Protocol):
    """An upstream that writes down what it gets, byte for byte, and answers one thing."""

    def __init__(self, got: list[bytes], answer: bytes) -> None:
        self.got, self.answer = got, answer
        self.buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if blank and len(body) >= length:
            self.got.append(self.buffer)
            self.buffer = b""
            self.transport.write(self.answer)  # type: ignore[union-attr]


def recording(world: World, answer: bytes, **settings: str) -> list[bytes]:
    got: list[bytes] = []
    factory = Factory()
    factory.buildProtocol = lambda _address: Recorder(got, answer)  # type: ignore[method-assign,assignment]
    port = world._listen(0, factory)
    world.start_guard(LOTUS_GUARD_UPSTREAM=f"http://127.0.0.1:{port}", **settings)
    return got


def parts(raw: bytes) -> tuple[bytes, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    pairs = (line.decode().partition(": ") for line in lines)
    return first, {name.lower(): value for name, _, value in pairs}, body


async def raw(world: World, data: bytes) -> bytes:
    """Send bytes and give all that comes back."""
    done: Deferred[bytes] = Deferred()

    class Client(Protocol):
        received = b""

        def connectionMade(self) -> None:
            self.transport.write(data)  # type: ignore[union-attr]

        def dataReceived(self, more: bytes) -> None:
            self.received += more

        def connectionLost(self, reason: Any = None) -> None:
            done.callback(self.received)

    port = int(world.url.rpartition(":")[2])
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())
    return await done


async def wait(world: World, seconds: float) -> None:
    from twisted.internet.task import deferLater

    await deferLater(reactor, seconds, lambda: None)


TOKEN = '"openid_token":{"access_token":"openid-alice","matrix_server_name":"sandbox"}'


AMBIGUOUS = {
    "a key twice": f'{{"room":"{OPEN}","room":"{VOICE}",{TOKEN}}}',
    "a key in another case": f'{{"room":"{OPEN}","Room":"{VOICE}",{TOKEN}}}',
    "a key in another case alone": f'{{"ROOM":"{VOICE}",{TOKEN}}}',
    "a long s": f'{{"room":"{VOICE}","openid_token":{{"acce\u017fs_token":"openid-alice"}}}}',
    "trailing data": f'{{"room":"{VOICE}",{TOKEN}}} {{"room":"{OPEN}"}}',
    "half a character": f'{{"room":"{VOICE}","device_id":"\\ud800",{TOKEN}}}',
    "NaN": f'{{"room":"{VOICE}","delay_timeout":NaN,{TOKEN}}}',
    "depth": f'{{"room":"{VOICE}","x":{"[" * 40}{"]" * 40},{TOKEN}}}',
    "no object": "[]",
    "nothing": "",
    "no JSON": "room=x",
    "a byte order mark": f'\ufeff{{"room":"{VOICE}",{TOKEN}}}',
}
