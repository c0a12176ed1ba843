"""Charges: how lines go on them, what they add up to, and how they may move on."""

from __future__ import annotations

import pytest

from tests.builders import HOUR, MARCH, NOW, arrival, book, charge, deployed, usd
from worker.billing.batch import decide_batch
from worker.billing.charges import FINAL, IN_FLIGHT, TRANSITIONS, Charge, ChargeStatus, minimum
from worker.billing.cycles import CLOSING
from worker.billing.dunning import due_at
from worker.billing.known import Known
from worker.billing.policy import Policy

S = ChargeStatus


def test_the_first_line_opens_a_charge_that_is_due_at_once() -> None:
    standing = book()

    written = decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    (owed,) = written.charges.new.values()
    assert owed is standing.open_charge
    assert (owed.charge_id, owed.status, owed.amount) == ("ch_acme", S.OPEN, 2900)
    assert (owed.opened_at, owed.due_at) == (NOW, NOW)
    assert standing.spent == 2900
    assert (standing.receivable, standing.revenue) == (2900, -2900)


def test_later_lines_join_the_open_charge() -> None:
    standing = book(open_charge=charge(2900), spent=2900, receivable=2900, revenue=-2900)

    written = decide_batch(
        [arrival(deployed("a")), arrival(deployed("b"))], {"acme": standing}, Known(), NOW
    )

    (owed,) = written.charges.changed.values()
    assert owed.amount == 3 * 2900
    assert [(each.fix_id, each.price) for each in written.lines.new.values()] == [
        ("a", 2900),
        ("b", 2900),
    ]
    assert not written.charges.new


@pytest.mark.parametrize("customer_time_ahead", [0, 24], ids=["none", "a day"])
def test_a_charge_is_opened_at_the_customers_own_time(customer_time_ahead: int) -> None:
    ahead = customer_time_ahead * HOUR
    standing = book(clock_offset=ahead)

    decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    assert standing.open_charge is not None
    assert standing.open_charge.opened_at == NOW + ahead


def test_a_charge_that_was_carried_over_is_due_again_once_it_takes_another_line() -> None:
    carried_over = charge(49, due_at=None)
    standing = book(open_charge=carried_over, receivable=49, revenue=-49)

    decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    assert carried_over.amount == 2949
    assert carried_over.due_at == NOW


def test_a_charge_of_a_plan_that_collects_monthly_is_due_when_the_month_is_closed() -> None:
    standing = book(policy=Policy("cycle_end"))

    decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    assert standing.open_charge is not None
    assert standing.open_charge.due_at == due_at(standing, NOW) > MARCH.end + CLOSING


def test_a_new_line_does_not_put_a_charge_off() -> None:
    due = charge(2900, due_at=NOW - HOUR)
    standing = book(open_charge=due, receivable=2900, revenue=-2900)

    decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    assert due.due_at == NOW - HOUR


def test_a_line_waits_on_an_open_charge_while_another_is_in_flight() -> None:
    frozen = charge(2900, S.FROZEN)
    standing = book(
        charge_in_flight=frozen, fresh_charge_id="ch_next", receivable=2900, revenue=-2900
    )

    decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    assert standing.open_charge is not None
    assert (standing.open_charge.charge_id, standing.open_charge.amount) == ("ch_next", 2900)
    assert frozen.amount == 2900


PARTS: dict[str, tuple[Charge, object, int]] = {
    "whole": (charge(2900, S.FROZEN), usd(29), 2900),
    "partly paid": (charge(2900, S.FROZEN, applied=900), usd(20), 2000),
    "partly dropped": (charge(2900, S.WITHDRAWING, dropped=900), usd(29), 2000),
    "both": (charge(2900, S.WITHDRAWING, applied=900, dropped=1000), usd(20), 1000),
    "paid without a card": (charge(2900, S.PAID, applied=2900), usd(0), 0),
    "not asked for yet": (charge(2900), usd(0), 2900),
}


@pytest.mark.parametrize(("owed", "asked", "left"), PARTS.values(), ids=PARTS)
def test_what_is_asked_for_and_what_is_owed_are_two_things(
    owed: Charge, asked: object, left: int
) -> None:
    parts = owed.asked, owed.owed

    assert parts == (asked, left)


@pytest.mark.parametrize(
    ("currency", "smallest"), [("usd", 50), ("eur", 50), ("gbp", 30), ("sek", 50)]
)
def test_less_than_stripes_minimum_is_not_worth_collecting(currency: str, smallest: int) -> None:
    enough = charge(smallest, currency=currency)

    too_little = charge(smallest - 1, currency=currency)

    assert minimum(currency) == smallest
    assert (enough.worth_collecting(), too_little.worth_collecting()) == (True, False)


def test_every_status_has_its_ways_and_none_leads_back_to_taking_lines() -> None:
    ways = TRANSITIONS

    assert set(ways) == set(S)
    assert all(S.OPEN not in others and old not in others for old, others in ways.items())
    assert [each for each in S if not ways[each]] == list(FINAL)


def test_a_charge_is_open_or_in_flight_or_over() -> None:
    states = [S.OPEN, *IN_FLIGHT, *FINAL]

    assert sorted(states) == sorted(S)


@pytest.mark.parametrize("status", IN_FLIGHT)
def test_every_charge_in_flight_can_end(status: ChargeStatus) -> None:
    reached, new = {status}, {status}

    while new:
        new = {each for old in new for each in TRANSITIONS[old]} - reached
        reached |= new

    assert set(FINAL) <= reached
