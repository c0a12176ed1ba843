"""Credits are bought once per key, whatever dies or goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.builders import (
    DAY,
    NOW,
    add_customer,
    deployed,
    one_row,
    outcomes,
    owe,
    reverted,
    rows_of,
    settle_events,
)
from tests.buying import (
    ASKS,
    AUTHENTICATES,
    DECLINES,
    PRICE,
    STEPS,
    Buyer,
    DyingBuyersGateway,
    assert_bought_once,
    assert_nothing_bought,
    buyer_with,
    with_plan,
)
from tests.collecting import AFTER, BEFORE, LATER, Died
from tests.sandbox import sandbox_process
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import HastyGateway
from worker.billing.answers import Answer, AnswerKind
from worker.billing.drift import Window
from worker.billing.top_ups import TopUpProblem, TopUpStatus
from worker.clock import Clock
from worker.collect import collect
from worker.customers import CustomerProblem, add_payment_method, grant_credits
from worker.due import Tools, sweep
from worker.learn import learn_payment
from worker.reconcile import reconcile
from worker.storage import tables
from worker.storage.collecting import switch
from worker.storage.top_ups import TopUpKey, find_top_up
from worker.stripe_gateway import StripeGateway
from worker.top_up import record_top_up

S = TopUpStatus


@pytest.fixture
def buying(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> Callable[..., Buyer]:
    """A customer with whatever card."""
    return partial(buyer_with, engine, sandbox, stripe, clock)


@pytest.fixture
def buyer(buying: Callable[..., Buyer]) -> Buyer:
    return buying()


def dies(buyer: Buyer, call: str, *, heard: bool) -> None:
    """At this call, if it comes to it; somebody else goes on."""
    with suppress(Died):
        buyer.buy(gateway=DyingBuyersGateway(buyer.sandbox, call, heard=heard))


def hasty(buyer: Buyer, fault: str) -> HastyGateway:
    return HastyGateway(buyer.sandbox, 1.0 if fault.startswith("timeout") else 5.0)


# Paid.


def test_credits_are_paid_by_card_at_the_price_of_a_fix_and_never_expire(buyer: Buyer) -> None:
    bought = buyer.buy(3)

    assert (bought.status, bought.amount, bought.currency) == (S.PAID, 3 * PRICE, "usd")
    assert_bought_once(buyer)
    grant = one_row(buyer.engine, tables.grants)
    assert (grant["source"], grant["grant_id"]) == ("top_up", "top_up:key-1")
    assert (grant["expires_at"], grant["rolls_max"]) == (None, 0)
    assert grant["origin"] == bought.payment_intent
    assert buyer.sandbox.payments(payment_intent=grant["origin"])[0]["amount"] == 3 * PRICE


def test_the_same_top_up_sent_twice_is_paid_once(buyer: Buyer) -> None:
    """lago-api#5870: a top-up that is sent again under its key is the same purchase."""
    first, second = buyer.buy(), buyer.buy()

    assert second == first
    assert len(buyer.intents()) == 1
    assert_bought_once(buyer)


def test_another_number_under_the_same_key_is_an_error(buyer: Buyer) -> None:
    """lago-api#5870: a key names one purchase; it is not silently another."""
    buyer.buy(3)

    with pytest.raises(TopUpProblem, match="the key key-1 has bought 3 credits"):
        buyer.buy(4)

    assert_bought_once(buyer)


class MeetingGateway(StripeGateway):
    """Two buyers are at the same step at the same time."""

    def __init__(self, buyer: Buyer, call: str, barrier: Barrier) -> None:
        super().__init__(buyer.sandbox.api_key, buyer.sandbox.url)
        self.call, self.barrier = call, barrier

    def meet(self, call: str) -> None:
        if call == self.call:
            self.barrier.wait(30)

    def create_intent(self, parameters: Mapping[str, Any], key: str) -> Answer:
        self.meet("before create")
        made = super().create_intent(parameters, key)
        self.meet("after create")
        return made

    def confirm_intent(self, intent: str, payment_method: str, key: str) -> Answer:
        self.meet("before confirm")
        return super().confirm_intent(intent, payment_method, key)


