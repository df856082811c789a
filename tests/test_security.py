"""Every row of the table of what a client can try names tests, and there are such tests."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
NAMED = re.compile(r"`((?:\w+/)*\w+\.py)::(\w+)`")


def rows() -> list[str]:
    """List the rows below `| they try |`."""
    lines = PAGE.partition("## What a client can try")[2].partition("## What it cannot")[0]
    rows = [line for line in lines.splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith("| they try |")]


def names_in(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_attempt_is_tried_by_tests_that_exist(row: str) -> None:
    attempt, _outcome, tests = (cell.strip() for cell in row.strip("|").split("|"))
    named = NAMED.findall(tests)
    assert named, f"{attempt!r} names no test"
    assert tests.count("`") == 2 * len(named), f"{attempt!r} names something that is no test"
    for path, name in named:
        assert (TESTS / path).exists(), f"{attempt!r}: there is no tests/{path}"
        assert name in names_in(TESTS / path), f"{attempt!r}: tests/{path} has no {name}"


def test_the_table_has_its_rows() -> None:
    assert len(rows()) > 20
