"""The states of charges and refunds, and what stays fixed in them, as Postgres sees it."""

from __future__ import annotations

import pytest

from tests.storage.conftest import Ledger
from tests.storage.refusals import CHECK, inserted, refusal
from worker.billing import charges, refunds
from worker.billing.charges import FINAL, IN_FLIGHT, ChargeStatus
from worker.billing.refunds import RefundStatus

S = ChargeStatus

# initech is nobody's but this module's; it is gone when a statement has been looked at.
INITECH = (
    "INSERT INTO customers (customer_id, livemode, created_at) VALUES ('initech', false, now())",
    "INSERT INTO books"
    " (customer_id, plan, plan_version, currency, head, cycle_start, cycle_end, due_at)"
    " VALUES ('initech', 'payg', '2026-01-01', 'usd', decode(repeat('00', 32), 'hex'),"
    " '2026-03-01Z', '2026-04-01Z', '2026-04-01Z')",
)


def owed(status: ChargeStatus, charge_id: str = "ch_old", **changed: str) -> str:
    """A charge that may be in any state, as far as its other columns go."""
    values = {
        "customer_id": "'initech'",
        "charge_id": f"'{charge_id}'",
        "status": f"'{status}'",
        "amount": "100",
        "applied": "40",
        "asked_amount": "60",
        "payment_intent": f"'pi_{charge_id}'",
        "currency": "'usd'",
        "opened_at": "now()",
        "frozen_at": "now()",
        "paid_at": paid_at(status),
    }
    return inserted("charges", values | changed)


def paid_at(status: ChargeStatus) -> str:
    return "now()" if status is S.PAID else "NULL"


def turned(status: ChargeStatus) -> str:
    return (
        f"UPDATE charges SET status = '{status}', paid_at = {paid_at(status)}"
        " WHERE customer_id = 'initech' AND charge_id = 'ch_old'"
    )


PAIRS = [(old, new) for old in S for new in S]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_charge_moves_on_only_as_the_table_says(
    ledger: Ledger, old: ChargeStatus, new: ChargeStatus
) -> None:
    may = old is new or new in charges.TRANSITIONS[old]

    outcome = refusal(ledger.worker, *INITECH, owed(old), turned(new))

    assert outcome == ("allowed" if may else CHECK)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_nothing_but_the_table_forbids_a_charge_to_move_on(
    ledger: Ledger, old: ChargeStatus, new: ChargeStatus
) -> None:
    asleep = "SET LOCAL session_replication_role = replica"

    outcome = refusal(ledger.owner, asleep, *INITECH, owed(old), turned(new))

    assert outcome == "allowed"


def returned(status: RefundStatus) -> str:
    values = {
        "customer_id": "'acme'",
        "refund_id": "'ref_new'",
        "payment_intent": "'pi_1'",
        "amount": "1",
        "currency": "'usd'",
        "status": f"'{status}'",
        "stripe_refund": "'re_new'",
        "requested_at": "now()",
        "started_at": "now()",
    }
    return inserted("refunds", values)


@pytest.mark.parametrize("old", RefundStatus)
@pytest.mark.parametrize("new", RefundStatus)
def test_a_refund_moves_on_only_as_the_table_says(
    ledger: Ledger, old: RefundStatus, new: RefundStatus
) -> None:
    may = old is new or new in refunds.TRANSITIONS[old]
    turn = f"UPDATE refunds SET status = '{new}' WHERE refund_id = 'ref_new'"

    outcome = refusal(ledger.worker, returned(old), turn)

    assert outcome == ("allowed" if may else CHECK)


# What is fixed once a charge is no longer open.


@pytest.mark.parametrize("status", [*IN_FLIGHT, *FINAL])
@pytest.mark.parametrize("change", ["amount = 101", "currency = 'eur'"])
def test_a_charge_that_is_no_longer_open_keeps_its_amount(
    ledger: Ledger, status: ChargeStatus, change: str
) -> None:
    statement = f"UPDATE charges SET {change} WHERE customer_id = 'initech'"

    outcome = refusal(ledger.worker, *INITECH, owed(status), statement)

    assert outcome == CHECK


