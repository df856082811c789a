"""The twistd face, as a process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lotus_guard.config import variable_names
from tests.test_docs import GOOD
from tests.world import free_port

ROOT = Path(__file__).resolve().parents[1]
TWISTD = str(Path(sys.executable).with_name("twistd"))


def twistd(tmp_path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    neutral = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOTUS_GUARD_", "LIVEKIT_"))
    }
    return subprocess.run(
        [TWISTD, *arguments],
        cwd=tmp_path,
        env={**neutral, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_explains_every_variable(tmp_path: Path) -> None:
    done = twistd(tmp_path, "lotus-guard", "--help")
    assert done.returncode == 0
    for name in [*variable_names(), "--sandbox"]:
        assert name in done.stdout


def test_twistd_knows_the_plugin(tmp_path: Path) -> None:
    assert "lotus-guard" in twistd(tmp_path, "--help").stdout


@pytest.mark.parametrize("daemon", [(), ("--nodaemon",)])
def test_a_faulty_environment_exits_with_2_before_anything_listens(
    tmp_path: Path, daemon: tuple[str, ...]
) -> None:
    port = free_port()
    done = twistd(
        tmp_path,
        *daemon,
        "--pidfile=",
        "lotus-guard",
        LOTUS_GUARD_LISTEN=f"tcp:{port}:interface=127.0.0.1",
        LOTUS_GUARD_DEADLINE="soon",
        LOTUS_GUARD_TYPO="x",
    )
    assert done.returncode == 2
    for name in ("LOTUS_GUARD_DEADLINE", "LOTUS_GUARD_TYPO", "LIVEKIT_KEY", "LIVEKIT_URL"):
        assert f"  {name}: " in done.stderr
    assert "Traceback" not in done.stderr
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        taken = f"tcp:{sock.getsockname()[1]}:interface=127.0.0.1"
        done = twistd(
            tmp_path,
            "--nodaemon",
            "--pidfile=",
            "lotus-guard",
            **GOOD,
            LOTUS_GUARD_LISTEN=taken,
            LOTUS_GUARD_ADMIN_LISTEN="",
        )
    assert done.returncode != 0
    assert "already in use" in done.stdout + done.stderr
