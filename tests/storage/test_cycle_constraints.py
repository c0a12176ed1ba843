"""What Postgres refuses of cycles, books and statements, whatever the code above it does."""

from __future__ import annotations

import pytest

from tests.storage.conftest import Ledger
from tests.storage.refusals import CHECK, DENIED, FOREIGN, NULL, UNIQUE, inserted, refusal
from worker.billing.cycles import TRANSITIONS, CycleStatus

S = CycleStatus
HASH = "decode(repeat('00', 32), 'hex')"

# initech is nobody's but this module's; it is gone when a statement has been looked at.
INITECH = (
    "INSERT INTO customers (customer_id, livemode, created_at) VALUES ('initech', false, now())",
    inserted(
        "books",
        {
            "customer_id": "'initech'",
            "plan": "'payg'",
            "plan_version": "'2026-01-01'",
            "currency": "'usd'",
            "head": HASH,
            "due_at": "now()",
            "cycle_start": "'2026-03-01Z'",
            "cycle_end": "'2026-04-01Z'",
        },
    ),
)


def cycle(number: int = 1, status: str = S.OPEN, **changed: str) -> str:
    """A month of 2026, the first one March, but for what is changed."""
    values = {
        "customer_id": "'initech'",
        "number": str(number),
        "follows": str(number - 1) if number > 1 else "NULL",
        "starts_at": f"'2026-{number + 2:02}-01Z'",
        "ends_at": f"'2026-{number + 3:02}-01Z'",
        "status": f"'{status}'",
        "closed_at": "now()" if status == S.CLOSED else "NULL",
        "last_seq": "0" if status == S.CLOSED else "NULL",
    }
    return inserted("cycles", values | changed)


def turned(status: CycleStatus, number: int = 1, **more: str) -> str:
    closed = status is S.CLOSED
    values = {
        "status": f"'{status}'",
        "closed_at": "now()" if closed else "NULL",
        "last_seq": "0" if closed else "NULL",
    } | more
    changes = ", ".join(f"{name} = {value}" for name, value in values.items())
    return f"UPDATE cycles SET {changes} WHERE customer_id = 'initech' AND number = {number}"


def transfer(number: object, customer_id: str = "initech") -> str:
    values = {
        "customer_id": f"'{customer_id}'",
        "seq": "1000",
        "kind": "'grant'",
        "from_account": "'issued'",
        "to_account": "'credits'",
        "unit": "'credit'",
        "amount": "1",
        "source_key": "'new'",
        "cycle": str(number),
        "happened_at": "now()",
        "recorded_at": "now()",
        "hash": HASH,
    }
    return inserted("transfers", values)


def statement(number: int = 1, **changed: str) -> str:
    values = {
        "customer_id": "'initech'",
        "number": str(number),
        "body": "'{}'",
        "recorded_at": "now()",
    }
    return inserted("statements", values | changed)


def book(**changed: str) -> str:
    changes = ", ".join(f"{name} = {value}" for name, value in changed.items())
    return f"UPDATE books SET {changes} WHERE customer_id = 'initech'"


FIRST, CLOSED_FIRST = cycle(), cycle(1, S.CLOSED)
TWO = (cycle(1, S.CLOSING), cycle(2))
THREE = (cycle(1, S.CLOSED), cycle(2, S.CLOSING), cycle(3))
SUBSCRIBED = {"subscription_id": "'sub_1'", "anchor": "'2026-03-01Z'"}

