"""The action says what `fixbill publish` takes, and no input can say more."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.conftest import DEPLOY, read_yaml
from worker.cli.publish import command

ACTION: dict[str, Any] = read_yaml(DEPLOY / "github-action/action.yml")
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
HOSTILE = "\"; touch taken; $(touch taken) `touch taken` '--json"
KEY = "fbk_secret"

RECORD = """#!/bin/sh
for each in "$@"; do printf '%s\\n' "$each"; done > "$0.arguments"
env > "$0.environment"
"""


def run_step(name: str, program: str, directory: Path, **inputs: str) -> tuple[list[str], str]:
    """Run a step's script as GitHub does; what it called the program with."""
    [step] = [step for step in STEPS if step["name"] == name]
    recorder = directory / "venv" / "bin" / program
    recorder.parent.mkdir(parents=True)
    recorder.write_text(RECORD)
    recorder.chmod(0o755)
    given = {**{name: spec.get("default", "") for name, spec in ACTION["inputs"].items()}, **inputs}

    def filled(value: str) -> str:
        value = value.replace("${{ runner.temp }}/fixbill-venv", str(directory / "venv"))
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], value)

    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=directory,
        env={
            # A `python3` that does nothing: the environment exists.
            "PATH": f"{directory}:{os.environ['PATH']}",
            "GITHUB_EVENT_PATH": str(directory / "event.json"),
            **{name: filled(value) for name, value in step["env"].items()},
        },
        check=True,
        timeout=30,
    )
    arguments = Path(f"{recorder}.arguments").read_text().splitlines()
    return arguments, Path(f"{recorder}.environment").read_text()


def publish(directory: Path, **inputs: str) -> tuple[list[str], str]:
    return run_step("Publish", "fixbill", directory, **inputs)


def test_no_script_has_an_expression_in_it() -> None:
    assert all("${{" not in step["run"] for step in STEPS)
    assert all(step["shell"] == "bash" for step in STEPS)


def test_what_must_be_given_is_required_and_the_rest_has_a_default() -> None:
    required = {name for name, spec in ACTION["inputs"].items() if spec["required"]}
    assert required == {"customer", "api-url", "api-key"}
    assert all("default" in spec for spec in ACTION["inputs"].values() if not spec["required"])


def test_publish_is_called_with_options_it_has(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text("{}")
    inputs = {"customer": "cus_acme", "api-url": "https://f.example", "finding": "CVE-1"}
    arguments, environment = publish(tmp_path, **inputs, **{"api-key": KEY})
    assert arguments[0] == "publish"
    with command.make_context("publish", arguments[1:]) as context:
        taken = {name: value for name, value in context.params.items() if value}
    assert taken.pop("github_event").name == str(tmp_path / "event.json")
    assert taken == {"customer": "cus_acme", "finding": "CVE-1", "if_merged": True, "wait": 30}
    assert f"FIXBILL_API_KEY={KEY}" in environment
    assert "FIXBILL_API_URL=https://f.example" in environment


def test_the_key_is_on_no_command_line(tmp_path: Path) -> None:
    arguments, _ = publish(tmp_path, customer="cus_acme", **{"api-key": KEY})
    assert not any(KEY in argument for argument in arguments)


def test_an_empty_input_is_not_passed_on(tmp_path: Path) -> None:
    arguments, _ = publish(tmp_path, customer="cus_acme", wait="")
    assert arguments[3:] == ["--customer=cus_acme", "--if-merged"]


def test_an_input_is_one_word_whatever_it_contains(tmp_path: Path) -> None:
    arguments, _ = publish(tmp_path, customer=HOSTILE, finding=HOSTILE, wait=HOSTILE)
    assert arguments[-4:] == [
        f"--customer={HOSTILE}",
        "--if-merged",
        f"--finding={HOSTILE}",
        f"--wait={HOSTILE}",
    ]
    assert not (tmp_path / "taken").exists()


def test_the_version_goes_to_pip_as_one_word(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\n")
    (tmp_path / "python3").chmod(0o755)
    arguments, _ = run_step("Install fixbill", "pip", tmp_path, version=" @ git+https://x.example")
    assert arguments[-1] == "fixbill @ git+https://x.example"
    assert "install" in arguments


def test_the_example_workflow_gives_what_the_action_takes() -> None:
    readme = (DEPLOY / "github-action/README.md").read_text()
    [example] = re.findall(r"```yaml\n(.+?)```", readme, re.DOTALL)
    workflow = yaml.safe_load(example)
    [step] = workflow["jobs"]["report"]["steps"]
    required = {name for name, spec in ACTION["inputs"].items() if spec["required"]}
    assert required <= set(step["with"]) <= set(ACTION["inputs"])
    assert workflow["permissions"] == {}
    assert workflow[True] == {"pull_request": {"types": ["closed"]}}  # YAML reads `on` as a truth
