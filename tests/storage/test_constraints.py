"""What Postgres refuses by itself, whatever the code above it does."""

from __future__ import annotations

import pytest

from tests.storage.conftest import Ledger
from tests.storage.refusals import CHECK, DENIED, FOREIGN, NULL, UNIQUE, inserted, refusal

HASH = "decode(repeat('00', 32), 'hex')"


def transfer(**changed: str) -> str:
    """An INSERT of a good transfer, but for what is changed."""
    values = {
        "customer_id": "'acme'",
        "seq": "1000",
        "kind": "'consume'",
        "from_account": "'credits'",
        "to_account": "'consumed'",
        "unit": "'credit'",
        "amount": "1",
        "source_key": "'new'",
        "cycle": "1",
        "happened_at": "now()",
        "recorded_at": "now()",
        "hash": HASH,
    } | changed
    return inserted("transfers", values)


def opened(customer_id: str) -> str:
    values = {
        "customer_id": f"'{customer_id}'",
        "plan": "'payg'",
        "plan_version": "'2026-01-01'",
        "currency": "'usd'",
        "head": HASH,
        "cycle_start": "'2026-03-01Z'",
        "cycle_end": "'2026-04-01Z'",
        "due_at": "'2026-04-01Z'",
    }
    return inserted("books", values)


def charge(**changed: str) -> str:
    values = {
        "customer_id": "'acme'",
        "charge_id": "'ch_new'",
        "status": "'void'",
        "amount": "0",
        "currency": "'usd'",
        "opened_at": "now()",
    } | changed
    return inserted("charges", values)


def fix(**changed: str) -> str:
    values = {
        "customer_id": "'acme'",
        "fix_id": "'new'",
        "outcome": "'reverted'",
        "repository": "'acme/shop'",
        "commit_sha": "'0123abcd'",
        "deployed_at": "now()",
        "recorded_at": "now()",
        "settled_at": "now()",
        "cycle_start": "now()",
        "late": "false",
        "plan": "'payg'",
        "plan_version": "'2026-01-01'",
        "source": "'github.com/acme/shop'",
        "event_id": "'new'",
    } | changed
    return inserted("fixes", values)


CREDITED = {"outcome": "'credited'", "grant_id": "'gift'"}
CHARGED = {"outcome": "'charged'", "charge_id": "'c'", "price": "1", "currency": "'usd'"}
HELD = {"outcome": "'held'", "held_why": "'why'", "settled_at": "NULL"}
PAID = {
    "status": "'paid'",
    "amount": "1",
    "asked_amount": "1",
    "frozen_at": "now()",
    "paid_at": "now()",
}

ALLOWED = {
    "a transfer": transfer(),
    "a void charge": charge(),
    "a paid charge": charge(**PAID, payment_intent="'pi_new'"),
    "a reverted fix": fix(),
    "a credited fix": fix(**CREDITED),
    "a charged fix": fix(**CHARGED),
    "a held fix": fix(**HELD),
    "a line removed": "UPDATE charge_lines SET removed_at = now() WHERE fix_id = 'charged'",
    "cash below nothing": "UPDATE books SET cash = cash - 9000, refunded = 9000",
    "a parked customer": "UPDATE books SET parked_at = now(), parked_why = 'cancelled'",
    "a frozen charge that is declined": "UPDATE charges SET status = 'declined'"
    " WHERE status = 'frozen'",
}

HISTORY = {
    f"{verb} of {table}": statement.format(table=table)
    for table in ("transfers", "events", "claims", "statements")
    for verb, statement in {
        "change": "UPDATE {table} SET customer_id = 'another'",
        "removal": "DELETE FROM {table}",
        "truncation": "TRUNCATE {table}",
    }.items()
}

WORKER_DENIED = HISTORY | {
    "removal of a customer": "DELETE FROM customers",
    "removal of a book": "DELETE FROM books",
    "removal of a fix": "DELETE FROM fixes",
    "removal of a charge": "DELETE FROM charges",
    "removal of a line": "DELETE FROM charge_lines",
    "removal of an attempt": "DELETE FROM attempts",
    "removal of a grant": "DELETE FROM grants",
    "removal of a cycle": "DELETE FROM cycles",
    "removal of usage": "DELETE FROM usage",
    "removal from quarantine": "DELETE FROM quarantine",
    "removal of a webhook": "DELETE FROM stripe_events",
    "truncation of books": "TRUNCATE books",
    "a new price of a line": "UPDATE charge_lines SET price = 1",
    "a line of another fix": "UPDATE charge_lines SET fix_id = 'another'",
    "a line of another customer": "UPDATE charge_lines SET customer_id = 'globex'",
    "removal of a refund": "DELETE FROM refunds",
    "removal of a dispute": "DELETE FROM disputes",
    "removal of a drift": "DELETE FROM drifts",
    "removal of the switch": "DELETE FROM collecting",
    "truncation of refunds": "TRUNCATE refunds",
    "a trigger on refunds dropped": "DROP TRIGGER transitions ON refunds",
    "triggers switched off": "SET session_replication_role = replica",
    "triggers disabled": "ALTER TABLE transfers DISABLE TRIGGER append_only",
    "triggers dropped": "DROP TRIGGER append_only ON transfers",
    "a new table": "CREATE TABLE public.mine (id int)",
    "another role": "SET ROLE pg_monitor",
    "the owner's role": "SET ROLE fixbill",
    "a rule dropped": "ALTER TABLE books DROP CONSTRAINT books_money_balances",
}

