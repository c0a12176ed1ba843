"""A customer's year: tries it, pays as they go, subscribes, falls behind, leaves, comes back.

Stripe's clock and ours are moved together; whatever falls due on the way happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.builders import DAY, HOUR, MINUTE, deployed, outcomes, rows_of, settle_events
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from tests.subscribing import DECLINES, MONTHLY, Member, january_after
from worker.billing.ledger import CREDIT_ACCOUNTS, MOVEMENTS
from worker.clock import Clock
from worker.customers import create_customer, customer_at_stripe
from worker.due import Tools, sweep
from worker.storage import tables
from worker.storage.clock import move_clock
from worker.stripe_gateway import StripeGateway

SWEPT = ("charge", "subscription_order", "cycle", "held_fix", "statement")


@pytest.fixture(scope="module")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own, which runs a year ahead."""
    with running_sandbox(tmp_path_factory.mktemp("a_year")) as one:
        yield one


class Customer(Member):
    """The only one, so everybody's clock is theirs."""

    numbers = count(1)

    def pass_time(self, by: timedelta) -> None:
        self.sandbox.advance(int(by.total_seconds()))
        with self.engine.begin() as tx:
            move_clock(tx, by)
        self.let_happen()

    def let_happen(self) -> None:
        """Webhooks arrive, and everything that is due is done."""
        self.hear()
        tools = Tools(self.engine, self.redis, self.gateway, self.clock)
        for kind in SWEPT:
            sweep(kind, tools)
        self.hear()

    def fix(self, how_many: int) -> Counter[str]:
        """So many fixes reach main now; what became of them."""
        names = [f"fix-{next(self.numbers):03}" for _ in range(how_many)]
        at = self.now - timedelta(seconds=1)
        events = [deployed(each, self.customer_id, at=at) for each in names]
        settle_events(self.engine, *events, now=self.clock.now())
        self.let_happen()
        known = outcomes(self.engine, self.customer_id)
        return Counter(known[each] for each in names)

    @property
    def credits(self) -> int:
        return int(self.book["credits"])

    def day(self, month: int, day: int, *, years: int = 0) -> datetime:
        """Noon of that day of the year of the story."""
        return datetime(self.started.year + years, month, day, 12, tzinfo=UTC)

    def assert_whole(self) -> None:
        """Every invariant holds, and the statements add up to the ledger."""
        assert self.broken() == []
        assert_statements_add_up(self)


def assert_statements_add_up(customer: Customer) -> None:
    """Numbered without a gap; each begins with the balances of the last; together the ledger."""
    stated = [row["body"] for row in rows_of(customer.engine, tables.statements)]
    closed = [number for number, status in customer.cycles() if status == "closed"]
    assert [each["number"] for each in stated] == closed
    balances: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for each in stated:
        for movement in each["movements"]:
            source, target = MOVEMENTS[movement["kind"]]
            amount = movement["credits"] or movement["money"]["amount"]
            balances.update({target: amount, source: -amount})
            moved[movement["kind"]] += amount
        assert each["balances"] == {name: balances[name] for name in each["balances"]}
        assert sum(balances[name] for name in CREDIT_ACCOUNTS) == 0
    transfers = rows_of(customer.engine, tables.transfers)
    in_closed = [row for row in transfers if row["cycle"] in closed]
    assert moved == sum_by_kind(in_closed)


