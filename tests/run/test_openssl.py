"""Who needs OpenSSL, and what a running guard has in memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lotus_guard.run.config import LIVEKIT_INTERNAL, LIVEKIT_PUBLIC, variables
from lotus_guard.run.openssl import leave_out, wants_tls
from tests.test_docs import GOOD

ROOT = Path(__file__).resolve().parents[2]
REDIS = {"LOTUS_GUARD_STATE": "redis://:password@127.0.0.1:1/0", "LOTUS_GUARD_WORKERS": "2"}
HEAVY = {
    "OpenSSL",
    "_yaml",
    "_pytest",
    "click",
    "cryptography",
    "hypothesis",
    "lotus_guard.check",
    "lotus_guard.cli",
    "lotus_guard.commands",
    "lotus_guard.sandbox",
    "lotus_guard.synapse_module",
    "rich",
    "service_identity",
    "twisted.conch",
    "twisted.mail",
    "twisted.trial",
    "twisted.words",
    "yaml",
}
"""What takes memory, and has no work in a guard whose neighbours are asked without TLS."""
RUNNING = """
import json, os, sys
from lotus_guard.tap import Options, makeService
options = Options()
options.parseOptions([])
assert makeService(options)
from lotus_guard.neighbours.agents import pooled_agents
from twisted.internet import reactor
https = pooled_agents(reactor).synapse
try:
    https._parsed(b"https://matrix.example.org")
    speaks_tls = True
except NotImplementedError:  # which Twisted raises where it has no OpenSSL
    speaks_tls = False
print(json.dumps([speaks_tls, [name for name, there in sys.modules.items() if there]]))
"""


def running(directory: Path, **env: str) -> tuple[bool, set[str]]:
    """Make a guard's service in a process of its own: whether it can speak TLS, and its modules."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNING],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), **GOOD, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    speaks_tls, modules = json.loads(done.stdout.splitlines()[-1])
    return speaks_tls, set(modules)


@pytest.mark.parametrize(
    ("env", "not_there"),
    [
        ({}, {"txredisapi", "hiredis"}),
        ({"LOTUS_GUARD_WORKER": "1", "LOTUS_GUARD_TELL_FD": "1", **REDIS}, set[str]()),
        (REDIS, set[str]()),
    ],
    ids=["a guard", "a worker on Redis", "the supervisor"],
)
def test_a_guard_without_tls_has_nothing_heavy_in_memory(
    tmp_path: Path, env: dict[str, str], not_there: set[str]
) -> None:
    speaks_tls, modules = running(tmp_path, **env)
    assert (HEAVY | not_there) & modules == set()
    assert not speaks_tls


@pytest.mark.parametrize(
    "env",
    [
        {"LOTUS_GUARD_SYNAPSE_URL": "https://matrix.example.org"},
        {"LIVEKIT_URL": "wss://livekit.example.org", LIVEKIT_INTERNAL: ""},
        {"LOTUS_GUARD_STATE": "rediss://redis.example.org"},
    ],
    ids=["Synapse", "LiveKit", "Redis"],
)
def test_where_one_neighbour_is_asked_over_tls_openssl_is_there(
    tmp_path: Path, env: dict[str, str]
) -> None:
    speaks_tls, modules = running(tmp_path, **env)
    assert "OpenSSL" in modules
    assert speaks_tls


@pytest.mark.parametrize("name", [each.name for each in variables()])
@pytest.mark.parametrize(
    "text",
    [
        "https://matrix.example.org",
        "HTTPS://matrix.example.org",
        " https://matrix.example.org",
        "wss://livekit.example.org",
        "rediss://redis.example.org:6379/0",
        "ssl:8443:privateKey=key.pem",
        "le:/etc/certificates:tcp:443",
        "h\nttps://matrix.example.org",
    ],
)
def test_whichever_variable_names_tls_it_is_there(name: str, text: str) -> None:
    internal = {LIVEKIT_INTERNAL: ""} if name == LIVEKIT_PUBLIC else {}
    assert wants_tls({**GOOD, **internal, name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((each.name, each.default) for each in variables()),
        (LIVEKIT_PUBLIC, "ws://127.0.0.1:7880"),
        ("LOTUS_GUARD_LISTEN", "systemd:domain=INET:index=0"),
        ("LOTUS_GUARD_LISTEN", "tcp6:8070:interface=\\:\\:1"),
        ("LOTUS_GUARD_LISTEN", "unix:/run/guard.sock"),
        ("LOTUS_GUARD_STATE", "/var/lib/guard.sqlite"),
        ("LOTUS_GUARD_STATE", "redis://:password@127.0.0.1:6379/0"),
        ("SSL_CERT_DIR", "https://not.ours"),
    ],
)
def test_what_has_to_do_with_no_tls_is_known(name: str, text: str) -> None:
    assert not wants_tls({**GOOD, name: text})


def test_where_clients_reach_livekit_is_nothing_to_the_guard() -> None:
    public = {LIVEKIT_PUBLIC: "wss://livekit.example.org"}
    assert not wants_tls({**GOOD, **public, LIVEKIT_INTERNAL: "http://127.0.0.1:7880"})
    assert wants_tls({**GOOD, **public, LIVEKIT_INTERNAL: ""})


@pytest.mark.parametrize("loaded", ["OpenSSL", "cryptography"])
def test_what_is_loaded_stays_as_it_is(loaded: str) -> None:
    modules: dict[str, Any] = {loaded: object()}
    before = dict(modules)
    leave_out(modules)
    assert modules == before


def test_the_help_of_a_guard_that_cannot_be_loaded_is_none() -> None:
    """Packages and the image ask for it before they start anything."""
    script = "from lotus_guard.tap import Options; Options().getUsage()"
    broken = f"import sys; sys.modules['lotus_guard.run.guard'] = None; {script}"
    for code, is_well in ((script, True), (broken, False)):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert (done.returncode == 0) is is_well, done.stderr