ALLOWED: dict[str, tuple[str, ...]] = {
    "a first cycle": (FIRST,),
    "one that closes, and the next": TWO,
    "closed, closing and open": THREE,
    "an open cycle that gets another end": (
        FIRST,
        "UPDATE cycles SET ends_at = '2026-03-20Z' WHERE customer_id = 'initech'",
    ),
    "a transfer in the open cycle": (FIRST, transfer(1)),
    "a transfer in the closing cycle": (*TWO, transfer(1)),
    "a transfer beside a closed cycle": (*THREE, transfer(3)),
    "a transfer of another customer in a cycle of that number": (CLOSED_FIRST, transfer(1, "acme")),
    "a statement of a closed cycle": (CLOSED_FIRST, statement()),
    "a closed cycle that is stated": (CLOSED_FIRST, turned(S.CLOSED, stated_at="now()")),
    "a book with a subscription": (book(**SUBSCRIBED),),
    "a paid one that ends with its period": (
        book(**SUBSCRIBED, paid_until="now()", ends_with_period="true"),
    ),
    "a book with a closing cycle": (book(closing_start="'2026-02-01Z'", cycle="2"),),
    "a clock that is ahead": (book(clock_offset="'40 days'"),),
}

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a cycle that ends when it starts": ((cycle(ends_at="'2026-03-01Z'"),), CHECK),
    "a cycle that ends before it starts": ((cycle(ends_at="'2026-02-01Z'"),), CHECK),
    "a cycle 0": ((cycle(number=0, follows="NULL", starts_at="'2026-03-01Z'"),), CHECK),
    "a second cycle that follows nothing": ((cycle(2, follows="NULL"),), CHECK),
    "a first cycle that follows itself": ((cycle(1, follows="1"),), CHECK),
    "a cycle that follows another than the last": (
        (cycle(1, S.CLOSED), cycle(2, S.CLOSED), cycle(3, follows="1", starts_at="'2026-04-01Z'")),
        CHECK,
    ),
    "a cycle without the one before": ((cycle(2),), FOREIGN),
    "a gap": ((CLOSED_FIRST, cycle(2, starts_at="'2026-04-02Z'")), FOREIGN),
    "an overlap": ((CLOSED_FIRST, cycle(2, starts_at="'2026-03-31Z'")), FOREIGN),
    "a cycle left behind when the one before it ends elsewhere": (
        (*TWO, turned(S.CLOSING, ends_at="'2026-04-02Z'")),
        FOREIGN,
    ),
    "a cycle of nobody's": ((cycle(customer_id="'nobody'"),), FOREIGN),
    "the same number twice": ((CLOSED_FIRST, CLOSED_FIRST), UNIQUE),
    "two open cycles": ((FIRST, cycle(2)), UNIQUE),
    "two closing cycles": ((cycle(1, S.CLOSING), cycle(2, S.CLOSING)), UNIQUE),
    "an unheard-of status": ((cycle(1, "lost"),), CHECK),
    "closed without saying when": ((cycle(1, S.CLOSED, closed_at="NULL"),), CHECK),
    "closed without a last transfer": ((cycle(1, S.CLOSED, last_seq="NULL"),), CHECK),
    "open and closed at some time": ((cycle(closed_at="now()"),), CHECK),
    "open with a last transfer": ((cycle(last_seq="1"),), CHECK),
    "stated while it is open": ((cycle(stated_at="now()"),), CHECK),
    "stated while it closes": ((cycle(1, S.CLOSING, stated_at="now()"),), CHECK),
    "without a start": ((cycle(starts_at="NULL"),), NULL),
    "without an end": ((cycle(ends_at="NULL"),), NULL),
    "a transfer into a closed cycle": ((CLOSED_FIRST, transfer(1)), CHECK),
    "a transfer into a cycle that has just been closed": (
        (*TWO, turned(S.CLOSED), transfer(1)),
        CHECK,
    ),
    "a transfer of no cycle": ((FIRST, transfer("NULL")), NULL),
    "a statement of no cycle": ((FIRST, statement(2)), FOREIGN),
    "a second statement": ((CLOSED_FIRST, statement(), statement()), UNIQUE),
    "a statement that says nothing": ((CLOSED_FIRST, statement(body="NULL")), NULL),
    "a book in cycle 0": ((book(cycle="0"),), CHECK),
    "a book whose cycle ends when it starts": ((book(cycle_end="cycle_start"),), CHECK),
    "a book whose closing cycle is not before the open one": (
        (book(closing_start="cycle_start"),),
        CHECK,
    ),
    "a book that is never due": ((book(due_at="NULL"),), NULL),
    "a subscription without an anchor": ((book(subscription_id="'sub_1'"),), CHECK),
    "an anchor without a subscription": ((book(anchor="now()"),), CHECK),
    "a paid period without a subscription": ((book(paid_until="now()"),), CHECK),
    "an end of no subscription": ((book(ends_with_period="true"),), CHECK),
    "fewer expired credits than none": ((book(expired="-1", credits="1"),), CHECK),
}

