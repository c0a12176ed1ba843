"""What a customer sees of the quarantine: their own entries, and never a byte of one."""

from __future__ import annotations

import pytest

from tests.api.client import Api
from tests.api.listing import told
from tests.builders import (
    HOUR,
    NOW,
    add_customer,
    deployed,
    entry,
    one_row,
    reasons,
    settle_entries,
    settle_events,
)
from worker.settle import replay
from worker.storage import tables

SECRET = b'{"customer_id": "acme", "secret": "of somebody"}'


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    """Of acme an event that came too early and a conflict; bytes of nobody; one of globex."""
    engine = shared_api.engine
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
    settle_events(engine, deployed("early", at=NOW + HOUR), deployed("g", "globex", at=NOW + HOUR))
    settle_events(engine, deployed("twice"), deployed("twice", commit_sha="bbbbbbb"))
    settle_entries(engine, [entry(SECRET)])
    return shared_api


def test_a_customer_sees_what_of_theirs_was_not_billed_and_why(site: Api) -> None:
    found = told(site, "quarantine")["data"]

    assert [(each["fix_id"], each["reason"], each["event_id"]) for each in found] == [
        ("twice", "conflict", "deployed-twice"),
        ("early", "future", "deployed-early"),
    ]
    assert {each["source"] for each in found} == {"github.com/acme/shop"}
    assert all(each["detail"] and each["accepted_at"] for each in found)
    assert [each["fix_id"] for each in told(site, "quarantine", "globex")["data"]] == ["g"]


def test_what_is_nobodys_is_seen_by_nobody(site: Api) -> None:
    assert reasons(site.engine) == ["conflict", "future", "future", "unreadable"]
    for customer_id in ("acme", "globex"):
        found = str(told(site, "quarantine", customer_id))
        assert "unreadable" not in found
        assert "secret" not in found


def test_no_byte_of_an_entry_is_shown(site: Api) -> None:
    columns = set(told(site, "quarantine")["data"][0])

    assert not columns & {"body", "signature", "entry_key", "key_id", "traceparent"}


@pytest.mark.parametrize(
    ("body", "fix_id"),
    [
        (deployed("mine").to_bytes(), "mine"),
        (deployed("theirs", "globex").to_bytes(), None),
        (SECRET, None),
        (b"\xff", None),
        (b" " * 70_000 + deployed("large").to_bytes(), None),
    ],
)
def test_the_fix_is_named_if_it_can_be_read_as_the_customers_own(
    api: Api, body: bytes, fix_id: str | None
) -> None:
    add_customer(api.engine)
    settle_events(api.engine, deployed("early", at=NOW + HOUR))
    with api.engine.begin() as tx:
        tx.execute(tables.quarantine.update().values(body=body))

    (found,) = told(api, "quarantine")["data"]

    assert found["fix_id"] == fix_id


def test_an_entry_that_was_settled_again_says_when(api: Api) -> None:
    add_customer(api.engine)
    settle_events(api.engine, deployed("early", at=NOW + HOUR))
    (before,) = told(api, "quarantine")["data"]
    kept = one_row(api.engine, tables.quarantine)

    replay(kept["quarantine_id"], api.engine, NOW + HOUR, None)
    (after,) = told(api, "quarantine")["data"]

    assert before["replayed_at"] is None
    assert after["replayed_at"] is not None
    assert after == before | {"replayed_at": after["replayed_at"]}
