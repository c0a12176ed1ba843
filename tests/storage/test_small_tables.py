"""The short modules, each with its one table: what goes in comes out, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.errors import UniqueViolation
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    entry,
    give_credits,
    one_row,
    rows_of,
    settle_entries,
    settle_events,
)
from worker.billing.cycles import SWEPT_WITHIN, spread
from worker.billing.hints import Webhook
from worker.billing.ledger import NO_HEAD
from worker.storage import tables
from worker.storage.api_keys import ApiKey, add_key, find_key, list_keys, note_use, revoke_key
from worker.storage.collecting import running_since, switch, why_stopped
from worker.storage.customers import (
    Customer,
    find_customer,
    keep_stripe_customer,
    open_first_book,
    owner_of,
    owner_of_method,
    set_payment_method,
)
from worker.storage.customers import (
    add_customer as store_customer,
)
from worker.storage.grants import has_grant
from worker.storage.parked import forget_parked, park, parked
from worker.storage.quarantine import (
    count_standing,
    find_quarantined,
    list_quarantine,
    refusal_of,
    take_for_replay,
)
from worker.storage.stripe_events import (
    LEASE,
    TRY_AGAIN,
    claim_due_events,
    finish_event,
    postpone_event,
    read_event,
    store_event,
)
from worker.storage.waiting import due_waiting, take_waiting

# Fixes of customers nobody knows yet.


def test_waiting_fixes_come_out_in_the_order_they_came_in(engine: Engine) -> None:
    some = [
        entry(deployed(name, "stranger", id=name), at=NOW + number * MINUTE)
        for number, name in enumerate(["c", "a", "b"])
    ]
    settle_entries(engine, some)

    with engine.begin() as tx:
        taken = take_waiting(tx, ["stranger"])

    assert taken == some


def test_waiting_fixes_of_the_same_millisecond_come_out_in_the_order_they_came_in(
    engine: Engine,
) -> None:
    names = [f"{number * 7 % 40:02}" for number in range(40)]
    some = [deployed(name, "stranger", id=name) for name in names]
    keys = [f"3/1773576000000-{number}" for number in range(40)]
    together = [entry(event, key=key) for event, key in zip(some, keys, strict=True)]
    settle_entries(engine, together)

    with engine.begin() as tx:
        taken = take_waiting(tx, ["stranger"])

    assert [each.key for each in taken] == keys


def test_waiting_fixes_leave_the_table_with_the_transaction_that_takes_them(
    engine: Engine,
) -> None:
    settle_events(engine, deployed("a", "stranger"), deployed("b", "other"))

    with engine.begin() as tx:
        take_waiting(tx, ["stranger"])

    assert [row["fix"] for row in waiting(engine)] == ["b"]


def test_waiting_fixes_stay_when_what_takes_them_fails(engine: Engine) -> None:
    settle_events(engine, deployed("a", "stranger"))

    with engine.connect() as connection, connection.begin() as transaction:
        take_waiting(connection, ["stranger"])
        transaction.rollback()

    assert [row["fix"] for row in waiting(engine)] == ["a"]


def test_an_entry_waits_with_all_it_came_with(engine: Engine) -> None:
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    came = entry(deployed("a", "stranger"))._replace(door="http", traceparent=trace)
    settle_entries(engine, [came])

    with engine.begin() as tx:
        (taken,) = take_waiting(tx, ["stranger", "nobody"])

    assert taken == came


def test_waiting_fixes_are_due_once_their_customer_is_known(engine: Engine) -> None:
    settle_events(engine, deployed("a", "acme"), deployed("b", "acme"), deployed("c", "globex"))
    with engine.begin() as tx:
        before = due_waiting(tx, 10)
    add_customer(engine, "acme")

    with engine.begin() as tx:
        after = due_waiting(tx, 10)

    assert (before, after) == ([], ["acme"])


def waiting(engine: Engine) -> list[dict[str, Any]]:
    rows = rows_of(engine, tables.waiting_fixes)
    return [row | {"fix": row["event_id"].removeprefix("deployed-")} for row in rows]


# What the HTTP door took in while the inbox was away.


def test_parked_entries_come_oldest_first_and_stay_until_they_are_forgotten(
    engine: Engine,
) -> None:
    young, old = entry(deployed("y"), at=NOW), entry(deployed("o"), at=NOW - MINUTE)
    with engine.begin() as tx:
        for each in (young, old):
            park(tx, "acme", each)

    with engine.begin() as tx:
        first, both = parked(tx, 1), parked(tx, 10)
        forget_parked(tx, old)
        left = parked(tx, 10)

    assert (first, both, left) == ([old], [old, young], [young])


def test_an_entry_is_parked_once(engine: Engine) -> None:
    one = entry(deployed())
    with engine.begin() as tx:
        park(tx, "acme", one)

    with pytest.raises(IntegrityError) as refused, engine.begin() as tx:
        park(tx, "acme", one)

    assert isinstance(refused.value.orig, UniqueViolation)


# Webhooks.


def webhook(event_id: str = "evt_1", object_id: str | None = "pi_1") -> Webhook:
    return Webhook(event_id, "payment_intent.succeeded", False, object_id, b"as signed")


def test_a_webhook_is_stored_once_whatever_comes_later(engine: Engine) -> None:
    with engine.begin() as tx:
        store_event(tx, webhook(), NOW)
        store_event(tx, webhook(object_id="pi_2"), NOW + HOUR)

    stored = one_row(engine, tables.stripe_events)

    assert Webhook(**{name: stored[name] for name in Webhook._fields}) == webhook()
    assert (stored["received_at"], stored["due_at"]) == (NOW, NOW)


@pytest.mark.parametrize("object_id", ["pi_1", None])
def test_a_webhook_says_what_it_is_about(engine: Engine, object_id: str | None) -> None:
    with engine.begin() as tx:
        store_event(tx, webhook(object_id=object_id), NOW)

        about = read_event(tx, "evt_1")

    assert about == ("payment_intent.succeeded", object_id)


def claim(engine: Engine, wall: Any = NOW) -> list[str]:
    with engine.begin() as tx:
        return claim_due_events(tx, wall, 10)


def test_a_webhook_is_leased_then_done_with(engine: Engine) -> None:
    with engine.begin() as tx:
        store_event(tx, webhook(), NOW)

    first, meanwhile = claim(engine), claim(engine, NOW + LEASE)
    after_the_lease = claim(engine, NOW + LEASE + MINUTE)
    with engine.begin() as tx:
        finish_event(tx, "evt_1", "booked")

    assert (first, meanwhile, after_the_lease) == (["evt_1"], [], ["evt_1"])
    assert claim(engine, NOW + DAY) == []
    stored = one_row(engine, tables.stripe_events)
    assert (stored["result"], stored["tries"], stored["due_at"]) == ("booked", 2, None)


def test_a_postponed_webhook_is_due_again_after_a_pause(engine: Engine) -> None:
    with engine.begin() as tx:
        store_event(tx, webhook(), NOW)
    claim(engine)
    with engine.begin() as tx:
        postpone_event(tx, "evt_1", NOW)

    too_early = claim(engine, NOW + TRY_AGAIN - timedelta(seconds=1))
    in_time = claim(engine, NOW + TRY_AGAIN)

    assert (too_early, in_time) == ([], ["evt_1"])


def test_without_webhooks_none_is_claimed(engine: Engine) -> None:
    with engine.begin() as tx:
        none: list[str] = claim_due_events(tx, NOW, 10)

    assert none == []


# Quarantine.


def test_what_is_set_aside_is_listed_newest_first(engine: Engine) -> None:
    for number in range(3):
        settle_entries(engine, [entry(b"bad")], now=NOW + number * MINUTE)

    with engine.begin() as tx:
        listed = list_quarantine(tx, 2)

    assert [each.recorded_at for each in listed] == [NOW + 2 * MINUTE, NOW + MINUTE]
    assert count_standing(engine) == 3


def test_what_is_set_aside_keeps_its_bytes_and_says_why(engine: Engine) -> None:
    came = entry(b'{"id": \xff}')
    settle_entries(engine, [came])

    with engine.begin() as tx:
        (listed,) = list_quarantine(tx, 10)
        found = find_quarantined(tx, listed.quarantine_id)
        nothing = find_quarantined(tx, "qua_0")

    assert listed.body == came.body
    assert (listed.reason, listed.detail) == ("unreadable", "is not UTF-8 text")
    assert (listed.customer_id, listed.event_id) == (None, None)
    assert (found, nothing) == (listed, None)


def test_an_entry_is_set_aside_once(engine: Engine) -> None:
    came = entry(b"bad")

    for _ in range(2):
        settle_entries(engine, [came])

    assert count_standing(engine) == 1


def test_an_entry_is_replayed_once_under_a_key_of_its_own(engine: Engine) -> None:
    came = entry(deployed(at=NOW + HOUR))
    settle_entries(engine, [came])
    with engine.begin() as tx:
        (listed,) = list_quarantine(tx, 10)

    with engine.begin() as tx:
        first = take_for_replay(tx, listed.quarantine_id, NOW)
        second = take_for_replay(tx, listed.quarantine_id, NOW)

    assert first == came._replace(key=f"replay/{listed.quarantine_id}", door="replay")
    assert second is None
    assert count_standing(engine) == 0
    with engine.begin() as tx:
        assert list_quarantine(tx, 10) == []


def test_a_refusal_is_found_by_the_event_it_concerns(engine: Engine) -> None:
    event = deployed(at=NOW + HOUR)
    settle_events(engine, event)

    with engine.begin() as tx:
        why = refusal_of(tx, event.customer_id, event.source, event.id, NOW)
        others = refusal_of(tx, "globex", event.source, event.id, NOW)
        earlier = refusal_of(tx, event.customer_id, event.source, event.id, NOW + MINUTE)

    assert why.reason == "future"
    assert (others, earlier) == (None, None)


# API keys.


def key(key_id: str = "k1", **more: Any) -> ApiKey:
    values: dict[str, Any] = {
        "key_id": key_id,
        "secret_hash": key_id.encode().ljust(32, b"."),
        "name": "CI",
        "scopes": ["publish"],
        "customer_ids": ["acme"],
        "created_at": NOW,
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
    }
    return ApiKey(**values | more)


def test_keys_are_found_and_listed_as_they_were_added(engine: Engine) -> None:
    young, old = key("young"), key("old", created_at=NOW - DAY, customer_ids=None)
    with engine.begin() as tx:
        for each in (young, old):
            add_key(tx, each)

    with engine.begin() as tx:
        found, nothing, listed = find_key(tx, "young"), find_key(tx, "none"), list_keys(tx)

    assert (found, nothing, listed) == (young, None, [old, young])


def test_a_key_is_revoked_once(engine: Engine) -> None:
    with engine.begin() as tx:
        add_key(tx, key())

    with engine.begin() as tx:
        answers = [revoke_key(tx, "k1", NOW), revoke_key(tx, "k1", NOW + HOUR)]
        unknown = revoke_key(tx, "none", NOW)

    assert (answers, unknown) == ([True, False], False)
    assert one_row(engine, tables.api_keys)["revoked_at"] == NOW


def test_a_use_is_noted_even_by_the_api_role(api_engine: Engine, engine: Engine) -> None:
    with engine.begin() as tx:
        add_key(tx, key())

    with api_engine.begin() as tx:
        note_use(tx, "k1", NOW)

    assert one_row(engine, tables.api_keys)["last_used_at"] == NOW


# Customers and their grants.


def test_a_customer_is_stored_once(engine: Engine) -> None:
    first = Customer("acme", "Acme", "a@example.com", None, None, False, NOW)

    with engine.begin() as tx:
        answers = [store_customer(tx, first), store_customer(tx, first._replace(name="Other"))]
        found, nobody = find_customer(tx, "acme"), find_customer(tx, "nobody")

    assert (answers, found, nobody) == ([True, False], first, None)


def test_a_customer_comes_to_be_known_at_stripe(engine: Engine) -> None:
    with engine.begin() as tx:
        store_customer(tx, Customer("acme", None, None, None, None, False, NOW))
        store_customer(tx, Customer("globex", None, None, None, None, False, NOW))

    with engine.begin() as tx:
        keep_stripe_customer(tx, "acme", "cus_1")
        set_payment_method(tx, "acme", "pm_1")

    stored = {row["customer_id"]: row for row in rows_of(engine, tables.customers)}
    assert (stored["acme"]["stripe_customer"], stored["acme"]["payment_method"]) == (
        "cus_1",
        "pm_1",
    )
    assert stored["globex"]["stripe_customer"] is None


def test_a_first_book_is_empty_and_starts_the_chain(engine: Engine) -> None:
    with engine.begin() as tx:
        store_customer(tx, Customer("acme", None, None, None, None, False, NOW))

    with engine.begin() as tx:
        open_first_book(tx, "acme", "trial", NOW.date(), "usd", NOW)

    stored = one_row(engine, tables.books)
    assert (stored["head"], stored["seq"], stored["credits"]) == (NO_HEAD, 0, 0)
    assert (stored["plan"], stored["has_payment_method"]) == ("trial", False)
    assert (stored["cycle"], stored["cycle_start"], stored["cycle_end"]) == (1, *MARCH)
    assert stored["due_at"] == MARCH.end + spread("acme", SWEPT_WITHIN)
    first = one_row(engine, tables.cycles)
    assert (first["number"], first["starts_at"], first["ends_at"]) == (1, *MARCH)
    assert (first["status"], first["follows"]) == ("open", None)


def test_a_customer_is_found_by_what_stripe_calls_them(engine: Engine) -> None:
    add_customer(engine)
    add_customer(engine, "globex", card=False)

    with engine.begin() as tx:
        owners = [owner_of(tx, each) for each in ("cus_acme", "cus_globex", None)]
        of_methods = [owner_of_method(tx, each) for each in ("pm_acme", "pm_globex")]

    assert (owners, of_methods) == (["acme", None, None], ["acme", None])


# Collecting.


def test_collecting_runs_until_it_is_stopped(engine: Engine) -> None:
    with engine.begin() as tx:
        before = why_stopped(tx), running_since(tx)
        switch(tx, stopped_at=NOW, why="a drill")
        stopped = why_stopped(tx), running_since(tx)
        switch(tx, started_at=NOW + HOUR)
        started = why_stopped(tx), running_since(tx)

    never = datetime.min.replace(tzinfo=UTC)
    assert (before, stopped, started) == ((None, never), ("a drill", never), (None, NOW + HOUR))
    assert len(rows_of(engine, tables.collecting)) == 1


def test_a_grant_is_remembered_after_it_is_used_up(engine: Engine) -> None:
    add_customer(engine)
    give_credits(engine, credits=1, key="gift")
    settle_events(engine, deployed())

    with engine.begin() as tx:
        answers = [has_grant(tx, "acme", each) for each in ("gift", "other")]
        others = has_grant(tx, "globex", "gift")

    assert (answers, others) == ([True, False], False)
