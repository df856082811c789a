"""One version, for the package and for all who say it."""

import re
import subprocess
import sys
from pathlib import Path

from lotus_guard.version import VERSION

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_is_a_semantic_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", VERSION)


def test_setup_py_reads_it() -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split()[-1] == VERSION


def test_it_takes_no_memory() -> None:
    code = (
        "import sys, typing; before = set(sys.modules); import lotus_guard.version; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["lotus_guard", "lotus_guard.version"]
