"""`fixbill charges`: what is owed and paid, and what an operator does about it by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import add_customer_with_card, one_row, owe, rows_of
from tests.cli.running import NOWHERE, Cli, fixed_now, somebody
from tests.collecting import Case, assert_books_equal_stripe
from tests.sandbox.sandbox_process import RunningSandbox
from worker.billing.charges import ChargeStatus
from worker.clock import Clock
from worker.storage import tables
from worker.stripe_gateway import StripeGateway

DECLINES = "pm_card_chargeCustomerFail"
ASKS = "pm_card_authenticationRequired"
UNKNOWN = "fixbill: there is no charge ch_unknown; `fixbill charges list` names them"


@pytest.fixture
def owes(cli: Cli, sandbox: RunningSandbox, stripe: StripeGateway) -> Callable[..., Case]:
    """A customer who owes, by the clock on the wall as every command sees it."""

    def with_card(card: str = "pm_card_visa", fixes: int = 1) -> Case:
        customer_id, now = somebody(), datetime.now(UTC)
        stripe_customer = add_customer_with_card(cli.engine, sandbox, customer_id, card=card)
        cli.settle(*(fixed_now(f"fix-{n}", customer_id) for n in range(2, fixes + 1)))
        key = owe(cli.engine, customer_id, now=now)
        return Case(key, stripe_customer, cli.engine, sandbox, stripe, Clock())

    return with_card


@pytest.fixture
def paid(owes: Callable[..., Case]) -> Case:
    """Two fixes on one charge, collected."""
    case = owes(fixes=2)
    assert case.collect() is ChargeStatus.PAID
    return case


@pytest.fixture
def declined(owes: Callable[..., Case]) -> Case:
    case = owes(DECLINES)
    assert case.collect() is ChargeStatus.DECLINED
    return case


def give_good_card(case: Case) -> None:
    """At Stripe and in the books, without the attempt that a new card makes."""
    card: Any = case.sandbox.client().v1.payment_methods.attach(
        "pm_card_visa", {"customer": case.stripe_customer}
    )
    with case.engine.begin() as tx:
        mine = tables.customers.c.customer_id == case.key.customer_id
        tx.execute(tables.customers.update().where(mine).values(payment_method=card.id))


# What there is.


def test_charges_are_listed_newest_first(cli: Cli, paid: Case, owes: Callable[..., Case]) -> None:
    newer = owes()

    text, answer = cli("charges", "list"), cli("charges", "list", "--json")

    assert (text.code, answer.code) == (0, 0)
    assert [each["charge_id"] for each in answer.json] == [newer.key.charge_id, paid.key.charge_id]
    assert (
        answer.json[1].items()
        >= {
            "charge_id": paid.key.charge_id,
            "customer_id": paid.key.customer_id,
            "status": "paid",
            "amount": {"amount": 5800, "currency": "usd"},
            "payment_intent": paid.intent,
            "decline": None,
        }.items()
    )
    (line,) = (line for line in text.out.splitlines() if paid.key.charge_id in line)
    assert {"paid", "$58.00", paid.intent} <= set(line.split())


def test_a_list_can_be_narrowed(cli: Cli, paid: Case, owes: Callable[..., Case]) -> None:
    newer = owes()

    def listed(*words: str) -> list[str]:
        return [each["charge_id"] for each in cli("charges", "list", *words, "--json").json]

    assert listed(paid.key.customer_id) == [paid.key.charge_id]
    assert listed("--status", "open") == [newer.key.charge_id]
    assert listed("--limit", "1") == [newer.key.charge_id]
    assert listed("nobody") == []


@pytest.mark.parametrize("words", [("--status", "lost"), ("--limit", "0"), ("--limit", "x")])
def test_a_list_that_cannot_be_is_wrong_usage(cli: Cli, words: tuple[str, str]) -> None:
    done = cli("charges", "list", *words)

    assert done.code == 2
    assert words[0] in done.err


def test_a_charge_is_shown_with_its_lines_and_attempts(cli: Cli, declined: Case) -> None:
    text = cli("charges", "show", declined.key.charge_id)
    answer = cli("charges", "show", declined.key.charge_id, "--json").json

    assert text.code == 0
    for word in (declined.key.charge_id, "declined", "$29.00", "Lines", "fix-1"):
        assert word in text.out
    assert answer["status"] == "declined"
    assert [line["fix_id"] for line in answer["lines"]] == ["fix-1"]
    (attempt,) = answer["attempts"]
    assert (attempt["number"], attempt["why"], attempt["answer"]) == (1, "scheduled", "declined")
    assert attempt["code"] in text.out
    assert (answer["refunds"], answer["disputes"], answer["recovery_url"]) == ([], [], None)


def test_a_charge_that_waits_for_its_customer_is_shown_with_the_link_for_them(
    cli: Cli, owes: Callable[..., Case]
) -> None:
    case = owes(ASKS)
    case.collect()
    without = cli("charges", "show", case.key.charge_id, "--json").json
    cli.set(PUBLIC_URL="https://billing.example/", LINK_SECRET="a secret")

    text = cli("charges", "show", case.key.charge_id)
    answer = cli("charges", "show", case.key.charge_id, "--json").json

    assert without["recovery_url"] is None
    assert answer["recovery_url"].startswith("https://billing.example/pay/")
    assert "https://billing.example/pay/" in text.out


@pytest.mark.parametrize("word", ["show", "retry", "refund", "write-off"])
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_charge_nobody_knows_is_one_sentence(cli: Cli, word: str, more: list[str]) -> None:
    done = cli("charges", word, "ch_unknown", *more)

    assert (done.code, done.sentence) == (1, UNKNOWN)


# Again.


def test_a_retry_pays_and_uses_up_no_scheduled_try(cli: Cli, declined: Case) -> None:
    give_good_card(declined)

    done = cli("charges", "retry", declined.key.charge_id, "--json")

    assert (done.code, done.json["status"]) == (0, "paid")
    assert [each["why"] for each in done.json["attempts"]] == ["scheduled", "operator"]
    assert declined.charge["tries"] == 1
    assert declined.paid_at_stripe() == [2900]
    assert_books_equal_stripe(declined)


def test_a_retry_that_is_declined_says_so_and_exits_with_1(cli: Cli, declined: Case) -> None:
    done = cli("charges", "retry", declined.key.charge_id)

    assert done.code == 1
    assert "declined" in done.out
    assert declined.charge["tries"] == 1
    assert [row["why"] for row in declined.attempts()] == ["scheduled", "operator"]


def test_what_is_paid_is_not_tried_again(cli: Cli, paid: Case) -> None:
    done = cli("charges", "retry", paid.key.charge_id)

    assert done.code == 1
    assert "nothing to retry" in done.sentence
    assert paid.paid_at_stripe() == [5800]


def test_a_retry_while_somebody_is_at_it_is_refused(cli: Cli, declined: Case) -> None:
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")
    unclear = cli("charges", "retry", declined.key.charge_id, "--json")
    with cli.engine.begin() as tx:
        tx.execute(tables.charges.update().values(leased_until=datetime.max.replace(tzinfo=UTC)))

    again = cli("charges", "retry", declined.key.charge_id)

    assert (unclear.code, unclear.json["status"]) == (1, "frozen")
    assert again.code == 1
    assert declined.paid_at_stripe() == []


def test_nothing_is_retried_while_collecting_is_stopped(cli: Cli, declined: Case) -> None:
    cli("collecting", "stop", "--why", "a wrong price")

    done = cli("charges", "retry", declined.key.charge_id)

    assert done.code == 1
    assert done.sentence == (
        "fixbill: no card is charged (a wrong price); see `fixbill collecting start`"
    )
    assert len(declined.attempts()) == 1


def test_nothing_is_retried_of_a_customer_who_is_parked(
    cli: Cli, owes: Callable[..., Case]
) -> None:
    case = owes()
    cli("customers", "cancel", case.key.customer_id)

    done = cli("charges", "retry", case.key.charge_id)

    assert done.code == 1
    assert f"`fixbill customers release {case.key.customer_id}`" in done.sentence
    assert case.attempts() == []


def test_nothing_is_retried_without_a_card(cli: Cli, declined: Case) -> None:
    with cli.engine.begin() as tx:
        tx.execute(tables.customers.update().values(payment_method=None))

    done = cli("charges", "retry", declined.key.charge_id)

    assert done.code == 1
    assert "`fixbill customers add-payment-method`" in done.sentence
    assert len(declined.attempts()) == 1


# Given up.


def test_what_is_given_up_is_cancelled_at_stripe_and_never_collected(
    cli: Cli, declined: Case
) -> None:
    done = cli("charges", "write-off", declined.key.charge_id, "--json")
    again = cli("charges", "write-off", declined.key.charge_id)

    assert (done.code, done.json["status"]) == (0, "void")
    intent = declined.sandbox.client().v1.payment_intents.retrieve(declined.intent)
    assert intent.status == "canceled"
    assert declined.standing == {"written_off": 2900}
    assert again.code == 1
    assert "nothing is owed on it" in again.sentence
    assert_books_equal_stripe(declined)


def test_an_open_charge_is_given_up_without_asking_stripe(
    cli: Cli, owes: Callable[..., Case]
) -> None:
    case = owes()
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    done = cli("charges", "write-off", case.key.charge_id)

    assert done.code == 0
    assert case.charge["status"] == "void"
    assert case.standing == {"written_off": 2900}


def test_while_stripe_is_away_a_charge_is_withdrawn_and_given_up_later(
    cli: Cli, declined: Case
) -> None:
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    done = cli("charges", "write-off", declined.key.charge_id, "--json")

    assert (done.code, done.json["status"]) == (0, "withdrawing")
    assert declined.withdraw() is ChargeStatus.VOID
    assert declined.standing == {"written_off": 2900}


def test_what_is_paid_cannot_be_given_up(cli: Cli, paid: Case) -> None:
    done = cli("charges", "write-off", paid.key.charge_id)

    assert done.code == 1
    assert "nothing is owed on it" in done.sentence
    assert paid.charge["status"] == "paid"


# Money back.


def test_a_whole_charge_goes_back_once(cli: Cli, paid: Case) -> None:
    done = cli("charges", "refund", paid.key.charge_id, "--reason", "a wrong fix", "--json")
    again = cli("charges", "refund", paid.key.charge_id)

    row = one_row(cli.engine, tables.refunds)
    assert done.code == 0
    assert done.json == {
        "refund_id": row["refund_id"],
        "charge_id": paid.key.charge_id,
        "status": "succeeded",
    }
    assert (row["amount"], row["reason"]) == (5800, "a wrong fix")
    assert again.code == 1
    assert "nothing is left to return of $58.00" in again.sentence
    assert paid.returned_at_stripe() == [5800]
    assert_books_equal_stripe(paid)


def test_an_amount_or_one_fix_goes_back(cli: Cli, paid: Case) -> None:
    part = cli("charges", "refund", paid.key.charge_id, "--amount", "10.00")
    one = cli("charges", "refund", paid.key.charge_id, "--fix", "fix-2")
    same = cli("charges", "refund", paid.key.charge_id, "--fix", "fix-2")

    assert (part.code, one.code, same.code) == (0, 0, 1)
    assert "succeeded" in part.out
    assert same.sentence.startswith("fixbill: ")
    assert sorted(paid.returned_at_stripe()) == [1000, 2900]
    answer = cli("charges", "show", paid.key.charge_id, "--json").json
    assert answer["returned"] == {"amount": 3900, "currency": "usd"}
    assert [each["fix_id"] for each in answer["refunds"]] == [None, "fix-2"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--amount", "10.00", "--fix", "fix-1"), 2),
        (("--amount", "ten"), 2),
        (("--amount", "58.01"), 1),
        (("--amount", "0.00"), 1),
        (("--amount=-1.00",), 2),
        (("--fix", "fix-9"), 1),
    ],
)
def test_what_cannot_be_returned_is_refused(
    cli: Cli, paid: Case, words: tuple[str, ...], code: int
) -> None:
    done = cli("charges", "refund", paid.key.charge_id, *words)

    assert (done.code, done.out) == (code, "")
    assert rows_of(cli.engine, tables.refunds) == []
    assert paid.returned_at_stripe() == []


def test_what_was_never_paid_cannot_go_back(cli: Cli, declined: Case) -> None:
    done = cli("charges", "refund", declined.key.charge_id)

    assert done.code == 1
    assert declined.key.charge_id in done.sentence
    assert rows_of(cli.engine, tables.refunds) == []


def test_while_stripe_is_away_a_refund_is_written_down_and_sent_later(cli: Cli, paid: Case) -> None:
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    done = cli("charges", "refund", paid.key.charge_id, "--json")

    assert (done.code, done.json["status"]) == (0, "requested")
    row = one_row(cli.engine, tables.refunds)
    assert row["due_at"] is not None
    assert paid.returned_at_stripe() == []
