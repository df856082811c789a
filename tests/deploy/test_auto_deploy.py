"""deploy/auto-deploy on a made-up host: upgrades, gates, rollback."""

import fcntl
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deploy.madeup import Host, other_tree
from tests.deploy.releases import git
from tests.real.processes import until

UNIT = "etc/systemd/system/voice-limit-guard.service"


def restarts(host: Host) -> int:
    return sum(call[0] in ("restart", "stop", "start") for call in host.systemd.calls)


def state_of(host: Host) -> sqlite3.Connection:
    return sqlite3.connect(host.root / "var/lib/lotus-guard/lotus-guard.sqlite")


def test_nothing_is_done_where_nothing_changed(installed: Host) -> None:
    before = restarts(installed)
    done = installed.deploy()
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert restarts(installed) == before


def test_an_upgrade_loses_no_request(installed: Host) -> None:
    first = installed.current
    with state_of(installed) as connection:
        connection.execute("DELETE FROM seat")
        connection.execute("INSERT INTO seat VALUES ('!a:b', '@c:d')")
    connection.close()
    second = installed.repository.commit()
    with installed.client() as client:
        done = installed.deploy()
    assert done.returncode == 0, done.stdout
    print(f"FIGURE upgrade: {client.told()}")
    assert client.lost == []
    assert (installed.current, installed.answers) == (second, installed.newest)
    assert (installed.opt / "previous").resolve().name == first
    assert not (installed.opt / "pending").exists()
    backup = installed.opt / "backups" / second / "state.sqlite"
    with sqlite3.connect(backup) as connection:
        assert connection.execute("SELECT person FROM seat").fetchall() == [("@c:d",)]
    connection.close()


@pytest.mark.parametrize("behaviour", ["syntax", "import", "configuration", "fails"])
def test_a_gate_that_fails_leaves_the_running_release(installed: Host, behaviour: str) -> None:
    first, answers, before = installed.current, installed.answers, restarts(installed)
    bad = installed.repository.commit(behaviour)
    with installed.client() as client:
        done = installed.deploy()
        assert done.returncode == 5, done.stdout
        again = installed.deploy()
    assert client.lost == []
    assert again.returncode == 0
    assert "not tried again" in again.stdout
    assert (installed.current, installed.answers) == (first, answers)
    assert restarts(installed) == before
    assert not (installed.opt / "releases" / bad).exists()
    assert f"refused: {bad}" in installed.deploy("--status").stdout


def test_what_was_refused_can_be_tried_again_on_demand(installed: Host) -> None:
    bad = installed.repository.commit("configuration")
    assert installed.deploy().returncode == 5
    assert installed.deploy("--retry").returncode == 5
    assert f"refused: {bad}" in installed.deploy("--status").stdout


def test_a_crash_after_the_switch_is_rolled_back(installed: Host) -> None:
    first, answers = installed.current, installed.answers
    bad = installed.repository.commit("crashes")
    with installed.client() as client:
        done = installed.deploy(LOTUS_DEPLOY_PROBE_SECONDS="2")
        assert done.returncode == 6, done.stdout
        again = installed.deploy()
    print(f"FIGURE rollback: {client.told()}")
    assert client.lost == []
    assert "did not stay up" in done.stdout
    assert "not tried again" in again.stdout
    assert (installed.current, installed.answers) == (first, answers)
    assert not (installed.opt / "releases" / bad).exists()
    assert installed.deploy().returncode == 0
    third = installed.repository.commit()
    assert installed.deploy().returncode == 0
    assert (installed.current, installed.answers) == (third, installed.newest)


def test_a_rollback_on_a_full_disk_comes_to_its_end(installed: Host) -> None:
    """What it cannot write down, it says; the release before must run all the same."""
    first, answers = installed.current, installed.answers
    installed.repository.commit("crashes")
    shutil.rmtree(installed.opt / "refused", ignore_errors=True)
    (installed.opt / "refused").touch()  # where nothing can be written
    with installed.client() as client:
        done = installed.deploy(LOTUS_DEPLOY_PROBE_SECONDS="2")
    (installed.opt / "refused").unlink()
    assert done.returncode == 6, done.stdout
    assert "this could not be done" in done.stdout
    assert client.lost == []
    assert (installed.current, installed.answers) == (first, answers)
    assert not (installed.opt / "pending").exists()


def test_a_spare_port_that_was_taken_is_nobodys_fault(installed: Host) -> None:
    revision = installed.repository.commit("unlucky")
    done = installed.deploy()
    assert done.returncode == 0, done.stdout
    assert "trying again" in done.stdout
    assert installed.current == revision


def test_a_guard_that_is_taken_out_meanwhile_stays_out(installed: Host) -> None:
    """And that it does not answer then is not held against the release."""
    first = installed.current
    revision = installed.repository.commit()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(installed.deploy, LOTUS_DEPLOY_PROBE_SECONDS="8")
        until("it has switched", lambda: installed.current == revision, 60)
        assert installed.revert().returncode == 0
        done = running.result()
    assert done.returncode == 4, done.stdout
    assert "removed meanwhile" in done.stdout
    assert installed.answers == ""
    assert installed.current == first
    assert not (installed.opt / "refused" / revision).exists()
    assert not (installed.opt / "pending").exists()
    assert installed.install().returncode == 0


