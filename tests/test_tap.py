"""The twistd face, as a process."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lotus_guard.run.config import variable_names
from lotus_guard.version import VERSION
from tests.real.processes import free_port, until
from tests.test_docs import GOOD

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
    for name in [*variable_names(), "--sandbox", "--quiet-sandbox"]:
        assert name in done.stdout


def test_the_version_is_told(tmp_path: Path) -> None:
    done = twistd(tmp_path, "lotus-guard", "--version")
    assert (done.returncode, done.stdout) == (0, f"lotus-guard {VERSION}\n")


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


@pytest.mark.parametrize("flag", ["--sandbox", "--quiet-sandbox"])
def test_the_sandbox_checks_the_rest_of_the_environment(tmp_path: Path, flag: str) -> None:
    done = twistd(tmp_path, "--nodaemon", "lotus-guard", flag, LOTUS_GUARD_DEADLINE="x")
    assert done.returncode == 2
    assert "  LOTUS_GUARD_DEADLINE: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_orderly_end_serves_the_requests_that_are_open(tmp_path: Path) -> None:
    """Upstream answers a second after SIGTERM: the client gets its answer, nothing is blamed."""
    with socket.socket() as upstream:
        upstream.bind(("127.0.0.1", 0))
        upstream.listen()
        port = free_port()
        env = {
            **os.environ,
            **GOOD,
            "PYTHONPATH": str(ROOT),
            "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
            "LOTUS_GUARD_ADMIN_LISTEN": "",
            "LOTUS_GUARD_UPSTREAM": f"http://127.0.0.1:{upstream.getsockname()[1]}",
        }
        log = (tmp_path / "log").open("wb")
        guard = subprocess.Popen(
            [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"],
            cwd=tmp_path,
            env=env,
            stdout=log,
            stderr=log,
        )
        try:
            client, silent = connected(port), connected(port)
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            there, _ = upstream.accept()
            there.recv(4096)
            guard.terminate()
            time.sleep(0.1)
            # One who had connected, and had said nothing yet, is heard.
            silent.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            silent.settimeout(10.0)
            assert silent.recv(4096).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.9)
            with socket.socket() as late:
                assert late.connect_ex(("127.0.0.1", port)) != 0, "nobody new is let in"
            there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
            client.settimeout(10.0)
            answer = b""
            while more := client.recv(4096):
                answer += more
            assert answer.endswith(b"fine")
            assert guard.wait(10.0) in (0, -signal.SIGTERM)  # twistd dies by the signal it got
        finally:
            guard.kill()
            log.close()
    text = (tmp_path / "log").read_text()
    assert "lk-jwt-service is down" not in text
    assert "Traceback" not in text


def connected(port: int) -> socket.socket:
    """Connect as soon as somebody listens."""
    for _ in range(200):
        sock = socket.socket()
        if sock.connect_ex(("127.0.0.1", port)) == 0:
            return sock
        sock.close()
        time.sleep(0.1)
    raise AssertionError("nobody listens")


def answering(port: int) -> None:
    """Wait until the guard answers: it can be connected to before its reactor runs.

    A SIGTERM in between ends it on the spot, as it does any Python program.
    """
    with connected(port) as sock:
        sock.settimeout(20.0)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_sighup_reloads_and_ends_nobody(tmp_path: Path) -> None:
    port, token = free_port(), tmp_path / "token"
    token.write_text("the-first-token\n")
    env = {
        **os.environ,
        **GOOD,
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": "",
        "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE": str(token),
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        guard = subprocess.Popen(
            [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"],
            cwd=tmp_path,
            env=env,
            stdout=out,
            stderr=out,
        )
    unit = (ROOT / "systemd" / "voice-limit-guard.service").read_text()
    (line,) = re.findall(r"^ExecReload=(.*)$", unit, re.MULTILINE)
    reload = shlex.split(line)
    try:
        answering(port)
        token.write_text("the-second-token\n")
        for _ in range(3):
            done = subprocess.run(reload, env={"MAINPID": str(guard.pid)}, timeout=20, check=False)
            assert done.returncode == 0
            answering(port)
        until("it has reloaded", lambda: "Reload: " in log.read_text())
        text = log.read_text()
        assert "Reloaded LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE from" in text
        assert "need a restart" in text
        assert "-token" not in text
        guard.terminate()
        assert guard.wait(10.0) in (0, -signal.SIGTERM)
    finally:
        guard.kill()


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
    assert done.returncode == 1
    assert "already in use" in done.stdout
    assert "Fix: set LOTUS_GUARD_LISTEN" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("interface", ["192.0.2.77", "no-such-interface.invalid"])
def test_an_address_that_is_not_ours_ends_the_start(tmp_path: Path, interface: str) -> None:
    endpoint = f"tcp:{free_port()}:interface={interface}"
    arguments = ("--nodaemon", "--pidfile=", "lotus-guard")
    done = twistd(tmp_path, *arguments, **GOOD, LOTUS_GUARD_LISTEN=endpoint)
    assert done.returncode in (1, 2)
    assert "LOTUS_GUARD_LISTEN" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_log_is_json_where_it_is_asked_for(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **GOOD,
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{ports[0]}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{ports[1]}:interface=127.0.0.1",
        "LOTUS_GUARD_LOG_FORMAT": "json",
    }
    process = subprocess.Popen(
        [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        first = next(line for line in process.stdout if "lotus-guard is ready on" in line)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    lines = [json.loads(line) for line in [first, *out.splitlines()]]
    assert any("lotus-guard is ready on" in line["text"] for line in lines)
    assert all({"time", "level", "text"} <= line.keys() for line in lines)


def test_those_whom_the_kernel_has_let_in_are_served_before_the_port_closes(
    tmp_path: Path,
) -> None:
    """They have connected, the guard has not accepted them yet, and SIGTERM comes."""
    port = free_port()
    env = {
        **os.environ,
        **GOOD,
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": "",
    }
    command = [TWISTD, "--nodaemon", "--pidfile=", "--logfile=/dev/null", "lotus-guard"]
    guard = subprocess.Popen(command, cwd=tmp_path, env=env)
    try:
        answering(port)
        guard.send_signal(signal.SIGSTOP)
        clients = [connected(port) for _ in range(20)]
        guard.terminate()
        guard.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        for client in clients:
            client.settimeout(10.0)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            client.close()
        assert guard.wait(10.0) in (0, -signal.SIGTERM)
    finally:
        guard.kill()
