"""A real redis-server, Debian's, unpacked by `tests/real/install.py`."""

import os
from pathlib import Path

import pytest

from tests.real.processes import REAL, Process, free_port

ROOT = REAL / "redis" / "usr"
SERVER = ROOT / "bin" / "redis-server"


def redis_server(directory: Path, *options: str, port: int | None = None) -> Process:
    """Make a redis-server that keeps nothing; the test starts it."""
    if not SERVER.exists():
        sentence = "redis-server is missing: run tests/real/install.py"
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    port = port or free_port()
    (libraries,) = (ROOT / "lib").glob("*-linux-gnu*")
    here = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    return Process(
        "redis",
        [str(SERVER), *here, *options],
        directory,
        port,
        {"LD_LIBRARY_PATH": str(libraries)},
    )
