"""Stripe's replies, every row of what the SDK and the documents show, as one table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import usd
from worker.billing.answers import (
    HARD_DECLINES,
    Answer,
    AnswerKind,
    as_asked,
    classify,
    is_hard,
    refusal_on,
)

K = AnswerKind


def error(type: str, code: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "error": {"type": type, "message": "in words", **({"code": code} if code else {}), **more}
    }


def intent(status: str, **more: Any) -> dict[str, Any]:
    return {
        "object": "payment_intent",
        "id": "pi_1",
        "amount": 2900,
        "currency": "usd",
        "customer": "cus_1",
        "status": status,
        "metadata": {"charge_id": "ch_1"},
        **more,
    }


REPLIES: dict[str, tuple[int | None, object, AnswerKind]] = {
    # What may have happened all the same.
    "connection cut": (None, None, K.UNKNOWN),
    "timed out": (None, None, K.UNKNOWN),
    "cut JSON": (200, None, K.UNKNOWN),
    "a list": (200, [intent("succeeded")], K.UNKNOWN),
    "text": (200, "succeeded", K.UNKNOWN),
    "a body but no status": (None, intent("succeeded"), K.UNKNOWN),
    "an empty object": (200, {}, K.UNKNOWN),
    "another object": (200, {"object": "charge", "status": "succeeded"}, K.UNKNOWN),
    "500": (500, error("api_error"), K.UNKNOWN),
    "500 without a body": (500, None, K.UNKNOWN),
    "500 that names a card": (500, error("card_error", "card_declined"), K.UNKNOWN),
    "502 in HTML": (502, None, K.UNKNOWN),
    "503": (503, error("api_error"), K.UNKNOWN),
    "599": (599, {"error": {}}, K.UNKNOWN),
    "409 key in use": (409, error("idempotency_error", "idempotency_key_in_use"), K.UNKNOWN),
    "409 key in use, without a code": (409, error("idempotency_error"), K.UNKNOWN),
    "409 lock": (409, error("invalid_request_error", "lock_timeout"), K.UNKNOWN),
    "400 unexpected state": (
        400,
        error("invalid_request_error", "payment_intent_unexpected_state"),
        K.UNKNOWN,
    ),
    "402 without an error": (402, {"message": "no"}, K.UNKNOWN),
    "402 with an odd error": (402, {"error": "card_declined"}, K.UNKNOWN),
    "302": (302, error("api_error"), K.UNKNOWN),
    "201": (201, intent("succeeded"), K.UNKNOWN),
    "100": (100, error("api_error"), K.UNKNOWN),
    "600": (600, error("api_error"), K.UNKNOWN),
    # Nothing happened.
    "429": (429, error("invalid_request_error", "rate_limit"), K.LATER),
    "429 lock": (429, error("invalid_request_error", "lock_timeout"), K.LATER),
    "429 that says to try again": (
        429,
        error("api_error", "lock_timeout", request_log_url="https://example.com"),
        K.LATER,
    ),
    "429 without a code": (429, {"error": {"message": "slow down"}}, K.LATER),
    # The bank or the customer.
    "402 declined": (402, error("card_error", "card_declined"), K.DECLINED),
    "402 expired": (402, error("card_error", "expired_card"), K.DECLINED),
    "402 of an unheard-of kind": (402, error("card_error", "no_such_code"), K.DECLINED),
    "402 wants authentication": (
        402,
        error("card_error", "authentication_required"),
        K.NEEDS_CUSTOMER,
    ),
    "402 declined for want of authentication": (
        402,
        error("card_error", "card_declined", decline_code="authentication_required"),
        K.NEEDS_CUSTOMER,
    ),
    # Our own mistake.
    "400": (400, error("invalid_request_error", "parameter_missing"), K.OUR_BUG),
    "400 about the payment method": (
        400,
        error("invalid_request_error", "payment_method_unexpected_state"),
        K.OUR_BUG,
    ),
    "400 key reused": (400, error("idempotency_error"), K.OUR_BUG),
    "401": (401, error("invalid_request_error"), K.OUR_BUG),
    "403": (403, error("invalid_request_error"), K.OUR_BUG),
    "404": (404, error("invalid_request_error", "resource_missing"), K.OUR_BUG),
    # The intent itself.
    "succeeded": (200, intent("succeeded"), K.SUCCEEDED),
    "processing": (200, intent("processing"), K.UNKNOWN),
    "requires_payment_method": (200, intent("requires_payment_method"), K.READY),
    "requires_confirmation": (200, intent("requires_confirmation"), K.READY),
    "requires_action": (200, intent("requires_action"), K.NEEDS_CUSTOMER),
    "requires_capture": (200, intent("requires_capture"), K.OUR_BUG),
    "canceled": (200, intent("canceled"), K.CANCELED),
    "a status of the future": (200, intent("requires_prayer"), K.UNKNOWN),
    "no status": (200, {"object": "payment_intent", "id": "pi_1"}, K.UNKNOWN),
}


@pytest.mark.parametrize(("status", "body", "kind"), REPLIES.values(), ids=REPLIES)
def test_every_reply_has_one_meaning(status: int | None, body: object, kind: AnswerKind) -> None:
    reply = (status, body)

    answer = classify(*reply)

    assert answer.kind is kind


def test_an_intent_tells_what_it_is_for() -> None:
    reply = intent("succeeded")

    answer = classify(200, reply)

    assert answer == Answer(K.SUCCEEDED, "pi_1", usd(29), "cus_1", "ch_1")


def test_a_declined_intent_tells_why() -> None:
    last = {"code": "card_declined", "decline_code": "lost_card"}

    answer = classify(200, intent("requires_payment_method", last_payment_error=last))

    assert (answer.kind, answer.code) == (K.READY, "lost_card")


@pytest.mark.parametrize("told", [None, [], {}, error("card_error", "card_declined"), "words"])
@pytest.mark.parametrize(
    "status", [100, 201, 202, 204, 301, 302, 307, 399, 500, 501, 503, 504, 599, 600, 999]
)
def test_a_status_that_the_table_lacks_is_unknown(status: int, told: object) -> None:
    reply = (status, told)

    answer = classify(*reply)

    assert answer.kind is K.UNKNOWN


ASKED = {"amount": 2900, "currency": "usd", "customer": "cus_1"}
DIFFERING = {
    "another amount": {"amount": 2901},
    "less": {"amount": 2899},
    "another currency": {"currency": "eur"},
    "another customer": {"customer": "cus_2"},
    "no customer": {"customer": None},
    "no amount": {"amount": None},
}


@pytest.mark.parametrize("differing", DIFFERING.values(), ids=DIFFERING)
@pytest.mark.parametrize("status", ["succeeded", "requires_confirmation"])
def test_an_intent_that_is_not_what_was_asked_for_is_our_bug(
    differing: dict[str, Any], status: str
) -> None:
    told = classify(200, intent(status, **differing))

    answer = as_asked(told, ASKED)

    assert (answer.kind, answer.code) == (K.OUR_BUG, "differs_from_asked")
    assert answer.payment_intent == "pi_1"
    assert answer.message == f"Stripe's intent is about {told.money} of {told.stripe_customer}"


@pytest.mark.parametrize("status", ["succeeded", "requires_confirmation"])
def test_an_intent_that_is_what_was_asked_for_stands(status: str) -> None:
    told = classify(200, intent(status))

    answer = as_asked(told, ASKED | {"metadata": {}})

    assert answer is told


@pytest.mark.parametrize("kind", [each for each in K if each not in (K.SUCCEEDED, K.READY)])
def test_an_answer_that_tells_of_no_amount_stands(kind: AnswerKind) -> None:
    told = Answer(kind, "pi_1")

    answer = as_asked(told, ASKED)

    assert answer is told


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("authentication_required", K.NEEDS_CUSTOMER),
        ("insufficient_funds", K.DECLINED),
        (None, K.DECLINED),
    ],
)
def test_what_the_bank_said_stands_on_the_intent(code: str | None, kind: AnswerKind) -> None:
    last = {"code": "card_declined", "decline_code": code}
    told = classify(200, intent("requires_payment_method", last_payment_error=last))

    refusal = refusal_on(told)

    assert refusal.kind is kind
    assert refusal._replace(kind=told.kind) == told


def test_a_decline_names_the_intent_the_reason_and_the_words() -> None:
    body = error(
        "card_error",
        "card_declined",
        decline_code="insufficient_funds",
        payment_intent=intent("requires_payment_method"),
    )

    answer = classify(402, body)

    assert answer == Answer(
        K.DECLINED, "pi_1", code="insufficient_funds", message="in words", status=402
    )


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"type": "t", "code": "c", "decline_code": "d"}, "d"),
        ({"type": "t", "code": "c"}, "c"),
        ({"type": "t"}, "t"),
        ({"type": 1, "code": None}, None),
    ],
    ids=["decline code", "code", "type", "nothing"],
)
def test_the_most_precise_code_is_kept(told: dict[str, Any], code: str | None) -> None:
    reply = {"error": told}

    answer = classify(402, reply)

    assert answer.code == code


@pytest.mark.parametrize(
    "money",
    [
        {"amount": None},
        {"amount": "2900"},
        {"amount": 29.0},
        {"amount": True},
        {"currency": None},
        {"currency": "USD"},
        {"currency": "dollars"},
        {"currency": ["u", "s", "d"]},
    ],
    ids=str,
)
def test_a_success_without_a_readable_amount_has_no_money(money: dict[str, Any]) -> None:
    reply = intent("succeeded", **money)

    answer = classify(200, reply)

    assert (answer.kind, answer.money) == (K.SUCCEEDED, None)


@pytest.mark.parametrize("code", sorted(HARD_DECLINES))
def test_no_bank_wants_to_see_a_hard_decline_again(code: str) -> None:
    answer = classify(402, error("card_error", "card_declined", decline_code=code))

    hard = is_hard(answer)

    assert hard


@pytest.mark.parametrize(
    "code",
    ["insufficient_funds", "generic_decline", "try_again_later", "processing_error", None],
)
def test_other_declines_may_be_tried_again(code: str | None) -> None:
    answer = Answer(K.DECLINED, code=code)

    hard = is_hard(answer)

    assert not hard


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["object", "id", "status", "error", "code", "metadata", "amount", "currency",
             "payment_intent", "last_payment_error", "charge_id", "decline_code", "message"]
        ),
        inner | st.sampled_from(["payment_intent", "succeeded", "usd"]),
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=400)
@given(st.none() | st.integers(100, 600) | st.just(200) | st.just(402), JSON)
@example(200, {"object": "payment_intent", "status": "succeeded", "metadata": ["charge_id"]})
@example(200, {"object": "payment_intent", "status": ["succeeded"], "id": {}})
@example(402, {"error": {"code": ["authentication_required"], "payment_intent": "pi_1"}})
def test_whatever_comes_there_is_an_answer(status: int | None, body: object) -> None:
    wire = json.loads(json.dumps(body))

    answer = classify(status, wire)

    assert isinstance(answer.kind, AnswerKind)
    assert answer.kind is not K.SUCCEEDED or (status == 200 and wire["status"] == "succeeded")
