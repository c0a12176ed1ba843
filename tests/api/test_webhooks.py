"""Stripe's webhooks: what is signed is stored once, what is not leaves no trace."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from httpx import Response
from sqlalchemy import Engine, text

from tests.api.client import Api, Headers, problem_in
from tests.api.signing import NEXT_SECRET, OUR_SECRET, signature, stamped, webhook
from tests.builders import one_row, rows_of
from tests.hostile_texts import TEXTS
from worker.storage import tables
from worker.stripe_gateway import StripeGateway
from worker.stripe_webhooks import WEBHOOK_BYTES_MAX

YEAR = 365 * 86_400
RECEIVED = {"received": True}


def deliver(api: Api, body: bytes, header: str | bytes | None = None) -> Response:
    """Signed with today's secret unless another header is given."""
    headers: Headers = {"Stripe-Signature": signature(body) if header is None else header}
    return api.ask("POST", "/webhooks/stripe", headers, body)


def test_a_webhook_is_stored_as_it_came_and_falls_due_at_once(api: Api) -> None:
    body = webhook()
    before = api.doors.clock.wall()

    got = deliver(api, body)

    assert (got.status_code, got.json()) == (200, RECEIVED)
    row = one_row(api.engine, tables.stripe_events)
    assert row["body"] == body
    assert (row["event_id"], row["type"]) == ("evt_1", "payment_intent.succeeded")
    assert (row["object_id"], row["livemode"], row["tries"]) == ("pi_1", False, 0)
    assert before <= row["due_at"] <= before + timedelta(seconds=30)
    assert row["result"] is None


def test_a_webhook_delivered_a_hundred_times_is_stored_once(api: Api) -> None:
    body = webhook()

    with ThreadPoolExecutor(4) as senders:
        answers = list(senders.map(lambda _: deliver(api, body), range(100)))

    assert {each.status_code for each in answers} == {200}
    assert len(rows_of(api.engine, tables.stripe_events)) == 1


def test_a_webhook_that_was_dealt_with_is_not_due_again_when_it_comes_again(api: Api) -> None:
    deliver(api, webhook())
    with api.engine.begin() as tx:
        tx.execute(text("UPDATE stripe_events SET due_at = NULL, result = 'done'"))

    got = deliver(api, webhook())

    assert got.status_code == 200
    row = one_row(api.engine, tables.stripe_events)
    assert (row["due_at"], row["result"]) == (None, "done")


@pytest.mark.parametrize("secret", [OUR_SECRET, NEXT_SECRET])
def test_while_a_secret_is_being_rotated_both_are_good(api: Api, secret: str) -> None:
    body = webhook()

    got = deliver(api, body, signature(body, secret))

    assert got.status_code == 200
    assert len(rows_of(api.engine, tables.stripe_events)) == 1


@pytest.mark.parametrize("several", ["t={t},v1={good},v1={bad},v0=old", "t={t},v1={bad},v1={good}"])
def test_one_good_signature_among_several_is_enough(api: Api, several: str) -> None:
    body = webhook()
    stamp, _, good = signature(body).removeprefix("t=").partition(",v1=")

    got = deliver(api, body, several.format(t=stamp, good=good, bad="0" * 64))

    assert got.status_code == 200


def test_after_its_rotation_the_old_secret_is_refused(api: Api) -> None:
    rotated = api.behind(webhook_secrets=[NEXT_SECRET])
    body = webhook()

    answers = [deliver(rotated, body, signature(body, each)) for each in (OUR_SECRET, NEXT_SECRET)]

    assert [each.status_code for each in answers] == [400, 200]


@pytest.mark.parametrize("ago", [240, -299], ids=["late", "early"])
def test_a_clock_that_is_a_little_off_is_put_up_with(api: Api, ago: int) -> None:
    body = webhook()

    got = deliver(api, body, signature(body, ago=ago))

    assert got.status_code == 200


def test_the_largest_webhook_is_taken(api: Api) -> None:
    body = webhook()
    body += b" " * (WEBHOOK_BYTES_MAX - len(body))

    assert deliver(api, body).status_code == 200


SOUND = webhook()
MAC = signature(SOUND).rpartition("=")[2]
BAD_SIGNATURES: dict[str, str | bytes] = {
    "empty": "",
    "forged": f"{signature(SOUND).partition(',')[0]},v1={'0' * 64}",
    "of another body": signature(webhook(id="evt_2")),
    "with another secret": signature(SOUND, "whsec_of_someone_else"),
    "with an empty secret": signature(SOUND, ""),
    "ten minutes old": signature(SOUND, ago=600),
    "ten minutes ahead": signature(SOUND, ago=-600),
    "a year ahead": signature(SOUND, ago=-YEAR),
    "a century ahead": signature(SOUND, ago=-100 * YEAR),
    "several times, none of them good": f"t={int(time.time())},v1={'0' * 64},v1={'f' * 64}",
    "a sound time before the one that is signed": (
        f"t={int(time.time())},{signature(SOUND, ago=-YEAR)}"
    ),
    "a sound time behind the one that is signed": (
        f"{signature(SOUND, ago=-YEAR)},t={int(time.time())}"
    ),
    "without a time": f"v1={MAC}",
    "with no number for a time": stamped(SOUND, "now"),
    "with a fraction for a time": stamped(SOUND, "1772366400.5"),
    "with a negative time": stamped(SOUND, "-1"),
    "with a time of 400 digits": stamped(SOUND, "9" * 400),
    "with a time of 5,000 digits": stamped(SOUND, "9" * 5000),
    "without a signature": "t=1772366400",
    "of an older scheme": signature(SOUND).replace("v1=", "v0="),
    "not ASCII": signature(SOUND).encode() + b"\xe9",
    "not ASCII inside": signature(SOUND).encode().replace(b"v1=", b"v1=\xc3\xa9"),
    "not text": b"\xff\xfe\x00",
    "nothing but commas": ",,,,",
    "without a value": "t,v1",
}


