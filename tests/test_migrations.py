"""The schema's history: up, down, and up again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from migrations.migrate import downgrade, is_current, upgrade
from tests.stack import Databases, connected
from worker.storage.tables import metadata

# Everything of ours that Postgres knows by name.
OBJECTS = text(
    """
    SELECT 'column', table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'policy', tablename || ' ' || policyname || ' ' || roles::text
    FROM pg_policies WHERE schemaname = 'public'
    UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'privilege', table_name || ' ' || grantee || ' ' || privilege_type
    FROM information_schema.table_privileges WHERE table_schema = 'public'
    ORDER BY 1, 2
    """
)


@pytest.fixture
def empty(databases: Databases) -> Iterator[Engine]:
    """A database without a schema."""
    with databases.fresh("template0") as database, connected(database.owner_url, None) as engine:
        yield engine


def described(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        return [(kind, what) for kind, what in connection.execute(OBJECTS)]


def test_up_down_and_up_again_gives_the_same_schema(empty: Engine) -> None:
    with empty.begin() as tx:
        upgrade(tx)
    first = described(empty)

    with empty.begin() as tx:
        downgrade(tx)
    nothing = described(empty)
    with empty.begin() as tx:
        upgrade(tx)

    assert described(empty) == first
    assert [what for _, what in nothing if "alembic_version" not in what] == []


def test_migrating_twice_changes_nothing(empty: Engine) -> None:
    with empty.begin() as tx:
        upgrade(tx)
    first = described(empty)

    with empty.begin() as tx:
        upgrade(tx)

    assert described(empty) == first


def test_the_tables_are_what_the_migrations_make(owner: Engine) -> None:
    with owner.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_a_database_knows_whether_it_is_current(empty: Engine) -> None:
    with empty.begin() as tx:
        before = is_current(tx)
        upgrade(tx)
        after = is_current(tx)

    assert (before, after) == (False, True)
