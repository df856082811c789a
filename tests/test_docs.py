"""The documentation says what the code says."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from twisted.internet.task import Clock

from lotus_guard.config import Variables, read_config, variable_names
from lotus_guard.ports import Reason
from lotus_guard.service import Agents, Clocks, make_guard
from tests.test_failure_classes import FAULTS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SAMPLE = (ROOT / "deploy" / "environment.sample").read_text()
FAILURES = (ROOT / "docs" / "failures.md").read_text()
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text()
GOOD = {
    "LIVEKIT_URL": "ws://127.0.0.1:7880",
    "LIVEKIT_KEY": "key",
    "LIVEKIT_SECRET": "secret",
    "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:8008",
    "LOTUS_GUARD_SYNAPSE_TOKEN": "token",
}


def defaults() -> dict[str, str]:
    all_fields: Any = fields(Variables)  # type: ignore[arg-type]
    found = {}
    for each in all_fields:
        entry = each.metadata["environ_config"]
        found[entry.name or f"LOTUS_GUARD_{each.name.upper()}"] = entry.default
    return found


def test_every_variable_is_in_the_table_with_its_default() -> None:
    rows = [line.split("|") for line in README.splitlines() if line.startswith("| `L")]
    told = {}
    for row in rows:
        for name in re.findall(r"`([A-Z_]+)`", row[1]):
            told[name] = row[2].strip().strip("`")
    assert told == defaults()


def test_the_sample_names_every_variable_with_its_default() -> None:
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", SAMPLE, re.MULTILINE)
    assert {name for name, _ in lines} == set(variable_names())
    for name, value in lines:
        if value and not value.startswith(("/etc", "wss:", "http://127.0.0.1:7880")):
            assert value in (defaults()[name], "lotus-guard.sqlite", "http://127.0.0.1:8008")


def test_the_table_of_failures_is_the_one_that_is_tested() -> None:
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)` \|", FAILURES, re.MULTILINE)
    assert dict(rows) == {fault: reason for fault, (_, reason) in FAULTS.items()}


def test_every_reason_is_explained() -> None:
    text = FAILURES + TROUBLE
    assert [r for r in Reason if f"`{r}`" not in text and f": {r}" not in text] == []


def exposed_families() -> set[str]:
    clock = Clock()
    guard = make_guard(
        read_config(GOOD),
        Clocks(clock, clock.seconds, clock.seconds),
        Agents(None, None, None),
    )
    return {metric.name for metric in guard.metrics.registry.collect()}


@pytest.mark.parametrize("path", ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_every_metric_that_is_named_exists(path: str) -> None:
    clock = Clock()
    guard = make_guard(
        read_config(GOOD),
        Clocks(clock, clock.seconds, clock.seconds),
        Agents(None, None, None),
    )
    exposed = {
        sample.name for metric in guard.metrics.registry.collect() for sample in metric.samples
    } | {metric.name for metric in guard.metrics.registry.collect()}
    # Counters without a sample yet are known by their family's name.
    exposed |= {f"{name}_total" for name in exposed}
    named = set(re.findall(r"\blotus_guard_[a-z_]+", (ROOT / path).read_text()))
    named -= {"lotus_guard_tap"}
    assert named - exposed == set()


def log_lines() -> list[str]:
    """The warnings and errors of the service, without what is filled in."""
    lines = []
    for path in (ROOT / "lotus_guard").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("warn", "error", "critical")
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "_log"
            ):
                lines.append(str(ast.literal_eval(node.args[0])))
    return lines


def test_every_warning_and_error_is_explained() -> None:
    """A row has a piece of each line that is as long as four words, or all of it."""
    told = re.sub(r"…", "", " ".join(re.findall(r"^\| ([^|]+) \|", TROUBLE, re.MULTILINE)))
    told = " ".join(told.split())
    lost = []
    for line in log_lines():
        pieces = [piece.split() for piece in re.split(r"\{\w+\}", line)]
        runs = [" ".join(p[i : i + 4]) for p in pieces for i in range(max(1, len(p) - 3)) if p]
        if not any(run.rstrip(":.") in told for run in runs if len(run) > 8):
            lost.append(line)
    assert lost == []


def test_every_metric_is_explained() -> None:
    told = " ".join(page.read_text() for page in ROOT.glob("docs/*.md"))
    lost = {name for name in exposed_families() if name not in told}
    assert lost == set()


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), (page.name, link)


def test_every_command_is_run_by_a_test_or_marked() -> None:
    """`make run` and `make test` are what CI and `test_sandbox_stack.py` run."""
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            assert block in ("make run\n", "make test\n") or block.startswith("# real-host\n")