@pytest.mark.parametrize("header", BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
def test_a_bad_signature_is_answered_with_400_and_leaves_no_trace(
    shared_api: Api, header: str | bytes
) -> None:
    got = deliver(shared_api, SOUND, header)

    problem_in(got, 400)
    assert rows_of(shared_api.engine, tables.stripe_events) == []


def test_a_webhook_without_a_signature_is_answered_with_400(shared_api: Api) -> None:
    got = shared_api.ask("POST", "/webhooks/stripe", body=SOUND)

    problem_in(got, 400)
    assert rows_of(shared_api.engine, tables.stripe_events) == []


BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"payment succeeded",
    "half of it": SOUND[:-1],
    "not UTF-8": SOUND.replace(b"evt_1", b"evt_\xe9"),
    "a list": b"[" + SOUND + b"]",
    "a string": b'"evt_1"',
    "null": b"null",
    "a number": b"1",
    "an empty object": b"{}",
    "no event": webhook(object="charge"),
    "no object name": webhook(object=...),
    "no id": webhook(id=...),
    "an id that is a number": webhook(id=1),
    "an id that is null": webhook(id=None),
    "no type": webhook(type=...),
    "a type that is a list": webhook(type=["payment_intent.succeeded"]),
    "no livemode": webhook(livemode=...),
    "a livemode that is a word": webhook(livemode="false"),
    "a livemode that is a number": webhook(livemode=0),
    "no data": webhook(data=...),
    "data that is a list": webhook(data=[]),
    "data that is null": webhook(data=None),
    "of live mode": webhook(livemode=True),
    "a key twice": SOUND.replace(b'"id"', b'"id": "evt_0", "id"', 1),
    "NaN": SOUND.replace(b"1772366400", b"NaN"),
    "a thousand levels": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "600 levels": b'{"a":' * 600 + b"1" + b"}" * 600,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_signed_body_that_is_no_event_is_answered_with_400_and_leaves_no_trace(
    shared_api: Api, body: bytes
) -> None:
    got = deliver(shared_api, body)

    problem_in(got, 400)
    assert rows_of(shared_api.engine, tables.stripe_events) == []


def test_a_body_that_is_too_large_is_answered_with_413(shared_api: Api) -> None:
    body = SOUND + b" " * WEBHOOK_BYTES_MAX

    got = deliver(shared_api, body)

    problem_in(got, 413)
    assert rows_of(shared_api.engine, tables.stripe_events) == []


def test_a_test_event_is_refused_where_real_money_moves(shared_api: Api) -> None:
    live = shared_api.behind(stripe=StripeGateway("sk_live_of_nobody"))

    got = deliver(live, SOUND)

    assert "livemode" in problem_in(got, 400)["detail"]
    assert rows_of(shared_api.engine, tables.stripe_events) == []


def test_an_event_about_something_without_a_sound_id_is_stored_all_the_same(api: Api) -> None:
    things: list[object] = [None, [], {}, {"id": 7}, {"id": None}, {"id": ""}, {"id": "x" * 1000}]
    things += [{"id": "pi_\x00"}, {"id": "pi_\ud800"}]
    bodies = [webhook(id=f"evt_{n}", data={"object": each}) for n, each in enumerate(things)]
    bodies.append(webhook(id="evt_empty", data={}))

    answers = [deliver(api, body) for body in bodies]

    rows = rows_of(api.engine, tables.stripe_events)
    assert {each.status_code for each in answers} == {200}
    assert {row["body"] for row in rows} == set(bodies)
    assert {row["object_id"] for row in rows} == {None}


def test_text_that_a_customer_wrote_at_stripe_makes_no_webhook_fail(api: Api) -> None:
    bodies = [
        webhook(id=f"evt_{n}", data={"object": {"id": f"pi_{n}", "description": text}})
        for n, text in enumerate(text for text in TEXTS.values() if len(text) < 100_000)
    ]

    answers = [deliver(api, body) for body in bodies]

    rows = rows_of(api.engine, tables.stripe_events)
    assert {each.status_code for each in answers} == {200}
    assert {row["body"] for row in rows} == set(bodies)
    assert None not in {row["object_id"] for row in rows}


@pytest.mark.parametrize("field", ["id", "type"])
@pytest.mark.parametrize("text", ["evt_\x00", "evt_\ud800", ""], ids=["NUL", "surrogate", "empty"])
def test_an_event_whose_name_cannot_be_stored_is_answered_with_400(
    shared_api: Api, field: str, text: str
) -> None:
    got = deliver(shared_api, webhook(**{field: text}))

    problem_in(got, 400)
    assert rows_of(shared_api.engine, tables.stripe_events) == []


def test_an_event_that_cannot_be_stored_is_not_answered_with_200(api: Api, owner: Engine) -> None:
    with owner.begin() as tx:
        tx.execute(text("REVOKE INSERT ON stripe_events FROM fixbill_api"))

    got = deliver(api, SOUND)

    assert got.status_code >= 500
    assert got.headers["Content-Type"] == "application/problem+json"
