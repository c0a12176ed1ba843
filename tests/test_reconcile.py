"""Our books beside Stripe's lists: what is safe is repaired once, the rest waits for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    deployed,
    one_row,
    reverted,
    rows_of,
    settle_events,
    usd,
)
from tests.collecting import (
    CONFIRM,
    PRICE,
    REFUND,
    RETRIEVE,
    Case,
    assert_books_equal_stripe,
    assert_paid_once,
    owing_case,
)
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import Database, Databases, HastyGateway, connected
from worker.billing.answers import Answer, AnswerKind
from worker.billing.drift import Drift, Window
from worker.clock import Clock
from worker.collect import confirm, create, freeze, record
from worker.reconcile import Reconciled, reconcile, swept_window
from worker.refund import request_refund
from worker.storage import tables
from worker.storage.engine import WORKER
from worker.stripe_calls import StripeRefused
from worker.stripe_gateway import StripeGateway

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def clock(sandbox: RunningSandbox) -> Clock:
    """In step with Stripe's, an hour after whatever other tests did there."""
    sandbox.advance(int(HOUR.total_seconds()))
    now = datetime.fromtimestamp(sandbox.ask("GET", "clock")["now"], UTC)
    return Clock(now - datetime.now(UTC))


@pytest.fixture
def owing(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> Callable[..., Case]:
    return lambda *card, **more: owing_case(engine, sandbox, stripe, clock, *card, **more)


@pytest.fixture
def case(owing: Callable[..., Case]) -> Case:
    """A customer who owes, and whose card is good."""
    return owing()


@pytest.fixture
def paid(case: Case) -> Case:
    """A customer who has paid."""
    case.collect()
    return case


def compare(case: Case, ago: timedelta = 30 * MINUTE) -> Reconciled:
    """What happened at Stripe in this test, beside the books."""
    now = case.clock.now()
    window = Window(now - ago, now + MINUTE)
    return reconcile(window, case.engine, case.gateway, case.clock)


def compare_twice(case: Case, ago: timedelta = 30 * MINUTE) -> Reconciled:
    """The second time nothing is left to repair, nothing moves, and the same is parked."""
    first, before = compare(case, ago), rows_of(case.engine, tables.transfers)
    again = compare(case, ago)
    assert (again.repaired, again.parked) == ([], first.parked)
    assert rows_of(case.engine, tables.transfers) == before
    return first


def named(drifts: list[Drift]) -> list[tuple[str, str]]:
    return [(drift.kind, drift.subject) for drift in drifts]


def after(case: Case, span: timedelta) -> Case:
    """The same, when so much time has passed for us and for Stripe."""
    case.sandbox.advance(int(span.total_seconds()))
    return replace(case, clock=case.later(span))


# What is repaired.


def dies_after_confirming(case: Case) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    confirm(attempt, create(attempt, case.engine, case.gateway), case.gateway)


def dies_before_it_saved_the_intent(case: Case) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    intent = case.gateway.create_intent(attempt.parameters, attempt.attempt_id).payment_intent
    assert intent is not None
    case.gateway.confirm_intent(intent, attempt.parameters["payment_method"], f"{intent}-1")


def never_learns_the_outcome(case: Case) -> None:
    case.sandbox.fault("http_500_after", "POST", CONFIRM)
    assert case.collect(HastyGateway(case.sandbox)) == "frozen"


def believes_a_lie(case: Case) -> None:
    case.sandbox.fault("wrong_amount", "POST", CONFIRM)
    assert case.collect(HastyGateway(case.sandbox)) == "parked"


LOST_PAYMENTS = [
    dies_after_confirming,
    dies_before_it_saved_the_intent,
    never_learns_the_outcome,
    believes_a_lie,
]


@pytest.mark.parametrize("collector", LOST_PAYMENTS, ids=lambda each: each.__name__)
def test_a_payment_whose_collector_does_not_know_of_it_is_booked(
    case: Case, collector: Callable[[Case], None]
) -> None:
    collector(case)
    (payment,) = case.sandbox.payments(customer=case.stripe_customer)

    result = compare_twice(case)

    assert named(result.repaired) == [("missed_payment", payment["payment_intent"])]
    assert result.parked == []
    assert dict(result.repaired[0].evidence) == {"stripe": str(usd(29)), "charge": case.key[1]}
    assert_paid_once(case)


@contextmanager
def losing_webhooks(sandbox: RunningSandbox, *kinds: str) -> Iterator[None]:
    """An endpoint that wants these events, none of which arrives."""
    endpoints: Any = sandbox.client().v1.webhook_endpoints
    made = endpoints.create({"url": f"{NOWHERE}/webhooks", "enabled_events": list(kinds)})
    sandbox.fault("webhook_drop", times=100)
    try:
        yield
    finally:
        endpoints.delete(made.id)


def test_a_webhook_that_never_arrived_is_followed_as_if_it_had(case: Case) -> None:
    with losing_webhooks(case.sandbox, "payment_intent.succeeded"):
        dies_after_confirming(case)
        result = compare_twice(case)

    (event,) = rows_of(case.engine, tables.stripe_events)
    assert named(result.repaired) == [("missed_event", event["event_id"])]
    assert dict(result.repaired[0].evidence) == {
        "type": "payment_intent.succeeded",
        "object": case.intent,
    }
    assert (event["due_at"], event["result"]) == (None, f"succeeded: {case.key.charge_id}")
    assert_paid_once(case)


def test_an_event_about_nothing_of_ours_is_not_stored(case: Case) -> None:
    with losing_webhooks(case.sandbox, "product.created"):
        case.sandbox.client().v1.products.create({"name": "Nothing of ours"})
        result = compare_twice(case)

    assert (result.repaired, rows_of(case.engine, tables.stripe_events)) == ([], [])


@pytest.mark.parametrize("amount", [None, 1000])
def test_a_refund_made_in_the_dashboard_is_booked(paid: Case, amount: int | None) -> None:
    refund = paid.refund_in_dashboard(amount)

    result = compare_twice(paid)

    assert named(result.repaired) == [("missed_refund", refund)]
    assert paid.moved("refund") == [("refund", amount or PRICE)]
    assert paid.charge["returned"] == (amount or PRICE)
    assert_books_equal_stripe(paid)


def test_a_refund_of_a_payment_that_was_not_booked_either_books_both(case: Case) -> None:
    dies_after_confirming(case)
    refund = case.refund_in_dashboard(1000)

    result = compare_twice(case)

    assert named(result.repaired) == [("missed_payment", case.intent), ("missed_refund", refund)]
    assert case.moved("pay", "refund") == [("pay", PRICE), ("refund", 1000)]
    assert_books_equal_stripe(case)


def test_a_refund_that_fails_days_later_comes_back_with_its_credit(
    owing: Callable[..., Case],
) -> None:
    case = owing("pm_card_refundFail")
    case.collect()
    settle_events(case.engine, reverted())
    refund = case.refund_in_dashboard()
    compare(case)
    assert case.book["credits"] == 0

    later = after(case, 3 * DAY)
    result = compare_twice(later, ago=4 * DAY)

    assert named(result.repaired) == [("missed_refund", refund)]
    assert case.moved("refund", "refund_failed") == [("refund", PRICE), ("refund_failed", PRICE)]
    assert case.moved("claw_back", "reissue") == [("claw_back", 1), ("reissue", 1)]
    assert (case.book["credits"], case.charge["returned"]) == (1, 0)
    assert_books_equal_stripe(case)


def test_a_refund_on_its_way_is_asked_about_however_old_it_is(owing: Callable[..., Case]) -> None:
    case = owing("pm_card_pendingRefund")
    case.collect()
    refund = case.refund_in_dashboard()
    compare(case)
    assert one_row(case.engine, tables.refunds)["status"] == "pending"

    result = compare_twice(after(case, 40 * DAY), ago=MINUTE)

    assert named(result.repaired) == [("missed_refund", refund)]
    assert one_row(case.engine, tables.refunds)["status"] == "succeeded"


def test_a_refund_whose_outcome_is_unknown_is_found_and_not_sent_again(paid: Case) -> None:
    key = request_refund(paid.key, paid.engine, paid.clock)
    paid.sandbox.fault("http_500_after", "POST", REFUND)
    assert paid.refund(key, HastyGateway(paid.sandbox)) == "requested"

    result = compare_twice(paid)

    assert [drift.kind for drift in result.repaired] == ["missed_refund"]
    assert paid.refund(key) == "succeeded"
    assert paid.returned_at_stripe() == [PRICE]
    assert_books_equal_stripe(paid)


@pytest.mark.parametrize(
    ("evidence", "moved"),
    [
        (None, [("dispute_opened", PRICE)]),
        ("winning_evidence", [("dispute_opened", PRICE), ("dispute_won", PRICE)]),
        ("losing_evidence", [("dispute_opened", PRICE), ("dispute_lost", PRICE)]),
    ],
)
def test_a_dispute_nobody_told_us_of_is_booked(
    paid: Case, evidence: str | None, moved: list[tuple[str, int]]
) -> None:
    dispute = paid.dispute_at_stripe()
    if evidence is not None:
        paid.decide_dispute(dispute, evidence)

    result = compare_twice(paid)

    assert named(result.repaired) == [("missed_dispute", dispute)]
    assert paid.moved("dispute_opened", "dispute_won", "dispute_lost") == moved
    assert_books_equal_stripe(paid)


def test_a_dispute_is_asked_about_until_it_is_decided(paid: Case) -> None:
    dispute = paid.dispute_at_stripe()
    compare(paid)

    result = compare_twice(after(paid, 40 * DAY), ago=MINUTE)

    assert named(result.repaired) == [("missed_dispute", dispute)]
    assert paid.standing == {"lost": PRICE}
    assert_books_equal_stripe(paid)


def test_an_inquiry_is_kept_and_moves_nothing(paid: Case) -> None:
    dispute = paid.dispute_at_stripe(inquiry=True)

    result = compare_twice(paid)

    assert named(result.repaired) == [("missed_dispute", dispute)]
    assert one_row(paid.engine, tables.disputes)["funds"] == "ours"
    assert paid.standing == {"cash": PRICE}


# A database that was restored from an earlier copy.


@contextmanager
def restored_from_now(case: Case, databases: Databases, database: Database) -> Iterator[Case]:
    """The same customer, in a copy of the database as it is when this begins."""
    case.engine.dispose()
    with (
        databases.fresh(template=database.name) as copy,
        connected(copy.worker_url, WORKER) as engine,
    ):
        yield replace(case, engine=engine)


def test_a_payment_of_a_charge_that_is_open_again_is_used_before_the_card(
    case: Case, databases: Databases, database: Database
) -> None:
    with restored_from_now(case, databases, database) as restored:
        case.collect()
        result = compare_twice(restored)

        assert named(result.repaired) == [("missed_payment", case.intent)]
        assert restored.standing == {"receivable": PRICE, "cash": PRICE, "unapplied": -PRICE}
        assert restored.collect() is None
        assert restored.charge["status"] == "paid"
        assert restored.moved("unapplied_in", "apply", "pay") == [
            ("unapplied_in", PRICE),
            ("apply", PRICE),
        ]
        assert restored.paid_at_stripe() == [PRICE]
        assert_books_equal_stripe(restored)


def test_a_payment_of_a_charge_that_is_gone_pays_for_the_fix_when_it_is_told_again(
    paid: Case, databases: Databases, database: Database
) -> None:
    with restored_from_now(paid, databases, database) as restored:
        settle_events(paid.engine, deployed("fix-9"))
        gone = paid.replacement()
        gone.collect()
        result = compare_twice(restored)
        settle_events(restored.engine, deployed("fix-9"))
        again = restored.replacement()

        assert named(result.repaired) == [("missed_payment", gone.intent)]
        assert again.collect() is None
        assert again.charge["status"] == "paid"
        assert again.paid_at_stripe() == [PRICE, PRICE]
        assert_books_equal_stripe(again)


def test_a_refund_that_was_made_after_the_copy_is_booked_again(
    paid: Case, databases: Databases, database: Database
) -> None:
    with restored_from_now(paid, databases, database) as restored:
        paid.refund(request_refund(paid.key, paid.engine, paid.clock, amount=1000))
        sent = one_row(paid.engine, tables.refunds)
        result = compare_twice(restored)

        assert named(result.repaired) == [("missed_refund", sent["stripe_refund"])]
        assert one_row(restored.engine, tables.refunds)["refund_id"] == sent["refund_id"]
        assert restored.returned_at_stripe() == [1000]
        assert_books_equal_stripe(restored)


# What is parked.


def assert_parked(
    case: Case, kind: str, subject: str, customer_id: str | None, evidence: dict[str, Any]
) -> None:
    """Nothing moves, a person is told why, and is not told twice."""
    before = rows_of(case.engine, tables.transfers)

    result = compare_twice(case)

    assert result == Reconciled([], [Drift(result.parked[0].kind, subject, customer_id, evidence)])
    assert result.parked[0].kind == kind
    row = one_row(case.engine, tables.drifts)
    assert (row["kind"], row["subject"], row["resolved_at"]) == (kind, subject, None)
    assert rows_of(case.engine, tables.transfers) == before


def tamper(owner: Engine, statement: str) -> None:
    """As only a superuser can, with the triggers asleep."""
    with owner.begin() as tx:
        tx.execute(text("SET session_replication_role = replica"))
        tx.execute(text(statement))


def pay_at_stripe(case: Case, stripe_customer: str, **more: Any) -> str:
    """A payment that no code of ours has asked for; its intent."""
    client: Any = case.sandbox.client().v1
    card = client.payment_methods.attach("pm_card_visa", {"customer": stripe_customer}).id
    wanted = {"amount": 1000, "currency": "usd", "customer": stripe_customer, **more}
    intent = client.payment_intents.create({**wanted, "payment_method": card, "confirm": True})
    return str(intent.id)


def test_a_payment_booked_with_another_amount_is_parked(paid: Case, owner: Engine) -> None:
    tamper(owner, "UPDATE transfers SET amount = 1 WHERE kind = 'pay'")

    evidence = {"stripe": str(usd(29)), "books": str(usd(0, 1)), "charge": paid.key.charge_id}
    assert_parked(paid, "amount_differs", paid.intent, "acme", evidence)


def test_a_payment_that_stripe_knows_nothing_of_is_parked(case: Case) -> None:
    freeze(case.key, case.engine, case.gateway, case.clock)
    made_up = Answer(AnswerKind.SUCCEEDED, "pi_made_up", usd(29), case.stripe_customer)
    record(case.key, made_up, case.engine, case.clock)

    evidence = {"stripe": None, "books": str(usd(29))}
    assert_parked(case, "payment_not_at_stripe", "pi_made_up", "acme", evidence)


def test_a_payment_for_a_charge_of_ours_by_somebody_unknown_is_parked(case: Case) -> None:
    stranger = case.sandbox.client().v1.customers.create({}).id
    intent = pay_at_stripe(case, stranger, metadata={"charge_id": case.key.charge_id})

    evidence = {
        "stripe": str(usd(10)),
        "charge": case.key.charge_id,
        "stripe_customer": stranger,
    }
    assert_parked(case, "stranger", intent, None, evidence)


def test_a_payment_in_a_currency_the_ledger_does_not_have_is_parked(case: Case) -> None:
    intent = pay_at_stripe(case, case.stripe_customer, currency="eur")

    evidence = {"stripe": "€10.00", "charge": None, "ledger": "usd"}
    assert_parked(case, "other_currency", intent, "acme", evidence)


def test_a_payment_of_somebody_elses_business_is_no_difference(case: Case) -> None:
    stranger = case.sandbox.client().v1.customers.create({}).id
    pay_at_stripe(case, stranger)

    assert compare_twice(case) == ([], [])


def test_a_payment_of_our_customer_that_no_charge_explains_is_used_before_the_card(
    case: Case,
) -> None:
    intent = pay_at_stripe(case, case.stripe_customer)

    result = compare_twice(case)

    assert named(result.repaired) == [("missed_payment", intent)]
    assert case.standing == {"receivable": PRICE, "cash": 1000, "unapplied": -1000}
    assert case.collect() == "paid"
    assert sorted(case.paid_at_stripe()) == [1000, PRICE - 1000]
    assert_books_equal_stripe(case)


def test_a_parked_difference_that_is_gone_is_resolved_and_may_come_back(paid: Case) -> None:
    seen = []
    for lie in (True, False, True):
        if lie:
            paid.sandbox.fault("wrong_amount", "GET", "/v1/charges")
        compare(paid)
        row = one_row(paid.engine, tables.drifts)
        seen.append((row["kind"], row["resolved_at"] is not None))

    assert seen == [("amount_differs", False), ("amount_differs", True), ("amount_differs", False)]


def test_what_a_window_does_not_reach_stays_parked(paid: Case, owner: Engine) -> None:
    tamper(owner, "UPDATE transfers SET amount = 1 WHERE kind = 'pay'")
    found = compare(paid)
    later = after(paid, 3 * DAY)

    result = compare(later, ago=MINUTE)

    assert named(found.parked) == [("amount_differs", paid.intent)]
    assert result.parked == found.parked


def test_a_repair_that_stripe_prevents_is_parked_and_made_the_next_time(case: Case) -> None:
    dies_after_confirming(case)
    case.sandbox.fault("http_500_before", "GET", RETRIEVE)
    hasty = replace(case, gateway=HastyGateway(case.sandbox))

    first, second = compare(hasty), compare(hasty)

    assert ([drift.kind for drift in first.parked], first.repaired) == (["missed_payment"], [])
    assert ([drift.kind for drift in second.repaired], second.parked) == (["missed_payment"], [])
    assert_paid_once(case)


def test_a_repair_that_cannot_be_booked_stops_no_other(
    paid: Case, owing: Callable[..., Case]
) -> None:
    other = owing(customer_id="globex")
    other.collect()
    paid.refund_in_dashboard(PRICE)
    refund = other.refund_in_dashboard(PRICE)
    paid.sandbox.fault("wrong_amount", "GET", "/v1/refunds/*", skip=1)

    first = compare(paid)

    assert [drift.kind for drift in first.parked] == ["missed_refund"]
    assert named(first.repaired) == [("missed_refund", refund)]
    assert named(compare(paid).repaired) != []
    assert_books_equal_stripe(paid)


# Windows, company, and Stripe away.


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [(-HOUR, MINUTE, 1), (-HOUR, -5 * MINUTE, 0), (MINUTE, HOUR, 0)],
    ids=["within", "too new", "too old"],
)
def test_only_what_lies_within_the_window_is_compared(
    case: Case, since: timedelta, until: timedelta, found: int
) -> None:
    dies_after_confirming(case)
    now = case.clock.now()

    window = Window(now + since, now + until)
    result = reconcile(window, case.engine, case.gateway, case.clock)

    assert len(result.repaired) == found