@pytest.mark.parametrize("status", IN_FLIGHT)
@pytest.mark.parametrize("change", ["applied = 0", "applied = 0, dropped = 100", "waits = 9"])
def test_its_parts_may_change(ledger: Ledger, status: ChargeStatus, change: str) -> None:
    statement = f"UPDATE charges SET {change} WHERE customer_id = 'initech'"

    outcome = refusal(ledger.worker, *INITECH, owed(status), statement)

    assert outcome == "allowed"


LINE = inserted(
    "charge_lines",
    {
        "customer_id": "'initech'",
        "charge_id": "'ch_old'",
        "fix_id": "'fix-1'",
        "price": "100",
        "added_at": "now()",
    },
)
REMOVED = "UPDATE charge_lines SET removed_at = now() WHERE customer_id = 'initech'"
MOVED = "UPDATE charge_lines SET charge_id = 'ch_new' WHERE customer_id = 'initech'"
ALL_LEFT = "UPDATE charges SET applied = 0, dropped = amount WHERE charge_id = 'ch_old'"


def with_a_line(status: ChargeStatus) -> list[str]:
    """A charge with a line, moved to this state by ways that are allowed."""
    ways: dict[ChargeStatus, list[ChargeStatus]] = {S.OPEN: []}
    for old in (S.OPEN, S.FROZEN, S.WITHDRAWING):
        for new in charges.TRANSITIONS[old]:
            ways.setdefault(new, [*ways[old], new])
    return [*INITECH, owed(S.OPEN), LINE, *map(turned, ways[status])]


@pytest.mark.parametrize("status", S)
def test_lines_come_only_to_an_open_charge(ledger: Ledger, status: ChargeStatus) -> None:
    charge_before = owed(status)

    outcome = refusal(ledger.worker, *INITECH, charge_before, LINE)

    assert outcome == ("allowed" if status is S.OPEN else CHECK)


@pytest.mark.parametrize("status", S)
def test_lines_leave_only_an_open_charge_or_one_that_is_withdrawn(
    ledger: Ledger, status: ChargeStatus
) -> None:
    before = with_a_line(status)

    outcome = refusal(ledger.worker, *before, REMOVED)

    assert outcome == ("allowed" if status in (S.OPEN, S.WITHDRAWING) else CHECK)


@pytest.mark.parametrize("status", [each for each in S if each is not S.OPEN])
def test_lines_move_only_from_a_charge_that_is_withdrawn_to_the_open_one(
    ledger: Ledger, status: ChargeStatus
) -> None:
    before = [*with_a_line(status), owed(S.OPEN, "ch_new")]

    outcome = refusal(ledger.worker, *before, MOVED)

    assert outcome == ("allowed" if status is S.WITHDRAWING else CHECK)


def test_the_lines_of_a_void_charge_move_once_all_of_it_has_left(ledger: Ledger) -> None:
    before = [*with_a_line(S.VOID), owed(S.OPEN, "ch_new")]

    written_off = refusal(ledger.worker, *before, MOVED)
    replaced = refusal(ledger.worker, *before, ALL_LEFT, MOVED)

    assert (written_off, replaced) == (CHECK, "allowed")


@pytest.mark.parametrize("status", [each for each in S if each not in (S.OPEN, S.WITHDRAWING)])
def test_lines_move_only_to_an_open_charge(ledger: Ledger, status: ChargeStatus) -> None:
    taken = owed(status, "ch_new") if status not in IN_FLIGHT else owed(S.PAID, "ch_new")
    before = [*with_a_line(S.WITHDRAWING), taken]

    outcome = refusal(ledger.worker, *before, MOVED)

    assert outcome == CHECK
