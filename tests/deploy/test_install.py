"""deploy/install on a made-up host: in place, or as it was."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.lib.install import CLEAR
from tests.deploy.madeup import SECRET, Host, other_tree
from tests.deploy.releases import git
from tests.real.processes import ROOT, free_port, listens, until

GUARD, SOCKET = "voice-limit-guard.service", "voice-limit-guard.socket"


def files_below(root: Path) -> dict[str, bytes]:
    places = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    # An installation holds its lock while it looks, and the journal is systemd's.
    mine = [path for path in places if path.name not in ("journal", "lock")]
    return {str(path): path.read_bytes() for path in mine}


def assert_as_before(host: Host) -> None:
    """The token endpoint is upstream's own again, and nothing of the guard would start."""
    until("upstream is back", host.asks_for_a_token)
    assert host.answers == ""
    assert host.systemd.enabled == {"lk-jwt-service.service"}
    left = [path for path in (host.root / "etc/systemd").rglob("*") if path.is_file()]
    assert left == []
    assert not (host.root / "etc/lotus-guard/environment").exists()
    assert not (host.opt / "current").exists()


@pytest.mark.parametrize("with_socket", [True, False], ids=["socket", "no socket"])
def test_the_guard_comes_to_stand_before_upstream(
    host: Host, tmp_path: Path, with_socket: bool
) -> None:
    tree = other_tree(tmp_path / "tree", socket=with_socket)
    with host.client() as client:
        done = host.install(tree=tree)
    assert done.returncode == 0, done.stdout
    print(f"FIGURE install, {'with' if with_socket else 'without'} a socket: {client.told()}")
    assert client.gap < 3.0
    assert host.answers == "other"
    command = host.root / "usr/local/bin/lotus-guard"
    assert command.resolve() == (host.opt / "current/venv/bin/lotus-guard").resolve()
    assert os.access(command, os.X_OK)
    assert (SOCKET in host.systemd.enabled) is with_socket
    assert {GUARD, "voice-limit-guard-deploy.timer"} <= host.systemd.enabled
    environment = host.root / "etc/lotus-guard/environment"
    assert environment.stat().st_mode & 0o777 == 0o640
    assert f"LIVEKIT_SECRET={SECRET}\n" in environment.read_text()


def test_a_second_run_moves_nothing(installed: Host) -> None:
    before, calls = installed.current, len(installed.systemd.calls)
    environment = (installed.root / "etc/lotus-guard/environment").read_text()
    with installed.client() as client:
        done = installed.install(LIVEKIT_SECRET="another-secret-that-is-not-taken", LIVEKIT_KEY="k")
    assert done.returncode == 0, done.stdout
    assert client.lost == []
    assert installed.current == before
    assert (installed.root / "etc/lotus-guard/environment").read_text() == environment
    words = [call[0] for call in installed.systemd.calls[calls:]]
    assert not {"restart", "stop", "start"} & set(words)


def test_another_source_than_the_timers_is_told(installed: Host) -> None:
    settings = installed.root / "etc/lotus-guard/deploy"
    before = settings.read_text()
    assert "note:" not in installed.install().stdout
    done = installed.install(LOTUS_DEPLOY_BRANCH="another")
    assert done.returncode == 0
    assert f"{settings} says {installed.repository.path}, branch deployment" in done.stdout
    assert settings.read_text() == before


def test_a_second_run_of_another_tree_is_an_upgrade(installed: Host) -> None:
    revision = installed.repository.commit()
    with installed.client() as client:
        done = installed.install()
    assert done.returncode == 0, done.stdout
    assert client.lost == []
    assert (installed.current, installed.answers) == (revision, installed.newest)


def test_a_second_run_of_a_bad_tree_changes_nothing(installed: Host) -> None:
    before, answers = installed.current, installed.answers
    installed.repository.commit("crashes")
    with installed.client() as client:
        done = installed.install(LOTUS_DEPLOY_PROBE_SECONDS="2")
    assert done.returncode == 6, done.stdout
    assert client.lost == []
    assert (installed.current, installed.answers) == (before, answers)


def test_a_dry_run_says_every_step_and_changes_nothing(host: Host) -> None:
    before, calls = files_below(host.root), len(host.systemd.calls)
    dry = host.install("--dry-run")
    assert dry.returncode == 0
    assert files_below(host.root) == before
    assert {call[0] for call in host.systemd.calls[calls:]} == {"is-active"}
    done = host.install()
    said = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    *steps, last = dry.stdout.splitlines()
    assert last == CLEAR
    would = [line.removeprefix("would: ") for line in steps]
    assert [line for line in said if line not in would] == [f"the guard is in place: {host.url}"]


@pytest.mark.parametrize("behaviour", ["syntax", "import", "configuration", "fails"])
def test_a_gate_that_fails_leaves_everything_as_it_was(host: Host, behaviour: str) -> None:
    host.repository.commit(behaviour)
    calls = len(host.systemd.calls)
    with host.client() as client:
        done = host.install()
    assert done.returncode == 5, done.stdout
    assert client.lost == []
    assert_as_before(host)
    words = [call[0] for call in host.systemd.calls[calls:]]
    assert not {"restart", "stop", "start"} & set(words)


