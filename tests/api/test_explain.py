"""Explanations over HTTP: what is said, to whom, and how fresh it is."""

from __future__ import annotations

import pytest
from httpx import Response

from schemas.explanations import ChargeExplanation, FixExplanation
from tests.api.client import Api, problem_in
from tests.builders import NOW, add_customer, deployed, one_row, reverted, settle_events
from tests.usage.explaining import costs
from worker.storage import tables


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    """acme and globex have a fix of the same id; acme has taken back another one."""
    for customer_id in ("acme", "globex"):
        add_customer(shared_api.engine, customer_id)
        settle_events(shared_api.engine, deployed("fix-1", customer_id))
    settle_events(shared_api.engine, deployed("fix-2"), reverted("fix-2"))
    settle_events(shared_api.engine, deployed("fix-3", at=NOW.replace(year=2027)))
    return shared_api


def charge_of(api: Api, customer_id: str = "acme") -> str:
    return str(one_row(api.engine, tables.charges, customer_id=customer_id)["charge_id"])


def ask(api: Api, what: str, customer_id: str = "acme", key: str | None = None) -> Response:
    path = f"/api/v1/customers/{customer_id}/{what}/explain"
    return api.ask("GET", path, api.signed(key))


def test_a_fix_is_explained(site: Api) -> None:
    got = ask(site, "fixes/fix-2")

    found = FixExplanation.model_validate_json(got.content)
    assert got.status_code == 200
    assert (found.status, costs(found), found.chain) == ("reverted", (0, 0), "ok")
    assert found.as_of is not None
    assert got.headers["Fixbill-As-Of"] == found.as_of.isoformat()


def test_a_charge_is_explained(site: Api) -> None:
    got = ask(site, f"charges/{charge_of(site)}")

    found = ChargeExplanation.model_validate_json(got.content)
    assert [(each.fix_id, each.removed_at is None) for each in found.lines] == [
        ("fix-1", True),
        ("fix-2", False),
    ]
    assert costs(found) == (0, 2900)


def test_a_fix_that_only_stands_in_quarantine_is_explained(site: Api) -> None:
    found = FixExplanation.model_validate_json(ask(site, "fixes/fix-3").content)

    assert found.status == "quarantined"
    assert "future" in found.text


def test_each_customer_is_told_of_their_own_fix(site: Api) -> None:
    found = FixExplanation.model_validate_json(ask(site, "fixes/fix-1", "globex").content)

    assert found.charge is not None
    assert found.charge.charge_id == charge_of(site, "globex")


@pytest.mark.parametrize("what", ["fixes/fix-9", "charges/ch_9"])
def test_what_is_not_there_is_not_found(site: Api, what: str) -> None:
    assert what.partition("/")[2] in problem_in(ask(site, what), 404)["detail"]


def test_what_belongs_to_others_is_not_found(site: Api) -> None:
    theirs = site.key("read", customers=["globex"])

    problem_in(ask(site, "fixes/fix-2", "acme", theirs), 404)
    problem_in(ask(site, "fixes/fix-2", "globex", theirs), 404)
    problem_in(ask(site, f"charges/{charge_of(site)}", "globex", theirs), 404)


def test_what_has_not_changed_is_not_sent_again(site: Api) -> None:
    got = ask(site, "fixes/fix-1")
    path = "/api/v1/customers/acme/fixes/fix-1/explain"

    again = site.ask("GET", path, site.signed() | {"If-None-Match": got.headers["ETag"]})

    assert (again.status_code, again.content) == (304, b"")
