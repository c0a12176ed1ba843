from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from schemas.plans import BadPlans, Catalogue, load_plans
from tests.builders import DAY, NOW, arrival, book, deployed, journal, usd
from worker.billing.batch import decide_batch
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.plan_changes import add_billing, change_plan, sign_up

PLANS = load_plans()


def given_in(written: Journal) -> list[tuple[str, str, int]]:
    return [(each.kind, each.source_key, each.amount) for each in written.transfers]


def catalogue(tmp_path: Path, text: str) -> Catalogue:
    file = tmp_path / "plans.toml"
    file.write_text(text)
    return load_plans(file)


def test_a_trial_starts_with_five_credits_for_ninety_days() -> None:
    standing = book("trial")
    written = journal(standing)

    sign_up(written, standing, PLANS.in_force("trial", NOW.date()))

    assert given_in(written) == [("grant", "signup", 5)]
    (gift,) = standing.grants
    assert (gift.source, gift.expires_at) == ("signup", NOW + 90 * DAY)
    assert (standing.credits, standing.issued) == (5, -5)


@pytest.mark.parametrize("plan", ["payg", "pro"])
def test_other_plans_start_without_credits(plan: str) -> None:
    standing = book(plan)
    written = journal(standing)

    sign_up(written, standing, PLANS.in_force(plan, NOW.date()))

    assert given_in(written) == []
    assert written.touched == set()


def test_a_card_brings_a_trial_five_credits_and_moves_it_to_payg() -> None:
    standing = book("trial", has_payment_method=False)
    written = journal(standing)

    add_billing(written, standing, granted=False)

    assert given_in(written) == [("grant", "billing_added", 5)]
    assert standing.grants[0].expires_at == NOW + 90 * DAY
    assert (standing.has_payment_method, standing.plan, standing.price) == (True, "payg", usd(29))
    assert written.touched == {"acme"}


def test_a_card_brings_credits_once_in_a_life() -> None:
    standing = book("trial", has_payment_method=False)
    written = journal(standing)

    add_billing(written, standing, granted=True)

    assert given_in(written) == []
    assert (standing.plan, standing.has_payment_method) == ("payg", True)


@pytest.mark.parametrize("plan", ["payg", "pro"])
def test_a_card_leaves_a_paying_plan_as_it_is(plan: str) -> None:
    standing = book(plan, has_payment_method=False)
    written = journal(standing)

    add_billing(written, standing, granted=False)

    assert given_in(written) == []
    assert (standing.plan, standing.has_payment_method) == (plan, True)


@pytest.mark.parametrize(("plan", "price"), [("trial", None), ("payg", usd(29)), ("pro", usd(15))])
def test_a_plan_is_pinned_with_its_version_and_price(plan: str, price: object) -> None:
    standing = book("payg")
    written = journal(standing)

    change_plan(written, standing, plan)

    assert (standing.plan, standing.plan_version) == (plan, date(2026, 1, 1))
    assert standing.price == price
    assert written.touched == {"acme"}


VERSIONS = """
[payg]
title = "Pay as you go"
[[payg.versions]]
effective = 2026-01-01
price = { amount = 2900, currency = "usd" }
[[payg.versions]]
effective = 2026-03-16
price = { amount = 3900, currency = "usd" }
"""


@pytest.mark.parametrize(
    ("ahead", "price"),
    [(timedelta(0), usd(29)), (DAY, usd(39))],
    ids=["today", "a day ahead"],
)
def test_the_version_in_force_on_the_customers_day_is_taken(
    tmp_path: Path, ahead: timedelta, price: object
) -> None:
    standing = book(clock_offset=ahead, plans=catalogue(tmp_path, VERSIONS))
    written = journal(standing)

    change_plan(written, standing, "payg")

    assert standing.price == price


@pytest.mark.parametrize(
    ("later", "owed"),
    [(2 * DAY, 2900), (30 * DAY, 3900)],
    ids=["in the running cycle", "in the first cycle that began under it"],
)
def test_a_new_version_counts_from_the_next_cycle_on(
    tmp_path: Path, later: timedelta, owed: int
) -> None:
    standing = book("payg", plans=catalogue(tmp_path, VERSIONS))
    came = NOW + later

    decide_batch([arrival(deployed(at=came), at=came)], {"acme": standing}, Known(), came)

    assert standing.open_charge is not None
    assert standing.open_charge.owed == owed


def test_a_plan_nobody_offers_is_refused_and_nothing_changes() -> None:
    standing = book("payg")
    written = journal(standing)

    with pytest.raises(BadPlans, match="there is no plan 'gold'"):
        change_plan(written, standing, "gold")

    assert (standing.plan, written.touched) == ("payg", set())


EURO = """
[euro]
title = "In euros"
[[euro.versions]]
effective = 2026-01-01
price = { amount = 2500, currency = "eur" }
"""


def test_a_plan_in_another_currency_is_refused(tmp_path: Path) -> None:
    standing = book("payg", plans=catalogue(tmp_path, VERSIONS + EURO))

    with pytest.raises(BadPlans, match="plan euro is in eur, the ledger in usd"):
        change_plan(journal(standing), standing, "euro")

    assert (standing.plan, standing.price) == ("payg", usd(29))
