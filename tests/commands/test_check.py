"""`lotus-guard check` as a command: options, exit codes, what is printed."""

import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from lotus_guard.check.finding import fault
from lotus_guard.cli import main
from lotus_guard.commands.check import _without
from tests.check.checked_stack import CheckedStack, checked_stack
from tests.test_docs import GOOD
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-that-must-never-be-printed"


@pytest.fixture
def stack(world: World, tmp_path: Path) -> Iterator[CheckedStack]:
    with checked_stack(world, tmp_path) as made:
        yield made


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


@ensureDeferred
async def test_the_process_looks_at_a_working_stack_and_ends_with_0(
    stack: CheckedStack, tmp_path: Path
) -> None:
    arguments = ("--json", "--public-url", stack.public_url + "/")
    done = await deferToThread(
        run_check, tmp_path, *arguments, CHECK_USER_TOKEN="alice", **stack.environment
    )
    report = json.loads(done.stdout)
    levels = {each["name"]: each["level"] for each in report["findings"]}
    assert (done.returncode, report["level"], done.stderr) == (0, "ok", ""), report
    assert (levels["webhooks"], levels["upstream-key"]) == ("ok", "ok")
    assert {"name", "level", "seen", "wanted"} == report["findings"][0].keys()
    assert report["summary"].endswith(". Nothing to fix.")


@ensureDeferred
async def test_the_process_ends_with_2_where_there_is_a_fault(
    stack: CheckedStack, tmp_path: Path
) -> None:
    broken = {**stack.environment, "LOTUS_GUARD_SYNAPSE_TOKEN": "a-token-that-has-run-out"}
    done = await deferToThread(run_check, tmp_path, **broken)
    assert done.returncode == 2
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fault")]
    assert line.startswith("fault    synapse-token")
    assert "Fix: set LOTUS_GUARD_SYNAPSE_TOKEN" in line
    assert "a-token-that-has-run-out" not in done.stdout
    assert "\x1b" not in done.stdout, "no colour where nobody looks"


def test_a_faulty_environment_is_a_list_of_faults(tmp_path: Path) -> None:
    done = run_check(tmp_path, LOTUS_GUARD_DEADLINE="\x1b[31msoon", LOTUS_GUARD_TYPO="x")
    assert done.returncode == 2
    *lines, last = done.stdout.splitlines()
    assert all(line.startswith("fault    settings") for line in lines)
    assert last == f"0 OK, {len(lines)} faults. Fix settings first."
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


@pytest.mark.parametrize("arguments", [("--ofline",), ("more",), ("--livekit-config",)])
def test_a_wrong_command_line_has_an_exit_code_of_its_own(arguments: tuple[str, ...]) -> None:
    """As with monitoring plugins: 0 to 2 say how things are, 3 that nobody looked."""
    done = CliRunner().invoke(main, ["check", *arguments], env=environment(**GOOD))
    assert done.exit_code == 3
    assert "Error: " in done.stderr


def test_the_settings_may_come_from_a_file(tmp_path: Path) -> None:
    lines = [f"{name}='{value}'\n" for name, value in GOOD.items()]
    (tmp_path / "settings").write_text("".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "lotus_guard.cli", "--env-file", "settings", "check", "--offline"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
    assert b"tcp:8072:interface=127.0.0.1" in text, "no word is broken or read as markup"
    assert b"Fix operators-port-exposed first." in text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("call.example.org", "does not begin with https://"),
        ("ftp://x", "does not begin with https://"),
        ("http://", "has no host"),
        ("https://..", "has no valid host"),
        ("https://call..example.org", "has no valid host"),
        ("https://*.example.org", "has no valid host"),
        (f"https://{'x' * 64}.org", "has no valid host"),
        ("https://call.example.org,other", "has no valid host"),
        ("https://[::1", "a host or port that is not valid"),
        ("https://[fe80:::1]", "not valid"),
        ("http://x:y", "a host or port that is not valid"),
        ("https://call example.org", "contains characters that no URL has"),
        ("https://ca\u0142l.example.org", "xn--"),
        ("http://x/?a=b", "a query"),
        ("https://me:pw@call.example.org", "a user name"),
    ],
)
def test_a_public_url_that_is_none_gets_a_sentence(url: str, words: str) -> None:
    done = CliRunner().invoke(main, ["check", "--public-url", url], env=environment(**GOOD))
    assert done.exit_code == 3
    text = " ".join(done.output.replace("\u2502", " ").split())
    assert "--public-url" in text
    assert words in text
    assert "expected https://host/prefix" in text


@pytest.mark.parametrize("url", ["https://x", "http://[::1]:8070/y", "https://a_b.example.org./x/"])
def test_a_public_url_that_is_one_is_taken(url: str, tmp_path: Path) -> None:
    done = run_check(tmp_path, "--offline", "--public-url", url, **GOOD)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [(), ("--as-user",)])
@ensureDeferred
async def test_the_users_token_comes_from_the_variable(
    stack: CheckedStack, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Nobody is asked for it, with or without the option."""
    env = {**stack.environment, "CHECK_USER_TOKEN": "alice"}
    done = await deferToThread(run_check, tmp_path, "--json", *arguments, **env)
    levels = {each["name"]: each["level"] for each in json.loads(done.stdout)["findings"]}
    assert (levels["user"], levels["upstream-key"], done.stderr) == ("ok", "ok", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--as-user",), "it is empty"),  # asked for, with nobody there to answer
        (("--as-user", ""), "it is empty"),
        (("--as-user", "two words"), "has characters that no token has"),
        (("--as-user", "t\u00f6ken"), "has characters that no token has"),
        (("--as-user", "line\nbreak"), "has characters that no token has"),
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
    assert "settings" in found


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
    assert "fault    settings" in done.stdout
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
    told = fault("x", f"they said {SECRET}", f"not {SECRET}!")
    hidden = _without([SECRET, "", "key"], told)
    assert (hidden.seen, hidden.wanted) == ("they said ***", "not ***!")
    assert _without(["said"], told) == told, "short words are in every sentence"
