from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import stripe

from tests.sandbox.receiver import eventually, receiving
from tests.sandbox.sandbox_process import DAY, RunningSandbox, running_sandbox

KEYS = {"api_key": "sk_test_survivor", "webhook_secret": "whsec_survivor"}


def pay(sandbox: RunningSandbox, key: str) -> stripe.PaymentIntent:
    return sandbox.client().v1.payment_intents.create(
        {"amount": 2900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True},
        {"idempotency_key": key},
    )


def test_intents_keys_faults_and_undelivered_webhooks_outlive_kill_9(tmp_path: Path) -> None:
    with receiving() as deaf, running_sandbox(tmp_path, deaf.url, **KEYS) as first:
        deaf.refusals = [503] * 1000
        paid = pay(first, "survivor")
        first.fault("http_429", "GET", "/v1/charges")
        eventually(lambda: deaf.deliveries)
        first.kill()

    with receiving() as receiver, running_sandbox(tmp_path, receiver.url, **KEYS) as second:
        client = second.client()
        assert client.v1.payment_intents.retrieve(paid.id).status == "succeeded"
        assert pay(second, "survivor").id == paid.id
        assert len(second.payments()) == 1
        with pytest.raises(stripe.RateLimitError):
            client.v1.charges.list()
        (told,) = eventually(
            lambda: receiver.events(KEYS["webhook_secret"], "payment_intent.succeeded")
        )
        assert told.data.object["id"] == paid.id
        eventually(lambda: client.v1.events.list({"delivery_success": False}).data == [])


def test_callers_cut_off_by_kill_9_ask_again_with_their_keys_and_pay_once(tmp_path: Path) -> None:
    keys = [f"pay-{number}" for number in range(60)]

    def paid(sandbox: RunningSandbox, key: str) -> str | None:
        try:
            return pay(sandbox, key).status
        except stripe.APIConnectionError:
            return None

    with running_sandbox(tmp_path, **KEYS) as first, ThreadPoolExecutor(4) as callers:
        first.fault("slow", "POST", times=1000, seconds=0.02)
        answers = [callers.submit(paid, first, key) for key in keys]
        eventually(lambda: len(first.payments()) >= 5)
        first.kill()
        assert None in [answer.result() for answer in answers]

    with running_sandbox(tmp_path, **KEYS) as second:
        second.ask("DELETE", "faults")
        assert {paid(second, key) for key in keys} == {"succeeded"}
        charged = [row["idempotency_key"] for row in second.payments()]
        assert sorted(charged) == sorted(keys)


def test_what_is_due_later_outlives_kill_9(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, **KEYS) as first:
        client = first.client()
        paid = client.v1.payment_intents.create(
            {
                "amount": 2900,
                "currency": "usd",
                "payment_method": "pm_card_pendingRefund",
                "confirm": True,
            }
        )
        refund = client.v1.refunds.create({"payment_intent": paid.id})
        first.advance(DAY // 2)
        first.kill()

    with running_sandbox(tmp_path, **KEYS) as second:
        client = second.client()
        assert client.v1.refunds.retrieve(refund.id).status == "pending"
        second.advance(DAY // 2)
        assert client.v1.refunds.retrieve(refund.id).status == "succeeded"
        assert [row["status"] for row in second.truth("refunds")] == ["succeeded"]


def test_it_stops_at_once_and_cleanly_even_while_a_call_hangs(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        sandbox.fault("timeout_before", "GET", "/v1/charges", seconds=600)
        with pytest.raises(stripe.APIConnectionError):
            sandbox.client(timeout=0.2).v1.charges.list()

        sandbox.process.send_signal(signal.SIGTERM)

        assert sandbox.process.wait(timeout=10) == 0
    assert (tmp_path / "sandbox.log").read_text() == ""
