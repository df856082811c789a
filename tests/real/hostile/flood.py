"""What hostile clients do again and again, at a bounded rate and for a bounded time."""

import os
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

LONGEST = 60.0
"""No flood lasts longer, whatever a test forgets."""


@contextmanager
def flood(work: Callable[[int], object], rate: float, threads: int = 4) -> Iterator[list[int]]:
    """Do a numbered thing so many times a second while the block runs; returns what was done."""
    end, over = time.monotonic() + LONGEST, threading.Event()
    done: list[int] = []

    def go_on(first: int) -> None:
        begun = time.monotonic()
        for turn in range(int(LONGEST * rate / threads) + 1):
            if over.wait(max(0.0, begun + turn * threads / rate - time.monotonic())):
                return
            if time.monotonic() > end:
                return
            number = first + turn * threads
            work(number)
            done.append(number)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(go_on, first) for first in range(threads)]
        try:
            yield done
        finally:
            over.set()
    for each in running:
        each.result()


def knock(url: str, token: str) -> None:
    """Connect to LiveKit's signalling and hang up at once, without a word."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    key = b64encode(os.urandom(16)).decode()
    with socket.create_connection((parts.hostname, parts.port), 10.0) as sock:
        sock.sendall(
            f"GET /rtc?access_token={quote(token)}&protocol=15&auto_subscribe=1 HTTP/1.1\r\n"
            f"Host: {parts.hostname}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        sock.recv(4096)
