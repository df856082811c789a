"""What goes wrong around the deployer: people who leave, others who meddle, what hangs."""

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from deploy.lib import answers, files, probe, state
from deploy.lib.build import whose_fault
from deploy.lib.face import demand_ownership, demand_root, locked
from deploy.lib.host import Exit, Host, Trouble, run
from deploy.lib.source import Directory, source_of
from deploy.lib.steps import Walk
from deploy.lib.trial import moved_aside, trial_environment
from deploy.lib.unit import Service, quoted, service_environment, unit_texts
from lotus_guard.run.config import read_config, variable_names
from lotus_guard.run.env_file import parse_environment
from tests.deploy.releases import git
from tests.real.processes import ROOT, until
from tests.test_docs import GOOD

INTERRUPTED = """
import os, signal, sys, time
from deploy.lib.face import guarded
from deploy.lib.steps import Walk

def undo():
    open(sys.argv[1], "w").close()
    time.sleep(1)  # somebody presses Ctrl-C again
    open(sys.argv[2], "w").close()

def work():
    with Walk() as walk:
        walk.step("move", lambda: None, undo, "back")
        walk.step("wait", lambda: time.sleep(20))

sys.exit(guarded(work))
"""
UNHEARD = """
import sys
from deploy.lib.face import guarded
from deploy.lib.host import Trouble
from deploy.lib.steps import Walk

def fail():
    sys.stdin.readline()  # until nobody reads any more what is said
    raise Trouble("no")

def work():
    with Walk() as walk:
        walk.step("move", lambda: None, lambda: open(sys.argv[1], "w").close(), "back")
        walk.step("fail", fail)

sys.exit(guarded(work))
"""
HOLDS = """
import sys
from pathlib import Path
from deploy.lib.face import locked
from deploy.lib.host import Host, run

with locked(Host(Path(sys.argv[1]))):
    run(["sh", "-c", "echo $$ >'%s'; sleep 60" % sys.argv[2]])
"""


@contextmanager
def python(code: str, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run code as a command of ours runs: in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_what_is_undone_is_not_broken_off(tmp_path: Path, first: signal.Signals) -> None:
    began, ended = tmp_path / "began", tmp_path / "ended"
    with python(INTERRUPTED, began, ended) as process:
        assert process.stdout is not None
        while b"wait" not in process.stdout.readline():
            pass
        process.send_signal(first)
        until("it undoes", began.exists)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        assert process.wait(10) == Exit.NOT_NOW
    assert ended.exists()


def test_a_failure_with_nobody_to_hear_of_it_is_undone(tmp_path: Path) -> None:
    """As where the connection breaks that the command was started by, or with `| head -1`."""
    undone = tmp_path / "undone"
    with python(UNHEARD, undone) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b"go on\n")
        process.stdin.close()
        assert process.wait(10) == Exit.REFUSED
    assert undone.exists()


def test_a_failure_inside_is_undone_without_interruption() -> None:
    seen = []

    def undo() -> None:
        os.kill(os.getpid(), signal.SIGINT)  # pytest would end by it
        seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        with Walk() as walk:
            walk.step("move", lambda: None, undo, "back")
            raise Trouble("no")

    with pytest.raises(Trouble):
        work()
    assert seen == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) == before


def test_what_a_killed_deployer_has_started_keeps_the_lock(tmp_path: Path) -> None:
    """Its pip goes on: who built the same release meanwhile would have two writing in it."""
    root, pid = tmp_path / "root", tmp_path / "pid"
    with python(HOLDS, root, pid) as process:
        until("it works", lambda: pid.exists() and pid.read_text().strip() != "")
        process.kill()
        process.wait()
        with pytest.raises(Trouble) as caught, locked(Host(root)):
            pass
        assert caught.value.code is Exit.BUSY
        os.killpg(int(pid.read_text()), signal.SIGKILL)
    until("the lock is free", lambda: is_free(root))


def is_free(root: Path) -> bool:
    try:
        with locked(Host(root)):
            return True
    except Trouble:
        return False


def test_a_command_that_hangs_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    """As git does, whose helper hangs."""
    pid, began = tmp_path / "pid", time.monotonic()
    with pytest.raises(Trouble, match="not done within"):
        run(["sh", "-c", f"sh -c 'echo $$ >{pid}; sleep 60'; true"], seconds=0.5)
    assert time.monotonic() - began < 5
    until("it has ended", lambda: not is_running(int(pid.read_text())))


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except FileNotFoundError:
        return False


def test_what_cannot_be_written_in_this_locale_is_said_all_the_same() -> None:
    code = "from deploy.lib.face import guarded; from deploy.lib.host import say; "
    code += "guarded(lambda: say('\\u2501 \\udcff done'))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False
    )
    assert done.stdout == b"\\u2501 \\udcff done\n", done


