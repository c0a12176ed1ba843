"""What `fixbill verify` costs, without Stripe.

python -m tests.bench.verifying DATABASE_URL
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from sqlalchemy import func, select

from tests.bench.resources import peak_mib
from tests.stack import connected
from worker.storage.engine import WORKER
from worker.storage.tables import transfers
from worker.usage.verify import verify


def main(database: str) -> None:
    with connected(database, WORKER) as engine:
        with engine.begin() as tx:
            count = tx.scalar(select(func.count()).select_from(transfers))
        begun = perf_counter()
        checks = verify(engine, None)
        seconds = perf_counter() - begun
    assert all(each.ok for each in checks), checks
    found = {"transfers": count, "seconds": seconds, "peak_mib": peak_mib()}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
