"""The command-line face, as a process."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lotus_guard.cli import main
from tests.command_line import neutral_environment

SCRIPT = Path(sys.executable).with_name("lotus-guard")
COMMANDS = ("check", "explain", "policy", "rooms", "words")


def test_the_script_lists_each_command_with_what_it_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lotus_guard.cli", "-h"],
        cwd=tmp_path,
        env=neutral_environment() | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    lines = done.stdout.partition("Commands:")[2].splitlines()
    listed = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert sorted(listed) == sorted(COMMANDS)
    assert all(listed.values())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_each_command_explains_itself(command: str, option: str) -> None:
    done = CliRunner().invoke(main, [command, option])
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: main {command}")


def test_a_command_that_there_is_not_is_a_usage_error() -> None:
    done = CliRunner().invoke(main, ["polcy"])
    assert done.exit_code == 2
    assert "No such command 'polcy'" in done.output
