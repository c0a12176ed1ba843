"""A statement says of every transfer what it meant to the customer, and adds up."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from schemas.answers import Statement, StatementCredits, StatementMoney
from schemas.money import Money
from tests.builders import (
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    deployed,
    give_credits,
    one_row,
    reverted,
    rows_of,
    settle_events,
    usd,
)
from tests.stating import (
    APRIL,
    APRIL_CLOSED,
    MARCH_CLOSED,
    close_march,
    pass_time,
    stated,
    write_statements,
)
from worker.billing.ledger import ACCOUNTS, MOVEMENTS
from worker.storage import tables
from worker.storage.statements import CycleKey, CycleLedger, Granted, Moved
from worker.usage.statements import StatementProblem, previews, statement_named, statement_of
from worker.usage.verify import verify

EVERYONE = ("acme", "globex", "hooli", "umbrella")


def of_march(*moved: Moved, granted: Granted | None = None) -> CycleLedger:
    return CycleLedger(
        CycleKey("acme", 1), MARCH.start, MARCH.end, "usd", moved, [granted] if granted else []
    )


def credits_left(credits: StatementCredits) -> int:
    came = credits.granted + credits.rolled_in + credits.given_back + credits.reissued
    went = credits.used + credits.rolled_out + credits.expired + credits.taken_back
    return credits.opening + came - went


def owed_left(money: StatementMoney) -> Money:
    earned = money.charged - money.reverted + money.subscription + money.top_ups
    return money.opening + earned - money.paid - money.paid_from_balance - money.written_off


def assert_adds_up(statement: Statement) -> None:
    """Every sum of it comes to the balance of its account."""
    before, after, balance = statement.balances_before, statement.balances, statement.balance
    card = statement.card.collected - statement.card.refunded - statement.card.disputed
    assert statement.credits.opening == before["credits"]
    assert credits_left(statement.credits) == statement.credits.closing == after["credits"]
    assert sum(statement.credits.granted_for.values()) == statement.credits.granted
    assert statement.money.opening.amount == before["receivable"]
    assert owed_left(statement.money) == statement.money.closing
    assert statement.money.closing.amount == after["receivable"]
    assert balance.opening.amount == -before["unapplied"]
    assert balance.opening + balance.received - balance.used - balance.returned == balance.closing
    assert balance.closing.amount == -after["unapplied"]
    kept = after["fees"] - before["fees"]  # by Stripe, of what the customer has paid
    assert before["cash"] + card.amount - kept == after["cash"]


@pytest.mark.parametrize("kind", MOVEMENTS)
def test_every_movement_stands_in_a_line_of_its_sum(kind: str) -> None:
    granted = Granted("operator", 1, 7) if kind == "grant" else None

    statement = statement_of(of_march(Moved(kind, 1, 7), granted=granted), None)

    source, target = MOVEMENTS[kind]
    moved = {name: amount for name, amount in statement.balances.items() if amount}
    assert moved == {source: -7, target: 7}
    assert_adds_up(statement)


def test_a_statement_begins_with_the_balances_of_the_one_before() -> None:
    first = statement_of(of_march(Moved("grant", 1, 9), granted=Granted("signup", 1, 9)), None)

    second = statement_of(of_march(Moved("consume", 4, 4)), first)

    assert second.balances_before == first.balances
    assert (second.credits.opening, second.credits.closing) == (9, 5)
    assert_adds_up(second)


def test_one_that_was_written_before_an_account_was_thought_of_is_built_upon() -> None:
    first = statement_of(of_march(), None)
    older = first.model_copy(update={"balances": {"credits": 3, "issued": -3}})

    second = statement_of(of_march(Moved("pay", 1, 2900)), older)

    assert second.balances.keys() == {*ACCOUNTS}
    assert (second.balances["credits"], second.balances["cash"]) == (3, 2900)


def test_one_whose_money_went_every_way_says_so(engine: Engine) -> None:
    close_march(engine)

    statement = stated(engine, "hooli")

    assert statement.money == StatementMoney(
        opening=usd(0),
        charged=usd(87),
        reverted=usd(29),
        subscription=usd(0),
        top_ups=usd(0),
        paid=usd(48),
        paid_from_balance=usd(10),
        written_off=usd(0),
        closing=usd(0),
    )
    balance, card = statement.balance, statement.card
    assert (balance.received, balance.used, balance.returned) == (usd(39), usd(10), usd(29))
    assert (card.collected, card.refunded, card.disputed) == (usd(87), usd(30), usd(40))
    charge = one_row(engine, tables.charges, customer_id="hooli")["charge_id"]
    assert [(each.kind, each.money, each.reference) for each in statement.payments] == [
        ("payment", usd(10), "pi_stray"),
        ("apply", usd(10), charge),
        ("payment", usd(77), "pi_hooli"),
        ("refund", usd(30), "re_hooli"),
        ("dispute_opened", usd(40), "du_hooli"),
        ("dispute_lost", usd(40), "du_hooli"),
    ]


def test_fixes_are_counted_in_all_by_repository_and_by_day(engine: Engine) -> None:
    close_march(engine)

    statement = stated(engine)

    parts = {each.repository: each for each in statement.repositories}
    counts = {name: tuple(each.fixes.model_dump().values()) for name, each in parts.items()}
    assert tuple(statement.fixes.model_dump().values()) == (3, 4, 1)
    assert counts == {"acme/api": (0, 1, 0), "acme/shop": (3, 3, 1)}
    assert parts["acme/shop"].charged == usd(87)
    assert [(each.day, each.fixes.credited, each.fixes.charged) for each in statement.days] == [
        (NOW.date(), 3, 4)
    ]
    assert statement.plans == ["payg 2026-01-01"]


@pytest.mark.parametrize("customer_id", EVERYONE)
def test_the_statements_of_a_customer_come_to_their_book(engine: Engine, customer_id: str) -> None:
    give_credits(engine, customer_id, 2, "more", now=NOW)
    pass_time(engine, APRIL_CLOSED)
    write_statements(engine)

    both = [stated(engine, customer_id, number) for number in (1, 2)]

    book = one_row(engine, tables.books, customer_id=customer_id)
    moved: Counter[str] = Counter()
    for each in both:
        assert_adds_up(each)
        moved.update({one.kind: one.transfers for one in each.movements})
    assert both[1].balances_before == both[0].balances
    assert both[1].balances == {name: book[name] for name in ACCOUNTS}
    found = rows_of(engine, tables.transfers, customer_id=customer_id)
    assert moved == Counter(row["kind"] for row in found)
    assert [each for each in verify(engine, None) if not each.ok] == []


def test_a_fix_that_is_taken_back_later_stays_in_the_statement_it_was_in(engine: Engine) -> None:
    close_march(engine)
    before = stated(engine)
    in_april = APRIL.start + 2 * HOUR
    taken = [reverted(name, at=in_april - MINUTE) for name in ("paid-1", "owed-2", "new")]
    settle_events(engine, *taken, now=in_april)
    pass_time(engine, APRIL_CLOSED)
    write_statements(engine)

    april = stated(engine, number=2)

    assert stated(engine) == before
    assert april.fixes.model_dump() == {"credited": 0, "charged": 0, "reverted": 3}
    assert april.money.reverted == usd(29)
    assert (april.credits.given_back, april.credits.granted_for) == (1, {"revert": 1})
    reverted_in = {each.repository: each.fixes.reverted for each in april.repositories}
    assert reverted_in == {"acme/api": 1, "acme/shop": 2}
    assert [each.charged for each in april.repositories] == [-usd(29), usd(0)]
    assert april.plans == []


def test_a_fix_of_the_last_minutes_is_in_the_statement_of_its_own_cycle(engine: Engine) -> None:
    late = deployed("last", "globex", at=MARCH.end - MINUTE)
    settle_events(engine, late, now=MARCH.end + 30 * MINUTE)
    next_one = deployed("next", "globex", at=MARCH.end + MINUTE)
    settle_events(engine, next_one, now=MARCH.end + 31 * MINUTE)
    pass_time(engine, APRIL_CLOSED)
    write_statements(engine)

    march, april = (stated(engine, "globex", number) for number in (1, 2))

    assert march.days[-1].day == (MARCH.end - MINUTE).date()
    assert [each.day for each in april.days] == [MARCH.end.date()]
    assert april.balances_before == march.balances


# What is not final.


def test_a_preview_of_an_open_cycle_says_that_it_is_one(engine: Engine) -> None:
    with engine.begin() as tx:
        (preview,) = previews(tx, "acme")

    assert (preview.number, preview.status) == (1, "open")
    assert preview.fixes.charged == 4
    assert_adds_up(preview)


def test_the_last_preview_of_a_cycle_is_its_statement_but_for_the_word(engine: Engine) -> None:
    pass_time(engine, MARCH.end + MINUTE)
    with engine.begin() as tx:
        closing, opened = previews(tx, "acme")
    pass_time(engine, MARCH_CLOSED)
    write_statements(engine)

    written = stated(engine)

    assert (closing.status, opened.status, written.status) == ("closing", "open", "closed")
    assert closing.model_copy(update={"status": "closed"}) == written
    assert opened.balances_before == closing.balances


def test_there_is_no_preview_of_a_stranger(engine: Engine) -> None:
    with engine.begin() as tx:
        assert list(previews(tx, "nobody")) == []


# What is missing.


@pytest.mark.parametrize(
    ("passed", "number", "says"),
    [
        (NOW, 1, "none is written yet, and 1 is expected at 2026-04-01 01:00Z"),
        (NOW, 7, "none is written yet, and 1 is expected at 2026-04-01 01:00Z"),
        (MARCH.end, 1, "none is written yet, and 1 is expected at 2026-04-01 01:00Z"),
        (MARCH_CLOSED, 2, "1 is written, and 2 is expected at 2026-05-01 01:00Z"),
        (APRIL_CLOSED, 9, "1 to 2 are written, and 3 is expected at 2026-06-01 01:00Z"),
    ],
)
def test_who_asks_for_a_missing_statement_learns_which_there_are(
    engine: Engine, passed: object, number: int, says: str
) -> None:
    pass_time(engine, passed, ["acme"])  # type: ignore[arg-type]
    write_statements(engine)

    with pytest.raises(StatementProblem) as missing, engine.begin() as tx:
        statement_named(tx, CycleKey("acme", number))

    assert str(missing.value) == f"there is no statement {number} of acme: {says}"


def test_one_that_is_about_to_be_written_is_said_to_be(engine: Engine) -> None:
    pass_time(engine, MARCH_CLOSED + timedelta(seconds=1))

    with pytest.raises(StatementProblem, match="1 is being written"), engine.begin() as tx:
        statement_named(tx, CycleKey("acme", 1))


def test_a_stranger_has_no_statement(engine: Engine) -> None:
    with pytest.raises(StatementProblem, match="no customer nobody"), engine.begin() as tx:
        statement_named(tx, CycleKey("nobody", 1))
