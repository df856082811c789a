"""What deploy/install looks at before it changes anything: ports, containers, disk, settings."""

import os
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from deploy.lib import files
from deploy.lib.build import demand_room
from deploy.lib.host import Exit, Trouble
from deploy.lib.host import Host as Place
from deploy.lib.ports import Ports
from deploy.lib.releases import Releases
from deploy.lib.survey import (
    Neighbours,
    Survey,
    demand_known_names,
    demand_pip,
    demand_sound_values,
)
from deploy.lib.unit import Service
from tests.real.processes import ROOT, free_port

LOOPBACK = ip_address("127.0.0.1")
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
EXEC = "[Service]\nExecStart={}\n"


def row(address: str, state: str, inode: int) -> str:
    return f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00 0 0 0 {inode} 1\n"


def process(proc: Path, pid: int, comm: str, inode: int, cgroup: str = "0::/\n") -> None:
    """Write a process as proc(5) has it, which holds a socket."""
    (proc / f"{pid}/fd").mkdir(parents=True)
    (proc / f"{pid}/comm").write_text(f"{comm}\n")
    (proc / f"{pid}/cgroup").write_text(cgroup)
    (proc / f"{pid}/fd/3").symlink_to(f"socket:[{inode}]")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """8070 on all addresses, 8071 on another one than loopback, 8072 on an IPv6 socket."""
    made = tmp_path / "proc"
    (made / "net").mkdir(parents=True)
    (made / "self").mkdir()
    (made / "self/cgroup").write_text("0::/init.scope\n")
    rows = [row("00000000:1F86", "0A", 11), row("0100007F:1F86", "01", 12)]
    rows.append(row("9601A8C0:1F87", "0A", 13))
    (made / "net/tcp").write_text(HEAD + "".join(rows))
    mapped = "0000000000000000FFFF00000100007F:1F88"
    (made / "net/tcp6").write_text(HEAD + row(mapped, "0A", 14))
    return made


def test_a_listener_is_found_with_its_program(proc: Path) -> None:
    process(proc, 812, "docker-proxy", 11)
    process(proc, 99, "nginx", 14)
    ports = Ports(proc)
    who = ports.on(8070, LOOPBACK)
    assert who is not None
    assert (str(who), who.is_container) == ("docker-proxy (pid 812)", True)
    assert ports.on(8071, LOOPBACK) is None, "it listens on 192.168.1.150"
    assert ports.on(8071, ip_address("0.0.0.0")) is not None
    other = ports.on(8072, LOOPBACK)
    assert other is not None
    assert (other.program, other.is_container) == ("nginx", False)


def test_a_process_named_by_a_stranger_drives_no_terminal(proc: Path) -> None:
    process(proc, 812, "\x1b[2J\nok", 11)
    said = str(Ports(proc).on(8070, LOOPBACK))
    assert said.isprintable()
    assert "(pid 812)" in said


def test_whose_process_nobody_may_see_listens_all_the_same(proc: Path) -> None:
    assert str(Ports(proc).on(8070, LOOPBACK)) == "another user's process"


@pytest.mark.parametrize(
    ("cgroup", "own", "is_container"),
    [
        ("0::/system.slice/docker-0a1b.scope\n", "0::/init.scope\n", True),
        ("0::/machine.slice/libpod-0a1b.scope/container\n", "0::/\n", True),
        ("0::/system.slice/lk-jwt-service.service\n", "0::/\n", False),
        ("1:cpu:/docker/0a1b\n", "1:cpu:/docker/0a1b\n", False),
    ],
    ids=["docker", "podman", "systemd", "all of this is in a container"],
)
def test_a_container_with_the_hosts_network_is_known(
    proc: Path, cgroup: str, own: str, is_container: bool
) -> None:
    (proc / "self/cgroup").write_text(own)
    process(proc, 7, "lk-jwt-service", 11, cgroup)
    who = Ports(proc).on(8070, LOOPBACK)
    assert who is not None
    assert who.is_container is is_container


def test_this_very_machine_can_be_read() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        who = Ports().on(sock.getsockname()[1], LOOPBACK)
    assert who is not None
    assert who.pid == os.getpid()
    assert Ports().on(free_port(), LOOPBACK) is None


def neighbours(root: Path, proc: Path) -> Neighbours:
    """Look from a host whose systemd runs nothing; nobody answers at port 1 or 2."""
    service = Service(
        {
            "LOTUS_GUARD_LISTEN": "tcp:8070",
            "LOTUS_GUARD_UPSTREAM": "http://192.168.1.150:8071",
        }
    )
    return Neighbours(Place(root, "false"), service, "", Ports(proc))


def test_ports_that_others_have_are_named_with_the_setting(tmp_path: Path, proc: Path) -> None:
    process(proc, 99, "nginx", 14)
    found = [str(each) for each in neighbours(tmp_path, proc).taken(None)]
    assert [text.split(" (")[0] for text in found] == ["port 8070", "port 8071", "port 8072"]
    assert "the operators' port) is taken by nginx (pid 99)" in found[2]
    assert "LOTUS_GUARD_ADMIN_LISTEN" in found[2]


def test_where_lk_jwt_service_answers_its_port_is_not_in_the_way(
    tmp_path: Path, proc: Path
) -> None:
    found = [str(each) for each in neighbours(tmp_path, proc).taken("http://127.0.0.1:8070")]
    assert not any("8070" in text for text in found)