@pytest.mark.parametrize("call", ["before create", "after create", "before confirm"])
@pytest.mark.parametrize("card", ["pm_card_visa", DECLINES])
def test_the_same_top_up_sent_twice_at_once_is_paid_once(
    buying: Callable[..., Buyer], card: str, call: str
) -> None:
    """lago-api#5870: both are at the same step; only one intent is ever confirmed."""
    buyer = buying(card)
    gateway = MeetingGateway(buyer, call, Barrier(2))
    threads = [Thread(target=lambda: buyer.buy(gateway=gateway)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    buyer.sweep_until_quiet()

    if card == DECLINES:
        assert_nothing_bought(buyer)
    else:
        assert_bought_once(buyer)


def test_two_keys_are_two_purchases(buyer: Buyer) -> None:
    buyer.buy(1, "one")
    buyer.buy(2, "two")

    assert buyer.paid_at_stripe() == [PRICE, 2 * PRICE]
    assert buyer.standing == {"cash": 3 * PRICE, "credits": 3}
    assert buyer.broken() == []


def test_the_same_key_of_two_customers_is_two_purchases(buying: Callable[..., Buyer]) -> None:
    acme, globex = buying(), buying(customer_id="globex")

    acme.buy()
    globex.buy()

    assert_bought_once(acme)
    assert_bought_once(globex)


# Deaths.


@pytest.mark.every(3)
@pytest.mark.parametrize("goes_on", [Buyer.sweep_until_quiet, Buyer.buy])
@pytest.mark.parametrize("again", [None, "list", "retrieve", "create", "confirm"])
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("call", ["create", "confirm"])
def test_a_top_up_whose_buyer_died_is_paid_once(
    buyer: Buyer, call: str, heard: bool, again: str | None, goes_on: Callable[[Buyer], object]
) -> None:
    """lago-api#5870: after a crash at each step the sweep, or the same call again, goes on."""
    dies(buyer, call, heard=heard)
    if again is not None:
        dies(buyer, again, heard=heard)

    goes_on(buyer)

    assert_bought_once(buyer)
    assert buyer.asked_of_the_bank() == 1


@pytest.mark.every(5)
@pytest.mark.parametrize("keys", ["kept", "forgotten"])
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("call", ["create", "confirm", "cancel"])
@pytest.mark.parametrize("card", [DECLINES, AUTHENTICATES])
def test_a_declined_top_up_whose_buyer_died_is_nothing(
    buying: Callable[..., Buyer], card: str, call: str, heard: bool, keys: str
) -> None:
    buyer = buying(card)
    dies(buyer, call, heard=heard)
    if keys == "forgotten":
        buyer.sandbox.ask("POST", "forget_keys")

    buyer.sweep_until_quiet()

    assert_nothing_bought(buyer)
    assert buyer.asked_of_the_bank() == 1


def test_whoever_died_before_anything_was_sent_is_made_good_by_the_sweep(
    buyer: Buyer, redis: Redis
) -> None:
    dies(buyer, "create", heard=False)
    tools = Tools(buyer.engine, redis, buyer.gateway, buyer.clock)
    assert sweep("top_up", tools) == 0  # whoever began has a lease on it
    with buyer.engine.begin() as tx:
        tx.execute(tables.top_ups.update().values(leased_until=None))

    assert sweep("top_up", tools) == 1

    assert_bought_once(buyer)
    assert sweep("top_up", tools) == 0


# Faults.


@pytest.mark.every(5)
@pytest.mark.parametrize("step", ["create", "confirm"])
@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, *LATER])
def test_whatever_goes_wrong_at_stripe_credits_are_paid_once(
    buyer: Buyer, fault: str, step: str
) -> None:
    buyer.sandbox.fault(fault, *STEPS[step], seconds=60)

    assert buyer.buy(gateway=hasty(buyer, fault)).status is S.REQUESTED
    assert len(buyer.paid_at_stripe()) == (step == "confirm" and fault in AFTER)

    buyer.sweep_until_quiet()
    assert_bought_once(buyer)
    assert buyer.asked_of_the_bank() == 1