def sum_by_kind(transfers: list[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for row in transfers:
        total[str(row["kind"])] += row["amount"]
    return total


@pytest.fixture
def customer(
    engine: Engine, redis: Redis, sandbox: RunningSandbox, stripe: StripeGateway
) -> Customer:
    """On trial since noon of the tenth of January that comes next."""
    clock = Clock()
    begin = january_after(datetime.fromtimestamp(sandbox.now(), UTC))
    sandbox.advance(int(begin.timestamp()) - sandbox.now())
    with engine.begin() as tx:
        move_clock(tx, begin - clock.wall())
    create_customer("acme", "trial", engine, clock)
    stripe_customer = customer_at_stripe("acme", engine.begin, stripe)
    return Customer("acme", stripe_customer, engine, redis, sandbox, stripe, clock, begin)


def test_a_year_of_a_customer_who_subscribes_leaves_and_comes_back(customer: Customer) -> None:
    tries_it_and_pays_as_they_go(customer)
    subscribes(customer)
    waits_for_the_renewal(customer)
    falls_behind_and_pays_late(customer)
    leaves_at_the_end_of_a_period(customer)
    comes_back(customer)

    assert Counter(customer.paid()) == {MONTHLY: 9, 2900: 4, 1500: 2}
    assert customer.book["cash"] == 9 * MONTHLY + 4 * 2900 + 2 * 1500
    assert customer.subscriptions() == ["canceled", "active"]
    assert {row["number"] for row in rows_of(customer.engine, tables.statements)} == set(
        range(1, len(customer.cycles()))
    )


def tries_it_and_pays_as_they_go(customer: Customer) -> None:
    """January: five credits, then two fixes wait; a card brings five more, then fixes cost."""
    assert customer.fix(7) == {"credited": 5, "held": 2}

    customer.pass_to(customer.day(1, 12))
    customer.use_card("pm_card_visa")
    assert (customer.book["plan"], customer.credits, customer.book["held"]) == ("payg", 3, 0)

    customer.pass_to(customer.day(1, 20))
    assert customer.fix(4) == {"credited": 3, "charged": 1}
    assert customer.fix(1) == {"charged": 1}
    assert customer.paid() == [2900, 2900]
    customer.pass_to(customer.day(2, 2))
    customer.assert_whole()


def subscribes(customer: Customer) -> None:
    """February: 599 dollars bring ten credits; what is beyond them costs 15."""
    customer.pass_to(customer.day(2, 5))
    customer.set_plan("pro")
    customer.let_happen()
    assert (customer.book["plan"], customer.credits) == ("pro", 10)

    customer.pass_to(customer.day(2, 10))
    assert customer.fix(11) == {"credited": 10, "charged": 1}
    assert customer.fix(1) == {"charged": 1}
    assert customer.paid()[2:] == [MONTHLY, 1500, 1500]
    customer.assert_whole()


def waits_for_the_renewal(customer: Customer) -> None:
    """March: in the hour before the invoice is paid a fix waits, then a credit pays for it."""
    customer.pass_to(customer.book["cycle_end"] + 30 * MINUTE)
    assert customer.fix(1) == {"held": 1}

    customer.pass_time(HOUR)

    assert customer.book["held"] == 0
    assert customer.credits == 9
    assert customer.fix(3) == {"credited": 3}
    customer.pass_to(customer.day(4, 1))
    customer.assert_whole()


def falls_behind_and_pays_late(customer: Customer) -> None:
    """April: the card fails, what rolled is used, the rest waits until another card pays."""
    customer.use_card(DECLINES)
    customer.pass_to(customer.book["cycle_end"] + 2 * HOUR)
    assert customer.book["subscription_status"] == "past_due"
    assert customer.credits == 6
    assert customer.fix(7) == {"credited": 6, "held": 1}

    customer.use_card("pm_card_visa")
    customer.pass_time(4 * DAY)

    assert customer.book["subscription_status"] == "active"
    assert (customer.book["held"], customer.credits) == (0, 9)
    customer.pass_to(customer.day(5, 6))
    assert customer.credits == 19
    customer.assert_whole()


def leaves_at_the_end_of_a_period(customer: Customer) -> None:
    """May to July: the period runs out, ten credits roll once more, then fixes cost 29 again."""
    customer.set_plan("payg")
    customer.pass_to(customer.day(6, 6))
    assert (customer.book["plan"], customer.book["subscription_id"]) == ("payg", None)
    assert customer.credits == 10

    assert customer.fix(11) == {"credited": 10, "charged": 1}
    assert customer.fix(1) == {"charged": 1}
    for month in (7, 8):
        customer.pass_to(customer.day(month, 2))
        customer.assert_whole()
    assert len(customer.paid()) == 2 + 4 + 2 + 2


def comes_back(customer: Customer) -> None:
    """August to January: another subscription, renewed every month."""
    customer.pass_to(customer.day(8, 15))
    customer.set_plan("pro")
    assert customer.credits == 10
    for month in (9, 10, 11, 12):
        customer.pass_to(customer.day(month, 16))
        assert customer.credits == 20
        customer.assert_whole()
    customer.pass_to(customer.day(1, 10, years=1))
    customer.assert_whole()
