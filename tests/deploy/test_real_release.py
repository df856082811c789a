"""This very tree as a release: built from its pinned packages, installed, upgraded, taken out."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.lib.source import own_source
from lotus_guard.sandbox.stack import HS_TOKEN
from tests.deploy.conftest import lacks
from tests.deploy.madeup import SECRET, Host
from tests.deploy.releases import git
from tests.deploy.synapse import KEY, PATH, name_registration
from tests.real.processes import ROOT, Process, free_port, http

REQUIREMENTS = ROOT / "deploy/requirements.txt"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pinned packages, fetched once; the deployer sees nothing else."""
    directory = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pinned = ["--require-hashes", "--only-binary=:all:", "--requirement", str(REQUIREMENTS)]
    done = subprocess.run([*pip, *pinned, "--dest", str(directory)], check=False, timeout=300)
    if done.returncode:
        lacks("the pinned packages cannot be fetched from pip's index")
    return directory


@pytest.fixture
def neighbours(tmp_path: Path) -> Iterator[Process]:
    """The sandbox's Synapse and LiveKit."""
    ports = [str(free_port()), str(free_port())]
    command = [sys.executable, "-m", "tests.deploy.neighbours", *ports]
    command.append(str(tmp_path / "root" / PATH))
    made = Process("neighbours", command, tmp_path, int(ports[1]), {"PYTHONPATH": str(ROOT)})
    made.start()
    yield made
    made.stop()


@pytest.fixture
def host(tmp_path: Path, wheels: Path, neighbours: Process) -> Iterator[Host]:
    """A host beside them, with this tree in its repository."""
    livekit, synapse = neighbours.command[3:5]
    (tmp_path / "user-token").write_text("alice\n")
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "LOTUS_DEPLOY_START_SECONDS": "30",
        "LOTUS_DEPLOY_PROBE_SECONDS": "3",
        "LOTUS_DEPLOY_USER_TOKEN_FILE": str(tmp_path / "user-token"),
        "LIVEKIT_URL": f"ws://127.0.0.1:{livekit}",
        "LOTUS_GUARD_SYNAPSE_URL": f"http://127.0.0.1:{synapse}",
    }
    made = Host(tmp_path, settings)
    tree = made.repository.path
    own = own_source(ROOT)
    own.export(own.revision(), tmp_path / "tree")
    (tree / ".git").rename(tmp_path / "tree/.git")
    tree.rmdir()
    (tmp_path / "tree").rename(tree)
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "this tree")
    try:
        yield made
    finally:
        print(made.dump())
        made.stop()


def operators(host: Host, path: str) -> str:
    return http("GET", f"http://127.0.0.1:{host.ports[8072]}{path}").body.decode()


def test_this_tree_is_installed_upgraded_and_taken_out(host: Host) -> None:
    bad = host.install(LOTUS_GUARD_DEADLINE="soon")
    assert bad.returncode == 5, bad.stdout
    assert "LOTUS_GUARD_DEADLINE" in bad.stdout
    assert not host.systemd.enabled - {"lk-jwt-service.service"}

    began = time.monotonic()
    with host.client() as client:
        done = host.install()
    assert done.returncode == 0, done.stdout
    has_socket = (host.root / "etc/systemd/system/voice-limit-guard.socket").exists()
    kind = "with a socket" if has_socket else "without a socket"
    seconds = time.monotonic() - began
    print(f"FIGURE real install {kind}, built before, {seconds:.1f} s: {client.told()}")
    assert "alive" in operators(host, "/livez")
    assert 'lotus_guard_requests_total{endpoint="/sfu/get",status="200"}' in operators(
        host, "/metrics"
    )

    (host.repository.path / "lotus_guard/py.typed").write_text("# another revision\n")
    git(host.repository.path, "commit", "--quiet", "--all", "--message", "another")
    first, began = host.current, time.monotonic()
    with host.client() as client:
        done = host.deploy()
    assert done.returncode == 0, done.stdout
    assert host.current != first
    assert "test: the release's own deployer starts" in done.stdout
    seconds = time.monotonic() - began
    print(f"FIGURE real upgrade {kind}, {seconds:.1f} s in all: {client.told()}")
    if has_socket:
        assert client.lost == []

    with host.client() as client:
        done = host.revert()
    assert done.returncode == 0, done.stdout
    print(f"FIGURE real revert {kind}: {client.told()}")
    assert client.gap < 10.0
    assert SECRET not in host.dump()


def test_this_tree_takes_over_what_synapse_hands_on(host: Host, neighbours: Process) -> None:
    path = host.root / PATH
    path.parent.mkdir()
    text = f'hs_token: "{HS_TOKEN}"\n{KEY}: http://localhost:%s\n'
    path.write_text(text % host.ports[8070])
    name_registration(host, f"LIVEKIT_AS_REGISTRATION_FILE=/{PATH}")
    neighbours.stop()
    neighbours.start()
    listen = f"tcp:{host.ports[8069]}:interface=127.0.0.1"
    with host.client() as client:
        done = host.install(LOTUS_GUARD_HOMESERVER_LISTEN=listen)
    assert done.returncode == 4, done.stdout
    assert "calls bypass the guard" in done.stdout
    assert client.lost == []
    neighbours.stop()
    neighbours.start()
    done = host.install()
    assert done.returncode == 0, done.stdout
    assert "homeserver-" not in done.stdout.replace("homeserver-scope", ""), done.stdout
    home = f"http://127.0.0.1:{host.ports[8069]}"
    assert path.read_text() == text.replace("http://localhost:%s", home)
    asked = http("POST", f"{home}/_matrix/client/v1/rtc/livekit/get_token", b"{}")
    assert (asked.status, asked.json()["errcode"]) == (401, "M_MISSING_TOKEN")
    assert host.revert().returncode == 0
    assert path.read_text() == text.replace("localhost:%s", f"localhost:{host.ports[8070]}")
    assert HS_TOKEN not in host.dump()
