"""The dashboard reads what the code emits, and Grafana can find it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.deploy.conftest import DEPLOY, read_yaml
from tests.deploy.promql import metrics_in, values_in
from tests.deploy.test_prometheus import PROMETHEUS_ITSELF, promtool, with_promtool
from worker.due import DUE

GRAFANA = DEPLOY / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "fixbill.json").read_text())
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
QUERIES: list[str] = [target["expr"] for panel in PANELS for target in panel["targets"]]

each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    place = panel["gridPos"]
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


@each_panel
def test_a_panel_reads_only_metrics_that_exist(panel: dict[str, Any], emitted: set[str]) -> None:
    for target in panel["targets"]:
        read = metrics_in(target["expr"])
        assert read
        assert read <= emitted | PROMETHEUS_ITSELF
        assert values_in(target["expr"], "kind") <= set(DUE)


@each_panel
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert all(target["legendFormat"] for target in panel["targets"])


@each_panel
def test_a_panel_asks_the_data_source_that_was_chosen(panel: dict[str, Any]) -> None:
    for each in (panel, *panel["targets"]):
        assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_metric_of_ours_has_its_panel(emitted: set[str]) -> None:
    shown = {metric for query in QUERIES for metric in metrics_in(query)}
    hidden = {name for name in emitted if name.startswith("fixbill_") and name not in shown}
    assert {name for name in hidden if not name.endswith(("_bucket", "_count", "_sum"))} == set()


def test_no_two_panels_share_an_id_or_a_place() -> None:
    ids = Counter(panel["id"] for panel in DASHBOARD["panels"])
    assert max(ids.values()) == 1
    for one, other in combinations(DASHBOARD["panels"], 2):
        assert not set(cells(one)) & set(cells(other)), (one["title"], other["title"])
    assert all(x < 24 for panel in DASHBOARD["panels"] for x, _ in cells(panel))


def test_the_data_source_is_a_variable_and_nothing_is_bound_to_one_installation() -> None:
    assert DASHBOARD["uid"] == "fixbill"
    assert "id" not in DASHBOARD
    assert [(v["name"], v["type"], v["query"]) for v in DASHBOARD["templating"]["list"]] == [
        ("datasource", "datasource", "prometheus")
    ]


def test_grafana_finds_dashboard_and_data_source_where_compose_puts_them(
    services: dict[str, dict[str, Any]],
) -> None:
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    for source in mounted:
        assert not source.startswith("./") or (DEPLOY / source).exists(), source
    [provider] = read_yaml(GRAFANA / "provisioning/dashboards/fixbill.yaml")["providers"]
    place = PurePosixPath(mounted["./grafana/fixbill.json"])
    assert str(place.parent) == provider["options"]["path"]
    [source] = read_yaml(GRAFANA / "provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    interval = read_yaml(DEPLOY / "prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval


@with_promtool
def test_every_query_is_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(file))
