"""How a world comes to rest, and whether our books then are what Stripe says."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from tests.builders import DAY, rows_of
from tests.chaos.deeds import charges, key_of, start_collecting
from tests.chaos.world import COLLECTED, World
from worker.billing.drift import Window
from worker.charges import retry_charge
from worker.customers import release_customer
from worker.due import sweep
from worker.reconcile import Reconciled, reconcile
from worker.storage import tables
from worker.stripe_gateway import StripeGateway
from worker.usage.verify import Check, verify

ROUNDS_MAX = 20  # of eight days: a charge that is declined has its last try after seven

UNFINISHED = """
    SELECT 'charge ' || charge_id || ' is ' || status FROM charges
        WHERE status IN ('frozen', 'withdrawing') OR due_at IS NOT NULL AND (
            status <> 'open' OR customer_id NOT IN (
                SELECT customer_id FROM charges WHERE status IN ('declined', 'action_required')))
    UNION ALL SELECT concat_ws(' ', 'attempt', attempt_id, 'has no answer:', code, message)
        FROM attempts WHERE answered_at IS NULL
    UNION ALL SELECT 'refund ' || refund_id || ' is ' || status FROM refunds
        WHERE due_at IS NOT NULL OR status IN ('requested', 'pending')
    UNION ALL SELECT 'event ' || event_id || ' is due' FROM stripe_events
        WHERE due_at IS NOT NULL
"""


def come_to_rest(world: World) -> Reconciled:
    """Nothing goes wrong any more, operators release what was parked, and time goes on."""
    world.sandbox.ask("DELETE", "faults")
    world.gateway = StripeGateway(world.sandbox.api_key, world.sandbox.url)
    release_everything(world)
    for _ in range(ROUNDS_MAX):
        for kind in COLLECTED * 2:
            world.jump(DAY)
            sweep(kind, world.tools)
        result = compared(world)
        if not result.repaired and not unfinished(world):
            return result
        retry_parked(world)
    raise AssertionError(f"no rest: {unfinished(world)}, {result}")


def release_everything(world: World) -> None:
    start_collecting(world)
    for customer_id in world.customers:
        release_customer(customer_id, world.engine, world.clock)
    retry_parked(world)


def retry_parked(world: World) -> None:
    for charge in charges(world, "parked"):
        retry_charge(key_of(charge), world.engine, world.clock)


def compared(world: World) -> Reconciled:
    """All there ever was, beside Stripe's lists."""
    now = world.clock.now()
    window = Window(now - timedelta(days=365), now + timedelta(seconds=1))
    return reconcile(window, world.engine, world.gateway, world.clock)


def unfinished(world: World) -> list[str]:
    with world.engine.begin() as tx:
        return list(tx.scalars(text(UNFINISHED)))


class Moved(NamedTuple):
    """Money at Stripe, in minor units by what moved it; and what all of it comes to."""

    paid: dict[str, int]
    returned: dict[str, int]
    disputed: dict[str, int]
    cash: int


def in_the_books(world: World) -> Moved:
    cash = sum(row["cash"] + row["fees"] for row in rows_of(world.engine, tables.books))
    return Moved(
        booked(world.engine, "pay", "unapplied_in"),
        booked(world.engine, "refund", "refund_unapplied"),
        booked(world.engine, "dispute_opened"),
        cash,
    )


def at_stripe(world: World) -> Moved:
    """The sandbox's truth, which no fault touches."""
    paid = sums(world.sandbox.payments(status="succeeded"), "payment_intent", "amount")
    returned = sums(money_returned(world), "refund", "amount")
    disputed = sums(world.sandbox.truth("disputes"), "dispute", "withdrawn")
    cash = sum(paid.values()) - sum(returned.values()) - sum(disputed.values())
    return Moved(paid, returned, disputed, cash)


def happened_twice(world: World) -> list[str]:
    """Charges of ours that were paid, and refunds of ours that were made, more than once."""
    payments = world.sandbox.payments(status="succeeded")
    return repeated(payments, "charge_id") + repeated(world.sandbox.truth("refunds"), "refund_id")


def broken(world: World) -> list[Check]:
    return [check for check in verify(world.engine, world.gateway) if not check.ok]


def money_returned(world: World) -> list[dict[str, Any]]:
    rows = world.sandbox.truth("refunds")
    return [row for row in rows if row["status"] not in ("failed", "canceled")]


def sums(rows: list[dict[str, Any]], name: str, amount: str) -> dict[str, int]:
    """What is not 0, by what moved it."""
    total: Counter[str] = Counter()
    for row in rows:
        total[row[name]] += row[amount]
    return {moved: cents for moved, cents in total.items() if cents}


def booked(engine: Engine, *kinds: str) -> dict[str, int]:
    """What these transfers, and those that reverse them, have moved; by what Stripe calls it."""
    signs = dict.fromkeys(kinds, 1) | {f"{kind}_failed": -1 for kind in kinds}
    signs |= {"dispute_won": -1} if "dispute_opened" in kinds else {}
    rows = rows_of(engine, tables.transfers)
    moved = [row | {"amount": signs.get(row["kind"], 0) * row["amount"]} for row in rows]
    return sums(moved, "source_key", "amount")


def repeated(rows: list[dict[str, Any]], name: str) -> list[str]:
    """Ids of ours that more than one of Stripe's rows carries."""
    times = Counter(row["metadata"][name] for row in rows if name in row["metadata"])
    return [each for each, number in times.items() if number > 1]
