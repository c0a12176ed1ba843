from __future__ import annotations

import pytest
import stripe

from tests.sandbox.conftest import charge_of, error_body, kinds_of_events
from tests.sandbox.receiver import eventually
from tests.sandbox.sandbox_process import DAY, RunningSandbox

FRAUDULENT = "pm_card_createDispute"
NOT_RECEIVED = "pm_card_createDisputeProductNotReceived"
INQUIRY = "pm_card_createDisputeInquiry"


def disputed(client: stripe.StripeClient, card: str) -> stripe.Dispute:
    """The dispute of a payment of 29 dollars with a card that always has one."""
    paid = client.v1.payment_intents.create(
        {"amount": 2900, "currency": "usd", "payment_method": card, "confirm": True}
    )
    (dispute,) = client.v1.disputes.list({"payment_intent": paid.id}).data
    return dispute


def answered(
    sandbox: RunningSandbox, client: stripe.StripeClient, dispute: stripe.Dispute, words: str
) -> stripe.Dispute:
    """The dispute after the bank has read the evidence."""
    submitted = client.v1.disputes.update(
        dispute.id, {"evidence": {"uncategorized_text": words}, "submit": True}
    )
    assert submitted.status == dispute.status.replace("needs_response", "under_review")
    sandbox.advance(5)
    return client.v1.disputes.retrieve(dispute.id)


def withdrawn(sandbox: RunningSandbox, dispute: stripe.Dispute) -> tuple[str, int]:
    """What the bank says of a dispute: where it stands and the money it took."""
    (row,) = sandbox.truth("disputes", dispute=dispute.id)
    return row["status"], row["withdrawn"]


@pytest.mark.parametrize(
    ("card", "reason", "code"),
    [(FRAUDULENT, "fraudulent", "10.4"), (NOT_RECEIVED, "product_not_received", "13.1")],
)
def test_a_payment_succeeds_is_disputed_and_its_money_is_gone(
    sandbox: RunningSandbox, client: stripe.StripeClient, card: str, reason: str, code: str
) -> None:
    dispute = disputed(client, card)

    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", reason, 2900)
    assert not dispute.is_charge_refundable
    details = dispute.payment_method_details
    assert details is not None
    assert details.card is not None
    assert (details.card.case_type, details.card.network_reason_code) == ("chargeback", code)
    intent = str(dispute.payment_intent)
    charge = charge_of(client, intent)
    assert (charge.id, charge.disputed, charge.status) == (dispute.charge, True, "succeeded")
    assert withdrawn(sandbox, dispute) == ("needs_response", 2900)
    assert kinds_of_events(client, intent) == [
        "payment_intent.created",
        "charge.succeeded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "payment_intent.succeeded",
    ]


