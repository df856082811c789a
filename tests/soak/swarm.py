"""Many real WebRTC clients for a long time: answers by number, and nothing kept that was heard."""

import itertools
import json
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tests.real.processes import REAL, ROOT


class Swarm:
    """A process of clients (`tests/real/participant.py`)."""

    def __init__(self, directory: Path, on_removed: Callable[[str], None]) -> None:
        self._log = (directory / "clients.log").open("ab")
        self._popen = subprocess.Popen(
            [str(REAL / "venv/bin/python"), str(ROOT / "tests/real/participant.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._on_removed = on_removed
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def do(self, client: str, do: str, seconds: float, **fields: Any) -> dict[str, Any]:
        """Return a command and wait for its answer; an empty one where none came."""
        number = next(self._ids)
        answer: Future[dict[str, Any]] = Future()
        self._waiting[number] = answer
        command = {"id": number, "client": client, "do": do, **fields}
        try:
            with self._lock:
                assert self._popen.stdin is not None
                self._popen.stdin.write(json.dumps(command).encode() + b"\n")
                self._popen.stdin.flush()
            return answer.result(seconds)
        except (TimeoutError, OSError, ValueError):
            return {}
        finally:
            self._waiting.pop(number, None)

    @property
    def has_died(self) -> bool:
        """Whether its process has ended by itself."""
        return self._popen.poll() is not None

    def close(self) -> None:
        """End them all."""
        self._popen.kill()
        self._popen.wait(10.0)
        self._log.close()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            event = json.loads(line)
            waiting = self._waiting.get(event.get("id", 0))
            if waiting is not None:
                waiting.set_result(event)
            elif event.get("event") == "disconnected" and "4" in str(event.get("reason")):
                self._on_removed(event["client"])  # 4: PARTICIPANT_REMOVED
