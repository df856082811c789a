"""The tables of versions say what was recorded; `tests/real/test_versions.py` asks the parts."""

from pathlib import Path

import pytest

from tools.versions import BEGIN, END, FACTS_PAGE, PAGES, ask, by_hand, recorded, table, with_table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_the_table_that_is_made_of_the_record(page: Path) -> None:
    text = page.read_text()
    made = table(recorded(), FACTS_PAGE.read_text())
    assert with_table(text, made) == text, "run: python -m tools.versions"


def test_the_table_has_each_recorded_version() -> None:
    versions = {name: f"{number}.7.9" for number, name in enumerate(recorded(), 11)}
    made = table(versions, FACTS_PAGE.read_text())
    named = {"Chromium": versions["Chromium"].partition(".")[0]}
    assert all({**versions, **named}[name] in made for name in versions)


def test_which_lk_jwt_service_was_tried_is_read_from_the_facts() -> None:
    facts = "| lk-jwt-service in Go (up to 0.6) | 0.5 |\n| lk-jwt-service in Rust (x) | 0.8.1, b |"
    assert by_hand(facts) == ("0.5", "0.8.1")
    assert "| lk-jwt-service | 0.5 (Go), 0.8.1 (Rust) |" in table(recorded(), facts)


def test_only_what_is_between_the_marks_is_replaced() -> None:
    assert with_table(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(AssertionError):
        with_table("no marks", "new")


def test_what_is_not_installed_is_left_out(tmp_path: Path) -> None:
    assert set(ask(tmp_path)) <= {"Chromium"}
