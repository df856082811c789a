"""A client that says what no SDK says: a proxy that edits the signalling between SDK and SFU.

    SDK ── ws://127.0.0.1:PORT/rtc… ──▶ SignalProxy ── what `edit` makes of it ──▶ livekit-server

A client's WebSocket messages are `livekit.protocol.rtc.SignalRequest`s. Each is handed to `edit`,
which changes it in place; what comes back from the SFU passes untouched. Media do not pass here.
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
    """Give whatever is published a name of so many bytes: LiveKit has no bound for it."""

    def edit(request: Any) -> None:
        if request.WhichOneof("message") == "add_track":
            request.add_track.name = "n" * length

    return edit


class SignalProxy:
    """Listens on loopback until its block is left."""

    def __init__(self, sfu_port: int, edit: Edit) -> None:
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
                for work in (self._outwards, _copy):
                    ends = (client, sfu) if work is not _copy else (sfu, client)
                    threading.Thread(target=_to_the_end, args=(work, *ends), daemon=True).start()

    def _outwards(self, client: socket.socket, sfu: socket.socket) -> None:
        reading = client.makefile("rb")
        while head := _head(reading):
            sfu.sendall(head)
            if b"upgrade: websocket" in head.lower():
                self._messages(reading, sfu)
                return

    def _messages(self, reading: Any, sfu: socket.socket) -> None:
        parts: list[bytes] = []
        while True:
            first, payload = _frame(reading)
            opcode = first & 0x0F
            if opcode not in (_BINARY, _CONTINUATION):
                sfu.sendall(_framed(first, payload))
                continue
            parts.append(payload)
            if first & _FIN:
                request = lk_rtc.SignalRequest.FromString(b"".join(parts))
                parts.clear()
                self._edit(request)
                sfu.sendall(_framed(_FIN | _BINARY, request.SerializeToString()))


def _to_the_end(work: Callable[..., None], one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError):
        work(one, other)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _copy(one: socket.socket, other: socket.socket) -> None:
    while data := one.recv(1 << 20):
        other.sendall(data)


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
    """Read a client's frame; gives its first byte and its payload, unmasked."""
    first, second = _exactly(reading, 2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", _exactly(reading, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", _exactly(reading, 8))
    mask = _exactly(reading, 4) if second & _MASKED else b"\0\0\0\0"
    payload = _exactly(reading, length)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return first, (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def _framed(first: int, payload: bytes) -> bytes:
    """Write a client's frame; a mask of zeros leaves the payload as it is."""
    length = len(payload)
    if length < 126:
        size = struct.pack("!B", _MASKED | length)
    elif length < 1 << 16:
        size = struct.pack("!BH", _MASKED | 126, length)
    else:
        size = struct.pack("!BQ", _MASKED | 127, length)
    return bytes([first]) + size + b"\0\0\0\0" + payload
