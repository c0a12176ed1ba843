from __future__ import annotations

import pytest
import stripe

from tests.sandbox.receiver import Receiver, eventually
from tests.sandbox.sandbox_process import RunningSandbox


def about(receiver: Receiver, secret: str, kind: str, thing: str) -> list[stripe.Event]:
    """The events of one kind that arrived about one object."""
    found = []
    for event in receiver.events(secret, kind):
        told = event.data.object.to_dict()
        if thing in (told["id"], told.get("payment_intent")):
            found.append(event)
    return found


def test_a_payment_is_told_in_signed_webhooks(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    intent: stripe.PaymentIntent,
    receiver: Receiver,
) -> None:
    client.v1.payment_intents.confirm(intent.id, {"off_session": True}, {"idempotency_key": "w1"})

    secret = sandbox.webhook_secret
    eventually(lambda: about(receiver, secret, "payment_intent.created", intent.id))
    eventually(lambda: about(receiver, secret, "charge.succeeded", intent.id))
    (told,) = eventually(lambda: about(receiver, secret, "payment_intent.succeeded", intent.id))
    assert told.data.object["status"] == "succeeded"
    assert told.request is not None
    assert told.request.idempotency_key == "w1"
    assert client.v1.events.retrieve(told.id).type == "payment_intent.succeeded"


def test_another_secret_does_not_verify(
    sandbox: RunningSandbox, intent: stripe.PaymentIntent, receiver: Receiver
) -> None:
    eventually(lambda: receiver.deliveries)

    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(*receiver.deliveries[0], "whsec_other")


def test_an_event_is_sent_again_until_it_is_accepted(
    sandbox: RunningSandbox, client: stripe.StripeClient, receiver: Receiver
) -> None:
    eventually(lambda: client.v1.events.list({"delivery_success": False}).data == [])
    receiver.refusals.append(500)

    customer = client.v1.customers.create()

    secret = sandbox.webhook_secret

    def both() -> list[stripe.Event]:
        found = about(receiver, secret, "customer.created", customer.id)
        return found if len(found) == 2 else []

    sent = eventually(both)
    assert len({event.id for event in sent}) == 1
    eventually(lambda: client.v1.events.list({"delivery_success": False}).data == [])


def test_a_dropped_webhook_never_comes_but_stays_in_the_list_of_events(
    sandbox: RunningSandbox, client: stripe.StripeClient, receiver: Receiver
) -> None:
    sandbox.fault("webhook_drop", event="customer.*")
    lost = client.v1.customers.create()

    kept = client.v1.customers.create()

    secret = sandbox.webhook_secret
    eventually(lambda: about(receiver, secret, "customer.created", kept.id))
    assert about(receiver, secret, "customer.created", lost.id) == []
    (missed,) = client.v1.events.list({"type": "customer.*", "delivery_success": False}).data
    assert missed.data.object["id"] == lost.id


def test_a_webhook_comes_twice_or_late_when_asked(
    sandbox: RunningSandbox, client: stripe.StripeClient, receiver: Receiver
) -> None:
    secret = sandbox.webhook_secret
    sandbox.fault("webhook_duplicate", event="customer.created")
    sandbox.fault("webhook_delay", event="customer.created", seconds=0.5)
    twice = client.v1.customers.create()
    late = client.v1.customers.create()
    prompt = client.v1.customers.create()

    eventually(lambda: about(receiver, secret, "customer.created", late.id))

    order = [event.data.object["id"] for event in receiver.events(secret, "customer.created")]
    assert order.count(twice.id) == 2
    assert order.index(prompt.id) < order.index(late.id)


def test_events_are_listed_by_types(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create()
    client.v1.customers.update(customer.id, {"name": "New"})

    updated, created = client.v1.events.list(
        {"types": ["customer.created", "customer.updated"], "limit": 2}
    ).data

    assert (created.type, updated.type) == ("customer.created", "customer.updated")
    assert created.data.object["name"] is None
    assert updated.data.object["name"] == "New"
