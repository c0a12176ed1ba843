"""The life of a customer's account, with Stripe's sandbox behind it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, update

from schemas.plans import BadPlans
from tests.builders import (
    DAY,
    MARCH,
    NOW,
    PLAN_DATE,
    add_customer,
    deployed,
    fixes_of,
    one_row,
    outcomes,
    rows_of,
    settle_events,
)
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import HastyGateway
from worker.billing.cycles import month_of
from worker.billing.orders import PlanProblem
from worker.clock import Clock
from worker.customers import (
    CustomerProblem,
    accept_held,
    add_payment_method,
    book_payment_method,
    create_customer,
    grant_credits,
)
from worker.leave import cancel_customer
from worker.storage import tables
from worker.storage.clock import move_clock
from worker.stripe_calls import StripeRefused
from worker.stripe_gateway import StripeGateway
from worker.subscribe import set_plan
from worker.usage.verify import verify


@pytest.fixture
def name() -> str:
    """An id that nobody else uses: the sandbox remembers keys made of it."""
    return f"customer-{secrets.token_hex(6)}"


def grants(engine: Engine) -> dict[str, int]:
    return {row["grant_id"]: row["granted"] for row in rows_of(engine, tables.grants)}


def assert_books_hold(engine: Engine) -> None:
    assert [each for each in verify(engine, None) if not each.ok] == []


# Signing up.


@pytest.mark.parametrize(("plan", "given"), [("trial", {"signup": 5}), ("payg", {})])
def test_a_new_customer_has_the_credits_of_their_plan(
    engine: Engine, clock: Clock, plan: str, given: dict[str, int]
) -> None:
    create_customer("acme", plan, engine, clock, name="Acme", email="a@example.com")

    standing = one_row(engine, tables.books)
    assert (standing["plan"], standing["plan_version"]) == (plan, PLAN_DATE)
    assert (standing["credits"], standing["has_payment_method"]) == (sum(given.values()), False)
    assert grants(engine) == given
    stored = one_row(engine, tables.customers)
    assert (stored["name"], stored["email"]) == ("Acme", "a@example.com")
    assert stored["stripe_customer"] is None
    assert_books_hold(engine)


def test_credits_of_signing_up_last_ninety_days(engine: Engine, clock: Clock) -> None:
    create_customer("acme", "trial", engine, clock)

    given = one_row(engine, tables.grants)

    assert given["expires_at"] - given["recorded_at"] == 90 * DAY


def test_nobody_signs_up_twice(engine: Engine, clock: Clock) -> None:
    create_customer("acme", "trial", engine, clock)

    with pytest.raises(CustomerProblem, match="there is a customer acme already"):
        create_customer("acme", "payg", engine, clock)

    assert one_row(engine, tables.books)["plan"] == "trial"
    assert grants(engine) == {"signup": 5}


def test_of_many_who_sign_up_at_once_one_does(engine: Engine, clock: Clock) -> None:
    def sign_up(_: int) -> bool:
        try:
            create_customer("acme", "trial", engine, clock)
        except CustomerProblem:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(sign_up, range(8)))

    assert sorted(done) == [False] * 7 + [True]
    assert grants(engine) == {"signup": 5}
    assert_books_hold(engine)


@pytest.mark.parametrize(
    "customer_id", ["", "a b", "a\n", "acme\n", "\u00e4cme", "a" * 129, "a/b", "a'; --"]
)
def test_an_id_that_events_could_not_name_is_refused(
    engine: Engine, clock: Clock, customer_id: str
) -> None:
    with pytest.raises(CustomerProblem, match="a customer id is 1 to 128"):
        create_customer(customer_id, "trial", engine, clock)

    assert rows_of(engine, tables.customers) == []


@pytest.mark.parametrize(("field", "longest"), [("name", 200), ("email", 254)])
def test_a_name_that_nothing_can_show_is_refused(
    engine: Engine, clock: Clock, field: str, longest: int
) -> None:
    def add(text: str) -> None:
        described: dict[str, Any] = {field: text}
        create_customer("acme", "trial", engine, clock, **described)

    for text in ("x" * (longest + 1), "Acme\x00", "Acme\r\nInc", "Ac\x9bme"):
        with pytest.raises(CustomerProblem, match=f"the {field} is at most {longest} characters"):
            add(text)
    add("é" * longest)

    assert one_row(engine, tables.customers)[field] == "é" * longest


def test_a_plan_nobody_offers_is_refused(engine: Engine, clock: Clock) -> None:
    with pytest.raises(BadPlans, match="there is no plan 'gold'; there are trial, payg, pro"):
        create_customer("acme", "gold", engine, clock)

    assert rows_of(engine, tables.customers) == []


def test_nobody_begins_with_a_plan_that_stripe_must_be_paid_for(
    engine: Engine, clock: Clock
) -> None:
    with pytest.raises(CustomerProblem, match=r"pro is paid by a subscription: .* set-plan acme"):
        create_customer("acme", "pro", engine, clock)

    assert rows_of(engine, tables.customers) == []


def test_the_first_cycle_is_the_month_of_the_business_clock(engine: Engine, clock: Clock) -> None:
    create_customer("acme", "payg", engine, clock)
    with engine.begin() as tx:
        move_clock(tx, 20 * DAY)
    create_customer("globex", "payg", engine, clock)

    cycles = [
        (row["customer_id"], row["number"], row["starts_at"], row["ends_at"], row["status"])
        for row in rows_of(engine, tables.cycles)
    ]

    april = month_of(MARCH.end)
    assert cycles == [("acme", 1, *MARCH, "open"), ("globex", 1, *april, "open")]


# Adding a card.


def test_a_card_moves_a_trial_to_payg_and_brings_credits(
    engine: Engine, clock: Clock, stripe: StripeGateway, sandbox: RunningSandbox, name: str
) -> None:
    create_customer(name, "trial", engine, clock)

    attached = add_payment_method(name, "pm_card_visa", engine, stripe, clock)

    standing = one_row(engine, tables.books)
    assert (standing["plan"], standing["has_payment_method"]) == ("payg", True)
    assert grants(engine) == {"billing_added": 5, "signup": 5}
    stored = one_row(engine, tables.customers)
    assert stored["payment_method"] == attached
    at_stripe = sandbox.client().v1.customers.retrieve(stored["stripe_customer"])
    assert at_stripe.to_dict()["metadata"] == {"customer_id": name}
    assert at_stripe.invoice_settings is not None
    assert at_stripe.invoice_settings.default_payment_method == attached
    assert_books_hold(engine)


def test_a_second_card_brings_no_more_credits(
    engine: Engine, clock: Clock, stripe: StripeGateway, name: str
) -> None:
    create_customer(name, "trial", engine, clock)
    first = add_payment_method(name, "pm_card_visa", engine, stripe, clock)

    second = add_payment_method(name, "pm_card_mastercard", engine, stripe, clock)

    assert first != second
    stored = one_row(engine, tables.customers)
    assert stored["payment_method"] == second
    assert grants(engine) == {"billing_added": 5, "signup": 5}


def test_credits_for_a_card_come_once_in_a_life(engine: Engine, clock: Clock) -> None:
    create_customer("acme", "trial", engine, clock)
    book_payment_method("acme", "pm_1", engine, clock)
    with engine.begin() as tx:  # back to the trial, which nobody can ask for
        mine = update(tables.books).where(tables.books.c.customer_id == "acme")
        tx.execute(mine.values(plan="trial"))

    book_payment_method("acme", "pm_2", engine, clock)

    assert grants(engine) == {"billing_added": 5, "signup": 5}
    assert one_row(engine, tables.books)["plan"] == "payg"


def test_the_same_card_added_by_many_at_once_is_one_card_and_one_gift(
    engine: Engine, clock: Clock, sandbox: RunningSandbox, stripe: StripeGateway, name: str
) -> None:
    create_customer(name, "trial", engine, clock)
    visa: Any = {"type": "card", "card": {"token": "tok_visa"}}
    card = sandbox.client().v1.payment_methods.create(visa)

    def add(_: int) -> None:
        with suppress(StripeRefused):  # a call that meets its own twin is told to come again
            add_payment_method(name, card.id, engine, stripe, clock)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(add, range(6)))
    add_payment_method(name, card.id, engine, stripe, clock)

    assert grants(engine) == {"billing_added": 5, "signup": 5}
    assert one_row(engine, tables.customers)["payment_method"] == card.id
    at_stripe = sandbox.client().v1.payment_methods.retrieve(card.id)
    assert at_stripe.customer == one_row(engine, tables.customers)["stripe_customer"]


def test_two_who_add_a_card_at_once_share_one_customer_at_stripe(
    engine: Engine, clock: Clock, sandbox: RunningSandbox, stripe: StripeGateway, name: str
) -> None:
    create_customer(name, "payg", engine, clock)
    sandbox.fault("slow", "POST", "/v1/customers", seconds=0.5)

    with ThreadPoolExecutor(1) as pool:
        slower = pool.submit(add_payment_method, name, "pm_card_visa", engine, stripe, clock)
        while sandbox.ask("GET", "faults"):  # until the slower call is under way
            assert not slower.done()
        cards = [add_payment_method(name, "pm_card_visa", engine, stripe, clock)]
        cards.append(slower.result(10))

    stored = one_row(engine, tables.customers)
    assert stored["payment_method"] in cards
    owners = [sandbox.client().v1.payment_methods.retrieve(card).customer for card in cards]
    assert owners == [stored["stripe_customer"]] * 2


CALLS = {
    "customer": "/v1/customers",
    "attach": "/v1/payment_methods/*/attach",
    "default": "/v1/customers/*",
}


@pytest.mark.parametrize("fault", ["http_500_before", "http_500_after", "cut_after", "http_429"])
@pytest.mark.parametrize("path", CALLS.values(), ids=CALLS)
def test_a_card_can_be_added_again_after_stripe_failed(
    engine: Engine,
    clock: Clock,
    sandbox: RunningSandbox,
    stripe: StripeGateway,
    name: str,
    fault: str,
    path: str,
) -> None:
    create_customer(name, "trial", engine, clock)
    sandbox.fault(fault, "POST", path)
    with pytest.raises(StripeRefused):
        add_payment_method(name, "pm_card_visa", engine, HastyGateway(sandbox), clock)
    assert one_row(engine, tables.books)["has_payment_method"] is False

    add_payment_method(name, "pm_card_visa", engine, stripe, clock)

    assert one_row(engine, tables.books)["has_payment_method"] is True
    assert grants(engine) == {"billing_added": 5, "signup": 5}


def test_a_card_the_bank_refuses_is_not_added(
    engine: Engine, clock: Clock, stripe: StripeGateway, name: str
) -> None:
    create_customer(name, "trial", engine, clock)

    with pytest.raises(StripeRefused, match="declined"):
        add_payment_method(name, "pm_card_chargeDeclined", engine, stripe, clock)

    assert one_row(engine, tables.books)["has_payment_method"] is False
    assert grants(engine) == {"signup": 5}


def test_a_card_that_is_chosen_again_is_the_default_at_stripe_again(
    engine: Engine, clock: Clock, sandbox: RunningSandbox, stripe: StripeGateway, name: str
) -> None:
    create_customer(name, "payg", engine, clock)
    first = add_payment_method(name, "pm_card_visa", engine, stripe, clock)
    add_payment_method(name, "pm_card_mastercard", engine, stripe, clock)

    add_payment_method(name, first, engine, stripe, clock)

    stored = one_row(engine, tables.customers)
    at_stripe = sandbox.client().v1.customers.retrieve(stored["stripe_customer"])
    assert at_stripe.invoice_settings is not None
    assert at_stripe.invoice_settings.default_payment_method == first
    assert stored["payment_method"] == first


# What was held settles by what makes it payable, at once.


def test_held_fixes_of_a_trial_take_the_credits_that_a_card_brings(
    engine: Engine, clock: Clock
) -> None:
    create_customer("acme", "trial", engine, clock)
    settle_events(engine, *fixes_of("acme", 8))
    assert list(outcomes(engine).values()) == ["credited"] * 5 + ["held"] * 3

    book_payment_method("acme", "pm_1", engine, clock)

    assert list(outcomes(engine).values()) == ["credited"] * 8
    assert one_row(engine, tables.books)["credits"] == 2
    assert_books_hold(engine)


def test_held_fixes_beyond_the_credits_do_not_become_money_by_themselves(
    engine: Engine, clock: Clock
) -> None:
    create_customer("acme", "trial", engine, clock)
    settle_events(engine, *fixes_of("acme", 12))

    book_payment_method("acme", "pm_1", engine, clock)

    assert list(outcomes(engine).values()) == ["credited"] * 10 + ["held"] * 2
    assert rows_of(engine, tables.charges) == []


def test_credits_of_the_operator_settle_what_is_held(engine: Engine, clock: Clock) -> None:
    add_customer(engine, card=False)
    settle_events(engine, *fixes_of("acme", 3))

    given = grant_credits("acme", 2, "sorry", None, engine, clock)

    assert given
    assert list(outcomes(engine).values()) == ["credited", "credited", "held"]
    assert_books_hold(engine)


def test_credits_are_given_once_per_key(engine: Engine, clock: Clock) -> None:
    add_customer(engine)

    answers = [grant_credits("acme", 2, "sorry", None, engine, clock) for _ in range(2)]

    assert answers == [True, False]
    assert grants(engine) == {"sorry": 2}


def test_credits_given_by_many_at_once_are_given_once(engine: Engine, clock: Clock) -> None:
    add_customer(engine)

    def give(_: int) -> bool:
        return grant_credits("acme", 2, "sorry", DAY, engine, clock)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(give, range(8)))

    assert sorted(answers) == [False] * 7 + [True]
    assert grants(engine) == {"sorry": 2}


@pytest.mark.parametrize("credits_given", [0, -1])
def test_less_than_one_credit_cannot_be_given(
    engine: Engine, clock: Clock, credits_given: int
) -> None:
    add_customer(engine)

    with pytest.raises(ValueError, match="moves more than 0"):
        grant_credits("acme", credits_given, "none", None, engine, clock)

    assert grants(engine) == {}


@pytest.mark.parametrize(
    "key",
    [
        "signup",
        "billing_added",
        "revert:fix-1",
        "roll:gift",
        "included:sub_1:now",
        "top_up:three",
        "a b",
        "",
        "k\n",
    ],
)
def test_an_operator_cannot_use_a_key_of_the_products_own(
    engine: Engine, clock: Clock, key: str
) -> None:
    add_customer(engine)

    with pytest.raises(CustomerProblem, match="the key of a grant is"):
        grant_credits("acme", 1, key, None, engine, clock)

    assert grants(engine) == {}


def test_an_accepted_backlog_becomes_money(engine: Engine, clock: Clock) -> None:
    add_customer(engine, card=False)
    settle_events(engine, *fixes_of("acme", 3))
    book_payment_method("acme", "pm_1", engine, clock)

    left = accept_held("acme", engine, clock)

    assert left == 0
    assert list(outcomes(engine).values()) == ["charged"] * 3
    assert one_row(engine, tables.charges)["amount"] == 3 * 2900
    assert_books_hold(engine)


def test_accepting_tells_how_many_still_wait(engine: Engine, clock: Clock) -> None:
    add_customer(engine, card=False, spending_cap=2900)
    settle_events(engine, *fixes_of("acme", 3))

    without_a_card = accept_held("acme", engine, clock)
    book_payment_method("acme", "pm_1", engine, clock)

    assert without_a_card == 3
    assert list(outcomes(engine).values()) == ["charged", "held", "held"]


def test_another_plan_settles_later_fixes_at_its_price(
    engine: Engine, clock: Clock, stripe: StripeGateway
) -> None:
    add_customer(engine, plan="pro")
    settle_events(engine, deployed("before"))

    order = set_plan("acme", "payg", engine, stripe, clock)
    settle_events(engine, deployed("after"))

    assert order is None  # Stripe need not know
    prices = {row["fix_id"]: row["price"] for row in rows_of(engine, tables.fixes)}
    assert prices == {"before": 1500, "after": 2900}
    assert_books_hold(engine)


def test_a_plan_with_a_price_settles_what_was_accepted(
    engine: Engine, clock: Clock, stripe: StripeGateway
) -> None:
    add_customer(engine, plan="trial", accepted_held_until=NOW + DAY)
    settle_events(engine, deployed())

    set_plan("acme", "payg", engine, stripe, clock)

    assert outcomes(engine) == {"fix-1": "charged"}


def test_nobody_goes_back_to_the_credits_for_new_customers(
    engine: Engine, clock: Clock, stripe: StripeGateway
) -> None:
    add_customer(engine)

    with pytest.raises(PlanProblem, match="trial is for new customers; acme is on payg"):
        set_plan("acme", "trial", engine, stripe, clock)

    assert one_row(engine, tables.books)["plan"] == "payg"


# Nobody of that name.


STRANGER: dict[str, Callable[[Engine, StripeGateway, Clock], object]] = {
    "grant": lambda engine, _, clock: grant_credits("nobody", 1, "k", None, engine, clock),
    "plan": lambda engine, stripe, clock: set_plan("nobody", "pro", engine, stripe, clock),
    "leaving": lambda engine, stripe, clock: cancel_customer("nobody", engine, stripe, clock),
    "accept": lambda engine, _, clock: accept_held("nobody", engine, clock),
    "card": lambda engine, stripe, clock: add_payment_method(
        "nobody", "pm_card_visa", engine, stripe, clock
    ),
    "booked card": lambda engine, _, clock: book_payment_method("nobody", "pm", engine, clock),
}


@pytest.mark.parametrize("act", STRANGER.values(), ids=STRANGER)
def test_what_is_done_to_a_customer_nobody_knows_is_refused(
    engine: Engine,
    stripe: StripeGateway,
    clock: Clock,
    act: Callable[[Engine, StripeGateway, Clock], object],
) -> None:
    with pytest.raises(CustomerProblem, match="there is no customer nobody"):
        act(engine, stripe, clock)

    assert rows_of(engine, tables.books) == []


def test_a_plan_nobody_offers_changes_nothing(
    engine: Engine, clock: Clock, stripe: StripeGateway
) -> None:
    add_customer(engine)

    with pytest.raises(BadPlans):
        set_plan("acme", "gold", engine, stripe, clock)

    assert one_row(engine, tables.books)["plan"] == "payg"