@pytest.mark.parametrize("mode", [0o775, 0o777, 0o757])
def test_where_others_may_write_root_runs_nothing(tmp_path: Path, mode: int) -> None:
    host = Host(tmp_path)
    for directory in (host.opt, host.environment_file.parent):
        directory.mkdir(parents=True)
        with locked(host):
            pass
        directory.chmod(mode)
        with pytest.raises(Trouble, match="other than root") as caught, locked(host):
            pass
        assert caught.value.code is Exit.USAGE
        directory.chmod(0o755)


def test_another_users_directory_is_not_ours(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 9, 9)
    with pytest.raises(Trouble, match="chown root"):
        demand_ownership(tmp_path, os.geteuid() + 1)
    demand_ownership(tmp_path / "not there", 0)


def test_only_root_works_on_a_host() -> None:
    with pytest.raises(Trouble, match="Fix: use sudo"):
        demand_root(Host(), 1000)
    demand_root(Host(Path("/scratch")), 1000)
    demand_root(Host(), 0)


@pytest.mark.parametrize(
    "address",
    [
        "https://someone:secret@git.example.org/x",
        "https://a-token@git.example.org/x",
        "ssh://someone:secret@git.example.org/x",
    ],
)
def test_no_secret_comes_onto_a_command_line(address: str) -> None:
    with pytest.raises(Trouble) as caught:
        source_of(address, "main")
    assert caught.value.code is Exit.USAGE
    assert "secret" not in str(caught.value)
    assert "a-token" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["ssh://git@git.example.org/x", "git@git.example.org:x", "https://git.example.org/x"]
)
def test_an_address_without_a_secret_will_do(address: str) -> None:
    source_of(address, "main")


def test_another_branch_of_that_ending_is_not_the_branch(tmp_path: Path) -> None:
    """git lists it, too, and first: whoever may push any branch could stop all deployments."""
    tree = tmp_path / "tree"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch", "main")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "one")
    right = git(tree, "rev-parse", "HEAD")
    git(tree, "checkout", "--quiet", "-b", "a/refs/heads/main")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "another")
    assert source_of(str(tree), "main").revision() == right
    git(tree, "branch", "--quiet", "-D", "main")
    with pytest.raises(Trouble, match="has no refs/heads/main"):
        source_of(str(tree), "main").revision()


def test_no_file_of_a_release_may_be_written_by_others(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    files.write(source / "a/script", "x", 0o775)
    files.write(source / "a/file", "x", 0o664)
    Directory(source).export(Directory(source).revision(), target)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (target / "a").iterdir()}
    assert modes == {"script": 0o755, "file": 0o644}
    for path, mode in ((source / "a/file", 0o666), (source / "a", 0o777)):
        before = path.stat().st_mode
        path.chmod(mode)
        with pytest.raises(Trouble, match="everybody can write") as caught:
            Directory(source).revision()
        assert caught.value.code is Exit.SOURCE
        path.chmod(before)


