"""The rows of one pile, as a list for operators with the command that acts on each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from schemas.money import Money
from worker.api.pages.render import page
from worker.api.pages.spans import span
from worker.api.pages.usage import moment
from worker.due import DUE
from worker.storage.piles import LISTED_MAX

NOTHING = "–"
LONG = 20  # characters; what is longer is broken into lines

# What acts on a row of a pile, with the columns that it names; the first stands beside the row.
ACTS = {
    "inbox": ["fixbill doctor"],
    "charge": ["fixbill charges show {charge_id}", "fixbill charges retry {charge_id}"],
    "withdrawal": ["fixbill charges show {charge_id}"],
    "refund": ["fixbill charges show {charge_id}"],
    "stripe_event": ["fixbill reconcile"],
    "subscription_order": ["fixbill customers show {customer_id}"],
    "top_up": ["fixbill customers show {customer_id}"],
    "cycle": ["fixbill rollover"],
    "statement": ["fixbill statements preview {customer_id} --number {number}"],
    "held_fix": [
        "fixbill usage show {customer_id}",
        "fixbill customers accept-held {customer_id}",
    ],
    "waiting_fix": ["fixbill customers show {customer_id}"],
    "parked_entry": ["fixbill doctor"],
    "quarantine": [
        "fixbill quarantine show {quarantine_id}",
        "fixbill quarantine replay {quarantine_id}",
    ],
    "contests": [
        "fixbill contests show {contest_id}",
        "fixbill contests accept {contest_id}",
        "fixbill contests reject {contest_id} --why TEXT",
    ],
    "disputes": ["fixbill charges show {charge_id}"],
    "drifts": ["fixbill reconcile"],
    "customers": [
        "fixbill customers show {customer_id}",
        "fixbill customers release {customer_id}",
    ],
    "charges": ["fixbill explain {charge_id}", "fixbill charges show {charge_id}"],
    "attempts": ["fixbill charges show {charge_id}"],
}
TITLES = {
    "inbox": "Inbox",
    "quarantine": "Quarantine",
    "contests": "Contested fixes",
    "disputes": "Disputes without our evidence",
    "drifts": "Differences from Stripe",
    "customers": "Parked customers",
    "charges": "Charges that are not final",
    "attempts": "Attempts of the last hour",
}


class Cell(NamedTuple):
    """One value of a row; `kind` is how it is set."""

    text: str
    kind: str = "text"


def pile_page(name: str, rows: Sequence[Mapping[str, Any]], only: str | None, now: datetime) -> str:
    is_due = name in DUE
    title = f"Due: {name.replace('_', ' ')}" if is_due else TITLES[name]
    act = ACTS[name][0]
    lines = [dict(cells(row, act, now)) for row in rows]
    return page(
        "pile.html",
        title=f"{title}: {only}" if only else title,
        home="../../ops" if is_due else "../ops",
        columns=list(lines[0]) if lines else [],
        rows=[(act_on(act, row), line.values()) for line, row in zip(lines, rows, strict=True)],
        acts=[act_on(act, PLACES) for act in ACTS[name]],
        listed_max=LISTED_MAX,
        at=moment(now),
    )


class Places(dict[str, str]):
    """Stands for the row in a command for any."""

    def __missing__(self, column: str) -> str:
        return column.removesuffix("_id").upper()


PLACES = Places()


def act_on(act: str, row: Mapping[str, Any]) -> str | None:
    """None where the row lacks what the command names."""
    line = act.format_map(row)
    return None if str(None) in line else line


def cells(row: Mapping[str, Any], act: str, now: datetime) -> Iterator[tuple[str, Cell]]:
    """Without the id that stands in the command already."""
    for column, value in row.items():
        if column == "currency" or (column != "customer_id" and f"{{{column}}}" in act):
            continue
        label = column.replace("_", " ").capitalize()
        if column in ("amount", "receivable"):
            yield label, Cell(str(Money(value, row["currency"])), "number")
        elif isinstance(value, datetime):
            yield label, Cell(f"{value:%Y-%m-%d %H:%M}", "plain")
            if column == "since":
                yield "Age", Cell(span(max(now - value, timedelta(0))), "number")
        else:
            yield label, cell(value)


def cell(value: object) -> Cell:
    if isinstance(value, int):
        return Cell(f"{value:,}", "number")
    if isinstance(value, dict):
        return Cell(", ".join(f"{name} {each}" for name, each in value.items()))
    words = NOTHING if value is None else str(value)
    return Cell(words, "text" if len(words) > LONG else "plain")