@pytest.mark.parametrize("with_socket", [True, False], ids=["socket", "no socket"])
def test_a_guard_that_crashes_is_taken_out_again(
    host: Host, tmp_path: Path, with_socket: bool
) -> None:
    tree = other_tree(tmp_path / "tree", "crashes", with_socket)
    with host.client() as client:
        done = host.install(tree=tree, LOTUS_DEPLOY_PROBE_SECONDS="2")
    assert done.returncode == 5, done.stdout
    assert "did not stay up" in done.stdout
    print(f"FIGURE install that fails: {client.told()}")
    assert_as_before(host)


def test_an_upstream_that_does_not_move_is_put_back(host: Host) -> None:
    unit = host.root / "lib/systemd/system/lk-jwt-service.service"
    unit.write_text(unit.read_text().replace("ExecStart=", "ExecStart=env LIVEKIT_JWT_BIND=:8070 "))
    done = host.install(LOTUS_DEPLOY_START_SECONDS="2")
    assert done.returncode == 5, done.stdout
    assert "LIVEKIT_JWT_BIND" in done.stdout
    assert_as_before(host)


def test_what_is_missing_is_named_all_at_once(host: Host) -> None:
    done = host.install(LIVEKIT_SECRET="", LOTUS_GUARD_SYNAPSE_TOKEN="")
    assert done.returncode == 2
    assert "LIVEKIT_SECRET" in done.stdout
    assert "LOTUS_GUARD_SYNAPSE_TOKEN" in done.stdout
    assert_as_before(host)


@pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_all_that_is_in_the_way_is_said_before_anything_is_built(
    host: Host, words: list[str]
) -> None:
    host.systemd.ask("stop", "lk-jwt-service.service")
    before = files_below(host.root)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", host.ports[8072]))
        taken.listen()
        done = host.install(
            *words, LIVEKIT_SECRET="", LOTUS_GUARD_LOGFORMAT="x", LOTUS_DEPLOY_FREE_MB="999999999"
        )
    assert done.returncode == 4, done.stdout
    for part in (
        "expected 1e+09 (FREE_MB)",
        "did you mean LOTUS_GUARD_LOG_FORMAT?",
        "LIVEKIT_SECRET: LiveKit's API secret",
        f"lk-jwt-service answers neither at {host.url}",
        f"port {host.ports[8072]} (the operators' port) is taken by ",
        f"(pid {os.getpid()})",
        "5 things are in the way",
    ):
        assert part in done.stdout
    assert "venv" not in done.stdout
    assert files_below(host.root) == before
    host.systemd.ask("start", "lk-jwt-service.service")


def test_lk_jwt_service_on_another_port_is_found(host: Host) -> None:
    unit = host.root / "lib/systemd/system/lk-jwt-service.service"
    port = free_port()
    elsewhere = unit.read_text().replace("LIVEKIT_JWT_BIND=:8070", f"LIVEKIT_JWT_BIND=:{port}")
    unit.write_text(elsewhere)
    host.systemd.ask("daemon-reload")
    host.systemd.ask("restart", "lk-jwt-service.service")
    until("it answers", lambda: listens(port))
    done = host.install("--dry-run")
    assert done.returncode == 4, done.stdout
    assert f"but at http://127.0.0.1:{port}. Fix: move it to port {host.ports[8070]}" in (
        done.stdout
    )


def test_it_does_not_mix_with_the_debian_package(host: Host) -> None:
    (host.root / "usr/lib/lotus-guard/venv").mkdir(parents=True)
    done = host.install()
    assert done.returncode == 5
    assert "`apt purge lotus-guard` first" in done.stdout
    assert_as_before(host)


def test_it_does_not_mix_with_what_is_left_of_the_package(host: Host) -> None:
    """`apt purge` would take its settings and its state away."""
    record = host.root / "var/lib/dpkg/info/lotus-guard.list"
    record.parent.mkdir(parents=True)
    record.touch()
    done = host.install()
    assert done.returncode == 5
    assert "`apt purge lotus-guard`" in done.stdout
    assert_as_before(host)


def test_a_guard_that_was_installed_by_hand_is_taken_over(host: Host) -> None:
    """As README.md says: units copied, a virtual environment at current/venv."""
    assert host.install().returncode == 0
    release = (host.opt / "current").resolve()
    (host.opt / "current").unlink()
    release.rename(host.opt / "current")
    before = files_below(host.root / "etc")
    with host.client() as client:
        done = host.install()
    assert done.returncode == 2
    assert "was installed there by hand" in done.stdout
    assert client.lost == []
    assert files_below(host.root / "etc") == before
    (host.opt / "current").rename(host.opt / "by-hand")
    with host.client() as client:
        done = host.install()
    assert done.returncode == 0, done.stdout
    assert client.gap < 3.0
    assert host.answers == "1"


