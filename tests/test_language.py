"""Docstrings say what a thing is or does, and people are *they*."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ROOT / "lotus_guard"
WRITTEN = ("lotus_guard", "docs", "deploy", "systemd", "bench", "tools", "tests", ".github")
"""Where text is read for pronouns, besides the pages in the root."""
OPENING = re.compile(r"(?:Tell|Give|Say)\b")
"""`Whether it is full`, not `Tell whether it is full`."""
PRONOUN = re.compile(r"(?<![\w./-])(?:he|him|his|himself|she|her|hers|herself)\b(?!-)", re.I)
"""There is no exception: who is in a call is any user, and a neighbour is *it*."""


def docstrings(source: str) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text


def test_docstrings_say_what_a_thing_is() -> None:
    found = [
        (str(path.relative_to(CODE)), text.splitlines()[0])
        for path in sorted(CODE.rglob("*.py"))
        for text in docstrings(path.read_text())
        if OPENING.match(text)
    ]
    assert found == []


def test_so_do_the_comments_of_the_status_page() -> None:
    scripts = [(path.name, path.read_text()) for path in CODE.rglob("*.js")]
    assert [name for name, text in scripts if re.search(rf"/\*\* {OPENING.pattern}", text)] == []


def test_packages_say_what_they_are() -> None:
    sources = {str(path): path.read_text() for path in CODE.rglob("__init__.py")}
    first = {path: next(docstrings(text), "") for path, text in sources.items()}
    assert [path for path, text in first.items() if len(text.split()) < 4] == []


def texts() -> Iterator[tuple[Path, str]]:
    files = [*ROOT.glob("*.md"), ROOT / "Makefile"]
    for directory in WRITTEN:
        files += [each for each in sorted((ROOT / directory).rglob("*")) if each.is_file()]
    for path in files:
        is_text = "__pycache__" not in path.parts and path.suffix not in (".png", ".pyc")
        if is_text and path != Path(__file__):
            yield path, path.read_text(encoding="utf-8")


def test_people_are_they() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if PRONOUN.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("waits in a line of his own", True),
        ("He is told", True),
        ("what they said to her.", True),
        ("here, the others, then, history", False),
        ("uk/he.json and x.he", False),
    ],
)
def test_how_pronouns_are_found(line: str, is_found: bool) -> None:
    assert bool(PRONOUN.search(line)) is is_found
