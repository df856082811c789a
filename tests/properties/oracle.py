"""Talks to the Go oracle (tests/oracle/main.go)."""

import json
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any


class Oracle:
    """Go's encoding/json and ServeMux, asked line by line."""

    def __init__(self, binary: Path) -> None:
        self._popen = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _ask(self, **question: Any) -> Any:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(question).encode() + b"\n")
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())

    def marshal(self, strings: list[str]) -> bytes:
        return b64decode(self._ask(op="marshal", strings=strings)["out"])

    def read(self, path: str, body: bytes) -> dict[str, str] | None:
        """What upstream would read; None where it would refuse the body."""
        answer = self._ask(op="read", path=path, body=b64encode(body).decode())
        fields: dict[str, str] = answer["fields"]
        return fields if answer["ok"] else None

    def route(self, target: bytes) -> str:
        return b64decode(self._ask(op="route", target=b64encode(target).decode())["out"]).decode()

    def close(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen.wait(10.0)
