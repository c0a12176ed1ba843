"""An API with customers in it who have some of everything that it can be asked about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import insert

from tests.api.client import Api
from tests.builders import (
    DAY,
    NOW,
    add_customer,
    charge,
    deployed,
    entry,
    one_row,
    reverted,
    settle_entries,
    settle_events,
)
from tests.stating import close_march
from worker.api.limits import Limits, Rate
from worker.billing.charges import ChargeStatus
from worker.keys import PATTERN
from worker.storage import tables
from worker.storage.api_keys import revoke_key

ACME, GLOBEX = "acme", "globex"
SOON = timedelta(hours=1)
PLENTY = 10**9


def unlimited() -> Limits:
    """For tests that ask more often, or with more wrong keys, than anyone may."""
    plenty = Rate(PLENTY, PLENTY)
    return Limits(plenty, plenty, plenty)


@dataclass
class Inhabited:
    """acme and globex have the same of everything."""

    api: Api

    def __post_init__(self) -> None:
        for customer_id in (ACME, GLOBEX):
            self.settle(customer_id)
        close_march(self.api.engine)

    def settle(self, customer_id: str) -> None:
        """Two fixes paid by credits, two by money, one taken back, and an entry that is none."""
        engine = self.api.engine
        add_customer(engine, customer_id, credits=2)
        fixes = [deployed(f"{customer_id}-{number}", customer_id) for number in range(5)]
        settle_events(engine, *fixes, reverted(f"{customer_id}-4", customer_id))
        settle_entries(engine, [entry(deployed("early", customer_id, at=NOW + 9 * DAY))])
        asked = charge(
            customer_id=customer_id,
            charge_id=f"ch_{customer_id}",
            status=ChargeStatus.ACTION_REQUIRED,
        )
        values = {column.name: getattr(asked, column.name) for column in tables.charges.columns}
        with engine.begin() as tx:
            tx.execute(insert(tables.charges).values(values))

    def revoked(self) -> str:
        key = self.api.key()
        found = PATTERN.fullmatch(key)
        assert found is not None
        with self.api.engine.begin() as tx:
            revoke_key(tx, found[1], self.api.doors.clock.wall())
        return key

    def expired(self) -> str:
        return self.api.key(expires_at=self.api.doors.clock.wall() - SOON)

    def open_charge(self, customer_id: str = ACME) -> str:
        owed = one_row(
            self.api.engine, tables.charges, customer_id=customer_id, status=ChargeStatus.OPEN
        )
        return str(owed["charge_id"])