@pytest.mark.every(3)
@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("fault", ["half_json", *BEFORE, *LATER])
def test_when_asking_fails_too_nothing_is_done(buyer: Buyer, fault: str, ask: str) -> None:
    lost_at = "create" if ask == "list" else "confirm"
    buyer.sandbox.fault("http_500_after", *STEPS[lost_at])
    buyer.buy(gateway=HastyGateway(buyer.sandbox))
    before = buyer.paid_at_stripe()
    buyer.sandbox.fault(fault, *ASKS[ask], seconds=60)

    assert buyer.sweep(hasty(buyer, fault)) == [S.REQUESTED]

    assert buyer.paid_at_stripe() == before
    buyer.sweep_until_quiet()
    assert_bought_once(buyer)


@pytest.mark.every(3)
@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, *LATER])
def test_a_cancellation_that_goes_wrong_is_repeated(
    buying: Callable[..., Buyer], fault: str
) -> None:
    buyer = buying(DECLINES)
    buyer.sandbox.fault(fault, *STEPS["cancel"], seconds=60)

    assert buyer.buy(gateway=hasty(buyer, fault)).status is S.REQUESTED

    buyer.sweep_until_quiet()
    assert_nothing_bought(buyer)
    assert buyer.asked_of_the_bank() == 1
    assert "declined" in buyer.top_up["message"]


@pytest.mark.every(3)
@pytest.mark.parametrize("card", [DECLINES, AUTHENTICATES])
@pytest.mark.parametrize("fault", AFTER)
def test_a_decline_whose_answer_is_lost_is_one_decline(
    buying: Callable[..., Buyer], fault: str, card: str
) -> None:
    buyer = buying(card)
    buyer.sandbox.fault(fault, *STEPS["confirm"], seconds=60)
    assert buyer.buy(gateway=hasty(buyer, fault)).status is S.REQUESTED

    buyer.sweep_until_quiet()

    assert_nothing_bought(buyer)
    assert buyer.asked_of_the_bank() == 1


@pytest.mark.parametrize("lie", ["wrong_amount", "wrong_currency", "wrong_customer"])
def test_an_intent_that_differs_from_what_was_asked_for_is_cancelled(
    buyer: Buyer, lie: str
) -> None:
    buyer.sandbox.fault(lie, *STEPS["create"])

    bought = buyer.buy()

    assert bought.status is S.DECLINED
    assert "Stripe's intent is about" in str(bought.message)
    assert_nothing_bought(buyer)


@pytest.mark.parametrize("fault", ["http_401", "http_403"])
def test_what_stripe_refuses_to_make_is_over_at_once(buyer: Buyer, fault: str) -> None:
    buyer.sandbox.fault(fault, *STEPS["create"])

    bought = buyer.buy()

    assert bought.status is S.DECLINED
    assert (bought.payment_intent, buyer.intents()) == (None, [])
    assert_nothing_bought(buyer)


def test_more_than_a_card_can_be_charged_at_once_is_refused_by_stripe(buyer: Buyer) -> None:
    bought = buyer.buy(1_000_000)

    assert bought.status is S.DECLINED
    assert "no more than" in str(bought.message)
    assert buyer.intents() == []
    assert_nothing_bought(buyer)


@pytest.mark.parametrize("fault", ["http_401", "http_403"])
def test_what_may_have_been_paid_is_asked_about_until_stripe_says_so(
    buyer: Buyer, fault: str
) -> None:
    dies(buyer, "confirm", heard=True)
    buyer.sandbox.fault(fault, *ASKS["retrieve"])

    assert buyer.sweep() == [S.REQUESTED]

    buyer.sweep_until_quiet()
    assert_bought_once(buyer)


def test_a_pause_grows_while_stripe_is_away(buyer: Buyer) -> None:
    pauses = []
    buyer.sandbox.fault("http_500_before", "*", "*", times=100)
    for _ in range(4):
        buyer.sweep(HastyGateway(buyer.sandbox)) or buyer.buy(gateway=HastyGateway(buyer.sandbox))
        pauses.append((buyer.top_up["due_at"] - buyer.clock.wall()).total_seconds())

    assert [round(each / 5) for each in pauses] == [1, 2, 4, 8]
    assert buyer.top_up["leased_until"] is None
    buyer.sandbox.ask("DELETE", "faults")
    buyer.sweep_until_quiet()
    assert_bought_once(buyer)


