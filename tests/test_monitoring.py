"""The dashboard and the alert rules name what `/metrics` really exposes."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics import MetricWrapperBase
from twisted.internet.task import Clock

from lotus_guard.neighbours.agents import Agents
from lotus_guard.observe.families import Reading
from lotus_guard.observe.metrics import Metrics
from lotus_guard.observe.process_metrics import OwnProcess
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from lotus_guard.run.guard import make_guard
from tests.test_docs import GOOD

ROOT = Path(__file__).resolve().parents[1]
DOCS, MONITORING = ROOT / "docs", ROOT / "deploy" / "monitoring"
RUNBOOK = "https://git.example.org/lotus-guard/docs/troubleshooting.md"
"""Where the alerts' runbook_url leads, before an operator has it lead elsewhere."""
DASHBOARD: Any = json.loads((MONITORING / "dashboard.json").read_text())
RULES: Any = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
FROM_PROMETHEUS = {"instance", "job", "le"}


def guard_metrics() -> Metrics:
    clock = Clock()
    clocks = Clocks(clock, clock.seconds, clock.seconds)
    return make_guard(read_config(GOOD), clocks, Agents(None, None, None)).metrics


def exposed(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Every name of a sample that there can be, with its labels."""
    found: dict[str, set[str]] = {}
    for collector in list(registry._collector_to_names):
        labels = set(getattr(collector, "_labelnames", ())) | FROM_PROMETHEUS
        suffixes = ("_bucket", "_sum", "_count") if isinstance(collector, Histogram) else ("",)
        assert isinstance(collector, MetricWrapperBase | Reading | OwnProcess)
        for family in collector.describe():
            for suffix in suffixes:
                total = "_total" if family.type == "counter" else suffix
                found[family.name + total] = labels
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"\bby \([^)]*\b{label}\b", target["expr"]), panel["title"]


EXPOSED = exposed(guard_metrics().registry)


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_every_expression_is_about_something_that_is_exposed(title: str, expression: str) -> None:
    named = re.findall(r"\b((?:lotus_guard|process)_\w+)(\{[^}]*\})?", expression)
    assert named or "up{" in expression
    for name, matchers in named:
        assert name in EXPOSED, name
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= EXPOSED[name]
    grouped = {
        label.strip()
        for labels in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in labels.split(",")
    }
    known = set().union(*(EXPOSED[name] for name, _ in named)) if named else set()
    assert grouped <= known


def test_counters_and_only_counters_are_named_so() -> None:
    text = guard_metrics().exposition().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert {name for name in kinds if name.endswith("_total")} == {
        name for name, kind in kinds.items() if kind == "counter"
    }
    assert "_created" not in text


def test_each_alert_and_each_panel_is_about_what_it_can_tell_apart() -> None:
    """A gauge has no rate, and a counter no level."""
    for title, expression in expressions():
        for name in re.findall(r"\blotus_guard_\w+_total\b", expression):
            assert re.search(rf"\b(rate|increase)\({name}\b", expression), title
        for name in re.findall(r"\b(?:rate|increase)\((\w+)", expression):
            assert name.endswith(("_total", "_bucket", "_sum", "_count")), title


def test_what_is_not_known_is_absent() -> None:
    """No number stands for it: not -1, nor NaN."""
    text = guard_metrics().exposition().decode()
    values = [float(line.split()[-1]) for line in text.splitlines() if not line.startswith("#")]
    assert min(values) >= 0.0
    assert not any(map(math.isnan, values))
    assert "lotus_guard_push_age_seconds" not in [line.split()[0] for line in text.splitlines()]


def test_nothing_that_matters_is_left_out_of_the_dashboard() -> None:
    told = " ".join(expression for _, expression in expressions())
    left_out = {name.removesuffix("_sum").removesuffix("_count") for name in EXPOSED}
    left_out -= {name for name in left_out if name in told}
    assert left_out == set()


def test_every_alert_says_what_is_the_matter_and_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "description"} <= rule["annotations"].keys()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_alert_leads_to_what_is_to_be_done(rule: Any) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (page, anchor) == (RUNBOOK, rule["alert"].lower())
    assert f"\n### {rule['alert']}\n" in (DOCS / "troubleshooting.md").read_text()


def test_it_is_said_how_to_have_the_alerts_lead_elsewhere() -> None:
    for text in ((MONITORING / "alerts.yml").read_text(), (DOCS / "operating.md").read_text()):
        assert f"sed -i 's|{RUNBOOK}|" in text


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) > 15
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_no_label_has_values_that_a_client_could_choose() -> None:
    """Rooms, users and aliases are nobody's label."""
    bounded = {
        "endpoint", "status", "rule", "reason", "kind", "what", "outcome", "method", "step",
        "effect", "pace", "neighbour", "mode", "version", "python",
    } | FROM_PROMETHEUS  # fmt: skip
    assert set().union(*EXPOSED.values()) <= bounded


def test_every_metric_is_explained() -> None:
    page = DOCS / "operating.md"
    told = set(re.findall(r"`((?:lotus_guard|process)_[a-z_]+)`", page.read_text()))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in EXPOSED} - told == set()
