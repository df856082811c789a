"""The command-line face, as a process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lotus_guard.cli import main
from lotus_guard.version import VERSION
from tests.command_line import ROOT, neutral_environment

SCRIPT = Path(sys.executable).with_name("lotus-guard")
COMMANDS = ("check", "config", "explain", "policy", "rooms", "words")
ALL = [[], *([c] for c in COMMANDS), *(["policy", c] for c in ("show", "set", "clear"))]


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


def test_the_version_is_told() -> None:
    done = CliRunner().invoke(main, ["--version"])
    assert (done.exit_code, done.output) == (0, f"lotus-guard {VERSION}\n")


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_help_breaks_no_word_in_a_narrow_terminal(command: list[str]) -> None:
    """But after a hyphen, where English does."""

    def told(width: int) -> str:
        arguments = [*command, "--help"]
        done = CliRunner().invoke(main, arguments, terminal_width=width, prog_name="lotus-guard")
        assert done.exit_code == 0
        assert max(map(len, done.output.splitlines())) <= width
        return done.output

    assert "-\n" not in told(80), "help2man would write one word of the two"
    whole = " ".join(told(300).split())
    assert [word for word in told(60).split() if word not in whole] == []
    broken = re.findall(r"(\w+)\n +(\w+)", told(60))
    assert [pair for pair in broken if "".join(pair) in whole] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    code = "from lotus_guard.cli import main; main(prog_name='lotus-guard')"

    def run(**more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**neutral_environment(), "PYTHONPATH": str(ROOT), **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    if shell != "bash" or Path("/bin/bash").exists():
        assert "lotus-guard" in run(_LOTUS_GUARD_COMPLETE=f"{shell}_source")
    typed = {"COMP_WORDS": "lotus-guard ex", "COMP_CWORD": "ex" if shell == "fish" else "1"}
    assert "explain" in run(_LOTUS_GUARD_COMPLETE=f"{shell}_complete", **typed)
