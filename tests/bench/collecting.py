"""Collecting what is owed, by the real SDK from the sandbox, beside two bare calls a charge."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import bindparam, update

from tests.bench.bed import Bed, measured
from tests.bench.figures import Effort, Figures
from tests.bench.pipelines import Pipelines
from tests.bench.population import customer, has_credits
from tests.builders import settle_events
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from tests.stack import Database, connected
from worker.settings import Settings
from worker.storage.engine import WORKER
from worker.storage.tables import customers

CHARGES = 300
COLLECTORS = Settings.model_fields["collectors"].default


class Card(NamedTuple):
    """Of a customer of ours, who is one of Stripe's, too."""

    ours: str
    theirs: str
    method: str


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    """The sandbox's own work is in every rate, and in no processor time."""
    with running_sandbox(bed.directory / "sandbox") as sandbox:
        cards = cards_of(sandbox, effort.of(CHARGES))
        account = sandbox.url, sandbox.api_key
        for _ in range(effort.rounds):
            with bed.populated() as database:
                owe(database, cards)
                ours = measured("charging", database.worker_url, bed.valkey.url, *account)
            assert ours["collected"] == len(cards)
            bare = measured("peers.two_stripe_calls", *account, COLLECTORS, *map(":".join, cards))
            for found, rate, cpu in ((ours, "rate", "cpu"), (bare, "bare", "bare_cpu")):
                figures.add(f"collecting.{rate}", len(cards) / found["seconds"], "charges/s")
                figures.add(f"collecting.{cpu}", 1000 * found["busy"] / len(cards), "ms")
            figures.add("collecting.statements", ours["statements"] / len(cards), "statements")


def cards_of(sandbox: RunningSandbox, size: int) -> list[Card]:
    """Customers who pay by card, and have one at the sandbox."""
    client = sandbox.client()

    def card_of(name: str) -> Card:
        theirs = client.v1.customers.create({"metadata": {"customer_id": name}}).id
        method = client.v1.payment_methods.attach("pm_card_visa", {"customer": theirs}).id
        return Card(name, theirs, method)

    paying = [customer(number) for number in range(2 * size) if not has_credits(number)]
    with ThreadPoolExecutor(COLLECTORS) as pool:
        return list(pool.map(card_of, paying))


def owe(database: Database, cards: Sequence[Card]) -> None:
    """One charge each, due now."""
    put_in = (
        update(customers)
        .where(customers.c.customer_id == bindparam("ours"))
        .values(stripe_customer=bindparam("theirs"), payment_method=bindparam("method"))
    )
    deployed = Pipelines(len(cards)).deployed
    with connected(database.worker_url, WORKER) as engine:
        with engine.begin() as tx:
            tx.execute(put_in, [card._asdict() for card in cards])
        settle_events(engine, *(deployed(card.ours) for card in cards), now=datetime.now(UTC))
