"""What holds for every command: help, exit codes, one sentence for what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.running import NOWHERE, Cli, Command
from worker.cli.main import COMMANDS
from worker.settings import settings

AWAY = {
    "DATABASE_URL": f"postgresql://worker:hunter2@{NOWHERE}/fixbill",
    "REDIS_URL": f"redis://:hunter2@{NOWHERE}/0",
    "STRIPE_API_KEY": "sk_test_unused",
}
REPOSITORY = Path(__file__).parents[2]
# One harmless line for each command that looks into the installation.
LINES = {
    "customers show": ["customers", "show", "acme"],
    "customers add": ["customers", "add", "acme"],
    "credits grant": ["credits", "grant", "acme", "1"],
    "keys list": ["keys", "list"],
    "keys create": ["keys", "create", "a key"],
    "usage": ["usage", "acme"],
    "verify": ["verify", "--without-stripe"],
    "quarantine list": ["quarantine", "list"],
    "quarantine show": ["quarantine", "show", "qua_1"],
    "quarantine replay": ["quarantine", "replay", "qua_1"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(command: Command, name: str) -> None:
    helped = command(name, "--help")

    assert helped.code == 0
    assert helped.out.startswith(f"Usage: fixbill {name}")
    assert helped.err == ""


def test_help_lists_every_command(command: Command) -> None:
    helped = command("--help")

    assert helped.code == 0
    assert [name for name in COMMANDS if f"  {name} " not in helped.out] == []


def test_the_version_is_that_of_the_package(command: Command) -> None:
    assert command("--version").out == f"fixbill {version('fixbill')}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["bill"],
        ["usage"],
        ["usage", "acme", "globex"],
        ["usage", "acme", "--xml"],
        ["customers"],
        ["customers", "delete", "acme"],
        ["customers", "add"],
        ["customers", "set-plan", "acme"],
        ["credits", "grant", "acme"],
        ["credits", "grant", "acme", "0"],
        ["credits", "grant", "acme", "-1"],
        ["credits", "grant", "acme", "many"],
        ["credits", "grant", "acme", "1.5"],
        ["credits", "grant", "acme", "1000001"],
        ["credits", "grant", "acme", "1", "--expires-in-days", "0"],
        ["keys", "create"],
        ["keys", "create", "a key", "--scope", "everything"],
        ["keys", "create", "a key", "--expires-in-days", "4000"],
        ["quarantine", "list", "--limit", "0"],
        ["quarantine", "replay"],
        ["verify", "acme"],
        ["--json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_prints_nothing_but_what_is_wrong(
    command: Command, words: list[str]
) -> None:
    done = command(*words)

    assert done.code == 2
    assert done.out == ""
    assert "Usage: fixbill" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", LINES.values(), ids=LINES)
def test_without_a_database_url_the_setting_is_named(command: Command, words: list[str]) -> None:
    done = command(*words, "--json")

    assert done.code == 1
    assert done.sentence.startswith("fixbill: set DATABASE_URL")


@pytest.mark.parametrize("words", LINES.values(), ids=LINES)
def test_a_database_that_is_away_is_one_sentence(command: Command, words: list[str]) -> None:
    command.set(**AWAY)

    done = command(*words)

    assert done.code == 1
    assert done.sentence.startswith("fixbill: ")
    assert "hunter2" not in done.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "fixbill"),
        ("DATABASE_URL", "mysql://localhost/fixbill"),
        ("DATABASE_URL", "postgresql://localhost:port/fixbill"),
        ("REDIS_URL", "localhost"),
        ("REDIS_URL", "redis://localhost:port"),
        ("SETTLERS", "many"),
        ("SETTLERS", "17"),
        ("TRUST_REDIS", "perhaps"),
        ("FIXBILL_SIGNING_KEY", "fbs_0123456789ab_short"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_in_one_sentence(
    command: Command, name: str, value: str
) -> None:
    command.set(**AWAY | {name: value})

    done = command("usage", "acme")

    assert done.code == 1
    assert name in done.sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://localhost/fixbill"),
        ("DATABASE_URL", "postgres://worker:p%40ss@db.example.com:5432/fixbill?sslmode=require"),
        ("DATABASE_URL", "postgresql:///fixbill?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql://worker@[::1]:5432/fixbill"),
        ("REDIS_URL", "redis://localhost"),
        ("REDIS_URL", "redis://redis:6379/0"),
        ("REDIS_URL", "redis://:pass:word@redis:6379"),
        ("REDIS_URL", "rediss://user:password@cache.example.com:6380/1"),
        ("REDIS_URL", "redis://[::1]:6379/0"),
        ("REDIS_URL", "unix:///run/redis/redis.sock"),
        ("CELERY_BROKER_URL", "amqp://guest:guest@rabbitmq:5672//"),
    ],
)
def test_an_address_that_makes_sense_is_taken_as_it_is(
    command: Command, name: str, value: str
) -> None:
    command.set(**{name: value})
    settings.cache_clear()

    taken = settings().need(name.lower())

    assert taken == value


def test_a_closed_pipe_is_no_error(cli: Cli) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.cli.main", "keys", "list", "--json"],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()

    _, err = process.communicate(timeout=30)

    assert b"Traceback" not in err
    assert b"Exception" not in err


def test_the_exit_code_is_that_of_the_process(cli: Cli) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "worker.cli.main", "usage", "nobody", "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("fixbill: there is no customer nobody")
