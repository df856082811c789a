"""What goes wrong around the deployer: people who leave, others who meddle, what hangs."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.lib import files
from deploy.lib.face import demand_ownership, demand_root, locked
from deploy.lib.host import Exit, Host, Trouble, run
from deploy.lib.source import Directory, source_of
from deploy.lib.steps import Walk
from tests.deploy.releases import git
from tests.real.processes import ROOT, until

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
        with pytest.raises(Trouble, match="others than root") as caught, locked(host):
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
    with pytest.raises(Trouble, match="wanted: sudo"):
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
        with pytest.raises(Trouble, match="everybody may write") as caught:
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