@pytest.mark.parametrize(
    ("unit", "page"),
    [
        ("etc/systemd/system/lk-jwt-service.service", "install-containers"),
        ("run/systemd/generator/lk-jwt-service.service", "install-containers"),
        ("etc/systemd/system/matrix-livekit-jwt-service.service", "matrix-docker-ansible-deploy"),
    ],
)
def test_a_unit_that_starts_a_container_is_not_moved(tmp_path: Path, unit: str, page: str) -> None:
    files.write(tmp_path / unit, EXEC.format("/usr/bin/podman run --rm lk-jwt-service"))
    with pytest.raises(Trouble, match=f"docs/{page}.md") as caught:
        neighbours(tmp_path, tmp_path / "none").upstream()
    assert caught.value.code is Exit.USAGE
    assert (ROOT / f"docs/{page}.md").exists()


def test_a_container_on_the_port_is_not_moved(tmp_path: Path, proc: Path) -> None:
    process(proc, 812, "rootlesskit", 11)
    with pytest.raises(Trouble, match=r"rootlesskit \(pid 812\)") as caught:
        neighbours(tmp_path, proc).upstream()
    assert "docs/install-containers.md" in str(caught.value)


def test_all_that_is_in_the_way_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    survey = Survey()
    survey.end()

    def fails(text: str, code: Exit) -> None:
        raise Trouble(text, code)

    assert survey.look(lambda: "there") == "there"
    survey.look(lambda: fails("one", Exit.USAGE))
    with pytest.raises(Trouble, match=r"^one$"):
        survey.end()
    survey.look(lambda: fails("two", Exit.NOT_NOW))
    with pytest.raises(Trouble, match="2 things") as caught:
        survey.end()
    assert caught.value.code is Exit.USAGE
    assert capsys.readouterr().out == "- one\n- two\n"


def test_a_misspelt_setting_is_named_with_its_right_name() -> None:
    known = {"LOTUS_GUARD_LOG_FORMAT", "LIVEKIT_URL"}
    demand_known_names({"LIVEKIT_JWT_BIND", "LOTUS_DEPLOY_SOURCE", *known}, known)
    with pytest.raises(Trouble, match=r"did you mean LOTUS_GUARD_LOG_FORMAT\?"):
        demand_known_names({"LOTUS_GUARD_LOGFORMAT"}, known)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"LOTUS_GUARD_SYNAPSE_URL": "nonsense"}, "LOTUS_GUARD_SYNAPSE_URL does not begin with"),
        ({"LOTUS_GUARD_LIVEKIT_URL": "livekit:7880"}, "LOTUS_GUARD_LIVEKIT_URL does not"),
        ({"LOTUS_GUARD_SYNAPSE_URL": "http://me:pass@h"}, "LOTUS_GUARD_SYNAPSE_URL is not valid"),
        ({"LIVEKIT_URL": "wss://"}, "LIVEKIT_URL has no host"),
        ({"LOTUS_GUARD_UPSTREAM": "http://h:port"}, "has a host or port that is not valid"),
        ({"LOTUS_GUARD_MODE": "foo"}, "LOTUS_GUARD_MODE is 'foo'; wanted: enforce or observe"),
    ],
)
def test_a_value_that_the_guard_cannot_use_is_told_before_anything_is_built(
    values: dict[str, str], wanted: str
) -> None:
    with pytest.raises(Trouble) as told:
        demand_sound_values(values)
    assert wanted in str(told.value)
    assert told.value.code == Exit.USAGE


def test_usual_values_are_taken() -> None:
    demand_sound_values({})
    for url in ("wss://livekit.example.org", "ws://127.0.0.1:7880", "https://livekit.example.org"):
        demand_sound_values({"LIVEKIT_URL": url, "LOTUS_GUARD_MODE": "observe"})
    demand_sound_values({"LOTUS_GUARD_SYNAPSE_URL": "http://[::1]:8008", "LIVEKIT_KEY": "k"})
    demand_sound_values({"LOTUS_GUARD_LIVEKIT_URL": "ws://livekit:7880", "LIVEKIT_URL": "any"})


def test_a_disk_that_is_full_is_seen_before_there_is_anything(tmp_path: Path) -> None:
    releases = Releases(Place(tmp_path))
    demand_room(releases, "a", 0.001)
    with pytest.raises(Trouble, match="MB left"):
        demand_room(releases, "a", 1e9)
    files.write(releases.directory("a") / "finished", "")
    demand_room(releases, "a", 1e9)


def test_a_python_without_venv_is_seen(tmp_path: Path) -> None:
    demand_pip(Place(tmp_path))
    with pytest.raises(Trouble, match="python3-venv"):
        demand_pip(Place(tmp_path), "there_is_no_such_module")
    (tmp_path / "opt/lotus-guard/tools").mkdir(parents=True)
    demand_pip(Place(tmp_path), "there_is_no_such_module")


@pytest.mark.parametrize("version", ["(3, 9, 2)", "(3, 10, 12)"])
def test_an_older_python_is_told_so(version: str) -> None:
    code = f"import runpy, sys; sys.version_info = {version}; runpy.run_path('deploy/install')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs Python 3.11" in done.stderr


@pytest.mark.parametrize("command", ["install", "auto-deploy", "revert"])
def test_another_root_is_not_this_machines_systemds(tmp_path: Path, command: str) -> None:
    """A systemctl on PATH that would be asked leaves a mark."""
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    (tmp_path / "systemctl").chmod(0o755)
    where = [str(ROOT / "deploy" / command), "--root", str(tmp_path / "root")]
    path = f"{tmp_path}:{os.environ['PATH']}"
    outer = {n: v for n, v in os.environ.items() if not n.startswith(("LOTUS_", "SYSTEMCTL"))}
    for words in (where, *([[*where, "--dry-run"]] if command == "install" else [])):
        done = subprocess.run(
            words, env={**outer, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == Exit.USAGE, done
        assert not (tmp_path / "asked").exists()
        assert "--dry-run" in words or "SYSTEMCTL=COMMAND" in done.stdout + done.stderr
