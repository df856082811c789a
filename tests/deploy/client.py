"""A client that asks for a token every 100 ms, and what it has seen."""

import json
import threading
import time
from itertools import pairwise

from attrs import define, field, frozen

from tests.real.processes import http

EVERY = 0.1
AFTERWARDS = 0.5
BODY = json.dumps(
    {
        "room": "!open:sandbox",
        "openid_token": {"access_token": "openid-alice", "matrix_server_name": "sandbox"},
        "device_id": "PHONE",
    }
).encode()


@frozen
class Asked:
    """One request: when, for how long, and what came of it."""

    at: float
    seconds: float
    result: str
    """`token`, or what came instead."""


@define(eq=False)
class Client:
    """Asks until it is ended; each request has a connection and a thread of its own."""

    url: str
    asked: list[Asked] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)
    _ended: threading.Event = field(factory=threading.Event)
    _loop: threading.Thread | None = None

    def __enter__(self) -> "Client":
        self._loop = threading.Thread(target=self._run, daemon=True)
        self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(AFTERWARDS)  # a gap has ended only when a token has come again
        self._ended.set()
        assert self._loop is not None
        self._loop.join()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            thread = threading.Thread(target=self._ask, daemon=True)
            thread.start()
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]

    def _ask(self) -> None:
        at = time.monotonic()
        try:
            answer = http("POST", f"{self.url}/sfu/get", BODY, seconds=20)
            good = answer.status == 200 and "jwt" in answer.json()
            result = "token" if good else f"{answer.status} {answer.body[:80]!r}"
        except Exception as error:
            result = repr(error)
        self.asked.append(Asked(at, time.monotonic() - at, result))

    @property
    def lost(self) -> list[Asked]:
        """The requests that got no token."""
        return [each for each in self.asked if each.result != "token"]

    @property
    def gap(self) -> float:
        """The longest time without a token: from one that came to the next that was asked for."""
        good = sorted(each.at for each in self.asked if each.result == "token")
        return max((b - a for a, b in pairwise(good)), default=0.0)

    def told(self) -> str:
        """Say what it saw, for the figures."""
        slowest = max((each.seconds for each in self.asked), default=0.0)
        return (
            f"{len(self.asked)} asked, {len(self.lost)} lost, worst gap {self.gap:.2f} s, "
            f"slowest answer {slowest:.2f} s"
        )
