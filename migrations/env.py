"""Run the migrations on the connection we are handed, or on OWNER_DATABASE_URL."""

from alembic import context
from sqlalchemy import Connection

from worker.settings import settings
from worker.storage.engine import connect
from worker.storage.tables import metadata


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    migrate(handed)
else:
    name = "owner_database_url" if settings().owner_database_url else "database_url"
    with connect(settings().need(name), role=None).begin() as connection:
        migrate(connection)