def test_a_disputed_payment_cannot_be_refunded_until_the_dispute_is_won(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    dispute = disputed(client, FRAUDULENT)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": str(dispute.charge)})
    assert error_body(refused.value)["code"] == "charge_disputed"

    answered(sandbox, client, dispute, "winning_evidence")

    assert client.v1.refunds.create({"charge": str(dispute.charge)}).status == "succeeded"


def test_winning_evidence_brings_the_money_back(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    won = answered(sandbox, client, disputed(client, FRAUDULENT), "winning_evidence")

    assert (won.status, won.is_charge_refundable) == ("won", True)
    assert (won.evidence_details.has_evidence, won.evidence_details.submission_count) == (True, 1)
    assert [moved.net for moved in won.balance_transactions] == [-4400, 2900]
    assert withdrawn(sandbox, won) == ("won", 0)
    assert kinds_of_events(client, str(won.payment_intent))[-3:] == [
        "charge.dispute.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]


def test_the_bank_decides_when_time_passes_by_itself(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    dispute = disputed(client, FRAUDULENT)
    client.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})

    sandbox.advance(4)

    eventually(lambda: client.v1.disputes.retrieve(dispute.id).status == "won")


def test_losing_evidence_loses_and_the_charge_stays_disputed(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    lost = answered(sandbox, client, disputed(client, FRAUDULENT), "losing_evidence")

    assert lost.status == "lost"
    assert withdrawn(sandbox, lost) == ("lost", 2900)
    assert charge_of(client, str(lost.payment_intent)).disputed
    with pytest.raises(stripe.InvalidRequestError, match="has been charged back"):
        client.v1.refunds.create({"charge": str(lost.charge)})


def test_other_evidence_stays_under_review_past_the_deadline(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    dispute = disputed(client, FRAUDULENT)
    answered(sandbox, client, dispute, "They did use it.")

    sandbox.advance(30 * DAY)

    assert client.v1.disputes.retrieve(dispute.id).status == "under_review"


def test_evidence_is_put_together_and_submitted_when_told(client: stripe.StripeClient) -> None:
    dispute = disputed(client, FRAUDULENT)

    staged = client.v1.disputes.update(
        dispute.id, {"evidence": {"customer_name": "Jenny"}, "submit": False}
    )
    noted = client.v1.disputes.update(dispute.id, {"metadata": {"case": "7"}})
    submitted = client.v1.disputes.update(dispute.id, {"submit": True})

    assert (staged.status, noted.status) == ("needs_response", "needs_response")
    assert staged.evidence_details.submission_count == 0
    assert (submitted.status, submitted.evidence.customer_name) == ("under_review", "Jenny")
    assert submitted.metadata.to_dict() == {"case": "7"}


def test_who_does_not_answer_in_time_loses(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    dispute = disputed(client, FRAUDULENT)
    assert dispute.evidence_details.due_by == dispute.created + 9 * DAY

    sandbox.advance(9 * DAY)

    lost = client.v1.disputes.retrieve(dispute.id)
    assert (lost.status, lost.evidence_details.past_due) == ("lost", True)


def test_a_dispute_is_given_up_once(sandbox: RunningSandbox, client: stripe.StripeClient) -> None:
    dispute = disputed(client, FRAUDULENT)

    assert client.v1.disputes.close(dispute.id).status == "lost"

    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        client.v1.disputes.close(dispute.id)
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        client.v1.disputes.update(dispute.id, {"evidence": {"customer_name": "Jenny"}})
    assert withdrawn(sandbox, dispute) == ("lost", 2900)


def test_an_inquiry_takes_no_money_and_closes(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    inquiry = disputed(client, INQUIRY)
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert inquiry.is_charge_refundable
    assert withdrawn(sandbox, inquiry) == ("warning_needs_response", 0)
    client.v1.refunds.create({"charge": str(inquiry.charge), "amount": 100})

    closed = answered(sandbox, client, inquiry, "losing_evidence")

    assert closed.status == "warning_closed"
    assert withdrawn(sandbox, inquiry) == ("warning_closed", 0)


def test_an_inquiry_escalates_to_a_chargeback(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    escalated = answered(sandbox, client, disputed(client, INQUIRY), "escalate_inquiry_evidence")

    assert (escalated.status, escalated.is_charge_refundable) == ("needs_response", False)
    assert withdrawn(sandbox, escalated) == ("needs_response", 2900)


def test_any_past_payment_is_disputed_when_the_sandbox_is_told_to(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    wish = {"payment_intent": intent.id, "reason": "duplicate", "amount": 1000}
    with pytest.raises(OSError, match="400"):
        sandbox.ask("POST", "disputes", wish)
    client.v1.payment_intents.confirm(intent.id)
    sandbox.advance(30 * DAY)

    begun = sandbox.ask("POST", "disputes", wish)

    dispute = client.v1.disputes.retrieve(begun["id"])
    assert (dispute.reason, dispute.amount, dispute.charge) == (
        "duplicate",
        1000,
        charge_of(client, intent.id).id,
    )
    with pytest.raises(OSError, match="400"):
        sandbox.ask("POST", "disputes", wish)


@pytest.mark.parametrize("wrong", [{"reason": "bored"}, {"amount": 2901}, {"amount": 0}])
def test_a_dispute_that_makes_no_sense_is_not_begun(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    intent: stripe.PaymentIntent,
    wrong: dict[str, object],
) -> None:
    client.v1.payment_intents.confirm(intent.id)

    with pytest.raises(OSError, match="400"):
        sandbox.ask("POST", "disputes", {"payment_intent": intent.id, **wrong})

    assert sandbox.truth("disputes", payment_intent=intent.id) == []