REFUSED: dict[str, tuple[str, str]] = {
    "negative credits": ("UPDATE books SET credits = -1, issued = 1", CHECK),
    "negative expiry": ("UPDATE books SET expired = -1, issued = issued + 1", CHECK),
    "negative consumption": ("UPDATE books SET consumed = -1, issued = issued + 1", CHECK),
    "unbalanced credits": ("UPDATE books SET credits = credits + 1", CHECK),
    "unbalanced money": ("UPDATE books SET cash = cash + 1", CHECK),
    "negative debt": ("UPDATE books SET receivable = -1, revenue = 1 - cash", CHECK),
    "debt to us of unapplied money": (
        "UPDATE books SET unapplied = 1, revenue = -1 - receivable",
        CHECK,
    ),
    "negative refunds": ("UPDATE books SET refunded = -1, revenue = 1 - receivable", CHECK),
    "negative disputes": ("UPDATE books SET disputed = -1, revenue = 1 - receivable", CHECK),
    "a parked customer without a reason": ("UPDATE books SET parked_at = now()", CHECK),
    "a reason without a parked customer": ("UPDATE books SET parked_why = 'why'", CHECK),
    "a negative cap": ("UPDATE books SET spending_cap = -1", CHECK),
    "a negative backlog": ("UPDATE books SET held = -1", CHECK),
    "negative spending": ("UPDATE books SET spent = -1", CHECK),
    "a head that is no hash": ("UPDATE books SET head = '\\x00'", CHECK),
    "a book of nobody": (
        opened("nobody"),
        FOREIGN,
    ),
    "a second book": (
        opened("acme"),
        UNIQUE,
    ),
    "a customer with a strange id": (
        "INSERT INTO customers (customer_id, livemode, created_at) VALUES ('a b', false, now())",
        CHECK,
    ),
    "two customers who are one at Stripe": (
        "UPDATE customers SET stripe_customer = 'cus_acme' WHERE customer_id = 'globex'",
        UNIQUE,
    ),
    "more left than was granted": ("UPDATE grants SET remaining = granted + 1", CHECK),
    "less than nothing left": ("UPDATE grants SET remaining = -1", CHECK),
    "a grant of nothing": ("UPDATE grants SET granted = 0, remaining = 0", CHECK),
    "a transfer of nothing": (transfer(amount="0"), CHECK),
    "a negative transfer": (transfer(amount="-1"), CHECK),
    "an unheard-of movement": (transfer(kind="'gift'"), CHECK),
    "a movement the wrong way": (
        transfer(from_account="'consumed'", to_account="'credits'"),
        CHECK,
    ),
    "credits out of money": (
        transfer(kind="'charge'", from_account="'revenue'", to_account="'receivable'"),
        CHECK,
    ),
    "money out of credits": (transfer(unit="'usd'"), CHECK),
    "a transfer outside the chain": (transfer(seq="0"), CHECK),
    "a transfer with half a hash": (transfer(hash="'\\x00'"), CHECK),
    "a place in the chain taken twice": (transfer(seq="1"), UNIQUE),
    "one cause counted twice": (
        transfer(source_key="'credited'", fix_id="'credited'"),
        UNIQUE,
    ),
    "a transfer without a time": (transfer(recorded_at="NULL"), NULL),
    "a fix settled twice": (fix(fix_id="'credited'"), UNIQUE),
    "an unheard-of outcome": (fix(outcome="'free'"), CHECK),
    "a credited fix without a grant": (fix(**CREDITED | {"grant_id": "NULL"}), CHECK),
    "a charged fix without a price": (fix(**CHARGED | {"price": "NULL"}), CHECK),
    "a charged fix for nothing": (fix(**CHARGED | {"price": "0"}), CHECK),
    "a charged fix without a currency": (fix(**CHARGED | {"currency": "NULL"}), CHECK),
    "a charged fix without a charge": (fix(**CHARGED | {"charge_id": "NULL"}), CHECK),
    "a fix paid twice over": (fix(**CHARGED | {"grant_id": "'gift'"}), CHECK),
    "a held fix without a reason": (fix(**HELD | {"held_why": "NULL"}), CHECK),
    "a held fix that is settled": (fix(**HELD | {"settled_at": "now()"}), CHECK),
    "a settled fix without a time": (fix(settled_at="NULL"), CHECK),
    "a settled fix that says why it is held": (fix(held_why="'why'"), CHECK),
    "a second open charge": (charge(status="'open'"), UNIQUE),
    "a second charge in flight": (
        charge(status="'declined'", amount="1", asked_amount="1", frozen_at="now()"),
        UNIQUE,
    ),
    "a negative charge": (charge(amount="-1"), CHECK),
    "an unheard-of status": (charge(status="'lost'"), CHECK),
    "a charge in flight that is not frozen": (charge(status="'declined'", amount="1"), CHECK),
    "a frozen charge of nothing": (charge(status="'frozen'", frozen_at="now()"), CHECK),
    "a paid charge without a payment": (charge(**PAID), CHECK),
    "a paid charge without a time": (
        charge(**PAID | {"paid_at": "NULL"}, payment_intent="'pi_new'"),
        CHECK,
    ),
    "an unpaid charge with a time": (charge(paid_at="now()"), CHECK),
    "two charges with one payment": (
        charge(**PAID, payment_intent="'pi_ch_paid_globex'"),
        UNIQUE,
    ),
    "a charge of nobody": (charge(customer_id="'nobody'"), FOREIGN),
    "another amount of a frozen charge": (
        "UPDATE charges SET amount = 1001 WHERE status = 'frozen'",
        CHECK,
    ),
    "another currency of a frozen charge": (
        "UPDATE charges SET currency = 'eur' WHERE status = 'frozen'",
        CHECK,
    ),
    "another amount of a paid charge": (
        "UPDATE charges SET amount = 1 WHERE status = 'paid'",
        CHECK,
    ),
    "a frozen charge opened again": (
        "UPDATE charges SET status = 'open' WHERE charge_id = 'ch_frozen_acme'",
        CHECK,
    ),
    "a paid charge tried again": (
        "UPDATE charges SET status = 'declined', paid_at = NULL WHERE status = 'paid'",
        CHECK,
    ),
    "a fix charged twice": (
        "INSERT INTO charge_lines (customer_id, charge_id, fix_id, price, added_at)"
        " VALUES ('acme', 'ch_new', 'of-the-frozen-charge', 1, now())",
        UNIQUE,
    ),
    "a line for nothing": (
        "INSERT INTO charge_lines (customer_id, charge_id, fix_id, price, added_at)"
        " VALUES ('acme', 'ch_new', 'new', 0, now())",
        CHECK,
    ),
    "an attempt on no charge": (
        "INSERT INTO attempts (customer_id, attempt_id, charge_id, number, why, parameters,"
        " livemode, started_at) VALUES ('acme', 'a', 'ch_no', 1, 'scheduled', '{}', false, now())",
        FOREIGN,
    ),
    "a second attempt under way": (
        "INSERT INTO attempts (customer_id, attempt_id, charge_id, number, why, parameters,"
        " livemode, started_at) VALUES"
        " ('acme', 'a', 'ch_frozen_acme', 2, 'manual', '{}', false, now())",
        UNIQUE,
    ),
    "an attempt for no known reason": ("UPDATE attempts SET why = 'boredom'", CHECK),
    "an attempt before the first": ("UPDATE attempts SET number = 0", CHECK),
    "an answer without a time": ("UPDATE attempts SET answer = 'declined'", CHECK),
    "negative usage": ("UPDATE usage SET credited = -1", CHECK),
    "a pull request claimed twice": (
        "INSERT INTO claims SELECT fix_id, 'globex' FROM claims",
        UNIQUE,
    ),
    "an event taken twice": (
        "INSERT INTO events SELECT * FROM events WHERE event_id = 'deployed-credited'",
        UNIQUE,
    ),
    "an API key in clear text": (
        "INSERT INTO api_keys (key_id, secret_hash, name, scopes, created_at)"
        " VALUES ('k', 'secret', '', '{}', now())",
        CHECK,
    ),
}


