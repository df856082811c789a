"""A short soak, and one in which nothing is enforced: that must be seen."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.processes import ROOT
from tests.soak.judge import INVARIANTS

pytestmark = pytest.mark.real


def soak(out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.soak", "--out", str(out), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    print(done.stdout[-3000:], done.stderr[-3000:])
    return done.returncode, json.loads((out / "report.json").read_text())


def test_the_invariants_hold_while_things_break(tmp_path: Path) -> None:
    people = ["--people", "24", "--rooms", "6", "--hostile", "8"]
    code, report = soak(tmp_path, "--seconds", "75", "--seed", "11", *people)
    assert report["violations"] == dict.fromkeys(INVARIANTS, 0), report
    assert code == 0
    assert report["counts"]["visits"] > 20
    assert sum(name.startswith("attack") for name in report["counts"]) >= 8
    assert sum(name.startswith("fault") for name in report["counts"]) >= 2


def test_guards_that_enforce_nothing_are_found_out(tmp_path: Path) -> None:
    people = ["--people", "18", "--rooms", "3"]
    code, report = soak(tmp_path, "--seconds", "50", "--seed", "3", "--observe", "--calm", *people)
    assert code == 1
    assert report["violations"]["cap"] > 0
    assert report["violations"]["tracks"] > 0
