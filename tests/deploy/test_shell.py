"""Every line of shell that an operator or a host runs, under shellcheck: files and pages alike."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.processes import ROOT

SHELLCHECK = str(Path(sys.executable).with_name("shellcheck"))
PLACES = ("deploy", "systemd", ".ci", "bench", "tests")
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md"))))
# Of pages: variables and files that are the reader's own ($TOKEN, /etc/lotus-guard/environment).
THE_READERS = "SC1091,SC2154,SC2164"


def has_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return re.match(rb"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", file.readline()) is not None


def scripts() -> list[str]:
    there = [path for place in PLACES for path in (ROOT / place).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(ROOT)) for path in there if has_shell(path))


def complaints(text: str, *words: str) -> str:
    command = [SHELLCHECK, "--format=gcc", *words, "-"]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_the_scripts_are_found() -> None:
    assert {"deploy/revert", "deploy/debian/revert", ".ci/run"} <= set(scripts())
    assert "deploy/debian/lotus-guard.postinst" in scripts()


@pytest.mark.parametrize("name", scripts())
def test_a_script_is_in_order(name: str) -> None:
    assert complaints((ROOT / name).read_text()) == ""


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_to_type_is_in_order(page: str) -> None:
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        assert complaints(block, "--shell=bash", f"--exclude={THE_READERS}") == "", block


def test_a_mistake_is_found() -> None:
    assert "SC2086" in complaints("#!/bin/sh\nrm -rf $1\n")
    assert "SC2086" in complaints("rm -rf $HOME/$x\n", "--shell=bash", f"--exclude={THE_READERS}")


def test_what_stops_at_the_first_fault_says_so() -> None:
    """deploy/revert alone must not: what fails there must not keep the rest from being done."""
    for name in scripts():
        text = (ROOT / name).read_text()
        careful = re.search(r"^set -[a-z]*e", text, re.MULTILINE)
        assert careful or name == "deploy/revert", name
