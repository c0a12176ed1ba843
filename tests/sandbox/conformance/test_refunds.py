from __future__ import annotations

import stripe

from tests.sandbox.conformance.conftest import refused


def test_parts_are_refunded_until_nothing_is_left(
    client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    refund = client.v1.refunds.create
    part = refund({"payment_intent": paid.id, "amount": 900, "metadata": {"a": "b"}})

    too_much = refused(refund, {"payment_intent": paid.id, "amount": 2001})
    rest = refund({"charge": str(paid.latest_charge)})
    nothing_left = refused(refund, {"payment_intent": paid.id, "amount": 1})

    assert too_much["message"] == (
        "Refund amount ($20.01) is greater than unrefunded amount on charge ($20.00)"
    )
    assert too_much["param"] == "amount"
    assert (part.amount, rest.amount, rest.status) == (900, 2000, "succeeded")
    assert nothing_left["code"] == "charge_already_refunded"
    charge = client.v1.charges.retrieve(str(paid.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (2900, True)
    listed = client.v1.refunds.list({"payment_intent": paid.id}).data
    assert [one.id for one in listed] == [rest.id, part.id]
    changed = client.v1.refunds.update(part.id, {"metadata": {"a": "", "note": "x"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"note": "x"}
