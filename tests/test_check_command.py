"""The command itself: what it prints, how it ends, and what it does not touch."""

import json
import os
import pty
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from click.testing import CliRunner
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from lotus_guard.check.all import Look, run
from lotus_guard.check.clocks import judge
from lotus_guard.check.finding import Finding, Level, fault, note, ok, plain, warning, worst
from lotus_guard.check.livekit_file import Unusable, read_livekit_file
from lotus_guard.check.state import (
    look_at_secret_files,
    look_at_state_file,
    look_for_other_guards,
)
from lotus_guard.cli import main
from lotus_guard.commands.check import _without
from lotus_guard.run.address import leads_to, listening
from tests.check_yard import Yard
from tests.test_docs import GOOD
from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
SECRET = "a-secret-that-must-never-be-printed"


def environment(**more: str) -> dict[str, str]:
    ours = ("LOTUS_GUARD_", "LIVEKIT_", "STATE_DIRECTORY")
    neutral = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**neutral, "PYTHONPATH": str(ROOT), **more}


def run_check(tmp_path: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lotus_guard.cli", "check", *arguments],
        cwd=tmp_path,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def yard(world: World, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(world, tmp_path)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


@ensureDeferred
async def test_the_process_looks_at_a_working_stack_and_ends_with_0(
    yard: Yard, tmp_path: Path
) -> None:
    arguments = ("--json", "--public-url", yard.public_url + "/")
    done = await deferToThread(
        run_check, tmp_path, *arguments, CHECK_USER_TOKEN="alice", **yard.environment
    )
    report = json.loads(done.stdout)
    levels = {each["name"]: each["level"] for each in report["findings"]}
    assert (done.returncode, report["level"], done.stderr) == (0, "ok", ""), report
    assert (levels["webhooks"], levels["upstream-key"]) == ("ok", "ok")
    assert {"name", "level", "seen", "wanted"} == report["findings"][0].keys()


@ensureDeferred
async def test_the_process_ends_with_2_where_there_is_a_fault(yard: Yard, tmp_path: Path) -> None:
    broken = {**yard.environment, "LOTUS_GUARD_SYNAPSE_TOKEN": "a-token-that-has-run-out"}
    done = await deferToThread(run_check, tmp_path, **broken)
    assert done.returncode == 2
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fault")]
    assert line.startswith("fault    synapse-token")
    assert "Change: LOTUS_GUARD_SYNAPSE_TOKEN" in line
    assert "a-token-that-has-run-out" not in done.stdout
    assert "\x1b" not in done.stdout, "no colour where nobody looks"


def test_a_faulty_environment_is_a_list_of_faults(tmp_path: Path) -> None:
    done = run_check(tmp_path, LOTUS_GUARD_DEADLINE="\x1b[31msoon", LOTUS_GUARD_TYPO="x")
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    assert all(line.startswith("fault    environment") for line in lines)
    for name in ("LOTUS_GUARD_DEADLINE", "LOTUS_GUARD_TYPO", "LIVEKIT_KEY", "LIVEKIT_URL"):
        assert any(f" {name}: " in line for line in lines)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_offline_asks_nobody(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        everybody = {
            **GOOD,
            "LIVEKIT_URL": address,
            "LIVEKIT_SECRET": SECRET,
            "LOTUS_GUARD_UPSTREAM": address,
            "LOTUS_GUARD_SYNAPSE_URL": address,
            "LOTUS_GUARD_STATE": str(tmp_path / "state.sqlite"),
        }
        done = run_check(
            tmp_path, "--offline", "--public-url", address, "--as-user", "someone", **everybody
        )
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert done.returncode == 0, done.stdout
    assert "state-file" in done.stdout
    assert SECRET not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_offline_sees_a_state_file_that_cannot_be(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--offline", "--json", **GOOD, LOTUS_GUARD_STATE=str(tmp_path))
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["level"] == "fault"
    bad = [each["name"] for each in report["findings"] if each["level"] == "fault"]
    assert bad == ["state-file"]


def test_a_warning_ends_with_1(tmp_path: Path) -> None:
    listen = "tcp:8072"
    done = run_check(tmp_path, "--offline", **GOOD, LOTUS_GUARD_ADMIN_LISTEN=listen)
    assert done.returncode == 1
    assert "warning  operators-port-exposed" in done.stdout


def test_a_terminal_gets_colour_and_no_commands(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lotus_guard.cli", "check", "--offline"],
        cwd=tmp_path,
        env=environment(**GOOD, LOTUS_GUARD_ADMIN_LISTEN="tcp:8072", TERM="xterm-256color"),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:  # the other end is closed: that is how a terminal ends on Linux
        pass
    os.close(ours)
    assert process.wait(30.0) == 1
    assert b"\x1b[1;33mwarning\x1b[0m" in text
    assert b"tcp:8072:interface=127.0.0.1" in text, "no line is broken or read as markup"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("call.example.org", "does not begin with https://"),
        ("ftp://x", "does not begin with https://"),
        ("http://", "names no host"),
        ("https://..", "is none"),
        ("https://call..example.org", "is none"),
        ("https://*.example.org", "is none"),
        (f"https://{'x' * 64}.org", "is none"),
        ("https://call.example.org,other", "is none"),
        ("https://[::1", "a host or a port that is none"),
        ("https://[fe80:::1]", "none"),
        ("http://x:y", "a host or a port that is none"),
        ("https://call example.org", "contains what no URL contains"),
        ("https://ca\u0142l.example.org", "xn--"),
        ("http://x/?a=b", "a query"),
        ("https://me:pw@call.example.org", "a user name"),
    ],
)
def test_a_public_url_that_is_none_gets_a_sentence(url: str, words: str) -> None:
    done = CliRunner().invoke(main, ["check", "--public-url", url], env=environment(**GOOD))
    assert done.exit_code == 2
    text = " ".join(done.output.replace("\u2502", " ").split())
    assert "--public-url" in text
    assert words in text
    assert "wanted: https://host/prefix" in text


@pytest.mark.parametrize("url", ["https://x", "http://[::1]:8070/y", "https://a_b.example.org./x/"])
def test_a_public_url_that_is_one_is_taken(url: str, tmp_path: Path) -> None:
    done = run_check(tmp_path, "--offline", "--public-url", url, **GOOD)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [(), ("--as-user",)])
@ensureDeferred
async def test_the_users_token_comes_from_the_variable(
    yard: Yard, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Nobody is asked for it, with or without the option."""
    env = {**yard.environment, "CHECK_USER_TOKEN": "alice"}
    done = await deferToThread(run_check, tmp_path, "--json", *arguments, **env)
    levels = {each["name"]: each["level"] for each in json.loads(done.stdout)["findings"]}
    assert (levels["user"], levels["upstream-key"], done.stderr) == ("ok", "ok", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--as-user",), "it is empty"),  # asked for, with nobody there to answer
        (("--as-user", ""), "it is empty"),
        (("--as-user", "two words"), "contains what no token contains"),
        (("--as-user", "t\u00f6ken"), "contains what no token contains"),
        (("--as-user", "line\nbreak"), "contains what no token contains"),
    ],
)
def test_without_a_token_there_is_a_report_all_the_same(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run_check(tmp_path, "--offline", "--json", *arguments, **GOOD)
    assert done.returncode == 1, done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["user"]["level"] == "warning"
    assert words in found["user"]["seen"]
    assert "$CHECK_USER_TOKEN" in found["user"]["wanted"]
    assert "environment" in found


def test_a_file_that_breaks_a_look_does_not_end_the_report(tmp_path: Path) -> None:
    (tmp_path / "livekit.yaml").write_text("[" * 20_000)
    state = str(tmp_path / ("long" * 100) / "state")
    arguments = ("--offline", "--json", "--livekit-config", "livekit.yaml")
    done = run_check(tmp_path, *arguments, **GOOD, LOTUS_GUARD_STATE=state)
    found = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["livekit-config"]["level"] == "warning"
    assert found["state-file"]["level"] in ("warning", "fault")


def test_a_terminal_of_few_letters_gets_a_report(tmp_path: Path) -> None:
    env = {**GOOD, "PYTHONIOENCODING": "ascii", "LIVEKIT_KEY_FROM_FILE": "d\u00e9"}
    done = run_check(tmp_path, "--offline", **env)
    assert "fault    environment" in done.stdout
    assert done.stderr == ""


def test_the_token_can_be_typed_in_unseen(tmp_path: Path) -> None:
    env = environment(**GOOD, LOTUS_GUARD_STATE=str(tmp_path / "state"))
    done = CliRunner().invoke(
        main, ["check", "--offline", "--as-user"], input=f"{SECRET}\n", env=env
    )
    assert done.exit_code == 0, done.output
    assert "Access token of any user" in done.output
    assert SECRET not in done.output


def test_no_secret_is_printed_whoever_repeats_it() -> None:
    told = fault("x", f"he said {SECRET}", f"not {SECRET}!")
    hidden = _without([SECRET, "", "key"], told)
    assert (hidden.seen, hidden.wanted) == ("he said ***", "not ***!")
    assert _without(["said"], told) == told, "short words are in every sentence"


@ensureDeferred
async def test_a_look_that_breaks_or_hangs_is_a_finding() -> None:
    clock = Clock()

    async def break_() -> list[Finding]:
        raise KeyError(SECRET)

    async def hang() -> list[Finding]:
        await Deferred()
        return []

    async def see() -> list[Finding]:
        return [ok("c", "fine")]

    done = Deferred.fromCoroutine(run([Look("a", break_), Look("b", hang), Look("c", see)], clock))
    clock.advance(60.0)
    first, second, third = await done
    assert (first.name, first.level, "KeyError" in first.seen) == ("a", Level.WARNING, True)
    assert (second.name, second.level) == ("b", Level.WARNING)
    assert third == ok("c", "fine")
    assert SECRET not in first.seen


def test_the_worst_counts() -> None:
    found = [ok("a", "x"), note("b", "x"), warning("c", "x", "y")]
    assert worst([]) is Level.OK
    assert worst(found[:2]) is Level.NOTE
    assert worst([*found, fault("d", "x", "y")]) is Level.FAULT
    assert worst([found[2], found[0]]) is Level.WARNING


def test_what_cannot_be_printed_is_escaped() -> None:
    assert plain("a\x1b[2J\n\u202e\u200bé\ud800") == "a\\x1b[2J\\n\\u202e\\u200bé\\ud800"
    assert evolve(ok("x", "y"), seen="\x07").seen == "\\x07"


# The state file


def allows(refused: Path, path: Path, _mode: int) -> bool:
    return path != refused


def test_a_file_that_this_user_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    sqlite3.connect(path).close()
    for refused in (path, tmp_path):
        found = look_at_state_file(path, partial(allows, refused))
        assert found.level is Level.FAULT
        assert "this user cannot write" in found.seen
        assert "chown" in found.wanted
    assert look_at_state_file(path).level is Level.OK
    assert look_at_state_file(tmp_path / "new").level is Level.OK


def database(path: Path, *beats: float) -> sqlite3.Connection:
    """A file as a running guard has it open: in WAL mode, with what was written still in there."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE guard (instance TEXT PRIMARY KEY, pid INTEGER, listen TEXT, beat REAL)"
    )
    rows = [(str(n), n, "tcp:8070", beat) for n, beat in enumerate(beats)]
    connection.executemany("INSERT INTO guard VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    return connection


@pytest.mark.parametrize(
    ("beats", "level"),
    [
        ((), Level.NOTE),
        ((900.0,), Level.OK),
        ((900.0, 849.0), Level.OK),
        ((900.0, 851.0), Level.FAULT),
        ((800.0,), Level.NOTE),
    ],
)
@pytest.mark.parametrize("is_open", [True, False])
def test_guards_are_counted_by_their_beats_and_nothing_is_touched(
    tmp_path: Path, beats: tuple[float, ...], level: Level, is_open: bool
) -> None:
    path = tmp_path / "state.sqlite"
    guard = database(path, *beats)
    if not is_open:
        guard.close()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if not p.name.endswith("-shm")}
    names = sorted(p.name for p in tmp_path.iterdir())
    assert look_for_other_guards(path, 1000.0).level is level
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert all((tmp_path / name).read_bytes() == data for name, data in before.items())
    if is_open:
        guard.execute("INSERT INTO guard VALUES ('x', 1, 'y', 0)")
        guard.commit()


def test_what_a_killed_guard_has_left_stays_as_it_is(tmp_path: Path) -> None:
    """A database opened for writing would take the WAL in, as whoever runs the check."""
    (tmp_path / "left").mkdir()
    guard = database(tmp_path / "state.sqlite", 900.0)
    left = [shutil.copy(path, tmp_path / "left") for path in tmp_path.glob("state.sqlite*")]
    guard.close()
    before = {Path(path): Path(path).read_bytes() for path in left}
    assert len(before) == 3
    found = look_for_other_guards(tmp_path / "left" / "state.sqlite", 1000.0)
    assert found.level is Level.OK, "what is in the WAL only is seen"
    after = {path: path.read_bytes() for path in (tmp_path / "left").iterdir()}
    changed = {path.name for path in before if before[path] != after.get(path)}
    assert changed <= {"state.sqlite-shm"}


def test_a_lock_does_not_hold_it_up(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    guard = database(path, 900.0)
    guard.execute("BEGIN EXCLUSIVE")
    begun = time.monotonic()
    assert look_for_other_guards(path, 1000.0).level is Level.OK
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough for one"])
def test_a_file_without_guards_is_fine(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.sqlite"
    if content is not None:
        path.write_bytes(content)
    assert look_for_other_guards(path, 1000.0).level is Level.NOTE
    assert path.exists() is (content is not None)


def test_secret_files(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    for mode, level in ((0o600, Level.OK), (0o640, Level.OK), (0o644, Level.WARNING)):
        path.chmod(mode)
        assert look_at_secret_files({"LIVEKIT_KEY_FILE": str(path)}).level is level
    assert look_at_secret_files({"LIVEKIT_KEY": "x"}).level is Level.NOTE


# Small parts


@pytest.mark.parametrize(
    ("endpoint", "url", "same"),
    [
        ("tcp:8070", "http://127.0.0.1:8070", True),
        ("tcp:8070", "http://localhost:8070/x", True),
        ("tcp:port=8070:interface=127.0.0.1", "http://127.0.0.1:8070", True),
        ("tcp:8070:interface=\\:\\:1", "http://[::1]:8070", True),
        ("tcp:8070", "http://127.0.0.1:8071", False),
        ("tcp:80", "http://localhost", True),
        ("tcp:8070:interface=10.0.0.1", "http://10.0.0.1:8070", True),
        ("tcp:8070:interface=10.0.0.1", "http://127.0.0.1:8070", False),
        ("tcp:8070", "http://lk-jwt-service:8070", False),
    ],
)
def test_an_address_that_is_our_own(endpoint: str, url: str, same: bool) -> None:
    own = listening(endpoint)
    assert own is not None
    assert leads_to(url, own) is same


def test_an_endpoint_that_is_no_port() -> None:
    assert listening("unix:/run/guard.sock") is None
    assert listening("systemd:domain=INET:index=0") is None
    assert listening("") is None


def test_clocks_are_judged_by_the_two_farthest_apart() -> None:
    assert judge({"a": 0.0, "b": 29.0}).level is Level.OK
    assert judge({"a": 0.0, "b": 31.0}).level is Level.WARNING
    found = judge({"a": 0.0, "b": 20.0, "c": -20.0})
    assert (found.level, "of b is 40 s ahead of that of c" in found.seen) == (Level.WARNING, True)


@pytest.mark.parametrize("content", ["[", "", "text", "- list", b"\xff\xfe"])
def test_a_file_that_is_not_livekits(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "livekit.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Unusable):
        read_livekit_file(path)


def test_livekits_file_has_livekits_defaults(tmp_path: Path) -> None:
    path = tmp_path / "livekit.yaml"
    path.write_text("port: 7880\nkeys:\n  k: s\n")
    file = read_livekit_file(path)
    assert (file.auto_create, file.urls, file.api_key, file.keys) == (True, (), "", {"k": "s"})
    path.write_text("room: {auto_create: false}\nwebhook: {api_key: k, urls: [http://x/y]}\n")
    file = read_livekit_file(path)
    assert (file.auto_create, file.urls, file.api_key) == (False, ("http://x/y",), "k")
    assert "secret" not in repr(file)
