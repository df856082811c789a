"""The dashboard and the alert rules name what `/metrics` really exposes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase
from twisted.internet.task import Clock

from lotus_guard.neighbours.agents import Agents
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from lotus_guard.run.guard import make_guard
from tests.test_docs import GOOD

MONITORING = Path(__file__).resolve().parents[1] / "deploy" / "monitoring"
DASHBOARD: Any = json.loads((MONITORING / "dashboard.json").read_text())
RULES: Any = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
FROM_PROMETHEUS = {"instance", "job", "le"}


def exposed() -> dict[str, set[str]]:
    """Every name of a sample that there can be, with its labels."""
    clock = Clock()
    clocks = Clocks(clock, clock.seconds, clock.seconds)
    registry = make_guard(read_config(GOOD), clocks, Agents(None, None, None)).metrics.registry
    found: dict[str, set[str]] = {}
    for collector in list(registry._collector_to_names):
        assert isinstance(collector, MetricWrapperBase)
        (family,) = collector.describe()
        labels = set(collector._labelnames) | FROM_PROMETHEUS
        suffixes = ("_bucket", "_sum", "_count") if isinstance(collector, Histogram) else ("",)
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


EXPOSED = exposed()


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_every_expression_is_about_something_that_is_exposed(title: str, expression: str) -> None:
    named = re.findall(r"\b(lotus_guard_\w+)(\{[^}]*\})?", expression)
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


def test_nothing_that_matters_is_left_out_of_the_dashboard() -> None:
    told = " ".join(expression for _, expression in expressions())
    left_out = {name.removesuffix("_sum").removesuffix("_count") for name in EXPOSED}
    left_out -= {name for name in left_out if name in told}
    assert left_out == set()


def test_every_alert_says_what_is_the_matter_and_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "description"} <= rule["annotations"].keys()


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
        "effect", "pace", "neighbour",
    } | FROM_PROMETHEUS  # fmt: skip
    assert set().union(*EXPOSED.values()) <= bounded


def test_every_metric_is_explained() -> None:
    page = MONITORING.parents[1] / "docs" / "operating.md"
    told = set(re.findall(r"\blotus_guard_[a-z_]+", page.read_text()))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in EXPOSED} - told == set()
