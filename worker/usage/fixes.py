"""The fixes of a customer, and the history of each."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, select, text

from schemas.listings import ChargeCollection, FixAnswer, FixEvent, FixHistory
from worker.billing.fix import Fix, FixOutcome
from worker.storage.charges import ChargeKey
from worker.storage.tables import events, fixes
from worker.usage.charges import charge_collection
from worker.usage.lists import (
    ALL,
    Listed,
    Sought,
    Window,
    having,
    left_out,
    of_customer,
    part_of,
    read_page,
)

IS_HELD = text(f"outcome = '{FixOutcome.HELD}'")  # in the words of the index of those


class Filters(NamedTuple):
    """Which fixes; None: whichever."""

    outcome: str | None = None
    repository: str | None = None
    start: datetime | None = None  # deployed then or later
    end: datetime | None = None  # deployed before


EVERY = Filters()


def list_fixes(
    tx: Connection,
    customer_id: str,
    filters: Filters = EVERY,
    window: Window = ALL,
) -> Listed[FixAnswer]:
    """The newest deployment first."""
    within = of_customer(fixes, customer_id)
    outcome = filters.outcome
    if outcome == FixOutcome.HELD:
        within.append(IS_HELD)
        outcome = None
    if filters.start is not None:
        within.append(fixes.c.deployed_at >= filters.start)
    if filters.end is not None:
        within.append(fixes.c.deployed_at < filters.end)
    wanted = having(outcome=outcome, repository=filters.repository)
    sought = Sought(fixes, ("deployed_at", "fix_id"), within, wanted)
    return read_page(tx, sought, window, lambda row: FixAnswer(**values_of(row)))


def values_of(row: RowMapping) -> dict[str, Any]:
    price = Fix(**row).owed
    return {name: row[name] for name in FixAnswer.model_fields} | {"price": price}


def fix_history(
    tx: Connection, customer_id: str, fix_id: str, as_of: datetime
) -> FixHistory | None:
    """None for a fix that this customer does not have."""
    mine = fixes.c.customer_id == customer_id, fixes.c.fix_id == fix_id
    row = tx.execute(select(fixes).where(*mine)).mappings().first()
    if row is None:
        return None
    about = (
        select(events)
        .where(events.c.customer_id == customer_id, events.c.fix_id == fix_id)
        .order_by(events.c.recorded_at.desc(), events.c.event_id.desc())
    )
    found = part_of(tx, about, event_from)
    return FixHistory(
        **values_of(row),
        as_of=as_of,
        events=found.items,
        charge=charge_of(tx, customer_id, row["charge_id"], fix_id),
        left_out=left_out(events=found),
    )


def event_from(row: RowMapping) -> FixEvent:
    return FixEvent(**{name: row[name] for name in FixEvent.model_fields})


def charge_of(
    tx: Connection, customer_id: str, charge_id: str | None, fix_id: str
) -> ChargeCollection | None:
    if charge_id is None:
        return None
    return charge_collection(tx, ChargeKey(customer_id, charge_id), fix_id)
