"""What newcomers read leads somewhere, and names what is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lotus_guard.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
KINDS = {"markdown", "textarea", "input", "checkboxes"}


def form(name: str) -> Any:
    return yaml.safe_load((TEMPLATES / name).read_text())


@pytest.mark.parametrize("name", ["bug.yml", "feature.yml"])
def test_a_form_is_one_that_github_takes(name: str) -> None:
    made = form(name)
    assert {"name", "description", "body"} <= set(made)
    parts = made["body"]
    assert {part["type"] for part in parts} <= KINDS
    ids = [part["id"] for part in parts if part["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    assert any(part.get("validations", {}).get("required") for part in parts)
    assert all(part["attributes"].get("label") for part in parts if part["type"] != "markdown")


def test_whoever_gets_past_a_rule_is_led_to_a_private_report() -> None:
    links = form("config.yml")["contact_links"]
    assert all({"name", "url", "about"} == set(link) for link in links)
    (private,) = [link for link in links if link["url"].endswith("/security/advisories/new")]
    assert "SECURITY.md" in private["about"]
    assert "SECURITY.md" in form("bug.yml")["body"][0]["attributes"]["value"]
    assert "SECURITY.md" in (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text()


def test_an_address_that_nobody_reads_is_marked() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    addresses = re.findall(r"\S+@\S+\.\w+", text)
    assert addresses == ["`security@example.org"]
    assert "is a **placeholder**" in text
    assert "placeholders" in (TEMPLATES / "config.yml").read_text().splitlines()[0]


def test_the_version_of_today_is_supported() -> None:
    minor = VERSION.rpartition(".")[0]
    assert f"| {minor} | yes |" in (ROOT / "SECURITY.md").read_text()


def test_the_targets_that_contributors_read_of_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"\bmake (\w+)", CONTRIBUTING))
    assert len(named) > 6
    assert named - set(targets) == set()


def test_the_files_that_contributors_read_of_exist() -> None:
    named = re.findall(r"\btests/(?:rules|real)/test_\w+\.py", CONTRIBUTING)
    assert named[0] == "tests/rules/test_limit.py"
    example = "tests/rules/test_calls.py"  # the one that they would write
    assert [name for name in named if name != example and not (ROOT / name).exists()] == []
    assert not (ROOT / example).exists()


def test_the_example_of_a_rule_is_the_one_that_is_tested() -> None:
    """Of `judge` it says the same in fewer lines; the rest is word for word."""
    (block,) = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
    page = (ROOT / "docs" / "architecture.md").read_text()
    read = re.sub(r"^   ", "", block.partition("   def judge")[0], flags=re.MULTILINE)
    assert re.sub(r"^(?=.)", "    ", read.rstrip(), flags=re.MULTILINE) in page


def test_a_fragment_is_asked_for() -> None:
    assert "changelog.d/" in CONTRIBUTING
    assert "towncrier build --version" in CONTRIBUTING
