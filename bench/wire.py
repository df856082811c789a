"""Clients that keep their connections, and a Redis asked for what it says of itself."""

import socket
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from attrs import define, frozen

from bench.hinting import push_headers
from bench.tools import cpu_of_threads
from bench.traffic import Ask

AT_ONCE = 16
"""So many connections have a request under way at the same time."""
NEWS = 400
"""Bytes of a piece of news."""


@frozen
class Request:
    """An HTTP request, ready to be sent over a connection that is kept."""

    path: str
    body: bytes
    headers: Mapping[str, str]

    def written(self) -> bytes:
        """As it goes over the wire."""
        headers = {"Host": "guard", "Content-Length": len(self.body), **self.headers}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def token_request(ask: Ask) -> Request:
    """A client's request for a token, with the headers of a browser behind a reverse proxy."""
    headers = {
        "Content-Type": "application/json",
        "Origin": "https://call.example.org",
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "X-Forwarded-For": ask.address,
    }
    return Request(ask.path, ask.body.encode(), headers)


def push_request(body: bytes) -> Request:
    """What Synapse's module sends."""
    return Request("/policy", body, push_headers(body))


class Crowd:
    """Clients, each with a connection that it keeps: a wave of requests goes out, then the next."""

    def __init__(self, port: int) -> None:
        self._there = [socket.create_connection(("127.0.0.1", port)) for _ in range(AT_ONCE)]
        self._readers: list[BinaryIO] = [each.makefile("rb") for each in self._there]

    def ask(self, requests: Sequence[Request]) -> set[int]:
        """Send all of them; returns which statuses were answered."""
        found = set()
        for start in range(0, len(requests), AT_ONCE):
            wave = requests[start : start + AT_ONCE]
            for sock, request in zip(self._there, wave, strict=False):
                sock.sendall(request.written())
            for reader, _ in zip(self._readers, wave, strict=False):
                found.add(_read(reader))
        return found

    def close(self) -> None:
        """Hang up."""
        for reader, there in zip(self._readers, self._there, strict=True):
            reader.close()
            there.close()


def _read(reader: BinaryIO) -> int:
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    assert len(reader.read(length)) == length
    return status


def ask_over(port: int, requests: Sequence[Request], status: int) -> int:
    """Make requests, which must all be answered so; returns how many they were."""
    crowd = Crowd(port)
    found = crowd.ask(requests)
    crowd.close()
    assert found == {status}, found
    return len(requests)


def _command(*words: str) -> bytes:
    parts = [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words]
    return b"*%d\r\n" % len(words) + b"".join(parts)


@define
class Server:
    """A Redis of our own, for what it says of itself; speaks the wire's plainest form."""

    address: str
    pid: int

    def _connect(self) -> socket.socket:
        host, _, port = self.address.removeprefix("redis://").removesuffix("/0").partition(":")
        return socket.create_connection((host, int(port)))

    def told(self, listeners: int, messages: int) -> float:
        """Tell so many listeners of something as long as news is; returns the CPU seconds of it."""
        news = _command("PUBLISH", "news", "x" * NEWS)
        there = [self._connect() for _ in range(listeners)]
        for each in there:
            each.sendall(_command("SUBSCRIBE", "news"))
            assert each.recv(4096)
        before = cpu_of_threads(self.pid)
        with self._connect() as teller:
            for _ in range(messages):
                teller.sendall(news)
                assert teller.recv(64)
                for each in there:
                    each.recv(4096)
        for each in there:
            each.close()
        return cpu_of_threads(self.pid) - before

    def call(self, *words: str) -> str:
        """Run one command that answers with a text or a number."""
        with self._connect() as sock, sock.makefile("rb") as reader:
            sock.sendall(_command(*words))
            head: str = reader.readline().decode().strip()
            assert head[0] != "-", head
            return reader.read(int(head[1:])).decode() if head[0] == "$" else head[1:]

    def counts(self) -> dict[str, float]:
        """What it has been asked, and how many bytes went in and out."""
        lines = (self.call("INFO", "all")).splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        told = fields.get("cmdstat_publish", "calls=0,").split(",")[0].removeprefix("calls=")
        return {
            "commands": float(fields["total_commands_processed"]),
            "in": float(fields["total_net_input_bytes"]),
            "out": float(fields["total_net_output_bytes"]),
            "news": float(told),
        }
