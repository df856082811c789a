"""The authorization service as a process: the sandbox's, or the one that LK_JWT_SERVICE names.

A real one is of either generation. What is asked of the other one, the sandbox's process answers,
and a line says so.
"""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from lotus_guard.check.upstream_version import GO, PROBE, PROBE_PATH, RUST, generation_of
from tests.real.homeserver import AS_TOKEN, HS_TOKEN, Synapse
from tests.real.processes import ROOT, Process, free_port, http
from tests.real.sfu import KEY, SECRET, LiveKit

OURS = (sys.executable, "-m", "lotus_guard.sandbox.lk_jwt_service")


def authorization(
    directory: Path,
    livekit: LiveKit,
    behind: Synapse | None = None,
    generation: str = "",
    port: int | None = None,
) -> Process:
    """Make the service, of this generation if one is wanted; nothing is started.

    With `behind` it serves that homeserver too, as an application service, which only the one in
    Rust can.
    """
    port = port or free_port()
    wanted = RUST if behind is not None else generation
    env = {
        **_environment(livekit.url, port, livekit.secret),
        "LOTUS_SANDBOX_READING": wanted or GO,
        "PYTHONPATH": str(ROOT),
    }
    if behind is not None:
        env |= {
            "LIVEKIT_AS_TOKEN": AS_TOKEN,
            "LIVEKIT_HS_TOKEN": HS_TOKEN,
            "LIVEKIT_HS_SERVER_NAME": behind.name,
            "LIVEKIT_CS_API_URL_OVERRIDES": f"{behind.name}={behind.url}",
        }
    return Process("authorization", _command(wanted), directory, port, env)


def _command(wanted: str) -> tuple[str, ...]:
    binary = os.environ.get("LK_JWT_SERVICE")
    if not binary:
        return OURS
    found = generation_of_binary(binary)
    if wanted in ("", found):
        print(f"LK_JWT_SERVICE ({found}) is what is asked: {binary}")
        return (binary,)
    print(f"LK_JWT_SERVICE ({found}) cannot be asked as {wanted}: the sandbox's process is")
    return OURS


@cache
def generation_of_binary(binary: str) -> str:
    """Find out of which generation a real lk-jwt-service is, by running it for a moment."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        env = _environment("ws://127.0.0.1:9", port)
        process = Process("probed", (binary,), Path(directory), port, env)
        process.start()
        try:
            headers = {"Content-Type": "application/json"}
            answer = http("POST", f"http://127.0.0.1:{port}{PROBE_PATH}", PROBE, headers)
            found = generation_of(answer.status, answer.json()["errcode"])
        finally:
            process.stop()
    assert found, f"{binary} is no lk-jwt-service: {answer}"
    return found


def _environment(livekit_url: str, port: int, secret: str = SECRET) -> dict[str, str]:
    return {
        "LIVEKIT_URL": livekit_url,
        "LIVEKIT_KEY": KEY,
        "LIVEKIT_SECRET": secret,
        "LIVEKIT_JWT_BIND": f"127.0.0.1:{port}",
        "LIVEKIT_FULL_ACCESS_HOMESERVERS": "*",
        "LIVEKIT_INSECURE_SKIP_VERIFY_TLS": "YES_I_KNOW_WHAT_I_AM_DOING",
    }
