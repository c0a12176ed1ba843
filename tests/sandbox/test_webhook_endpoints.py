from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.sandbox.receiver import Receiver, eventually, receiving
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox


@pytest.fixture
def other(client: stripe.StripeClient) -> Iterator[Receiver]:
    """A second address, which nothing is sent to any more when it closes."""
    with receiving() as one:
        yield one
        for endpoint in client.v1.webhook_endpoints.list({"limit": 100}).data:
            if endpoint.url == one.url:
                client.v1.webhook_endpoints.delete(endpoint.id)


def registered(
    client: stripe.StripeClient, receiver: Receiver, *events: str
) -> tuple[stripe.WebhookEndpoint, str]:
    """A new endpoint and its secret."""
    wish: Any = {"url": receiver.url, "enabled_events": events or ["*"]}
    endpoint = client.v1.webhook_endpoints.create(wish)
    assert endpoint.secret is not None
    return endpoint, endpoint.secret


def customers_in(receiver: Receiver, secret: str) -> list[str]:
    return [event.data.object["id"] for event in receiver.events(secret, "customer.created")]


def undelivered(client: stripe.StripeClient) -> dict[str, str]:
    """The events that have not reached everyone, by the customer who was created."""
    events = client.v1.events.list(
        {"type": "customer.created", "delivery_success": False, "limit": 100}
    )
    return {event.data.object["id"]: event.id for event in events.data}


def proofs(receiver: Receiver) -> list[int]:
    """How many signatures each delivery carried."""
    return [signature.count("v1=") for _, signature in receiver.deliveries]


def test_every_endpoint_gets_what_it_asked_for_signed_with_its_own_secret(
    sandbox: RunningSandbox, client: stripe.StripeClient, receiver: Receiver, other: Receiver
) -> None:
    _, secret = registered(client, other, "customer.created", "customer.updated")

    customer = client.v1.customers.create()
    client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    client.v1.customers.update(customer.id, {"name": "New"})

    told = eventually(lambda: other.events(secret, "customer.updated") and other.events(secret))
    assert {event.type for event in told} == {"customer.created", "customer.updated"}
    eventually(lambda: customer.id in customers_in(receiver, sandbox.webhook_secret))


def test_each_endpoint_is_tried_again_on_its_own(
    sandbox: RunningSandbox, client: stripe.StripeClient, receiver: Receiver, other: Receiver
) -> None:
    _, secret = registered(client, other, "customer.created")
    other.refusals.append(500)

    customer = client.v1.customers.create()

    eventually(lambda: customers_in(other, secret) == [customer.id] * 2)
    eventually(lambda: customer.id not in undelivered(client))
    assert customers_in(receiver, sandbox.webhook_secret).count(customer.id) == 1


def test_a_disabled_endpoint_hears_nothing_until_it_is_enabled(
    client: stripe.StripeClient, other: Receiver
) -> None:
    endpoint, secret = registered(client, other, "customer.created")
    disabled = client.v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    assert disabled.status == "disabled"
    client.v1.customers.create()

    client.v1.webhook_endpoints.update(endpoint.id, {"disabled": False})
    heard = client.v1.customers.create()

    eventually(lambda: heard.id not in undelivered(client))
    assert customers_in(other, secret) == [heard.id]


def test_an_endpoint_moves_and_changes_its_mind(
    client: stripe.StripeClient, receiver: Receiver, other: Receiver
) -> None:
    endpoint, secret = registered(client, receiver, "customer.updated")

    client.v1.webhook_endpoints.update(
        endpoint.id, {"url": other.url, "enabled_events": ["customer.created"]}
    )
    customer = client.v1.customers.create()

    eventually(lambda: customers_in(other, secret) == [customer.id])


