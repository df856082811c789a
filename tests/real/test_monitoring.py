"""Prometheus' own tool reads the alert rules, and they go off when they should."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.real.processes import REAL, ROOT

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
      - series: 'lotus_guard_live_last_good_pass_age_seconds{{instance="g"}}'
        values: '1x4 90x30'
      - series: 'lotus_guard_push_age_seconds{{instance="g"}}'
        values: '-1x40'
    alert_rule_test:
      - {{eval_time: 1m, alertname: LotusGuardFailsOpen, exp_alerts: []}}
      - {{eval_time: 1m, alertname: LotusGuardUnenforced, exp_alerts: []}}
      - {{eval_time: 1m, alertname: LotusGuardLoopStuck, exp_alerts: []}}
      - {{eval_time: 10m, alertname: LotusGuardPushesStopped, exp_alerts: []}}
      - {{eval_time: 10m, alertname: LotusGuardSecretMismatch, exp_alerts: []}}
      - eval_time: 10m
        alertname: LotusGuardFailsOpen
        exp_alerts:
          - exp_labels: {{severity: warning, instance: g, rule: limit, reason: timeout}}
            exp_annotations:
              summary: The limit rule lets calls through (timeout)
              description: Something of ours is in trouble; `lotus-guard check` says what.
      - eval_time: 10m
        alertname: LotusGuardUnenforced
        exp_alerts:
          - exp_labels: {{severity: warning, instance: g, rule: limit, reason: refused}}
            exp_annotations:
              summary: The limit rule is not enforced in live calls (refused)
              description: >-
                Nobody is let through by this; calls that run are left alone. `lotus-guard check`
                says what is in trouble.
      - eval_time: 10m
        alertname: LotusGuardLoopStuck
        exp_alerts:
          - exp_labels: {{severity: warning, instance: g}}
            exp_annotations:
              summary: The live loop has seen no whole picture for a minute
              description: Policies that change now do not reach the calls that run now.
"""


@pytest.fixture
def promtool() -> str:
    tool = REAL / "prometheus" / "usr" / "bin" / "promtool"
    if not tool.exists():
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("promtool is not installed: run `make test`")
        pytest.skip("promtool is not installed: run `make test`")
    return str(tool)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_reads_the_rules(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", str(RULES))


def test_the_alerts_go_off_when_they_should_and_not_before(promtool: str, tmp_path: Path) -> None:
    test = tmp_path / "test.yml"
    test.write_text(SERIES.format(rules=RULES))
    run(promtool, "test", "rules", str(test))
