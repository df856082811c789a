"""A client that says what no SDK says: a proxy that edits the signalling between SDK and SFU.

    SDK ── ws://127.0.0.1:PORT/rtc… ──▶ SignalProxy ── what `edit` makes of it ──▶ livekit-server

A client's WebSocket messages are `livekit.protocol.rtc.SignalRequest`s. Each is handed to `edit`,
which changes it in place. Of what the SFU says, names of tracks are made short again: the SDK ends
its connection over a message of 16 MiB, and a hostile client would not. Media do not pass here.
Framing is RFC 6455 by hand: two tests' worth of it is less than one more dependency.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from livekit.protocol import models as lk_models
from livekit.protocol import rtc as lk_rtc

from tests.real.processes import free_port

Edit = Callable[[Any], None]
_BINARY, _CONTINUATION, _FIN, _MASKED = 2, 0, 0x80, 0x80


def as_sound(request: Any) -> None:
    """Declare whatever is published as a microphone's sound; the media stay what they are."""
    if request.WhichOneof("message") == "add_track":
        track = request.add_track
        track.type = lk_models.TrackType.AUDIO
        track.source = lk_models.TrackSource.MICROPHONE
        del track.simulcast_codecs[:]
        del track.layers[:]


def named(length: int) -> Edit:
    """Return whatever is published a name of so many bytes: LiveKit has no bound for it."""

    def edit(request: Any) -> None:
        if request.WhichOneof("message") == "add_track":
            request.add_track.name = "n" * length

    return edit


def untouched(_request: Any) -> None:
    """Leave a request as it is: for one who only watches what hostile clients do."""


def shorten(response: Any) -> None:
    """Cut the names of tracks in what the SFU says."""
    said = getattr(response, response.WhichOneof("message"))
    people = [*getattr(said, "other_participants", ()), *getattr(said, "participants", ())]
    tracks = [track for person in people for track in person.tracks]
    if response.WhichOneof("message") == "track_published":
        tracks.append(said.track)
    for track in tracks:
        track.name = track.name[:10]


class SignalProxy:
    """Listens on loopback until its block is left."""

    def __init__(self, sfu_port: int, edit: Edit = untouched) -> None:
        self.port = free_port()
        self._sfu_port = sfu_port
        self._edit = edit
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> "SignalProxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                sfu = socket.create_connection(("127.0.0.1", self._sfu_port))
                self._open += [client, sfu]
                for work, ends in (
                    (self._outwards, (client, sfu)),
                    (_inwards, (sfu, client)),
                ):
                    threading.Thread(target=_to_the_end, args=(work, *ends), daemon=True).start()

    def _outwards(self, client: socket.socket, sfu: socket.socket) -> None:
        reading = client.makefile("rb")
        while head := _head(reading):
            sfu.sendall(head)
            if b"upgrade: websocket" in head.lower():
                _messages(reading, sfu, lk_rtc.SignalRequest, self._edit, _MASKED)


def _inwards(sfu: socket.socket, client: socket.socket) -> None:
    reading = sfu.makefile("rb")
    head = _head(reading)
    client.sendall(head)
    if b" 101 " in head.partition(b"\r\n")[0]:
        _messages(reading, client, lk_rtc.SignalResponse, shorten, 0)
    while data := reading.read1(1 << 20):
        client.sendall(data)


def _messages(reading: Any, to: socket.socket, kind: Any, edit: Edit, mask: int) -> None:
    """Hand messages on, each edited, until either side ends."""
    parts: list[bytes] = []
    while True:
        first, payload = _frame(reading)
        if first & 0x0F not in (_BINARY, _CONTINUATION):
            to.sendall(_framed(first, payload, mask))
            continue
        parts.append(payload)
        if first & _FIN:
            message = kind.FromString(b"".join(parts))
            parts.clear()
            edit(message)
            to.sendall(_framed(_FIN | _BINARY, message.SerializeToString(), mask))


def _to_the_end(work: Callable[..., None], one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError):
        work(one, other)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _head(reading: Any) -> bytes:
    """Read a request's head; its offer of compression is left out, for we read the messages."""
    lines: list[bytes] = []
    while line := reading.readline():
        if not line.lower().startswith(b"sec-websocket-extensions"):
            lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _exactly(reading: Any, count: int) -> bytes:
    data: bytes = reading.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _frame(reading: Any) -> tuple[int, bytes]:
    """Read a frame; returns its first byte and its payload, unmasked."""
    first, second = _exactly(reading, 2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", _exactly(reading, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", _exactly(reading, 8))
    if not second & _MASKED:
        return first, _exactly(reading, length)
    mask = _exactly(reading, 4)
    payload = _exactly(reading, length)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return first, (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def _framed(first: int, payload: bytes, mask: int) -> bytes:
    """Write a frame; a client's has a mask, of zeros, that leaves the payload as it is."""
    length = len(payload)
    if length < 126:
        size = struct.pack("!B", mask | length)
    elif length < 1 << 16:
        size = struct.pack("!BH", mask | 126, length)
    else:
        size = struct.pack("!BQ", mask | 127, length)
    return bytes([first]) + size + (b"\0\0\0\0" if mask else b"") + payload
