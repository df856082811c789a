"""The table of versions that the guard was tried with, in README.md and docs/versions.md.

`python -m tools.versions` writes it anew from `tests/recorded/versions.json`; with `--ask` it first
asks the parts in `.real/` for their versions, and records them. Which lk-jwt-service was tried by
hand stands in the page of facts, and is read from there.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT / ".real"
RECORDED = ROOT / "tests" / "recorded" / "versions.json"
FACTS_PAGE = ROOT / "docs" / "facts.md"
PAGES = (ROOT / "README.md", ROOT / "docs" / "versions.md")
BEGIN, END = "<!-- versions: python -m tools.versions -->", "<!-- /versions -->"
FLOATING = ("Chromium", "Redis")
"""Debian's, which brings newer ones; of the others each test run has the recorded version."""
NUMBER = re.compile(r"\d+(?:\.\d+)+")


def ask(real: Path = REAL) -> dict[str, str]:
    """Ask each part that is installed for its version; one that is missing is left out."""
    python = str(real / "venv" / "bin" / "python")
    ours = "from importlib.metadata import version as v; print(v({!r}))"
    element_call = real / "npm-element-call-embedded.stamp"
    said = {
        "Chromium": _said(shutil.which("chromium") or "", "--version"),
        "Dendrite": _said(str(real / "bin" / "dendrite"), "--version"),
        "Element Call": element_call.read_text() if element_call.exists() else "",
        "LiveKit": _said(str(real / "bin" / "livekit-server"), "--version"),
        "LiveKit's Python client": _said(python, "-c", ours.format("livekit")),
        "Redis": _said(str(real / "redis" / "usr" / "bin" / "redis-server"), "--version"),
        "Synapse": _said(python, "-c", ours.format("matrix-synapse")),
    }
    found = {name: NUMBER.search(text) for name, text in said.items()}
    return {name: number[0] for name, number in found.items() if number}


def _said(program: str, *arguments: str) -> str:
    if not Path(program).is_file():
        return ""
    libraries = [str(path) for path in Path(program).parents[1].glob("lib/*-linux-gnu*")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)} if libraries else None
    command = [program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def recorded() -> dict[str, str]:
    """Read what was recorded."""
    return dict(json.loads(RECORDED.read_text(encoding="utf-8")))


def by_hand(facts: str) -> tuple[str, str]:
    """Read from the page of facts which lk-jwt-service was tried: in Go, in Rust."""
    go, rust = (
        re.search(
            rf"^\| lk-jwt-service in {language} .*?\| ({NUMBER.pattern})", facts, re.MULTILINE
        )
        for language in ("Go", "Rust")
    )
    assert go is not None
    assert rust is not None
    return go[1], rust[1]


def table(versions: Mapping[str, str], facts: str) -> str:
    """Make the table."""
    go, rust = by_hand(facts)
    chromium = versions["Chromium"].partition(".")[0]
    python = versions["LiveKit's Python client"]
    rows = (
        ("lk-jwt-service", f"{go} (Go), {rust} (Rust)", "by hand; a stand-in in each test run"),
        ("Synapse", versions["Synapse"], "real, in each test run"),
        ("Dendrite", versions["Dendrite"], "real, in each test run"),
        ("Tuwunel, Continuwuity", "none", "sources read; a stand-in in each test run"),
        ("LiveKit", versions["LiveKit"], "real, in each test run"),
        ("Element Call", versions["Element Call"], f"its embedded build, in Chromium {chromium}"),
        ("WebRTC client", f"LiveKit's for Python, {python}", "real, in each test run"),
        ("Redis", versions["Redis"], "real, in each test run"),
    )
    lines = [f"| {' | '.join(row)} |" for row in (("part", "version", "how"), *rows)]
    return "\n".join([lines[0], "|---|---|---|", *lines[1:]])


def with_table(page: str, made: str) -> str:
    """Put the table into a page, between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, f"a page has no {BEGIN} … {END}"
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> None:
    """Write the pages, and with `--ask` the record before them."""
    parser = argparse.ArgumentParser(description="Write the tables of versions.")
    parser.add_argument("--ask", action="store_true", help="ask the parts in .real/ first")
    if parser.parse_args().ask:
        versions = {**recorded(), **ask()}
        RECORDED.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    made = table(recorded(), FACTS_PAGE.read_text(encoding="utf-8"))
    for page in PAGES:
        text = with_table(page.read_text(encoding="utf-8"), made)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
