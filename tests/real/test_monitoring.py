"""Prometheus' own tool reads the alert rules, and they go off when they should."""

import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.observe.test_metrics import everything
from tests.real.processes import REAL, ROOT, http
from tests.real.stack import Stack
from tests.test_monitoring import expressions, guard_metrics

RULES = ROOT / "deploy" / "monitoring" / "alerts.yml"
SERIES = """
rule_files: [{rules}]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - series: 'lotus_guard_fail_open_total{{instance="g", rule="limit", reason="timeout"}}'
        values: '0x4 1+1x20'
      - series: 'lotus_guard_fail_open_total{{instance="g", rule="limit", reason="unknown_room"}}'
        values: '0+1x30'
      - series: 'lotus_guard_live_unenforced_total{{instance="g", rule="limit", reason="refused"}}'
        values: '0x4 1+1x20'
      - series: 'lotus_guard_fail_open_total{{instance="once", rule="limit", reason="timeout"}}'
        values: '_x12 30x30'
      - series: 'lotus_guard_fail_open_total{{instance="h", rule="limit", reason="secret"}}'
        values: '_x12 1x30'
      - series: 'lotus_guard_live_unenforced_total{{instance="once", rule="limit", reason="dns"}}'
        values: '_x12 1x30'
      - series: 'lotus_guard_upstream_failures_total{{instance="once", reason="refused"}}'
        values: '_x12 6x30'
      - series: 'lotus_guard_upstream_failures_total{{instance="well", reason="refused"}}'
        values: '_x12 5x30'
      - series: 'lotus_guard_requests_total{{instance="once", endpoint="homeserver", status="401"}}'
        values: '_x12 1x30'
      - series: 'lotus_guard_live_leader{{instance="g"}}'
        values: '1x40'
      - series: 'lotus_guard_live_last_good_pass_age_seconds{{instance="g"}}'
        values: '1x4 90x30'
      - series: 'lotus_guard_live_leader{{instance="new"}}'
        values: '1x40'
      - series: 'lotus_guard_live_leader{{instance="well"}}'
        values: '1x40'
      - series: 'lotus_guard_live_last_good_pass_age_seconds{{instance="well"}}'
        values: '1x40'
      - series: 'lotus_guard_live_leader{{instance="follows"}}'
        values: '0x40'
      - series: 'lotus_guard_webhooks_forged_total{{instance="g"}}'
        values: '0x4 1+1x20'
      - series: 'lotus_guard_pushes_refused_total{{instance="g"}}'
        values: '0x4 1+1x20'
      - series: 'lotus_guard_requests_total{{instance="g", endpoint="homeserver", status="401"}}'
        values: '0x4 1+1x20'
      - series: 'lotus_guard_requests_total{{instance="f", endpoint="federation", status="401"}}'
        values: '0x4 1+1x20'
      - series: 'lotus_guard_requests_total{{instance="h", endpoint="homeserver", status="200"}}'
        values: '0+1x30'
      - series: 'lotus_guard_requests_total{{instance="h", endpoint="other", status="401"}}'
        values: '0+1x30'
    alert_rule_test:
      - {{eval_time: 1m, alertname: LotusGuardFailsOpen, exp_alerts: []}}
      - {{eval_time: 1m, alertname: LotusGuardUnenforced, exp_alerts: []}}
      - {{eval_time: 1m, alertname: LotusGuardLoopStuck, exp_alerts: []}}
      - {{eval_time: 1m, alertname: LotusGuardHomeserverRefused, exp_alerts: []}}
      - {{eval_time: 10m, alertname: LotusGuardPushesStopped, exp_alerts: []}}
      - {{eval_time: 30m, alertname: LotusGuardSecretMismatch, exp_alerts: []}}
      - {{eval_time: 1m, alertname: LotusGuardWebhooksForged, exp_alerts: []}}
      - {{eval_time: 1m, alertname: LotusGuardPushesRefused, exp_alerts: []}}
{alerts}
"""
GOES_OFF: dict[str, list[dict[str, str]]] = {
    "LotusGuardSecretMismatch": [{"instance": "h"}],
    "LotusGuardUpstreamAway": [{"instance": "once", "reason": "refused"}],
    "LotusGuardFailsOpen": [
        {"instance": "g", "rule": "limit", "reason": "timeout"},
        {"instance": "once", "rule": "limit", "reason": "timeout"},
    ],
    "LotusGuardUnenforced": [
        {"instance": "g", "rule": "limit", "reason": "refused"},
        {"instance": "once", "rule": "limit", "reason": "dns"},
    ],
    "LotusGuardLoopStuck": [{"instance": "g"}, {"instance": "new"}],
    "LotusGuardHomeserverRefused": [{"instance": "g"}, {"instance": "f"}, {"instance": "once"}],
    "LotusGuardWebhooksForged": [{"instance": "g"}],
    "LotusGuardPushesRefused": [{"instance": "g"}],
}
"""Which alerts these series set off after ten minutes, with their labels."""


@pytest.fixture
def promtool() -> str:
    tool = REAL / "prometheus" / "usr" / "bin" / "promtool"
    if not tool.exists():
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("promtool is not installed: run `make test`")
        pytest.skip("promtool is not installed: run `make test`")
    return str(tool)


def run(*command: str, words: str = "") -> str:
    """Run a command that has nothing to complain of; gives what it says."""
    done = subprocess.run(
        command, input=words, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def filled(text: str, labels: dict[str, str]) -> str:
    """An annotation with the labels in it."""
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)


def alerts() -> str:
    """What is expected of the rules after ten minutes, as promtool reads it."""
    rules = {
        rule["alert"]: rule for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    }
    expected = [
        {
            "eval_time": "10m",
            "alertname": name,
            "exp_alerts": [
                {
                    "exp_labels": {**rules[name]["labels"], **labels},
                    "exp_annotations": {
                        key: filled(text, labels)
                        for key, text in rules[name]["annotations"].items()
                    },
                }
                for labels in goes_off
            ],
        }
        for name, goes_off in GOES_OFF.items()
    ]
    return textwrap.indent(yaml.safe_dump(expected, width=1000), " " * 6)


def test_promtool_reads_the_rules(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", "--lint-fatal", str(RULES))


def test_the_alerts_go_off_when_they_should_and_not_before(promtool: str, tmp_path: Path) -> None:
    test = tmp_path / "test.yml"
    test.write_text(SERIES.format(rules=RULES, alerts=alerts()))
    run(promtool, "test", "rules", str(test))


def test_promtool_reads_what_the_dashboard_asks(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:n{number}", "expr": expression}
        for number, (_, expression) in enumerate(expressions())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", str(path))


def test_promtool_finds_nothing_to_better_in_the_names(promtool: str) -> None:
    """With a sample of nearly everything that there can be."""
    metrics = guard_metrics()
    everything(metrics)
    assert run(promtool, "check", "metrics", words=metrics.exposition().decode()) == ""


def test_promtool_finds_nothing_to_better_in_what_a_guard_shows(
    promtool: str, stack: Stack
) -> None:
    text = http("GET", f"http://127.0.0.1:{stack.guard.admin_port}/metrics").body.decode()
    assert "process_open_fds" in text
    assert run(promtool, "check", "metrics", words=text) == ""