# Declined.


@pytest.mark.parametrize("card", [DECLINES, AUTHENTICATES])
def test_a_declined_card_owes_nothing_and_can_not_be_charged_any_more(
    buying: Callable[..., Buyer], card: str
) -> None:
    buyer = buying(card)

    bought = buyer.buy()

    assert bought.status is S.DECLINED
    assert buyer.intents() == ["canceled"]
    assert buyer.book["past_due"] is False
    assert_nothing_bought(buyer)


def test_a_declined_purchase_stays_declined_and_another_key_buys(
    buying: Callable[..., Buyer],
) -> None:
    buyer = buying(DECLINES)
    first = buyer.buy()
    add_payment_method("acme", "pm_card_visa", buyer.engine, buyer.gateway, buyer.clock)

    assert buyer.buy() == first
    assert buyer.buy(key="key-2").status is S.PAID

    assert buyer.paid_at_stripe() == [3 * PRICE]
    assert buyer.standing == {"cash": 3 * PRICE, "credits": 3}
    assert buyer.broken() == []


def test_a_card_that_was_taken_away_meanwhile_is_not_charged(buyer: Buyer) -> None:
    dies(buyer, "create", heard=True)
    with buyer.engine.begin() as tx:
        tx.execute(tables.customers.update().values(payment_method=None))

    buyer.sweep_until_quiet()

    assert buyer.top_up["message"] == "there is no card any more"
    assert_nothing_bought(buyer)


# Refused before anything happens.


def refused(buyer: Buyer, key: str = "key-1") -> str:
    """Why; and that nothing came of it."""
    with pytest.raises((TopUpProblem, CustomerProblem)) as refusal:
        buyer.buy(key=key)
    assert rows_of(buyer.engine, tables.top_ups) == []
    assert buyer.intents() == []
    assert buyer.moved("top_up", "pay", "grant") == []
    return str(refusal.value)


def test_a_plan_without_a_price_sells_no_credits(buying: Callable[..., Buyer]) -> None:
    assert "plan trial has no price" in refused(buying(plan="trial"))


def test_without_a_card_nothing_is_bought(buyer: Buyer) -> None:
    why = refused(with_plan(buyer, has_payment_method=False))

    assert "acme has no card: `fixbill customers add-payment-method acme …` first" in why


def test_who_is_past_due_pays_that_first(buyer: Buyer) -> None:
    assert "acme is past due" in refused(with_plan(buyer, past_due=True))


def test_nothing_is_bought_by_who_is_parked(buyer: Buyer) -> None:
    parked = with_plan(buyer, parked_at=NOW, parked_why="too many charges")

    assert refused(parked) == "nothing is collected from acme: too many charges"


def test_nothing_is_bought_while_collecting_is_stopped(buyer: Buyer) -> None:
    with buyer.engine.begin() as tx:
        switch(tx, stopped_at=NOW, why="a wrong price")

    assert refused(buyer) == "collecting is stopped: a wrong price"


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 300, "a\nb", "a\x00b"])
def test_a_bad_key_is_refused(buyer: Buyer, key: str) -> None:
    assert refused(buyer, key).startswith("the key of a top-up is")


def test_who_is_not_there_buys_nothing(buyer: Buyer) -> None:
    with pytest.raises(CustomerProblem, match="there is no customer nobody"):
        Buyer("nobody", "", buyer.engine, buyer.sandbox, buyer.gateway, buyer.clock).buy()

    assert rows_of(buyer.engine, tables.top_ups) == []


def test_no_operators_grant_takes_the_key_of_a_top_up(buyer: Buyer) -> None:
    with pytest.raises(CustomerProblem):
        grant_credits("acme", 1, "top_up:key-1", None, buyer.engine, buyer.clock)

    buyer.buy()
    assert_bought_once(buyer)


# Whoever notices first.


def test_success_that_a_webhook_tells_of_first_counts_once(buyer: Buyer) -> None:
    dies(buyer, "confirm", heard=True)
    told = buyer.events("payment_intent.succeeded", about=buyer.top_up["payment_intent"])

    assert buyer.hear(*told) == ["top-up paid"]

    assert_bought_once(buyer)
    assert buyer.buy().status is S.PAID
    assert buyer.sweep() == []
    assert_bought_once(buyer)


