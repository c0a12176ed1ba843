"""The schema's history, applied by `fixbill up` or `alembic -c migrations/alembic.ini`."""