def test_the_sweep_leaves_alone_what_may_be_being_booked_this_very_moment(case: Case) -> None:
    dies_after_confirming(case)
    later = after(case, HOUR)

    at_once = reconcile(swept_window(case.clock), case.engine, case.gateway, case.clock)
    in_an_hour = reconcile(swept_window(later.clock), later.engine, later.gateway, later.clock)

    assert (at_once.repaired, len(in_an_hour.repaired)) == ([], 1)


def test_a_payment_older_at_stripe_than_in_the_books_is_no_difference(case: Case) -> None:
    dies_after_confirming(case)
    later = after(case, DAY)
    assert later.collect() == "paid"

    assert compare_twice(later) == ([], [])


def test_two_comparisons_at_once_repair_each_difference_once(case: Case) -> None:
    dies_after_confirming(case)
    case.refund_in_dashboard(1000)
    case.dispute_at_stripe(amount=500)

    with ThreadPoolExecutor(2) as pool:
        both = [each.result() for each in [pool.submit(compare, case) for _ in range(2)]]

    assert [result.parked for result in both] == [[], []]
    kinds = {drift.kind for result in both for drift in result.repaired}
    assert kinds == {"missed_payment", "missed_refund", "missed_dispute"}
    assert sorted(case.moved("pay", "refund", "dispute_opened")) == [
        ("dispute_opened", 500),
        ("pay", PRICE),
        ("refund", 1000),
    ]
    assert compare(case) == ([], [])


LISTS = ["/v1/events", "/v1/charges", "/v1/refunds", "/v1/disputes"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("fault", ["http_500_before", "half_json", "http_429", "http_403"])
def test_when_a_list_cannot_be_read_nothing_is_half_done(case: Case, fault: str, path: str) -> None:
    dies_after_confirming(case)
    case.refund_in_dashboard(1000)
    before = rows_of(case.engine, tables.transfers)
    case.sandbox.fault(fault, "GET", path)

    with pytest.raises(StripeRefused):
        compare(replace(case, gateway=HastyGateway(case.sandbox)))

    assert rows_of(case.engine, tables.transfers) == before
    assert rows_of(case.engine, tables.drifts) == []
    assert len(compare_twice(case).repaired) == 2
