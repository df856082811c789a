"""The pages of the reference say what the code says."""

import re
from collections.abc import Callable

import pytest

from lotus_guard.run.config import variables
from tests.real.processes import ROOT
from tools.reference import COMMAND, PAGES
from tools.reference.markdown import cell, code, table
from tools.reference.messages import texts, unplaced
from tools.reference.metrics import families
from tools.reference.settings import ungrouped
from tools.reference.sources import Answer, answers, log_lines

DOCS = ROOT / "docs"


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_a_page_is_what_the_code_says(name: str, page: Callable[[], str]) -> None:
    is_so = (DOCS / name).read_text() == page()
    assert is_so, f"docs/{name} is not what the code says. Run: {COMMAND}"


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", (DOCS / "settings.md").read_text(), re.M)
    assert {name: default.strip(" `") for name, default in rows} == {
        each.name: each.default for each in variables()
    }
    assert len(rows) == len(variables())


def test_every_setting_has_its_group() -> None:
    """Name it in GROUPS of tools/reference/settings.py, with the kind of value it takes."""
    assert ungrouped() == set()


def test_every_metric_has_a_type_and_a_meaning() -> None:
    found = families()
    assert len(found) > 40
    assert len({each.name for each in found}) == len(found)
    assert [each.name for each in found if not each.kind or not each.help] == []


def test_counters_have_their_labels_before_they_count() -> None:
    (refused,) = [each for each in families() if each.name == "lotus_guard_refused_total"]
    assert refused.labels == ("rule",)


def test_the_code_says_with_which_status_each_sentence_goes_out() -> None:
    """Where an answer is made in a new way, tools/reference/sources.py is to know it."""
    assert len(texts()) > 25
    assert unplaced() == set()


@pytest.mark.parametrize(
    "answer",
    [
        Answer("call_full", "403", "M_FORBIDDEN"),
        Answer("too_many_requests", "429", "M_LIMIT_EXCEEDED"),
        Answer("body_not_json", "400", "M_NOT_JSON"),
        Answer("body_too_long", "413", "M_TOO_LARGE"),
        Answer("token_too_long", "400", "M_INVALID_PARAM"),
        Answer("panel_away", "503", "M_UNKNOWN"),
        Answer("panel_powerless", "403", "M_FORBIDDEN"),
        Answer("Unrecognised homeserver access token", "401", "M_UNKNOWN_TOKEN"),
    ],
)
def test_answers_are_found_in_the_code(answer: Answer) -> None:
    assert answer in answers()


def test_parts_of_a_sentence_are_in_it() -> None:
    assert "call_full_people" not in texts()
    assert "{people}" not in texts()["call_full"]


def test_lines_of_the_log_are_found() -> None:
    found = log_lines()
    assert {each.level for each in found} >= {"critical", "error", "warn", "info"}
    assert len(found) > 50
    assert [each for each in found if "{" in each.text or each.module.startswith("sandbox")] == []


def test_what_a_cell_holds_stays_in_it() -> None:
    assert code("a | b") == "`a \\| b`"
    assert code("") == ""
    assert cell("<language>.json,\n a|b") == "&lt;language>.json, a\\|b"
    assert table(("x", "y"), [("1", "2")]) == "| x | y |\n| --- | --- |\n| 1 | 2 |\n"
