"""The files of deploy/, and what the code really emits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"

VARIABLE = re.compile(r"\$\{(\w+)(:\?|:-)?([^}]*)\}")  # in the compose file
PASSWORD = "0123456789abcdef"


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def run_python(*arguments: str) -> str:
    """What a fresh interpreter prints, with no server within reach."""
    environment = {"PATH": os.environ["PATH"], "REDIS_URL": "redis://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(DEPLOY / "compose.yaml")
    return found


@pytest.fixture(scope="session")
def services(compose: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


@pytest.fixture(scope="session")
def ours(services: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: each for name, each in services.items() if each["image"].startswith("fixbill:")}


@pytest.fixture(scope="session")
def emitted() -> set[str]:
    """The names of all samples our processes expose, histograms' parts included."""
    text = run_python("-m", "tests.deploy.exposition")
    families = text_string_to_metric_families(text)
    return {sample.name for family in families for sample in family.samples}
