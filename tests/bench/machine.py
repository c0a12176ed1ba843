"""What was measured on: the machine, the versions, and how durable the servers really were."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Engine, text

from tests.bench.bed import Bed

PACKAGES = (
    *("celery", "redis", "hiredis", "psycopg", "sqlalchemy"),
    *("pydantic", "fastapi", "stripe"),
)
OF_POSTGRES = (
    *("fsync", "synchronous_commit", "full_page_writes"),
    *("wal_sync_method", "shared_buffers"),
)
OF_VALKEY = ("appendonly", "appendfsync")


def described(bed: Bed) -> dict[str, Any]:
    """The first three members of `latest.json`; what servers do is asked of them."""
    postgres = asked(bed.databases.admin, ("server_version", *OF_POSTGRES))
    versions = {"postgres": postgres.pop("server_version"), "valkey": version_of(bed.redis)}
    return {
        "machine": machine(),
        "versions": versions | {name: version(name) for name in PACKAGES},
        "settings": postgres | {name: setting_of(bed.redis, name) for name in OF_VALKEY},
    }


def machine() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def processor() -> str:
    """As Linux names it; elsewhere only its kind is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def asked(postgres: Engine, names: tuple[str, ...]) -> dict[str, str]:
    setting = text("SELECT current_setting(:name)")
    with postgres.connect() as connection:
        return {name: connection.execute(setting, {"name": name}).scalar_one() for name in names}


def version_of(redis: Redis) -> str:
    """Valkey names itself beside the Redis it is compatible with."""
    said: dict[str, Any] = redis.info("server")
    return str(said.get("valkey_version") or said["redis_version"])


def setting_of(redis: Redis, name: str) -> str:
    found: dict[Any, Any] = redis.config_get(name)
    (value,) = found.values()
    return value.decode() if isinstance(value, bytes) else str(value)