WORKER_DENIED = {
    "removal of a cycle": "DELETE FROM cycles",
    "truncation of cycles": "TRUNCATE cycles CASCADE",
    "removal of the clock": "DELETE FROM clock",
    "a trigger on cycles dropped": "DROP TRIGGER transitions ON cycles",
    "the guard of closed cycles dropped": "DROP TRIGGER closed_cycle ON transfers",
    "change of a statement": "UPDATE statements SET body = '{}'",
    "removal of a statement": "DELETE FROM statements",
    "truncation of statements": "TRUNCATE statements",
}


@pytest.mark.parametrize("statements", ALLOWED.values(), ids=ALLOWED)
def test_the_worker_may_write_what_is_right(ledger: Ledger, statements: tuple[str, ...]) -> None:
    outcome = refusal(ledger.worker, *INITECH, *statements)

    assert outcome == "allowed"


@pytest.mark.parametrize(("statements", "sqlstate"), REFUSED.values(), ids=REFUSED)
def test_what_would_break_the_cycles_is_refused(
    ledger: Ledger, statements: tuple[str, ...], sqlstate: str
) -> None:
    roles = [ledger.worker, ledger.owner]

    outcomes = [refusal(role, *INITECH, *statements) for role in roles]

    assert outcomes == [sqlstate, sqlstate]


@pytest.mark.parametrize("statement", WORKER_DENIED.values(), ids=WORKER_DENIED)
def test_the_worker_may_not_rewrite_what_is_over(ledger: Ledger, statement: str) -> None:
    assert refusal(ledger.worker, statement) == DENIED


@pytest.mark.parametrize("change", ["UPDATE statements SET body = '{}'", "DELETE FROM statements"])
def test_not_even_the_owner_changes_a_statement(ledger: Ledger, change: str) -> None:
    assert refusal(ledger.owner, *INITECH, CLOSED_FIRST, statement(), change) == DENIED


PAIRS = [(old, new) for old in S for new in S]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_cycle_moves_on_only_as_the_table_says(
    ledger: Ledger, old: CycleStatus, new: CycleStatus
) -> None:
    may = old is new or new in TRANSITIONS[old]

    outcome = refusal(ledger.worker, *INITECH, cycle(1, old), turned(new))

    assert outcome == ("allowed" if may else CHECK)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_nothing_but_the_table_forbids_a_cycle_to_move_on(
    ledger: Ledger, old: CycleStatus, new: CycleStatus
) -> None:
    asleep = "SET LOCAL session_replication_role = replica"

    outcome = refusal(ledger.owner, asleep, *INITECH, cycle(1, old), turned(new))

    assert outcome == "allowed"


CHANGES = [
    "starts_at = starts_at - '1 day'::interval",
    "ends_at = ends_at + '1 day'::interval",
    "number = 9, follows = 8",
    "first_seq = 2",
    "last_seq = 7",
    "closed_at = now() - '1 day'::interval",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_closed_cycle_stays_as_its_statement_says(ledger: Ledger, change: str) -> None:
    update = f"UPDATE cycles SET {change} WHERE customer_id = 'initech' AND number = 1"

    outcome = refusal(ledger.worker, *INITECH, *THREE, update)

    assert outcome != "allowed"
