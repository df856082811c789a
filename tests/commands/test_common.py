"""What all commands share."""

import subprocess
import sys
from pathlib import Path

import pytest

from lotus_guard.commands.common import Failed, admin_address, configuration
from lotus_guard.run.config import read_config
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


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp:8072:interface=127.0.0.1", "http://127.0.0.1:8072"),
        ("tcp:8072", "http://127.0.0.1:8072"),
        ("unix:/run/x", None),
        ("", None),
    ],
)
def test_where_the_operators_port_is(listen: str, address: str | None) -> None:
    assert admin_address(read_config({**GOOD, "LOTUS_GUARD_ADMIN_LISTEN": listen})) == address


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