def test_without_room_on_the_disk_nothing_is_begun(installed: Host) -> None:
    revision = installed.repository.commit()
    done = installed.deploy(LOTUS_DEPLOY_FREE_MB="1e9")
    assert done.returncode == 4, done.stdout
    assert "FREE_MB" in done.stdout
    assert not (installed.opt / "releases" / revision).exists()
    assert installed.deploy().returncode == 0


@pytest.mark.parametrize("fault", ["missing", "not executable", "broken"])
def test_a_release_that_could_not_deploy_the_next_is_refused(installed: Host, fault: str) -> None:
    """Nobody would notice: the timer's unit is skipped where its program is missing."""
    installed.repository.commit()
    script = installed.repository.path / "deploy/auto-deploy"
    if fault == "missing":
        script.unlink()
    elif fault == "broken":
        script.write_text("#!/usr/bin/env python3\nimport nowhere\n")
    else:
        script.chmod(0o644)
    git(installed.repository.path, "commit", "--quiet", "--all", "--message", fault)
    done = installed.deploy()
    assert done.returncode == 5, done.stdout


def test_what_was_refused_and_is_installed_by_hand_is_refused_no_more(installed: Host) -> None:
    revision = installed.repository.commit()
    (installed.opt / "refused").mkdir(exist_ok=True)
    (installed.opt / "refused" / revision).write_text("the environment was wrong")
    assert "not tried again" in installed.deploy().stdout
    assert installed.install().returncode == 0
    assert installed.current == revision
    assert f"refused: {revision}" not in installed.deploy("--status").stdout


def test_tables_that_were_made_others_are_put_back(installed: Host) -> None:
    installed.repository.commit("migrates")
    done = installed.deploy(LOTUS_DEPLOY_PROBE_SECONDS="2")
    assert done.returncode == 6, done.stdout
    assert "restoring the backup" in done.stdout
    with state_of(installed) as connection:
        connection.execute("SELECT person FROM seat").fetchall()
    connection.close()


def test_the_unit_comes_and_goes_with_the_release(installed: Host) -> None:
    unit = installed.repository.path / "systemd/voice-limit-guard.service"
    before = (installed.root / UNIT).read_text()
    installed.repository.commit("crashes")
    unit.write_text(unit.read_text() + "# another\n")
    git(installed.repository.path, "commit", "--quiet", "--all", "--message", "a unit")
    done = installed.deploy(LOTUS_DEPLOY_PROBE_SECONDS="2")
    assert done.returncode == 6, done.stdout
    assert (installed.root / UNIT).read_text() == before
    text = (installed.repository.path / "fake_guard.py").read_text()
    (installed.repository.path / "fake_guard.py").write_text(text.replace('"crashes"', '"good"', 1))
    installed.repository.behaviour = "good"
    git(installed.repository.path, "commit", "--quiet", "--all", "--message", "mended")
    done = installed.deploy()
    assert done.returncode == 0, done.stdout
    assert (installed.root / UNIT).read_text() == f"{before}# another\n"


def test_only_one_deployer_at_a_time(installed: Host) -> None:
    installed.repository.commit()
    with (installed.opt / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert installed.deploy().returncode == 75
    assert installed.deploy().returncode == 0


def test_a_source_that_is_not_there_changes_nothing(installed: Host) -> None:
    done = installed.deploy(LOTUS_DEPLOY_SOURCE=str(installed.directory / "nowhere"))
    assert done.returncode == 3
    assert installed.deploy(LOTUS_DEPLOY_BRANCH="another").returncode == 3
    assert installed.answers == installed.newest


def test_a_package_that_does_not_come_is_nobodys_fault(installed: Host) -> None:
    tree, answers = installed.repository.path, installed.answers
    installed.repository.commit("pins what there is not")
    pinned = "there-is-no-such-package==1 --hash=sha256:" + "0" * 64
    (tree / "deploy/requirements.txt").write_text(pinned + "\n")
    git(tree, "commit", "--quiet", "--all", "--message", "pinned")
    done = installed.deploy(PIP_NO_INDEX="1")
    assert done.returncode == 4, done.stdout
    assert not (installed.opt / "refused" / git(tree, "rev-parse", "HEAD")).exists()
    assert installed.answers == answers


def test_there_is_a_better_time_than_while_upstream_is_down(installed: Host) -> None:
    installed.repository.commit()
    installed.systemd.ask("stop", "lk-jwt-service.service")
    assert installed.deploy().returncode == 4
    installed.systemd.ask("start", "lk-jwt-service.service")
    until("upstream is back", installed.asks_for_a_token)
    assert installed.deploy().returncode == 0


def test_a_directory_is_a_source_as_well(installed: Host, tmp_path: Path) -> None:
    tree = other_tree(tmp_path / "tree")
    done = installed.deploy(LOTUS_DEPLOY_SOURCE=str(tree))
    assert done.returncode == 0, done.stdout
    assert installed.answers == "other"
    assert installed.current.startswith("tree-")
    assert "nothing to do" in installed.deploy(LOTUS_DEPLOY_SOURCE=str(tree)).stdout


def test_without_an_installation_there_is_nothing_to_do(host: Host) -> None:
    done = host.deploy()
    assert done.returncode == 0
    assert "not in place" in done.stdout
    shutil.rmtree(host.opt)
    assert host.deploy("--status").returncode == 0