def test_what_is_no_file_does_not_hold_the_deployer_up(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = Directory(tmp_path).revision()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to("not-there")
    assert Directory(tmp_path).revision() == first


def test_a_directory_that_is_not_there_is_no_empty_tree(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        Directory(tmp_path / "nowhere").revision()
    assert caught.value.code is Exit.SOURCE


def drip() -> Iterator[bytes]:
    """An answer that never ends, a little at a time: each single packet is in time."""
    yield b"HTTP/1.0 200 OK\r\n\r\n"
    while True:
        time.sleep(0.1)
        yield b"x"


def test_an_answer_without_an_end_is_none() -> None:
    """Or a broken release would be watched for ever, and never be rolled back."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(1000)
                for part in drip():
                    connection.sendall(part)

        thread = Thread(target=serve)
        thread.start()
        began = time.monotonic()
        with pytest.raises(probe.Silent, match="incomplete"):
            probe.ask(f"http://127.0.0.1:{listening.getsockname()[1]}", "GET", "/", seconds=0.5)
        assert time.monotonic() - began < 3
        thread.join()


def test_a_long_answer_is_read_in_part() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (probe.MOST + 1))

        thread = Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert len(probe.ask(url, "GET", "/").body) == probe.MOST
        thread.join()


def test_on_a_full_disk_no_release_is_to_blame() -> None:
    refused = Trouble("it does not compile")
    assert whose_fault(refused, 100, 400) is refused
    assert whose_fault(refused, 1, 400).code is Exit.NOT_NOW
    other = Trouble("no index", Exit.SOURCE)
    assert whose_fault(other, 1, 400) is other


def test_state_is_put_back_in_the_place_of_what_is_there(tmp_path: Path) -> None:
    """Root must not follow a link that a guard was made to leave in its directory."""
    directory, kept, roots = tmp_path / "state", tmp_path / "kept", tmp_path / "root's file"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, 65534, 65534)
    with closing(sqlite3.connect(kept)) as connection:
        connection.execute("CREATE TABLE seat (person)")
        connection.commit()
    kept.chmod(0o600)
    path = directory / "lotus-guard.sqlite"
    for name in (path.name, f".{path.name}.new", f"{path.name}-wal"):
        (directory / name).symlink_to(roots)
    state.put_back(kept, path)
    assert not roots.exists()
    assert [entry.name for entry in directory.iterdir()] == [path.name]
    assert not path.is_symlink()
    assert path.read_bytes() == kept.read_bytes()
    found, owner = path.stat(), directory.stat()
    assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()  # a file cannot take its place
    with pytest.raises(OSError, match="directory"):
        files.write(tmp_path / "name", "secret")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_settings_that_are_there_keep_their_owner_and_mode(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("A=1\n")
    elsewhere.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(elsewhere, 7, 8)
    host = Host(tmp_path)
    host.environment_file.parent.mkdir(parents=True)
    host.environment_file.symlink_to(elsewhere)
    before = elsewhere.stat()
    answers.store(host, [], {"B": "2"})
    after = elsewhere.stat()
    assert elsewhere.read_text() == "A=1\nB=2\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert host.environment_file.is_symlink()


@pytest.mark.parametrize("value", ["a&b", "~x", "a b", "a;b", "$(x)", "a'b", "a\\b", "`x`", "!?*"])
def test_a_shell_reads_the_settings_as_systemd_does(tmp_path: Path, value: str) -> None:
    """`. /etc/lotus-guard/environment`, as the pages say, must run nothing that is in them."""
    (tmp_path / "environment").write_text(f"A={quoted(value)}\n")
    code = '. "$1" && printf %s "$A"'
    done = subprocess.run(
        ["sh", "-c", code, "sh", str(tmp_path / "environment")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (value, "")
    assert parse_environment(f"A={quoted(value)}") == {"A": value}


def test_a_drop_in_of_the_operator_counts_for_the_next_release_as_well(tmp_path: Path) -> None:
    """docs/systemd.md has the secrets loaded by one."""
    host = Host(tmp_path)
    lines = "[Service]\nLoadCredential=key:/k\nEnvironment=LIVEKIT_SECRET_FROM_FILE=%d/key\n"
    lines += "EnvironmentFile=-/etc/more\n"
    files.write(host.units / "voice-limit-guard.service", "[Service]\nEnvironment=A=old\n")
    files.write(host.units / "voice-limit-guard.service.d/override.conf", lines)
    files.write(host.path("/etc/more"), "B=2\n")
    new = b"[Service]\nEnvironment=A=new\nEnvironmentFile=/etc/lotus-guard/environment\n"
    files.write(host.environment_file, "B=1\nC=3\n")
    found = service_environment(host, unit_texts(host, new))
    wanted = {"A": "new", "B": "2", "C": "3", "LIVEKIT_SECRET_FROM_FILE": f"{tmp_path}/k"}
    assert found == wanted


def test_a_password_that_the_guard_takes_from_a_file_only_wants_a_credential(
    tmp_path: Path,
) -> None:
    """Written into the environment file it would be a variable that the guard does not know."""
    host, name = Host(tmp_path), "LOTUS_GUARD_REDIS_PASSWORD_FROM_FILE"
    known = answers.known_names((ROOT / "deploy/environment.sample").read_text())
    assert known == set(variable_names())
    (tmp_path / "password").write_text("secret")
    given = {**GOOD, name: str(tmp_path / "password")}
    with pytest.raises(Trouble, match="systemctl edit") as caught:
        answers.given(given, known, {})
    assert caught.value.code is Exit.USAGE
    credential = "[Service]\nLoadCredential=redis:/etc/redis-password\n"
    texts = [f"{credential}Environment={name}=%d/redis\n"]
    files.write(tmp_path / "etc/redis-password", "secret")
    found = answers.given(given, known, answers.held(host, texts))
    assert found == GOOD


def test_a_guard_on_trial_keeps_away_from_redis(tmp_path: Path) -> None:
    """With the lease of the live loop it would, observing, do nothing for four seconds."""
    settings = {**GOOD, "LOTUS_GUARD_STATE": "redis://redis.example.org:6379/0?prefix=a/b"}
    shared = Service({**settings, "LOTUS_GUARD_WORKERS": "2"})
    assert shared.state_file(tmp_path) is None
    config = read_config(moved_aside(shared, tmp_path).environment)
    assert (config.state, config.workers) == (tmp_path / "lotus-guard.sqlite", 1)
    checked = read_config(trial_environment(shared, tmp_path))  # what `check --offline` looks at
    assert checked.workers == 2
    assert checked.state != config.state


def test_a_variable_without_a_value_says_nothing_yet(tmp_path: Path) -> None:
    """As the sample has them, to be filled in."""
    host = Host(tmp_path)
    files.write(host.environment_file, "LIVEKIT_KEY=\nLIVEKIT_SECRET_FROM_FILE=/x\n")
    assert answers.held(host, []).keys() == {"LIVEKIT_SECRET", "LIVEKIT_SECRET_FROM_FILE"}
