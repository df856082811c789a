"""deploy/revert on a made-up host: upstream back on its port, whatever is broken."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.madeup import Host

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
    for name in ("sed", "tail", "date", "rm", "rmdir", "sleep"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    done = installed.revert(PATH=str(tools))
    assert done.returncode == 1
    assert "to ask port" in done.stdout
    assert_taken_out(installed)


def test_words_that_it_does_not_know_change_nothing(installed: Host) -> None:
    assert installed.revert("--porge").returncode == 2
    assert installed.answers == installed.newest