def test_success_that_is_heard_of_while_the_buyer_waits_counts_once(buyer: Buyer) -> None:
    class ToldMeanwhile(StripeGateway):
        def confirm_intent(self, intent: str, payment_method: str, key: str) -> Answer:
            answer = super().confirm_intent(intent, payment_method, key)
            learn_payment(intent, buyer.engine, buyer.gateway, buyer.clock)
            return answer

    buyer.buy(gateway=ToldMeanwhile(buyer.sandbox.api_key, buyer.sandbox.url))

    assert_bought_once(buyer)


def test_success_that_reconcile_finds_counts_once(buyer: Buyer) -> None:
    dies(buyer, "confirm", heard=True)
    stripe_now = Window(
        *(
            NOW.fromtimestamp(buyer.sandbox.now() + seconds, NOW.tzinfo)
            for seconds in (-2 * sandbox_process.DAY, 60)
        )
    )

    reconcile(stripe_now, buyer.engine, buyer.gateway, buyer.clock)

    assert_bought_once(buyer)
    assert buyer.sweep() == []


def test_a_webhook_of_an_intent_that_is_not_paid_changes_nothing(buyer: Buyer) -> None:
    dies(buyer, "confirm", heard=False)

    learn_payment(buyer.top_up["payment_intent"], buyer.engine, buyer.gateway, buyer.clock)

    assert (buyer.top_up["status"], buyer.moved()) == ("requested", [])
    buyer.sweep_until_quiet()
    assert_bought_once(buyer)


def test_money_that_comes_after_all_gives_the_credits(buying: Callable[..., Buyer]) -> None:
    buyer = buying(DECLINES)
    buyer.buy()
    with buyer.engine.begin() as tx:
        seen = find_top_up(tx, TopUpKey("acme", "key-1"))
    assert seen is not None
    paid = Answer(AnswerKind.SUCCEEDED, payment_intent=seen.payment_intent)

    for _ in range(2):
        assert record_top_up(seen, paid, buyer.engine, buyer.clock).status is S.PAID

    assert buyer.moved() == [("top_up", 3 * PRICE), ("pay", 3 * PRICE), ("grant", 3)]
    assert buyer.standing == {"cash": 3 * PRICE, "credits": 3}
    assert buyer.top_up["message"] is None


@pytest.mark.parametrize("kind", list(AnswerKind))
def test_nothing_that_is_said_later_undoes_a_payment(buyer: Buyer, kind: AnswerKind) -> None:
    seen = buyer.buy()
    said = Answer(kind, payment_intent=seen.payment_intent, message="too late")

    assert record_top_up(seen, said, buyer.engine, buyer.clock).status is S.PAID

    assert_bought_once(buyer)


def test_what_is_owed_is_collected_beside_a_top_up(buyer: Buyer) -> None:
    key = owe(buyer.engine)

    buyer.buy(2)
    collect(key, buyer.engine, buyer.gateway, buyer.clock)

    assert sorted(buyer.paid_at_stripe()) == [PRICE, 2 * PRICE]
    assert buyer.standing == {"cash": 3 * PRICE, "credits": 2}
    assert buyer.broken() == []


# What credits are for.


def test_held_fixes_settle_with_the_credits(buyer: Buyer) -> None:
    held = with_plan(buyer, has_payment_method=False)
    settle_events(buyer.engine, *(deployed(f"fix-{n}") for n in range(1, 5)))
    buyer = with_plan(held, has_payment_method=True)

    buyer.buy(3)

    assert list(outcomes(buyer.engine).values()).count("credited") == 3
    assert list(outcomes(buyer.engine).values()).count("held") == 1
    assert buyer.standing == {"cash": 3 * PRICE}
    assert buyer.broken() == []


def test_bought_credits_pay_before_money_does(buyer: Buyer) -> None:
    buyer.buy(1)

    settle_events(buyer.engine, deployed("fix-1"), deployed("fix-2"))

    assert outcomes(buyer.engine) == {"fix-1": "credited", "fix-2": "charged"}
    assert buyer.broken() == []


