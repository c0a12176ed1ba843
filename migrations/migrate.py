"""Bring a database to a revision of the schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def configured() -> Config:
    return Config(Path(__file__).with_name("alembic.ini"))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """In the caller's transaction: all of it, or nothing."""
    command.upgrade(with_connection(connection), revision)


def downgrade(connection: Connection, revision: str = "base") -> None:
    command.downgrade(with_connection(connection), revision)


def is_current(connection: Connection) -> bool:
    """Whether the database has the newest revision."""
    heads = set(ScriptDirectory.from_config(configured()).get_heads())
    return set(MigrationContext.configure(connection).get_current_heads()) == heads


def with_connection(connection: Connection) -> Config:
    config = configured()
    config.attributes["connection"] = connection
    return config