def test_an_upstream_that_systemd_does_not_run_is_not_moved(host: Host) -> None:
    """Such as one in a container."""
    other = [sys.executable, "-m", "tests.deploy.upstream"]
    host.systemd.ask("stop", "lk-jwt-service.service")
    bind = {"LIVEKIT_JWT_BIND": f":{host.ports[8070]}", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(other, env={**host.environment, **bind}) as process:
        try:
            until("it answers", host.asks_for_a_token)
            done = host.install()
            assert done.returncode == 2, done.stdout
            assert "docs/install-containers.md" in done.stdout
            assert host.asks_for_a_token()
        finally:
            process.kill()
    host.systemd.ask("start", "lk-jwt-service.service")
    assert_as_before(host)


def test_a_key_file_will_do(host: Host, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"sandbox: {SECRET}\n")
    done = host.install(LIVEKIT_KEY="", LIVEKIT_SECRET="", LIVEKIT_KEY_FILE=str(tmp_path / "keys"))
    assert done.returncode == 0, done.stdout
    assert host.answers == "1"


def test_a_unit_that_loads_credentials_gets_them(host: Host) -> None:
    tree = host.repository.path
    unit = tree / "systemd" / GUARD
    lines = "LoadCredential=secret:/etc/lotus-guard/livekit-secret\n"
    lines += "Environment=LIVEKIT_SECRET_FROM_FILE=%d/secret\n"
    unit.write_text(unit.read_text().replace("[Install]", f"{lines}[Install]"))
    (tree / "fake_guard.py").write_text(
        (tree / "fake_guard.py")
        .read_text()
        .replace('os.environ.get("LIVEKIT_SECRET")', 'open(os.environ["LIVEKIT_SECRET_FROM_FILE"])')
    )
    done = host.install()
    assert done.returncode == 0, done.stdout
    secret = host.root / "etc/lotus-guard/livekit-secret"
    assert secret.read_text() == f"{SECRET}\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert SECRET not in (host.root / "etc/lotus-guard/environment").read_text()


def test_credentials_of_the_operator_are_the_guards(host: Host) -> None:
    """docs/systemd.md has them loaded by a drop-in of the operator's, which every release gets."""
    drop_in = host.root / "etc/systemd/system" / f"{GUARD}.d/override.conf"
    drop_in.parent.mkdir(parents=True)
    lines = "[Service]\nLoadCredential=secret:/etc/lotus-guard/livekit-secret\n"
    drop_in.write_text(f"{lines}Environment=LIVEKIT_SECRET_FROM_FILE=%d/secret\n")
    secret = host.root / "etc/lotus-guard/livekit-secret"
    secret.parent.mkdir(parents=True)
    secret.write_text(SECRET)
    reads = 'open(os.environ["LIVEKIT_SECRET_FROM_FILE"])'
    tree = host.repository.path
    for version in ("a", "b"):
        host.repository.commit(version=version)
        program = tree / "fake_guard.py"
        program.write_text(program.read_text().replace('os.environ.get("LIVEKIT_SECRET")', reads))
        git(tree, "commit", "--quiet", "--all", "--message", "with credentials")
        done = host.install(LIVEKIT_SECRET="") if version == "a" else host.deploy()
        assert done.returncode == 0, done.stdout
        assert host.answers == version
    assert "LIVEKIT_SECRET" not in (host.root / "etc/lotus-guard/environment").read_text()
    assert drop_in.exists()


def test_a_user_is_made_where_the_unit_names_one(host: Host, tmp_path: Path) -> None:
    unit = host.repository.path / "systemd" / GUARD
    unit.write_text(unit.read_text().replace("DynamicUser=yes", "User=lotus-guard-of-a-test"))
    useradd = tmp_path / "useradd"
    useradd.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/made\n')
    useradd.chmod(0o755)
    done = host.install(USERADD=str(useradd))
    assert done.returncode == 0, done.stdout
    assert "lotus-guard-of-a-test" in (tmp_path / "made").read_text()


def dies_at(host: Host, steps: int) -> bool:
    """Kill the installer after so many steps, and cut the power; tells whether it came so far."""
    done = host.install(LOTUS_DEPLOY_DIE_AFTER=str(steps))
    if done.returncode == 0:
        return False
    assert done.returncode == -9, done.stdout
    host.systemd.power_cut()
    host.systemd.boot()
    until(f"a token after a power cut at step {steps}", host.asks_for_a_token, 10)
    return True


def test_killed_or_without_power_at_any_step_the_token_endpoint_comes_back(host: Host) -> None:
    steps = 0
    while not list((host.opt / "releases").glob("*/finished")):  # what is half-built stays there
        steps += 1
        assert dies_at(host, steps)
        assert host.answers == ""
    built, steps = steps, 4
    while dies_at(host, steps + 1):
        steps += 1
        again = host.install()
        assert again.returncode == 0, again.stdout
        assert host.answers == "1"
        assert host.revert().returncode == 0
        assert host.answers == ""
    print(f"FIGURE install: killed and without power after each of {built + steps - 5} steps")
    assert built > 10
    assert steps > 15
