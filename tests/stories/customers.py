"""Customers of the running stack, made as an operator makes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from schemas.events import Event
from schemas.listings import ChargeAnswer, FixAnswer
from tests.builders import deployed
from tests.running import RunningStack, eventually
from worker.billing.orders import OrderStatus
from worker.customers import add_payment_method, create_customer
from worker.subscribe import set_plan
from worker.usage.charges import list_charges
from worker.usage.fixes import list_fixes

numbers = count(1)


def new_customer(stack: RunningStack, plan: str = "trial", card: str | None = None) -> str:
    """A customer nobody else uses; one on pro has paid for the first month."""
    customer_id = f"story-{next(numbers)}-{datetime.now(UTC):%H%M%S%f}"
    tools = stack.tools
    first = "payg" if plan == "pro" else plan
    create_customer(customer_id, first, tools.engine, tools.clock)
    if card is not None:
        add_payment_method(customer_id, card, tools.engine, tools.stripe, tools.clock)
    if plan != first:
        order = set_plan(customer_id, plan, tools.engine, tools.stripe, tools.clock)
        assert order is not None
        assert order.status is OrderStatus.DONE
    return customer_id


def deployed_now(customer_id: str, how_many: int, first: int = 1) -> list[Event]:
    """So many fixes, deployed a moment ago."""
    at = datetime.now(UTC) - timedelta(minutes=1)
    return [
        deployed(f"fix-{number:05}", customer_id, at=at + timedelta(milliseconds=number))
        for number in range(first, first + how_many)
    ]


def fixes_in(stack: RunningStack, customer_id: str) -> list[FixAnswer]:
    """Oldest first."""
    with stack.engine.begin() as tx:
        return list_fixes(tx, customer_id).items[::-1]


def charges_in(stack: RunningStack, customer_id: str) -> list[ChargeAnswer]:
    """Oldest first."""
    with stack.engine.begin() as tx:
        return list_charges(tx, customer_id).items[::-1]


def outcomes_in(stack: RunningStack, customer_id: str) -> dict[str, str]:
    return {fix.fix_id: fix.outcome for fix in fixes_in(stack, customer_id)}


def all_settled(stack: RunningStack, customer_id: str, how_many: int, within: float = 60) -> bool:
    """Whether so many fixes were settled in time."""
    return eventually(lambda: len(fixes_in(stack, customer_id)) >= how_many, within)


def statuses(stack: RunningStack, customer_id: str) -> list[str]:
    return [charge.status for charge in charges_in(stack, customer_id)]


def all_paid(stack: RunningStack, customer_id: str, within: float = 30) -> bool:
    """Whether everything that is owed was collected in time."""
    return eventually(lambda: set(statuses(stack, customer_id)) == {"paid"}, within)