@pytest.mark.parametrize("statement", ALLOWED.values(), ids=ALLOWED)
def test_the_worker_may_write_what_is_right(ledger: Ledger, statement: str) -> None:
    worker = ledger.worker

    outcome = refusal(worker, statement)

    assert outcome == "allowed"


@pytest.mark.parametrize(("statement", "sqlstate"), REFUSED.values(), ids=REFUSED)
def test_what_would_break_the_books_is_refused(
    ledger: Ledger, statement: str, sqlstate: str
) -> None:
    worker = ledger.worker

    outcome = refusal(worker, statement)

    assert outcome == sqlstate


@pytest.mark.parametrize(("statement", "sqlstate"), REFUSED.values(), ids=REFUSED)
def test_the_owner_is_refused_it_too(ledger: Ledger, statement: str, sqlstate: str) -> None:
    owner = ledger.owner

    outcome = refusal(owner, statement)

    assert outcome == sqlstate


@pytest.mark.parametrize("statement", HISTORY.values(), ids=HISTORY)
def test_not_even_the_owner_rewrites_history(ledger: Ledger, statement: str) -> None:
    owner = ledger.owner

    outcome = refusal(owner, statement)

    assert outcome == DENIED


@pytest.mark.parametrize("statement", WORKER_DENIED.values(), ids=WORKER_DENIED)
def test_the_worker_may_not(ledger: Ledger, statement: str) -> None:
    worker = ledger.worker

    outcome = refusal(worker, statement)

    assert outcome == DENIED
