"""What ten minutes of FastAPI make: a key in a dict, a pool, one SELECT, a response model.

DATABASE_URL and KEY in the environment. No row-level security, no watermark, no rates, no ETag.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

USAGE = """
SELECT customer_id, plan, credits, sum(charged)::int AS charged,
    sum(credited)::int AS credited, sum(usage.held)::int AS held, sum(amount)::bigint AS amount
FROM books JOIN usage USING (customer_id, cycle_start)
WHERE customer_id = %s GROUP BY customer_id, plan, credits
"""
KEYS = {os.environ.get("KEY"): "a portal"}
pool = ConnectionPool(os.environ.get("DATABASE_URL", ""), min_size=4, open=False)


class Usage(BaseModel):
    customer_id: str
    plan: str
    credits: int
    charged: int
    credited: int
    held: int
    amount: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    with pool:
        yield


app = FastAPI(lifespan=lifespan)


def caller(sent: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    if sent.credentials not in KEYS:
        raise HTTPException(401, "Unknown API key")
    return KEYS[sent.credentials]


@app.get("/customers/{customer_id}/usage", dependencies=[Depends(caller)])
def usage(customer_id: str) -> Usage:
    with pool.connection() as connection, connection.cursor(row_factory=class_row(Usage)) as rows:
        found = rows.execute(USAGE, (customer_id,)).fetchone()
    if found is None:
        raise HTTPException(404, "No such customer")
    return found
