"""Imports point one way, and each risky library is known to one file."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "producers", "worker", "migrations")

# A module may import those of ours that begin with one of these; the longest key counts.
ALLOWED: dict[str, tuple[str, ...]] = {
    "schemas": ("schemas",),
    "producers": ("producers", "schemas"),
    "migrations": ("worker.storage", "worker.billing", "worker.settings"),
    "worker.billing": ("worker.billing", "schemas"),
    "worker.storage": ("worker.storage", "worker.billing", "schemas"),
    "worker.sandbox": ("worker.sandbox",),
    "worker.settings": (),
    "worker.clock": (),
    "worker.telemetry": ("worker.billing", "schemas"),
    "worker.inbox": ("schemas",),
    "worker.stripe_webhooks": ("worker.billing", "schemas"),
    "worker.stripe_calls": ("worker.billing", "worker.telemetry"),
    "worker.stripe_gateway": ("worker.billing", "worker.stripe_calls", "schemas"),
    "worker.usage": (
        "worker.usage",
        "worker.storage",
        "worker.billing",
        "worker.inbox",
        "worker.stripe_gateway",
        "schemas",
    ),
    # The lives.
    "worker": (
        "worker.billing",
        "worker.storage",
        "worker.clock",
        "worker.telemetry",
        "worker.inbox",
        "worker.stripe_calls",
        "worker.stripe_gateway",
        "worker.settle",
        "worker.signatures",
        "worker.collect",
        "worker.breaker",
        "worker.withdraw",
        "worker.refund",
        "worker.dispute",
        "worker.fees",
        "worker.learn",
        "worker.links",
        "worker.reconcile",
        "worker.setup",
        "worker.subscription",
        "worker.subscribe",
        "worker.top_up",
        "worker.rollover",
        "worker.statement",
        "worker.leave",
        "worker.customers",
        "worker.stripe_events",
        "schemas",
    ),
    "worker.producer_keys": ("worker", "producers.signing"),
    # A statement is a reading of the ledger that is kept.
    "worker.statement": ("worker.clock", "worker.storage", "worker.usage.statements"),
    # Runs the lives as beat does, for a clock of its own.
    "worker.time_travel": (
        "worker.due",
        "worker.rollover",
        "worker.statement",
        "worker.customers",
        "worker.reconcile",
        "worker.inbox",
        "worker.billing",
        "worker.storage",
    ),
    # The edges.
    "worker.process": ("worker", "producers", "schemas"),
    "worker.gauges": ("worker", "schemas"),
    "worker.celery_app": ("worker", "producers", "schemas"),
    "worker.api": ("worker", "producers", "schemas", "migrations"),
    "worker.cli": ("worker", "producers", "schemas", "migrations"),
    "worker.local": ("worker", "producers", "schemas", "migrations"),
}
LOCAL_ONLY = ("worker.local", "worker.sandbox")  # only commands may start them

# A library that is untyped or risky is known to these alone.
KNOWN_TO: dict[str, set[str]] = {
    "celery": {"worker.celery_app"},
    "kombu": {"worker.celery_app"},
    "stripe": {"worker.stripe_calls", "worker.stripe_webhooks", "worker.sandbox.params"},
    "psycopg": {"worker.storage.bulk", "worker.storage.engine", "worker.local.postgres"},
    "cryptography": {"producers.signing", "worker.signatures"},
    "alembic": {"migrations.migrate", "migrations.env", "migrations.versions.0001_the_ledger"},
}
PURE = {"collections", "dataclasses", "datetime", "enum", "hashlib", "typing", "__future__"} | {
    "bisect",
    "functools",
    "itertools",
    "operator",
    "zlib",
}
BANNED = {"utils", "helpers", "common", "base", "manager", "service", "misc"}


def modules() -> list[str]:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return sorted(".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)


def imported(module: str) -> set[str]:
    """Every module this one names in an import, wherever that stands."""
    tree = ast.parse((ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            ours = node.module.split(".")[0] in PACKAGES
            found |= {f"{node.module}.{each.name}" if ours else node.module for each in node.names}
    return found


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def rule_for(module: str) -> tuple[str, ...]:
    return ALLOWED[max((key for key in ALLOWED if under(module, (key,))), key=len)]


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module: str) -> None:
    ours = {name for name in imported(module) if name.split(".")[0] in PACKAGES}
    allowed = rule_for(module)

    wrong = {name for name in ours if not under(name, allowed)}
    if not under(module, ("worker.cli", *LOCAL_ONLY)):
        wrong |= {name for name in ours if under(name, LOCAL_ONLY)}

    assert wrong == set()


@pytest.mark.parametrize("library", sorted(KNOWN_TO))
def test_a_risky_library_is_known_to_few(library: str) -> None:
    users = {
        module
        for module in modules()
        if any(name.split(".")[0] == library for name in imported(module))
    }

    assert users <= KNOWN_TO[library]
    assert users


@pytest.mark.parametrize("module", [each for each in modules() if under(each, ("worker.billing",))])
def test_rules_know_no_clock_no_chance_and_no_connection(module: str) -> None:
    others = {name.split(".")[0] for name in imported(module)} - set(PACKAGES)
    text = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")

    assert others <= PURE
    assert ".now(" not in text.replace("journal.now", "")


@pytest.mark.parametrize("module", modules())
def test_names_say_what_is_inside(module: str) -> None:
    words = set(module.split("."))

    assert not words & BANNED
    assert not words & {"stripe", "celery", "redis", "logging"}


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        module
        for module in modules()
        if "os.environ" in (ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")
    }

    # The sandbox is a program of its own and knows nothing of ours.
    assert readers <= {"worker.settings", "worker.sandbox.__main__"}


# What == would compare until the first byte that differs, and so tell how many were right.
SECRETS = {"secret", "secrets", "signature", "token", "password", "seed", "mac", "hmac"}


def secrets_compared(tree: ast.AST) -> list[str]:
    """Comparisons by value in which something is named like a secret."""
    by_value = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(each, by_value) for each in node.ops)
        and any(words_in(side) & SECRETS for side in (node.left, *node.comparators))
    ]


def words_in(side: ast.expr) -> set[str]:
    """Of every name in it; how long something is tells nothing."""
    if isinstance(side, ast.Call) and isinstance(side.func, ast.Name) and side.func.id == "len":
        return set()
    names = [each.id for each in ast.walk(side) if isinstance(each, ast.Name)]
    names += [each.attr for each in ast.walk(side) if isinstance(each, ast.Attribute)]
    return {word for name in names for word in name.lower().split("_")}


@pytest.mark.parametrize("module", modules())
def test_secrets_are_compared_in_constant_time(module: str) -> None:
    text = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")

    assert secrets_compared(ast.parse(text)) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("given == key.secret_hash", True),
        ("signature != expected.hex()", True),
        ("hashed(password) in known", True),
        ("token_of(link) == 'x'", True),
        ("compare_digest(given, key.secret_hash)", False),
        ("signature is None", False),
        ("len(signature) != 64", False),
        ("row.body_hash == other.body_hash", False),
    ],
)
def test_a_secret_that_is_compared_by_value_would_be_found(code: str, found: bool) -> None:
    assert bool(secrets_compared(ast.parse(code))) is found


def test_this_python_is_one_we_support() -> None:
    assert (3, 11) <= sys.version_info < (3, 15)
