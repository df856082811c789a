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
      - eval_time: 10m
        alertname: LotusGuardHomeserverRefused
        exp_alerts:
          - exp_labels: {{severity: critical, instance: g}}
            exp_annotations: &refused
              summary: The homeserver's requests are refused
              description: >-
                Nobody gets a token through Synapse if its hs_token is another than the guard's or
                lk-jwt-service's. Let all three read one registration, and restart them.
          - exp_labels: {{severity: critical, instance: f}}
            exp_annotations: *refused
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
