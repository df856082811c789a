"""deploy/revert on a made-up host: upstream back on its port, whatever is broken."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.madeup import Host
from tests.real.processes import until

UNITS = "etc/systemd/system"


def no_releases(host: Host) -> None:
    shutil.rmtree(host.opt)


def no_units(host: Host) -> None:
    for path in (host.root / UNITS).glob("voice-limit-guard.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    host.systemd.power_cut()
    host.systemd.boot()


def hangs(host: Host) -> None:
    pid = host.systemd.ask("show", "--property=MainPID", "voice-limit-guard.service")
    os.kill(int(pid.partition("=")[2]), signal.SIGSTOP)


def broken_settings(host: Host) -> None:
    (host.root / "etc/lotus-guard/environment").write_bytes(b"\xff\x00=\n")


BREAKAGES: list[Callable[[Host], None]] = [no_releases, no_units, hangs, broken_settings]


def assert_taken_out(host: Host) -> None:
    assert host.answers == ""
    assert not (host.root / UNITS / "lk-jwt-service.service.d").exists()
    assert host.systemd.enabled == {"lk-jwt-service.service"}


def test_upstream_is_back_and_a_second_time_does_nothing(installed: Host) -> None:
    with installed.client() as client:
        done = installed.revert()
    assert done.returncode == 0, done.stdout
    print(f"FIGURE revert: {client.told()}; it says: {done.stdout.splitlines()[-2]}")
    assert client.gap < 3.0
    assert_taken_out(installed)
    calls = len(installed.systemd.calls)
    with installed.client() as client:
        again = installed.revert()
    assert again.returncode == 0
    assert client.lost == []
    assert ["restart", "lk-jwt-service.service"] not in installed.systemd.calls[calls:]
    assert (installed.opt / "current").exists()


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_it_works_where_the_guard_is_broken(
    installed: Host, breakage: Callable[[Host], None]
) -> None:
    breakage(installed)
    done = installed.revert()
    assert done.returncode == 0, done.stdout
    assert_taken_out(installed)


def test_it_works_where_there_was_no_guard(host: Host) -> None:
    with host.client() as client:
        done = host.revert()
    assert done.returncode == 0, done.stdout
    assert client.lost == []
    assert_taken_out(host)


def test_it_ends_what_an_earlier_one_began(installed: Host) -> None:
    (installed.root / UNITS / "lk-jwt-service.service.d/port.conf").unlink()
    assert installed.revert().returncode == 0
    assert_taken_out(installed)


def test_the_deployer_leaves_a_host_alone_that_was_reverted(installed: Host) -> None:
    installed.revert()
    installed.repository.commit()
    done = installed.deploy()
    assert done.returncode == 0
    assert "not in place" in done.stdout
    assert_taken_out(installed)


def test_purge_removes_releases_and_units(installed: Host) -> None:
    done = installed.revert("--purge")
    assert done.returncode == 0, done.stdout
    assert not installed.opt.exists()
    assert not (installed.root / "usr/local/bin/lotus-guard").is_symlink()
    assert list((installed.root / UNITS).iterdir()) == []
    assert (installed.root / "etc/lotus-guard/environment").exists()
    assert installed.revert("--purge").returncode == 0
    assert_taken_out(installed)


def test_an_upstream_that_stays_away_is_told(installed: Host) -> None:
    unit = installed.root / "lib/systemd/system/lk-jwt-service.service"
    unit.write_text(unit.read_text().replace("ExecStart=", "ExecStart=/bin/false "))
    done = installed.revert(REVERT_SECONDS="1")
    assert done.returncode == 1
    assert "systemctl status lk-jwt-service" in done.stdout


def test_it_needs_neither_python_nor_curl(installed: Host, tmp_path: Path) -> None:
    """With nothing that could ask the port, all is done, and it says that it could not ask."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sed", "tail", "mv", "rm", "rmdir", "sleep"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    done = installed.revert(PATH=str(tools))
    assert done.returncode == 1
    assert "to ask port" in done.stdout
    until("upstream is back", installed.asks_for_a_token)  # nobody has waited for it
    assert_taken_out(installed)


def test_an_upstream_that_is_bound_elsewhere_keeps_its_guard(installed: Host) -> None:
    """Without the guard nobody would get a token: 8071 is for this host only."""
    unit = installed.root / "lib/systemd/system/lk-jwt-service.service"
    behind = f"ExecStart=env LIVEKIT_JWT_BIND=127.0.0.1:{installed.ports[8071]} "
    unit.write_text(unit.read_text().replace("ExecStart=", behind))
    enabled, answers = set(installed.systemd.enabled), installed.answers
    done = installed.revert("--purge", REVERT_SECONDS="1")
    assert done.returncode == 3
    assert "LIVEKIT_JWT_BIND" in done.stdout
    until("the guard is back", lambda: installed.answers == answers)
    assert installed.systemd.enabled == enabled
    assert (installed.root / UNITS / "lk-jwt-service.service.d/port.conf").exists()
    assert (installed.opt / "current").exists()
    assert installed.install().returncode == 0


def test_a_drop_in_that_cannot_be_removed_keeps_its_guard(installed: Host, tmp_path: Path) -> None:
    """Such as on a disk that has become read-only."""
    (tmp_path / "mv").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "mv").chmod(0o755)
    with installed.client() as client:
        done = installed.revert(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 3
    assert client.lost == []
    assert installed.answers == installed.newest


def test_an_upstream_that_hangs_is_not_waited_for_longer_than_said(installed: Host) -> None:
    """Each question takes two seconds then."""
    unit = installed.root / "lib/systemd/system/lk-jwt-service.service"
    hangs = "import socket, time; s = socket.create_server(('127.0.0.1', {})); time.sleep(60)"
    command = f'ExecStart={sys.executable} -c "{hangs.format(installed.ports[8070])}" #'
    unit.write_text(unit.read_text().replace("ExecStart=", command))
    began = time.monotonic()
    done = installed.revert(REVERT_SECONDS="3")
    assert done.returncode == 1
    assert time.monotonic() - began < 12


def test_words_that_it_does_not_know_change_nothing(installed: Host) -> None:
    assert installed.revert("--porge").returncode == 2
    assert installed.answers == installed.newest


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--purge", "--help"]])
def test_help_explains_and_does_nothing(installed: Host, words: list[str]) -> None:
    calls = len(installed.systemd.calls)
    done = installed.revert(*words)
    assert done.returncode == 0
    assert "deploy/revert [--purge] [--root DIR]" in done.stdout
    assert "3 where the guard has to stay" in done.stdout
    assert "#" not in done.stdout
    assert installed.systemd.calls[calls:] == []
