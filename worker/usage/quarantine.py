"""What of a customer's events could not be settled; the bytes of an entry stay with us."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, case, func

from schemas.events import BadEvent, parse_event
from schemas.inbox import EVENT_BYTES_MAX
from schemas.listings import QuarantineEntry
from worker.storage.tables import quarantine
from worker.usage.lists import Listed, Sought, Window, of_customer, read_page

UNREAD = ("body", "signature")
READABLE = case((func.octet_length(quarantine.c.body) <= EVENT_BYTES_MAX, quarantine.c.body))
COLUMNS = [column for column in quarantine.c if column.name not in UNREAD] + [
    READABLE.label("body")
]


def list_entries(tx: Connection, customer_id: str, window: Window) -> Listed[QuarantineEntry]:
    """The newest first."""
    mine = of_customer(quarantine, customer_id)
    sought = Sought(quarantine, ("quarantine_id",), mine, columns=COLUMNS)
    return read_page(tx, sought, window, entry_from)


def entry_from(row: RowMapping) -> QuarantineEntry:
    known = {name: row[name] for name in QuarantineEntry.model_fields if name != "fix_id"}
    return QuarantineEntry(**known, fix_id=fix_in(row))


def fix_in(row: RowMapping) -> str | None:
    """Of an entry that can be read, and is about this customer."""
    try:
        event = parse_event(row["body"] or b"")
    except BadEvent:
        return None
    return event.fix_id if event.customer_id == row["customer_id"] else None
