"""Alerts: they read what the code emits, fire when they should, and say what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import DEPLOY, REPOSITORY, read_yaml
from tests.deploy.promql import metrics_in, values_in
from worker.billing.answers import AnswerKind
from worker.cli.main import COMMANDS
from worker.due import DUE

PROMETHEUS = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in read_yaml(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]
]
PROMETHEUS_ITSELF = {"up"}
SOURCE = "".join(path.read_text() for path in sorted((REPOSITORY / "worker").rglob("*.py")))

each_alert = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
with_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (Debian and Ubuntu: apt-get install prometheus)",
)


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=30
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def scraped() -> dict[str, int]:
    """Jobs and their ports, by name."""
    return {
        job["job_name"]: sd["port"]
        for job in read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]
        for sd in job["dns_sd_configs"]
    }


def test_the_names_in_a_query_are_found_whatever_stands_around_them() -> None:
    query = (
        "histogram_quantile(0.9, sum by (call, le) (rate(a_bucket[5m]))) > 10 and on() "
        'max_over_time(max(b{kind="x{y", c=~"d|e"})[10m:]) or c unless d offset 15m == bool 1e3'
    )
    assert metrics_in(query) == {"a_bucket", "b", "c", "d"}
    assert values_in(query, "c") == {"d", "e"}


@each_alert
def test_an_alert_reads_only_metrics_that_exist(rule: dict[str, Any], emitted: set[str]) -> None:
    read = metrics_in(rule["expr"])
    assert read
    assert read <= emitted | PROMETHEUS_ITSELF


@each_alert
def test_an_alert_asks_for_label_values_that_the_code_sets(rule: dict[str, Any]) -> None:
    query = rule["expr"]
    assert values_in(query, "answer") <= set(AnswerKind)
    assert values_in(query, "kind") <= set(DUE)
    assert values_in(query, "job") <= set(scraped())


@each_alert
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "action"}
    assert all(len(text) > 20 for text in rule["annotations"].values())


@each_alert
def test_what_an_alert_says_to_look_for_exists(rule: dict[str, Any]) -> None:
    action = rule["annotations"]["action"]
    for message in re.findall(r"\b(?!pg_)[a-z]+(?:_[a-z]+)+\b", action):
        assert f'"{message}"' in SOURCE
    for command in re.findall(r"`fixbill (\w+)", action):
        assert command in COMMANDS


def test_every_alert_is_tested_both_ways() -> None:
    tests = read_yaml(PROMETHEUS / "alerts_test.yml")["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    names = {rule["alert"] for rule in RULES}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


def test_prometheus_scrapes_the_ports_that_compose_gives(
    services: dict[str, dict[str, Any]],
) -> None:
    worker, api = services["worker"], services["api"]
    assert scraped() == {
        "fixbill-worker": int(worker["environment"]["METRICS_PORT"]),
        "fixbill-api": int(api["command"][api["command"].index("--port") + 1]),
    }


@with_promtool
def test_the_configuration_is_valid() -> None:
    promtool("check", "config", "prometheus.yml")


@with_promtool
def test_the_alerts_pass_their_own_tests() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


@with_promtool
def test_a_broken_alert_would_be_noticed(tmp_path: Path) -> None:
    for name in ("alerts.yml", "alerts_test.yml"):
        text = (PROMETHEUS / name).read_text()
        (tmp_path / name).write_text(text.replace("_seconds) > 60", "_seconds) > 6000"))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "alerts_test.yml")],
        capture_output=True,
        timeout=30,
    )
    assert b"FixbillInboxStale" in done.stdout + done.stderr
    assert done.returncode == 1
