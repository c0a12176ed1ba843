"""The compose file keeps the promises, starts what exists, and names settings that are read."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.deploy.conftest import DEPLOY, PASSWORD, REPOSITORY, VARIABLE, run_python
from tests.deploy.stores import started_store
from worker.billing.policy import DEFAULT_BREAKER
from worker.inbox import SAFE_SETTINGS, Inbox
from worker.process import breaker_of
from worker.settings import Settings
from worker.storage.engine import API, WORKER

Services = dict[str, dict[str, Any]]


def variables() -> dict[str, str]:
    """What the compose file reads, and whether it must be set."""
    text = (DEPLOY / "compose.yaml").read_text()
    return {name: kind for name, kind, _ in VARIABLE.findall(text)}


def documented() -> dict[str, str]:
    lines = (DEPLOY / "example.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def flags(command: list[str]) -> dict[str, str]:
    words = command[1:]
    return {
        name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }


def test_the_inbox_has_the_settings_without_which_accepted_events_are_lost(
    services: Services,
) -> None:
    set_here = flags(services["inbox"]["command"])
    assert {name: set_here.get(name) for name in SAFE_SETTINGS} == SAFE_SETTINGS


def test_a_server_with_the_inbox_s_flags_is_found_safe_and_wants_its_password(
    services: Services, tmp_path: Path
) -> None:
    with started_store(services["inbox"], tmp_path) as store:
        for name in ("worker", "api"):
            with store.client(name) as redis:
                assert Inbox(redis).weaknesses() == []
        for stranger in ("", ":@", "default:@", f"default:{PASSWORD}@"):
            with (
                Redis.from_url(f"redis://{stranger}127.0.0.1:{store.port}/0") as redis,
                pytest.raises((AuthenticationError, NoPermissionError)),
            ):
                redis.ping()


def test_every_store_keeps_its_data_on_a_volume_of_its_own(
    compose: dict[str, Any], services: Services
) -> None:
    kept = {name: services[name]["volumes"][0] for name in ("postgres", "inbox", "broker")}
    assert kept == {
        "postgres": "postgres:/var/lib/postgresql",
        "inbox": "inbox:/data",
        "broker": "broker:/data",
    }
    assert set(kept) <= set(compose["volumes"])


def test_nothing_but_our_own_processes_reaches_the_stores(
    compose: dict[str, Any], services: Services, ours: Services
) -> None:
    assert compose["networks"]["stores"]["internal"] is True
    for name in ("postgres", "inbox", "broker"):
        assert services[name]["networks"] == ["stores"]
        assert "ports" not in services[name]
    inside = {name for name, each in services.items() if "stores" in each.get("networks", [])}
    assert inside == {"postgres", "inbox", "broker", *ours}


def test_ports_are_published_on_loopback_alone(services: Services) -> None:
    ports = [port for each in services.values() for port in each.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_setting_is_one_that_is_read(ours: Services) -> None:
    known = {name.upper() for name in Settings.model_fields} | {"FORWARDED_ALLOW_IPS"}  # uvicorn's
    for name, service in ours.items():
        assert set(service["environment"]) <= known, name


@pytest.mark.parametrize("name", ["api", "worker", "beat", "migrate"])
def test_the_settings_of_each_process_are_sound(ours: Services, name: str) -> None:
    filled = {
        variable: VARIABLE.sub(lambda found: found[3] if found[2] == ":-" else PASSWORD, value)
        for variable, value in ours[name]["environment"].items()
    }
    read = Settings.of(filled)
    assert read.trust_redis is (name == "worker")
    assert read.fixbill_signing_key is None
    assert read.metrics_host == ("0.0.0.0" if name == "worker" else "127.0.0.1")  # noqa: S104
    assert {read.stripe_api_base, read.public_url, read.link_secret} == {None}
    assert breaker_of(read) == DEFAULT_BREAKER


def test_each_login_is_the_role_that_its_process_acts_as(ours: Services) -> None:
    made = (DEPLOY / "postgres/logins.sh").read_text()
    for name, setting, role in (
        ("worker", "DATABASE_URL", WORKER),
        ("api", "API_DATABASE_URL", API),
    ):
        assert f"//{role}:" in ours[name]["environment"][setting]
        assert f"CREATE ROLE {role} LOGIN" in made
    assert "OWNER_DATABASE_URL" not in ours["api"]["environment"] | ours["worker"]["environment"]


def test_every_variable_is_documented_and_no_secret_is_given_away() -> None:
    assert set(documented()) == set(variables())
    for name, kind in variables().items():
        if kind == ":?":
            assert documented()[name] == "", name


def test_the_env_file_is_not_committed() -> None:
    assert ".env" in (DEPLOY / ".gitignore").read_text().splitlines()


def test_processes_start_after_what_they_need_and_healthy_means_checked(
    services: Services,
) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], (name, needed)
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[needed]["restart"] == "no"
    for name in ("api", "worker"):
        assert "migrate" in services[name]["depends_on"]


def test_everything_but_the_migrations_comes_back_after_a_crash(services: Services) -> None:
    assert {name for name, each in services.items() if each["restart"] != "unless-stopped"} == {
        "migrate"
    }


def test_our_processes_have_no_rights_they_do_not_need(ours: Services) -> None:
    for service in ours.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_worker_has_time_to_finish_a_call_to_stripe(services: Services) -> None:
    grace = services["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > 3 * 25


def test_the_worker_takes_from_every_queue_with_threads(services: Services) -> None:
    command = services["worker"]["command"]
    queues = command[command.index("-Q") + 1].split(",")
    program = (
        "import json; from worker.celery_app import app; print(json.dumps(list(app.amqp.queues)))"
    )
    assert sorted(queues) == sorted(json.loads(run_python("-c", program)))
    assert command[command.index("--pool") + 1] == "threads"


def test_the_api_is_where_compose_and_image_say(services: Services) -> None:
    command = services["api"]["command"]
    assert command[:2] == ["python", "-m"]
    usage = run_python("-m", command[2], "--help")
    assert [each for each in command if each.startswith("--") and each not in usage] == []
    image = (DEPLOY / "Dockerfile").read_text()
    assert f"CMD {json.dumps(command)}" in image


def test_the_image_has_all_our_packages_and_they_are_let_through() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    image = (DEPLOY / "Dockerfile").read_text()
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", image, re.MULTILINE)
        for name in line.split()
    ]
    let_through = re.findall(r"^!(.+)$", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE)
    assert set(packages) <= set(copied)
    assert sorted(copied) == sorted(let_through)
    assert re.search(r"^USER 1", image, re.MULTILINE)
