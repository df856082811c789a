"""A file of settings, read as systemd reads it."""

import subprocess
import sys
from pathlib import Path

import pytest

from lotus_guard.run.env_file import parse_environment, passed_over

ROOT = Path(__file__).resolve().parents[2]


def test_an_environment_file_is_read_as_systemd_does() -> None:
    text = "# A=1\n;B=2\nC = 3 \nD='four five'\nE=\"6\"\nF=a\\\nb\nnot a line\n1X=2\nG=\0\nH=x=y\n"
    found = parse_environment(text)
    assert found == {"C": "3", "D": "four five", "E": "6", "F": "ab", "H": "x=y"}


def test_lines_that_are_no_settings_are_numbered() -> None:
    text = "# A=1\n;B\n\nC=3\nexport D=4\nE=a\\\nb c\nnot a line\n  \n=x\n\ufeffF=1\nG = 1\n"
    assert passed_over(text) == [5, 8, 10, 11]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it\\'s'", "it\\'s"),
        ('"a\\"b\\$c"', 'a"b$c'),
        ("a\\ b", "a b"),
        ('""', ""),
        ("", ""),
        ("'", "'"),
    ],
)
def test_quotes_are_taken_off(text: str, value: str) -> None:
    assert parse_environment(f"NAME={text}\n") == {"NAME": value}


def test_it_needs_nothing_that_is_installed() -> None:
    """`deploy/lib` reads such files with the system's own Python."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import lotus_guard.run.env_file"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
