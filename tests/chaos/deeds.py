"""What people and their software do to a world while money is collected; some of it is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError

from stripe import StripeError

from tests.builders import DAY, HOUR, MINUTE, deployed, reverted, rows_of, settle_events
from tests.chaos.world import CARD_NAMES, Died, World
from worker.billing.charges import IN_FLIGHT
from worker.billing.refunds import RefundProblem
from worker.charges import ChargeProblem, retry_charge, write_off_charge
from worker.customers import add_payment_method
from worker.leave import cancel_customer
from worker.reconcile import reconcile, swept_window
from worker.refund import request_refund
from worker.sandbox.disputes import REASONS, VERDICTS
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.collecting import switch
from worker.stripe_calls import StripeRefused

REFUSALS = (RefundProblem, ChargeProblem, StripeRefused, StripeError, HTTPError, Died)


def deploy_fixes(world: World) -> None:
    """One to three fixes each for half of the customers."""
    now = world.clock.now()
    events = [
        deployed(f"fix-{next(world.numbers)}", customer_id, at=now)
        for customer_id in world.rng.sample(world.customers, len(world.customers) // 2)
        for _ in range(world.rng.randint(1, 3))
    ]
    settle_events(world.engine, *events, now=now)


def revert_a_fix(world: World) -> None:
    """Of a charge that is being collected, if there is one."""
    charged = rows_of(world.engine, tables.fixes, outcome="charged")
    in_flight = {charge["charge_id"] for charge in charges(world, *IN_FLIGHT)}
    fix = pick(world, [each for each in charged if each["charge_id"] in in_flight] or charged)
    now = world.clock.now()
    settle_events(world.engine, reverted(fix["fix_id"], fix["customer_id"], at=now), now=now)


def refund_a_charge(world: World) -> None:
    """All of it, a part, or one fix's share."""
    charge = pick(world, charges(world, "paid"))
    key = ChargeKey(charge["customer_id"], charge["charge_id"])
    lines = rows_of(world.engine, tables.charge_lines, charge_id=key.charge_id, removed_at=None)
    how: list[dict[str, Any]] = [{}, {"amount": world.rng.randint(1, 3000)}]
    how += [{"fix_id": line["fix_id"]} for line in lines]
    request_refund(key, world.engine, world.clock, **world.rng.choice(how))


def refund_in_the_dashboard(world: World) -> None:
    payment = pick(world, world.sandbox.payments(status="succeeded"))
    wanted: Any = {"payment_intent": payment["payment_intent"]}
    wanted |= world.rng.choice([{}, {"amount": world.rng.randint(1, 3000)}])
    world.sandbox.client().v1.refunds.create(wanted)


def dispute_a_payment(world: World) -> None:
    payment = pick(world, world.sandbox.payments(status="succeeded"))
    wish = {
        "payment_intent": payment["payment_intent"],
        "reason": world.rng.choice(list(REASONS)),
        "amount": world.rng.randint(1, payment["amount"]),
        "inquiry": world.rng.random() < 0.3,
    }
    world.sandbox.ask("POST", "disputes", wish)


def answer_a_dispute(world: World) -> None:
    dispute = pick(world, world.sandbox.truth("disputes"))
    evidence: Any = {"uncategorized_text": world.rng.choice(VERDICTS)}
    world.sandbox.client().v1.disputes.update(dispute["dispute"], {"evidence": evidence})


def give_another_card(world: World) -> None:
    card = world.rng.choice(["pm_card_visa", *CARD_NAMES])
    customer_id = world.rng.choice(world.customers)
    add_payment_method(customer_id, card, world.engine, world.gateway, world.clock)


def leave(world: World) -> None:
    leaver = world.rng.choice(world.customers)
    cancel_customer(leaver, world.engine, world.gateway, world.clock)


def retry_by_hand(world: World) -> None:
    charge = pick(world, charges(world, "parked", "declined", "action_required"))
    retry_charge(key_of(charge), world.engine, world.clock)


def write_off(world: World) -> None:
    charge = pick(world, charges(world, "open", "parked", "declined", "action_required"))
    write_off_charge(key_of(charge), world.engine, world.clock)


def stop_collecting(world: World) -> None:
    with world.engine.begin() as tx:
        switch(tx, stopped_at=world.clock.wall(), why="chaos")


def start_collecting(world: World) -> None:
    with world.engine.begin() as tx:
        switch(tx, started_at=world.clock.wall())


def forget_keys(world: World) -> None:
    world.sandbox.ask("POST", "forget_keys")


def compare_with_stripe(world: World) -> None:
    reconcile(swept_window(world.clock), world.engine, world.gateway, world.clock)


DEEDS: dict[Callable[[World], None], int] = {
    revert_a_fix: 4,
    refund_a_charge: 4,
    refund_in_the_dashboard: 2,
    dispute_a_payment: 2,
    answer_a_dispute: 1,
    give_another_card: 3,
    leave: 1,
    retry_by_hand: 3,
    write_off: 1,
    stop_collecting: 1,
    forget_keys: 1,
    compare_with_stripe: 1,
}
JUMPS = (MINUTE, 5 * MINUTE, HOUR, 6 * HOUR, DAY, 2 * DAY)


def do_something(world: World) -> None:
    """One deed; that it is refused, fails or kills its process is part of the game."""
    (deed,) = world.rng.choices(list(DEEDS), list(DEEDS.values()))
    with suppress(*REFUSALS, NothingThere):
        deed(world)


class NothingThere(Exception):
    """The deed has nothing to act upon yet."""


def pick(world: World, rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        raise NothingThere
    return world.rng.choice(rows)


def charges(world: World, *statuses: str) -> list[dict[str, Any]]:
    return [row for row in rows_of(world.engine, tables.charges) if row["status"] in statuses]


def key_of(charge: dict[str, Any]) -> ChargeKey:
    return ChargeKey(charge["customer_id"], charge["charge_id"])
