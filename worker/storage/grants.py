"""Grants, beyond those that `open_books` reads."""

from __future__ import annotations

from sqlalchemy import Connection, select

from worker.storage.bulk import written
from worker.storage.tables import grants

GRANT_COLUMNS = written(grants)  # those of a Grant


def has_grant(tx: Connection, customer_id: str, grant_id: str) -> bool:
    found = select(grants.c.grant_id).where(
        grants.c.customer_id == customer_id, grants.c.grant_id == grant_id
    )
    return tx.scalar(found) is not None
