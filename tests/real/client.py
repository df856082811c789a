"""The blocking driver of real WebRTC clients (see `participant.py`)."""

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.real.processes import REAL

Event = dict[str, Any]


class Clients:
    """A process that holds any number of clients."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log = (directory / "clients.log").open("ab")
        self._popen = subprocess.Popen(
            [
                str(REAL / "venv" / "bin" / "python"),
                str(Path(__file__).with_name("participant.py")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._ended = False
        self.events: list[Event] = []
        self._news = threading.Condition()
        self._ids = itertools.count(1)
        self._names = itertools.count(1)
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait(lambda event: event.get("event") == "ready", 30.0)

    def new(self) -> "Client":
        """Make a client that is not connected yet."""
        return Client(self, f"c{next(self._names)}")

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def send(self, client: str, do: str, **fields: Any) -> int:
        """Send a command and do not wait for its answer."""
        number = next(self._ids)
        command = {"id": number, "client": client, "do": do, **fields}
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(command).encode() + b"\n")
        self._popen.stdin.flush()
        return number

    def answer(self, number: int, seconds: float = 30.0) -> Event:
        """Wait for a command's answer."""
        return self.wait(lambda event: event.get("id") == number, seconds)

    def wait(self, wanted: Callable[[Event], bool], seconds: float, start: int = 0) -> Event:
        """Wait for an event, among those from the `start`th on."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                for event in self.events[start:]:
                    if wanted(event):
                        return event
                assert not self._ended, f"the clients' process is gone: see {self._log.name}"
                start = len(self.events)
                left = end - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    raise AssertionError(f"no such event; the last: {self.events[-5:]}")

    def close(self) -> None:
        """End the process and all its clients."""
        self._popen.kill()
        self._popen.wait(10.0)
        self._log.close()


@define(eq=False)
class Client:
    """One WebRTC client."""

    process: Clients
    name: str
    identity: str = field(default="", init=False)

    def connect(self, url: str, token: str, seconds: float = 30.0) -> Event:
        """Join; the answer says whether that went well."""
        answer = self._do("connect", seconds, url=url, token=token)
        self.identity = answer.get("identity", "")
        return answer

    def publish(self, kind: str, source: str) -> Event:
        """Publish generated media; `ok` is False, and `refused` True, where the SFU refuses."""
        return self._do("publish", 40.0, kind=kind, source=source)

    def unpublish(self, sid: str) -> Event:
        """Take a publication back."""
        return self._do("unpublish", 20.0, sid=sid)

    def share(self, text: str) -> Event:
        """Send data to everybody, who hear it as an event `data`."""
        return self._do("share", 20.0, text=text)

    def state(self) -> Event:
        """What the client itself believes: `connected`, `can_publish`, `sources`, `people`."""
        return self._do("state", 10.0)

    def frames(self) -> dict[str, int]:
        """Count the video frames received, by track sid."""
        found: dict[str, int] = self._do("frames", 10.0)["frames"]
        return found

    def disconnect(self) -> None:
        """Hang up."""
        self._do("disconnect", 20.0)

    def hears(self, event: str, seconds: float = 30.0, since: int = 0, **fields: Any) -> Event:
        """Wait until this client reports an event with these fields."""
        wanted = {"client": self.name, "event": event, **fields}
        return self.process.wait(lambda e: wanted.items() <= e.items(), seconds, since)

    def heard(self, event: str, **fields: Any) -> list[Event]:
        """List what this client has reported."""
        wanted = {"client": self.name, "event": event, **fields}
        return [e for e in list(self.process.events) if wanted.items() <= e.items()]

    def _do(self, do: str, seconds: float, **fields: Any) -> Event:
        return self.process.answer(self.process.send(self.name, do, **fields), seconds)