def test_a_fix_that_is_taken_back_returns_the_bought_credit(buyer: Buyer) -> None:
    buyer.buy(1)
    settle_events(buyer.engine, deployed("fix-1"))

    settle_events(buyer.engine, reverted("fix-1"), now=NOW + DAY)

    assert buyer.standing == {"cash": PRICE, "credits": 1}
    assert one_row(buyer.engine, tables.grants)["expires_at"] is None
    assert buyer.broken() == []


# Money back.


@pytest.mark.parametrize(
    ("amount", "credits"),
    [(None, 0), (3 * PRICE, 0), (PRICE, 2), (2 * PRICE - 1, 2), (PRICE - 1, 3), (1, 3)],
)
def test_a_refund_takes_as_many_credits_as_it_had_paid_for(
    buyer: Buyer, amount: int | None, credits: int
) -> None:
    buyer.buy(3)

    buyer.refund(amount)

    went = amount or 3 * PRICE
    assert (buyer.book["credits"], buyer.book["refunded"]) == (credits, went)
    assert buyer.book["cash"] == 3 * PRICE - went
    assert sum(number for _, number in buyer.moved("claw_back")) == 3 - credits
    assert buyer.broken() == []


def test_refunds_in_parts_take_as_many_credits_as_they_come_to(buyer: Buyer) -> None:
    buyer.buy(3)

    buyer.refund(PRICE)
    buyer.refund(PRICE)
    buyer.refund(PRICE)

    assert (buyer.book["credits"], buyer.book["cash"]) == (0, 0)
    assert buyer.broken() == []


def test_a_refund_takes_no_credit_that_is_used_nor_any_other(buyer: Buyer) -> None:
    buyer.buy(3)
    settle_events(buyer.engine, deployed("fix-1"), deployed("fix-2"))
    grant_credits("acme", 7, "gift", None, buyer.engine, buyer.clock)

    buyer.refund()

    assert buyer.moved("claw_back") == [("claw_back", 1)]
    assert buyer.book["credits"] == 7
    assert buyer.broken() == []


def test_a_refund_that_fails_brings_the_credits_back(buying: Callable[..., Buyer]) -> None:
    buyer = buying("pm_card_refundFail")
    buyer.buy(3)
    buyer.refund(2 * PRICE)
    assert buyer.book["credits"] == 1

    buyer.sandbox.advance(3 * sandbox_process.DAY)
    refund = one_row(buyer.engine, tables.refunds)["stripe_refund"]
    buyer.hear(*buyer.events("refund.failed", about=refund))

    assert buyer.standing == {"cash": 3 * PRICE, "credits": 3}
    assert buyer.moved("claw_back", "reissue") == [("claw_back", 2), ("reissue", 2)]
    assert buyer.broken() == []


def test_a_refund_we_hear_of_before_the_payment_takes_the_credits(buyer: Buyer) -> None:
    dies(buyer, "confirm", heard=True)

    buyer.refund()

    assert buyer.standing == {"refunded": 3 * PRICE}
    assert buyer.moved("grant", "claw_back") == [("grant", 3), ("claw_back", 3)]
    assert buyer.sweep() == []
    assert buyer.broken() == []


@pytest.mark.parametrize(
    ("evidence", "standing"),
    [
        ("winning_evidence", {"cash": 3 * PRICE, "credits": 3}),
        ("losing_evidence", {"lost": 3 * PRICE, "credits": 3}),
    ],
)
def test_a_dispute_moves_the_money_as_the_bank_decides(
    buyer: Buyer, evidence: str, standing: dict[str, int]
) -> None:
    buyer.buy(3)
    dispute = buyer.dispute()
    assert buyer.standing == {"disputed": 3 * PRICE, "credits": 3}
    assert buyer.broken() == []

    buyer.decide(dispute, evidence)

    assert buyer.standing == standing
    assert buyer.broken() == []


def test_nobody_else_is_touched(buyer: Buyer) -> None:
    add_customer(buyer.engine, "globex", credits=2)
    before = one_row(buyer.engine, tables.books, customer_id="globex")

    buyer.buy()
    buyer.refund()

    assert one_row(buyer.engine, tables.books, customer_id="globex") == before
