"""The glossary explains words that code and pages use, each once, a line each."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROW = re.compile(r"^\| \*\*(.+?)\*\* \| (.+) \|$", re.MULTILINE)


def terms() -> list[str]:
    return [term for term, _ in ROW.findall(GLOSSARY.read_text())]


def everything_else() -> str:
    files = [ROOT / "README.md", *(ROOT / "lotus_guard").rglob("*.py")]
    files += [page for page in (ROOT / "docs").glob("*.md") if page != GLOSSARY]
    return " ".join(" ".join(path.read_text().split()) for path in files)


def test_each_term_is_used() -> None:
    text = everything_else()
    patterns = {term: term.replace(" ", "[ -]") for term in terms()}
    assert [
        term
        for term, pattern in patterns.items()
        if not re.search(rf"(?<![a-z]){pattern}(?![a-z])", text, re.IGNORECASE)
    ] == []


def test_each_row_explains_one_term_once() -> None:
    rows = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("| **")]
    assert len(rows) == len(terms()) > 60
    assert [term for term, count in Counter(terms()).items() if count > 1] == []


def test_whoever_reads_finds_it() -> None:
    for page in ("README.md", "docs/architecture.md"):
        assert "glossary.md)" in (ROOT / page).read_text(), page