def test_a_deleted_endpoint_gets_not_even_what_waited(
    client: stripe.StripeClient, other: Receiver
) -> None:
    endpoint, _ = registered(client, other)
    other.refusals = [503] * 1000
    customer = client.v1.customers.create()
    eventually(lambda: other.deliveries)
    assert customer.id in undelivered(client)

    gone = client.v1.webhook_endpoints.delete(endpoint.id)

    assert gone.deleted is True
    eventually(lambda: customer.id not in undelivered(client))
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.webhook_endpoints.retrieve(endpoint.id)
    assert missing.value.http_status == 404


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"enabled_events": ["customer.create"]}, "enabled_events[0]"),
        ({"enabled_events": ["*", "customer.*"]}, "enabled_events[1]"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": None}, "url"),
        ({"api_version": "2020-08-27"}, "api_version"),
        ({"connect": True}, "connect"),
    ],
)
def test_an_endpoint_that_could_not_work_is_refused(
    client: stripe.StripeClient, other: Receiver, wrong: dict[str, Any], param: str
) -> None:
    wish: Any = {"url": other.url, "enabled_events": ["*"], **wrong}

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.webhook_endpoints.create(wish)

    assert refused.value.param == param


def test_for_a_while_after_a_roll_both_secrets_sign(tmp_path: Path, other: Receiver) -> None:
    with running_sandbox(tmp_path) as sandbox:
        client = sandbox.client()
        endpoint, old = registered(client, other, "customer.created")
        client.v1.customers.create()
        eventually(lambda: proofs(other) == [1])

        new = sandbox.ask("POST", f"webhook_endpoints/{endpoint.id}/roll", {"expires_in": 3600})
        client.v1.customers.create()
        eventually(lambda: proofs(other) == [1, 2])
        sandbox.advance(3600)
        client.v1.customers.create()
        eventually(lambda: proofs(other) == [1, 2, 1])

    def verifies(place: int, secret: str) -> bool:
        try:
            stripe.Webhook.construct_event(*other.deliveries[place], secret)
        except stripe.SignatureVerificationError:
            return False
        return True

    assert [verifies(place, old) for place in range(3)] == [True, True, False]
    assert [verifies(place, new["secret"]) for place in range(3)] == [False, True, True]


def test_a_roll_without_overlap_ends_the_old_secret_at_once(
    sandbox: RunningSandbox, client: stripe.StripeClient, other: Receiver
) -> None:
    endpoint, _ = registered(client, other, "customer.created")

    rolled = sandbox.ask("POST", f"webhook_endpoints/{endpoint.id}/roll")
    customer = client.v1.customers.create()

    eventually(lambda: other.deliveries)
    assert customers_in(other, rolled["secret"]) == [customer.id]
    assert proofs(other) == [1]


def test_the_roll_of_the_command_lines_secret_outlives_a_restart(
    tmp_path: Path, other: Receiver
) -> None:
    keys = {"api_key": "sk_test_rolled", "webhook_secret": "whsec_first"}
    with running_sandbox(tmp_path, other.url, **keys) as first:
        rolled = first.ask("POST", "webhook_endpoints/roll", {"expires_in": 3600})

    with running_sandbox(tmp_path, other.url, **keys) as second:
        customer = second.client().v1.customers.create()
        eventually(lambda: proofs(other) == [2])
        for secret in ("whsec_first", rolled["secret"]):
            assert customers_in(other, secret) == [customer.id]

    keys["webhook_secret"] = "whsec_another"
    with running_sandbox(tmp_path, other.url, **keys) as third:
        third.client().v1.customers.create()
        eventually(lambda: proofs(other) == [2, 1])


def test_an_event_is_sent_again_when_asked(
    sandbox: RunningSandbox, client: stripe.StripeClient, other: Receiver
) -> None:
    _, secret = registered(client, other, "customer.created")
    sandbox.fault("webhook_drop", event="customer.created")
    customer = client.v1.customers.create()
    missed = undelivered(client)[customer.id]

    sandbox.ask("POST", f"events/{missed}/resend")

    (told,) = eventually(lambda: other.events(secret))
    assert (told.id, told.data.object["id"]) == (missed, customer.id)
    eventually(lambda: customer.id not in undelivered(client))
