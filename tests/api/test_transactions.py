"""The ledger over HTTP: every transfer, and those about one thing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.client import Api
from tests.api.listing import ask, listed, told
from tests.builders import DAY, HOUR, MARCH, add_customer, deployed, rows_of, settle_events
from tests.usage.conftest import fill
from worker.billing.ledger import MOVEMENTS, NO_HEAD, Transfer, chain_hash
from worker.storage import tables


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    """In which everything has happened once; initech's first cycle is over."""
    fill(shared_api.engine)
    add_customer(shared_api.engine, "initech", credits=1)
    settle_events(shared_api.engine, deployed("in-march", "initech"), deployed("owed", "initech"))
    late = MARCH.end + DAY
    april = deployed("in-april", "initech", at=late - HOUR)
    settle_events(shared_api.engine, april, now=late)
    return shared_api


def transactions(api: Api, query: str = "", customer_id: str = "acme") -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = told(api, f"transactions?limit=1000&{query}", customer_id)["data"]
    return data


@pytest.mark.parametrize("customer_id", ["acme", "hooli", "initech"])
def test_every_transfer_is_listed_with_what_it_moved(site: Api, customer_id: str) -> None:
    """So much that its hashes can be recomputed from it and the keys of what caused them."""
    found = transactions(site, customer_id=customer_id)
    rows = rows_of(site.engine, tables.transfers, customer_id=customer_id)

    assert [each["seq"] for each in found] == list(range(len(rows), 0, -1))
    head = NO_HEAD
    for each, row in zip(reversed(found), rows, strict=True):
        assert (each["from_account"], each["to_account"]) == MOVEMENTS[each["kind"]]
        money = each["money"] or {"amount": each["credits"], "currency": "credit"}
        shown = {name: value for name, value in each.items() if name in Transfer._fields}
        amount = {"amount": money["amount"], "unit": money["currency"]}
        moments = {name: row[name] for name in ("happened_at", "recorded_at")}
        transfer = Transfer(
            **shown | amount | moments, customer_id=customer_id, source_key=row["source_key"]
        )
        head = chain_hash(head, transfer)
        assert each["hash"] == head.hex()


@pytest.mark.parametrize("kind", sorted(MOVEMENTS))
def test_those_of_one_kind_are_found(site: Api, kind: str) -> None:
    whole = transactions(site, customer_id="hooli")

    found = transactions(site, f"kind={kind}", "hooli")

    assert found == [each for each in whole if each["kind"] == kind]


@pytest.mark.parametrize(("cycle", "kinds"), [(1, 4), (2, 1), (3, 0)])
def test_those_of_one_cycle_are_found(site: Api, cycle: int, kinds: int) -> None:
    whole = transactions(site, customer_id="initech")

    found = transactions(site, f"cycle={cycle}", "initech")

    assert found == [each for each in whole if each["cycle"] == cycle]
    assert (len(found) > 0) == (kinds > 0)


@pytest.mark.parametrize("customer_id", ["acme", "hooli", "initech"])
def test_those_about_one_fix_are_found(site: Api, customer_id: str) -> None:
    whole = transactions(site, customer_id=customer_id)
    fixes = [row["fix_id"] for row in rows_of(site.engine, tables.fixes, customer_id=customer_id)]

    for fix_id in fixes:
        expected = [each for each in whole if each["fix_id"] == fix_id]
        assert transactions(site, f"fix_id={fix_id}", customer_id) == expected

    assert transactions(site, "fix_id=unknown", customer_id) == []


@pytest.mark.parametrize("customer_id", ["acme", "hooli"])
def test_those_about_one_charge_are_found(site: Api, customer_id: str) -> None:
    whole = transactions(site, customer_id=customer_id)
    charges = {each["charge_id"] for each in whole} - {None}

    for charge_id in charges:
        expected = [each for each in whole if each["charge_id"] == charge_id]
        assert transactions(site, f"charge_id={charge_id}", customer_id) == expected

    assert charges


def test_filters_narrow_each_other(site: Api) -> None:
    (only,) = transactions(site, "kind=charge&cycle=1&fix_id=paid-1")

    assert (only["kind"], only["fix_id"]) == ("charge", "paid-1")
    assert transactions(site, "kind=consume&fix_id=paid-1") == []


def test_a_spreadsheet_has_credits_and_money_apart(site: Api) -> None:
    lines = ask(site, "transactions?limit=1000", accept="text/csv").text.splitlines()

    columns = lines[0].split(",")
    amounts = {
        (cells[columns.index("credits")], cells[columns.index("money")])
        for cells in (line.split(",") for line in lines[1:])
    }
    assert amounts == {("3", ""), ("1", ""), ("", "29.00"), ("", "58.00")}


def test_the_last_ones_of_the_usage_are_the_first_here(site: Api) -> None:
    assert site.usage().json()["transactions"] == listed(site, "transactions")[:10]
