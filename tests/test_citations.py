"""What comments and pages cite is there: sections of our pages, and tests that are named."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FACTS = ROOT / "docs" / "facts.md"
WHERE = ("lotus_guard", "tests", "bench", "tools", "deploy", "systemd", "twisted", ".ci", "docs")
KINDS = {".py", ".md", ".service", ".socket", ".timer", ".conf", ".yml", ".yaml", ".sample", ""}
CITATION = re.compile(r"docs/(facts|architecture|glossary)\.md\b(?!\)|\.md|\")")
"""A page that is cited in a comment; not a link, and not a name in a test."""
NAMED_TEST = re.compile(r"`((?:\w+/)*\w+\.py)::(\w+)`")


def texts() -> list[tuple[Path, str]]:
    """All files that could cite something, but for this one."""
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Makefile", ROOT / "setup.py"]
    for directory in WHERE:
        files += [path for path in (ROOT / directory).rglob("*") if path.suffix in KINDS]
    read = []
    for path in files:
        if path.is_file() and path != Path(__file__) and "__pycache__" not in path.parts:
            read.append((path, path.read_text(encoding="utf-8", errors="replace")))
    return read


def sections(page: str) -> list[str]:
    found = re.findall(r"^#{2,3} (.+)$", (ROOT / "docs" / f"{page}.md").read_text(), re.MULTILINE)
    return [heading.replace("`", "") for heading in found]


def citations(text: str) -> list[tuple[str, str]]:
    """The pages that a text cites, each with what stands behind it, over the ends of lines."""
    flat = re.sub(r"\s*\n[ \t]*(?:#+ ?|\* )?", " ", text)
    return [(each[1], flat[each.end() : each.end() + 120]) for each in CITATION.finditer(flat)]


def is_there(page: str, behind: str) -> bool:
    """Whether a citation goes on with `, ` and a section of the page, and that ends there."""
    return any(
        behind.startswith(f", {heading}") and not behind[len(heading) + 2 :][:1].isalnum()
        for heading in sections(page)
    )


def test_no_comment_cites_what_is_not_in_the_repository() -> None:
    for path, text in texts():
        assert not re.search(r"\bFACTS\b|\bARCHITECTURE\b", text), path


def test_each_section_that_a_comment_cites_is_there() -> None:
    lost = [
        (str(path.relative_to(ROOT)), f"{page}.md{behind[:60]}")
        for path, text in texts()
        if path.suffix == ".py"
        for page, behind in citations(text)
        if not is_there(page, behind)
    ]
    assert lost == []


def test_facts_are_cited() -> None:
    """A fact that no code relies on is none of ours, or the code does not say why it is so."""
    cited = " ".join(
        behind for path, text in texts() if path.suffix == ".py" for _, behind in citations(text)
    )
    assert [heading for heading in sections("facts") if f", {heading}" not in cited] == []


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ('"""See docs/facts.md, LiveKit: API."""', True),
        ("# so it is (docs/facts.md,\n    # LiveKit: API), and", True),
        ("# docs/facts.md, LiveKit: API of another kind", True),
        ("# docs/facts.md, LiveKit: APIs", False),
        ("# docs/facts.md, LiveKit", False),
        ("# docs/facts.md", False),
    ],
)
def test_how_citations_are_read(text: str, is_good: bool) -> None:
    ((page, behind),) = citations(text)
    assert is_there(page, behind) is is_good


def names_in(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize("page", ["facts.md", "architecture.md", "failures.md", "security.md"])
def test_tests_that_a_page_names_exist(page: str) -> None:
    for path, name in NAMED_TEST.findall((ROOT / "docs" / page).read_text()):
        assert (TESTS / path).exists(), f"{page}: there is no tests/{path}"
        assert name in names_in(TESTS / path), f"{page}: tests/{path} has no {name}"


def test_facts_say_how_they_are_known() -> None:
    """By tests, or by the table's own column of evidence."""
    for section in re.split(r"^## ", FACTS.read_text(), flags=re.MULTILINE)[1:]:
        assert "*How we know*" in section or "| evidence |" in section, section.splitlines()[0]
