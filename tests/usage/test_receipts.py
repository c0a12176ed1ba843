from __future__ import annotations

import pytest
from sqlalchemy import Engine

from schemas.events import Event
from schemas.receipts import Receipt
from tests.builders import (
    DAY,
    HOUR,
    NOW,
    add_customer,
    deployed,
    reverted,
    settle_events,
    usd,
)
from worker.usage.receipts import receipt_of


def receipt(engine: Engine, event: Event) -> Receipt | None:
    with engine.begin() as tx:
        return receipt_of(tx, event, NOW - DAY)


@pytest.mark.parametrize(
    ("fix_id", "customer_id", "outcome", "price"),
    [
        ("owed-1", "acme", "charged", usd(29)),
        ("paid-1", "acme", "charged", usd(29)),
        ("g-1", "globex", "credited", None),
        ("g-2", "globex", "charged", usd(15)),
        ("held-1", "acme", "reverted", None),
    ],
)
def test_a_receipt_says_what_became_of_an_event(
    engine: Engine, fix_id: str, customer_id: str, outcome: str, price: object
) -> None:
    event = deployed(fix_id, customer_id)

    found = receipt(engine, event)

    assert found is not None
    assert (found.status, found.outcome, found.price) == ("settled", outcome, price)
    assert (found.event_id, found.customer_id, found.fix_id) == (event.id, customer_id, fix_id)
    assert found.detail is None


def test_a_revert_has_a_receipt_too(engine: Engine) -> None:
    found = receipt(engine, reverted("held-1"))

    assert found is not None
    assert (found.status, found.outcome) == ("settled", "reverted")


def test_a_receipt_of_a_held_fix_says_why(engine: Engine) -> None:
    add_customer(engine, "initech", card=False)
    settle_events(engine, deployed("fix-1", "initech"))

    found = receipt(engine, deployed("fix-1", "initech"))

    assert found is not None
    assert (found.outcome, found.price) == ("held", None)
    assert found.detail == "no payment method"


def test_an_event_sent_under_another_id_has_the_receipt_of_its_fix(engine: Engine) -> None:
    again = deployed("owed-1", id="again")
    settle_events(engine, again)

    found = receipt(engine, again)

    assert found is not None
    assert (found.status, found.outcome, found.event_id) == ("settled", "charged", "again")


def test_an_event_that_was_not_settled_yet_has_none(engine: Engine) -> None:
    found = receipt(engine, deployed("on-its-way"))

    assert found is None


def test_an_event_that_waits_for_its_customer_says_so(engine: Engine) -> None:
    settle_events(engine, deployed("fix-1", "stranger"))

    found = receipt(engine, deployed("fix-1", "stranger"))

    assert found is not None
    assert (found.status, found.detail) == ("waiting", "this customer is not known yet")


def test_an_event_in_quarantine_says_why(engine: Engine) -> None:
    future = deployed("future", at=NOW + HOUR)
    settle_events(engine, future)

    found = receipt(engine, future)

    assert found is not None
    assert found.status == "quarantined"
    assert found.detail == ("future: time is more than 5 minutes ahead; check the sender's clock")


def test_the_same_id_with_another_body_has_a_story_of_its_own(engine: Engine) -> None:
    other = deployed("owed-1", repository="acme/else")
    before = receipt(engine, other)

    settle_events(engine, other)
    after = receipt(engine, other)

    assert before is None
    assert after is not None
    assert after.status == "quarantined"
    first = receipt(engine, deployed("owed-1"))
    assert first is not None
    assert first.status == "settled"


def test_an_old_refusal_is_another_story(engine: Engine) -> None:
    future = deployed("future", at=NOW + HOUR)
    settle_events(engine, future)

    with engine.begin() as tx:
        found = receipt_of(tx, future, NOW + HOUR)

    assert found is None


def test_another_customers_event_of_the_same_id_has_no_receipt(engine: Engine) -> None:
    event = deployed("owed-1", "globex")

    found = receipt(engine, event)

    assert found is None
