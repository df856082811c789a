"""A guard whose clock is wrong: LiveKit refuses what was signed by it, and the rules hold."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.real.conftest import require_real
from tests.real.delays import policy_to_track_gone
from tests.real.processes import ROOT, http, until
from tests.real.stack import NO_VIDEO, Stack, milliseconds, running_stack

SHIM = """
import os, time

_real, _file = time.time, os.environ["CLOCK_FILE"]


def _shifted():
    with open(_file) as file:
        return _real() + float(file.read())


time.time = _shifted
"""
"""What Python runs before all else: this process's clock is off by what a file says."""


@define(eq=False)
class Shifted:
    """A stack whose guard has a clock of its own."""

    stack: Stack
    clock: Path

    def set(self, seconds: float) -> None:
        """Put the guard's clock so far ahead of the others'."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self.clock)

    def check(self) -> tuple[int, dict[str, dict[str, str]]]:
        """Run `lotus-guard check` by the same clock."""
        done = subprocess.run(
            [sys.executable, "-m", "lotus_guard.cli", "check", "--json"],
            cwd=self.stack.directory,
            env=dict(self.stack.guard.process.env),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.returncode, {f["name"]: f for f in json.loads(done.stdout)["findings"]}

    def dependencies(self) -> dict[str, dict[str, str]]:
        operators = f"http://127.0.0.1:{self.stack.guard.admin_port}"
        listed = http("GET", f"{operators}/readyz").json()["dependencies"]
        return {each["name"]: each for each in listed}


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shifted]:
    require_real()
    directory = tmp_path_factory.mktemp("shifted")
    (directory / "sitecustomize.py").write_text(SHIM)
    clock = directory / "clock"
    clock.write_text("600")
    settings: dict[str, Any] = {
        "PYTHONPATH": f"{directory}:{ROOT}",
        "CLOCK_FILE": str(clock),
        "LOTUS_GUARD_TRUSTED_PROXIES": "192.0.2.1",
    }
    with running_stack(directory, modules=True, **settings) as stack:
        yield Shifted(stack, clock)


@pytest.mark.parametrize("seconds", [600.0, -600.0])
def test_a_wrong_clock_opens_no_call_and_is_named(shifted: Shifted, seconds: float) -> None:
    stack = shifted.stack
    shifted.set(seconds)
    alice, bob = stack.users(2)
    room = stack.room(limit={"max_users": 1}, quality=NO_VIDEO)
    newcomer = stack.join(alice, room)
    assert newcomer.publish("video", "camera").get("refused")
    assert [stack.ask(bob, room).status for _ in range(10)] == [403] * 10
    lived = policy_to_track_gone(stack)
    print(f"\nclock off by {seconds:+.0f} s: a forbidden camera lived {milliseconds(lived)} ms")
    assert lived < 3.0
    metrics = stack.guard.metrics()
    assert not [name for name in metrics if name.startswith("lotus_guard_fail_open_total")]
    assert abs(metrics["lotus_guard_clock_offset_seconds"] + seconds) < 5.0
    way = "ahead of" if seconds > 0 else "behind"
    found = shifted.dependencies()["clock"]
    assert found["state"] == "trouble"
    assert f"{way} LiveKit's" in found["detail"]
    assert f"{way} LiveKit's" in stack.guard.process.text()
    newcomer.disconnect()


def test_check_names_the_clock_and_calls_no_such_guard_well(shifted: Shifted) -> None:
    shifted.set(600.0)
    stack = shifted.stack
    (alice,) = stack.users(1)
    assert stack.ask(alice, stack.room(limit={"max_users": 1})).status == 200
    until("a push was refused", lambda: shifted.dependencies()["pushes"]["state"] == "trouble")
    until("the guard says so", lambda: shifted.dependencies()["clock"]["state"] == "trouble")
    code, findings = shifted.check()
    for name in ("clocks", "operators-port", "pushes", "livekit-key"):
        print(f"  {findings[name]['level']} {name}: {findings[name]['seen']}")
    assert code > 0
    assert findings["clocks"]["level"] == "warning"
    assert findings["operators-port"]["level"] == "warning"
    assert "clock" in findings["operators-port"]["seen"]
    assert "clocks" in findings["pushes"]["seen"], "it is not the secret"
    assert findings["livekit-key"]["level"] == "ok"


def test_a_clock_that_is_set_right_is_well_again(shifted: Shifted) -> None:
    shifted.set(0.0)
    stack = shifted.stack
    alice, bob = stack.users(2)
    room = stack.room(limit={"max_users": 1})
    assert stack.ask(alice, room).status == 200
    assert stack.ask(bob, room).status == 403
    until("it is well", lambda: shifted.dependencies()["clock"]["state"] == "ok")
    until("pushes are taken", lambda: shifted.dependencies()["pushes"]["state"] == "ok", 30.0)
