"""The rule in docs/architecture.md, A new rule, works as it stands there."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from lotus_guard.commands.explain_words import lines_of
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.rule import Rule
from lotus_guard.sandbox.stack import OPEN
from tests.test_docs import blocks
from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
REGISTRY = ROOT / "lotus_guard/rules/__init__.py"


def example() -> tuple[str, str]:
    """The module of the rule, and its entry in the registry."""
    (_, _, module), (_, _, entry) = blocks("python")
    return module, entry


@pytest.fixture
def calls(tmp_path: Path) -> Rule[Any]:
    path = tmp_path / "calls.py"
    path.write_text(example()[0])
    spec = importlib.util.spec_from_file_location("calls", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Rule[Any] = module.Calls()
    return made


@pytest.fixture
def rules(calls: Rule[Any]) -> Rules:
    return (*RULES, calls)


def test_the_linter_takes_it_as_a_module_of_ours() -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", REGISTRY.parent / "x.py"],
            input=example()[0],
            text=True,
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_entry_is_the_registrys_and_one_rule_more() -> None:
    (now,) = re.findall(r"^RULES: Rules = .*\)$", REGISTRY.read_text(), re.MULTILINE)
    before, _, last = example()[1].strip().rpartition(", ")
    assert last == "Calls())"
    assert now.startswith(before), "the page shows the registry, with one rule more"


@pytest_twisted.ensureDeferred
async def test_it_is_judged_on_the_token(world: World, calls: Rule[Any]) -> None:
    world.start_guard()
    room = f"!{calls.trial.room}:sandbox"
    got = await world.ask("alice", room)
    assert got.status == 403
    assert got.json()["error"].startswith("There are no calls in this room.")
    assert (await world.ask("alice", OPEN)).status == 200
    (made,) = world.guard.overview.records.recent
    lines = lines_of(made, world.rules)
    assert {"  rule    calls", "  why     the room allows no calls"} <= set(lines)
    assert lines[-1] == "  replay  the same: refused"


def test_it_reads_leniently_and_shows_what_it_read(calls: Rule[Any]) -> None:
    readings = [calls.read(content) for content in (None, {}, {"allowed": 0}, {"allowed": False})]
    assert [reading.policy.restricts for reading in readings] == [False, False, False, True]
    assert [len(reading.complaints) for reading in readings] == [0, 0, 1, 0]
    assert calls.show(readings[0].policy).words == ()
    assert calls.show(readings[-1].policy).words == ("no calls",)
