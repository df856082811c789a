"""What all commands share."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from lotus_guard.cli import main
from lotus_guard.commands.common import (
    Failed,
    check_own_host,
    configuration,
    guard_address,
    some_settings,
)
from lotus_guard.commands.surroundings import Surroundings
from tests.test_docs import GOOD

ROOT = Path(__file__).resolve().parents[2]


def test_every_fault_of_the_environment_is_in_the_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**GOOD, "LOTUS_GUARD_DEADLINE": "soon", "LOTUS_GUARD_TYPO": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Failed) as raised:
        configuration()
    assert raised.value.exit_code == 2
    for name in ("LOTUS_GUARD_DEADLINE", "LOTUS_GUARD_TYPO"):
        assert f"\n  {name}: " in raised.value.message


def within(texts: dict[str, str], **more: Any) -> click.Context:
    """What a command sees where these settings were found."""
    return click.Context(main, obj=Surroundings(texts, **more))


def test_where_settings_were_looked_for_is_said() -> None:
    with within({}, unread=Path("/etc/own")), pytest.raises(Failed) as raised:
        configuration()
    assert "settings are missing or wrong (in the environment):" in raised.value.message
    assert raised.value.message.endswith("/etc/own exists, but you may not read it: try sudo")
    with within({}, file=Path("/etc/own")), pytest.raises(Failed) as raised:
        configuration()
    assert "(in /etc/own and the environment):" in raised.value.message


def test_some_settings_need_no_others() -> None:
    with within({"LOTUS_GUARD_LOG_USERS": "hash"}):
        assert some_settings("log_users") == {"log_users": "hash"}
    with within({"LOTUS_GUARD_LOG_USERS": "x"}), pytest.raises(Failed, match="LOG_USERS: found"):
        some_settings("log_users")


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp:8072:interface=127.0.0.1", "http://127.0.0.1:8072"),
        ("tcp:8072", "http://127.0.0.1:8072"),
        ("tcp:8072:interface=0.0.0.0", "http://127.0.0.1:8072"),
        (r"tcp:8072:interface=\:\:1", "http://[::1]:8072"),
        ("tcp:8072:interface=10.0.0.5", "http://10.0.0.5:8072"),
    ],
)
def test_where_the_guard_is_asked(listen: str, address: str) -> None:
    with within({"LOTUS_GUARD_ADMIN_LISTEN": listen}):
        assert guard_address("") == address
        assert guard_address("http://other:1") == "http://other:1"
    with within({}):
        assert guard_address("") == "http://127.0.0.1:8072"


@pytest.mark.parametrize("listen", ["unix:/run/x", ""])
def test_a_guard_that_cannot_be_asked_there(listen: str) -> None:
    with within({"LOTUS_GUARD_ADMIN_LISTEN": listen}):
        with pytest.raises(Failed, match="Fix: use --guard URL"):
            guard_address("")
        assert guard_address("http://other:1") == "http://other:1"


def test_a_name_that_is_not_the_guards_own_is_said() -> None:
    check_own_host(200, "http://guard.example.org")
    with pytest.raises(Failed, match=r"http://guard\.example\.org\. .* LOTUS_GUARD_ADMIN_HOSTS"):
        check_own_host(421, "http://guard.example.org")


def on_a_reactor(work: str) -> subprocess.CompletedProcess[str]:
    """Run a coroutine in a process of its own: a reactor does not start twice."""
    program = f"""
import os, signal
from twisted.internet.defer import Deferred
from lotus_guard.commands.common import on_the_reactor

async def work(clocks, agents):
    {work}

print("result", on_the_reactor(work))
"""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_a_coroutine_returns_comes_back() -> None:
    done = on_a_reactor("return clocks.now() > 0 and agents.synapse is not None")
    assert (done.stdout, done.returncode) == ("result True\n", 0)


def test_what_a_coroutine_raises_comes_back() -> None:
    done = on_a_reactor("raise KeyError(5)")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "KeyError: 5" in done.stderr


def test_ctrl_c_is_no_success() -> None:
    done = on_a_reactor("os.kill(os.getpid(), signal.SIGINT); await Deferred()")
    assert done.returncode == 1
    assert "Failed: interrupted" in done.stderr
