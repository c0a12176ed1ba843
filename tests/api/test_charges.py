"""Charges over HTTP: what was collected, and how."""

from __future__ import annotations

import pytest

from tests.api.client import Api
from tests.api.listing import listed, told
from tests.builders import one_row, rows_of
from tests.usage.conftest import fill
from worker.billing.charges import ChargeStatus
from worker.storage import tables


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    fill(shared_api.engine)
    return shared_api


def usd_answer(amount: int) -> dict[str, object]:
    return {"amount": amount, "currency": "usd"}


def test_charges_are_listed_with_how_far_they_have_come(site: Api) -> None:
    owed, paid = listed(site, "charges")

    assert (owed["status"], owed["amount"], owed["paid_at"]) == ("open", usd_answer(5800), None)
    assert (paid["status"], paid["amount"], paid["payment_intent"]) == (
        "paid",
        usd_answer(5800),
        "pi_paid",
    )
    assert owed["opened_at"] >= paid["opened_at"]


@pytest.mark.parametrize("status", list(ChargeStatus))
def test_those_that_stand_so_are_found(site: Api, status: str) -> None:
    whole = listed(site, "charges")

    found = listed(site, f"charges?status={status}")

    assert found == [each for each in whole if each["status"] == status]


def test_a_charge_shows_its_lines_attempts_refunds_and_disputes(site: Api) -> None:
    row = one_row(site.engine, tables.charges, customer_id="hooli")

    found = told(site, f"charges/{row['charge_id']}", "hooli")

    lines = {each["fix_id"]: each for each in found["lines"]}
    assert {each: lines[each]["price"] for each in lines} == {
        name: usd_answer(2900) for name in ("h-1", "h-2", "h-3")
    }
    assert [name for name, each in lines.items() if each["removed_at"]] == ["h-3"]
    assert [each["number"] for each in found["attempts"]] == [1]
    assert [(each["amount"], each["status"]) for each in found["refunds"]] == [
        (usd_answer(3000), "succeeded")
    ]
    assert [(each["amount"], each["funds"]) for each in found["disputes"]] == [
        (usd_answer(4000), "lost")
    ]
    assert (found["returned"], found["left_out"]) == (usd_answer(3000), {})


def test_what_was_sent_to_stripe_is_not_shown(site: Api) -> None:
    attempt = rows_of(site.engine, tables.attempts, customer_id="hooli")[0]

    found = told(site, f"charges/{attempt['charge_id']}", "hooli")

    assert "parameters" not in found["attempts"][0]
    assert attempt["parameters"]["payment_method"] not in str(found)


def test_a_charge_in_a_list_is_the_charge(site: Api) -> None:
    for each in listed(site, "charges"):
        found = told(site, f"charges/{each['charge_id']}")
        assert {name: found[name] for name in each} == each
